"""Run the practical with headstart on the same arrays. Prints the same JSON object as plain_keras.py."""

import argparse
import json
import resource
import time
from dataclasses import replace
from functools import partial

import numpy as np

import headstart.practical  # noqa: F401  # before TensorFlow: it selects the fast kernels
from headstart.practical.data import Dataset
from headstart.practical.network import colour_statistics
from headstart.runtime.memory import FreeOptimizer
from headstart.runtime.precision import choose_precision
from headstart.training.recipes import RECIPE_A, RECIPE_B
from headstart.training.strategies import STRATEGIES
from headstart.training.trainer import build_network, train, transfer


class Clock(FreeOptimizer):
    """Notes when each epoch was measured, and frees the optimizer's variables after the training, as a run does."""

    def __init__(self):
        super().__init__()
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())


def timed(training):
    """Return the network and each epoch's seconds; the first and last include what happens before and after them."""
    clock = Clock()
    trained = training(callbacks=[clock])
    clock.ends[-1] = time.perf_counter()
    return trained, np.diff(clock.ends).tolist()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    data = np.load(options.data)
    part_a, part_b = (
        Dataset(
            *(data[f"{kind}_{part}"] for kind in ("x_train", "y_train", "x_test", "y_test")),
            class_names=tuple(map(str, range(int(data[f"y_train_{part}"].max()) + 1))),
            name="benchmark",
        )
        for part in ("a", "b")
    )
    precision, reason = choose_precision(options.precision)
    common = {"epochs": options.epochs, "batch_size": options.batch, "precision": precision}
    recipe_a, recipe_b = replace(RECIPE_A, **common), replace(RECIPE_B, **common)
    network, times = build_network(len(part_a.class_names), recipe_a, colour_statistics(part_a.x_train)), {}
    source, times["a"] = timed(partial(train, network, part_a, recipe_a))
    for strategy in STRATEGIES:
        _, times[strategy.name] = timed(partial(transfer, source, strategy, part_b, recipe_b))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**times, "peak_rss": peak, "precision": precision, "reason": reason}))


if __name__ == "__main__":
    main()

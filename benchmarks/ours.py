"""The practical as headstart does it, on the same arrays. Prints the same JSON object as plain_keras.py."""

import argparse
import json
import resource
import time
from dataclasses import replace

import numpy as np

from headstart.memory import EmptyOptimizer
from headstart.practical import tensorflow as tf  # first: with the kernels that it asks for
from headstart.practical.data import Dataset
from headstart.practical.environment import set_up
from headstart.practical.network import build_network, colour_statistics
from headstart.practical.recipe import RECIPE_A, RECIPE_B
from headstart.practical.training import train
from headstart.practical.transfer import STRATEGIES, transfer
from headstart.precision import choose_precision


class Clock(tf.keras.callbacks.Callback):
    """The seconds from epoch's end to epoch's end, measuring included."""

    def __init__(self):
        super().__init__()
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())

    def seconds(self):
        return list(np.diff(self.ends))


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
    set_up()
    precision, reason = choose_precision(options.precision)
    common = {"epochs": options.epochs, "batch_size": options.batch, "precision": precision}
    recipe_a, recipe_b = replace(RECIPE_A, **common), replace(RECIPE_B, **common)
    clock = Clock()
    network = build_network(len(part_a.class_names), recipe_a, colour_statistics(part_a.x_train), seed=0)
    source = train(network, part_a, recipe_a, callbacks=[clock, EmptyOptimizer()])
    times = {"a": clock.seconds()}
    for strategy in STRATEGIES:
        clock = Clock()
        transfer(source, strategy, part_b, recipe_b, callbacks=[clock, EmptyOptimizer()])
        times[strategy.name] = clock.seconds()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**times, "peak_rss": peak, "precision": precision, "reason": reason}))


if __name__ == "__main__":
    main()

"""How time and memory grow with the images, the network's width, the trained layers and the strategies.

Each measurement is a separate process, because peak memory is a process's. It trains two epochs; the second counts.

    python benchmarks/scaling.py [--data PATH]

writes benchmarks/scaling.csv and docs/scaling.png.
"""

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
SWEEPS = {
    "images": (5_000, 10_000, 20_000, 50_000),
    "width": (0.5, 1.0, 2.0),
    "frozen": (0, 2, 4, 5),
    "strategies": (3, 6, 12),
}
COLUMNS = ["sweep", "value", "images", "seconds_an_epoch", "seconds_of_features", "peak_rss"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="auto")
    parser.add_argument("--one", nargs=2, help="measure one point: sweep and value (used by this script itself)")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.data, options.one[0], float(options.one[1]))))
        return
    import pandas as pd

    rows = []
    for sweep, values in SWEEPS.items():
        for value in values:
            command = [sys.executable, __file__, "--data", options.data, "--one", sweep, str(value)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    results = pd.DataFrame(rows, columns=COLUMNS)
    results.to_csv(HERE / "scaling.csv", index=False)
    plot(results).savefig(HERE.parent / "docs" / "scaling.png", dpi=110)


def measure(data, sweep, value):
    """Train a network on all ten classes, one strategy on two classes ("frozen"), or all strategies repeatedly."""
    import numpy as np

    from headstart.datasets.sources import open_dataset
    from headstart.practical.data import split_classes
    from headstart.practical.network import colour_statistics
    from headstart.training.recipes import RECIPE_A, RECIPE_B
    from headstart.training.strategies import STRATEGIES, Strategy
    from headstart.training.trainer import build_network, train, transfer

    dataset, _ = open_dataset(data)
    rng = np.random.default_rng(0)

    def part(content, images):
        """Return this many training images, and 500 test images."""
        train, test = (rng.permutation(len(y)) for y in (content.y_train, content.y_test))
        train, test = train[:images], test[:500]
        kept = (content.x_train[train], content.y_train[train], content.x_test[test], content.y_test[test])
        return type(content)(*kept, content.class_names, content.name)

    images = {"images": int(value), "frozen": 10_000}.get(sweep, 4_000)
    recipe = replace(RECIPE_A, epochs=2)
    if sweep == "width":
        recipe = replace(recipe, widths=tuple(int(width * value) for width in recipe.widths))
    if sweep in ("frozen", "strategies"):
        part_a, part_b = split_classes(dataset, (4, 9))
        few, part_b = part(part_a, 500), part(part_b, images)
        network = build_network(8, recipe, colour_statistics(few.x_train), seed=0)
        source = train(network, few, replace(recipe, epochs=1))
        strategies = STRATEGIES * (int(value) // len(STRATEGIES))
        if sweep == "frozen":
            strategies = (Strategy("", copied=max(1, int(value)), frozen=int(value)),)
        trained = [transfer(source, strategy, part_b, replace(RECIPE_B, epochs=2)) for strategy in strategies]
    else:
        content = part(dataset, images)
        del dataset
        trained = [train(build_network(10, recipe, colour_statistics(content.x_train), seed=0), content, recipe)]
    epoch = sum(one.history["seconds"].diff().iloc[-1] for one in trained)
    features = sum(one.feature_seconds for one in trained)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return dict(zip(COLUMNS, (sweep, value, images, epoch, features, peak), strict=True))


def plot(results):
    import matplotlib.pyplot as plt

    from headstart.practical.recipe import RECIPE_A

    figure, axes = plt.subplots(2, 2, figsize=(10, 7))
    labels = {
        "images": "training images",
        "width": f"width of every convolution (1: {', '.join(map(str, RECIPE_A.widths))})",
        "frozen": "frozen layers (10,000 images; 0: all are trained)",
        "strategies": "strategies trained in sequence (4,000 images each)",
    }
    for ax, (sweep, label) in zip(axes.flat, labels.items(), strict=True):
        rows = results[results["sweep"] == sweep]
        seconds, gigabytes = rows["seconds_an_epoch"], rows["peak_rss"] / 1e9
        ax.plot(rows["value"], seconds, "o-", color="#0072B2")
        ax.set(xlabel=label, ylabel="seconds an epoch", ylim=(0, 1.1 * seconds.max()))
        ax.yaxis.label.set_color("#0072B2")
        memory = ax.twinx()
        memory.plot(rows["value"], gigabytes, "s--", color="#D55E00")
        memory.set(ylabel="peak memory of the process (GB)", ylim=(0, 1.1 * gigabytes.max()))
        memory.yaxis.label.set_color("#D55E00")
        ax.grid(alpha=0.3)
    figure.tight_layout(w_pad=3)
    return figure


if __name__ == "__main__":
    main()

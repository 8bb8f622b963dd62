"""How time and memory grow with the number of images, the width of the network and the layers that are trained.

Each measurement is a process of its own, so that its peak memory is its own: two epochs, of which the second counts.

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
IMAGES, WIDTHS, FROZEN = (5_000, 10_000, 20_000, 50_000), (0.5, 1.0, 2.0), (0, 2, 4, 5)
COLUMNS = ["sweep", "value", "images", "seconds_an_epoch", "seconds_of_features", "peak_rss"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="auto")
    parser.add_argument("--one", nargs=2, help="measure one point: sweep and value (this script calls itself so)")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.data, options.one[0], float(options.one[1]))))
        return
    import pandas as pd

    rows = []
    for sweep, values in (("images", IMAGES), ("width", WIDTHS), ("frozen", FROZEN)):
        for value in values:
            command = [sys.executable, __file__, "--data", options.data, "--one", sweep, str(value)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    results = pd.DataFrame(rows, columns=COLUMNS)
    results.to_csv(HERE / "scaling.csv", index=False)
    plot(results).savefig(HERE.parent / "docs" / "scaling.png", dpi=110)


def measure(data, sweep, value):
    """One network trained on all ten classes' images, or a strategy on two classes' (sweep "frozen")."""
    import numpy as np

    from headstart.practical.data import split_classes
    from headstart.practical.network import build_network, colour_statistics
    from headstart.practical.recipe import RECIPE_A, RECIPE_B
    from headstart.practical.training import train
    from headstart.practical.transfer import Strategy, transfer
    from headstart.sources import open_dataset

    dataset, _ = open_dataset(data, lambda line: None)
    rng = np.random.default_rng(0)

    def part(content, images):
        """So many of its training images, and 500 test images."""
        train, test = (rng.permutation(len(y)) for y in (content.y_train, content.y_test))
        train, test = train[:images], test[:500]
        kept = (content.x_train[train], content.y_train[train], content.x_test[test], content.y_test[test])
        return type(content)(*kept, content.class_names, content.name)

    images = int(value) if sweep == "images" else 4_000
    recipe = replace(RECIPE_A, epochs=2)
    if sweep == "width":
        recipe = replace(recipe, widths=tuple(int(width * value) for width in recipe.widths))
    if sweep == "frozen":
        part_a, part_b = split_classes(dataset, (4, 9))
        images = 10_000
        recipe_b = replace(RECIPE_B, epochs=2)
        few = part(part_a, 500)
        network = build_network(8, recipe, colour_statistics(few.x_train), seed=0)
        source = train(network, few, replace(recipe, epochs=1))
        strategy = Strategy("", copied=max(1, int(value)), frozen=int(value))
        trained = transfer(source, strategy, part(part_b, images), recipe_b)
    else:
        content = part(dataset, images)
        del dataset
        trained = train(build_network(10, recipe, colour_statistics(content.x_train), seed=0), content, recipe)
    seconds = trained.history["seconds"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return dict(
        zip(COLUMNS, (sweep, value, images, seconds.iloc[-1], trained.seconds - seconds.sum(), peak), strict=True)
    )


def plot(results):
    import matplotlib.pyplot as plt

    from headstart.practical.recipe import RECIPE_A

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8))
    labels = {
        "images": "training images",
        "width": f"width of every convolution (1: {', '.join(map(str, RECIPE_A.widths))})",
        "frozen": "frozen layers (10,000 images; 0: all are trained)",
    }
    for ax, (sweep, label) in zip(axes, labels.items(), strict=True):
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
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()

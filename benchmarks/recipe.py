"""The evidence for network A's recipe, on test images: nothing is chosen by it.

    python benchmarks/recipe.py accuracy|ablation OUT [--data PATH] [--seeds 3] [--images 1.0] [--workers 2]
        [--precision auto]

`accuracy` trains the recipe without 4 and 9, without 3 and 5, and on all ten classes; `ablation` trains it without 4
and 9, each time with one ingredient taken away or changed. Every trained network is a file in OUT, so that the same
command continues where it stopped; OUT/results.csv has a row for each, and a summary is printed.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from headstart.precision import CHOICES, choose_precision
from headstart.recipes import RECIPE_A
from headstart.sources import fingerprint, open_dataset
from headstart.study.cluster import connect, execute
from headstart.study.plan import Cell, Network, Plan
from headstart.study.rows import Rows, table, write_results
from headstart.study.subsets import few_images

ABLATION = {
    "the recipe": {},
    "no shift": {"shift": 0},
    "no dropout": {"dropout": (0.0, 0.0)},
    "no label smoothing": {"label_smoothing": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "no warm-up": {"warmup": 0.0},
    "half the learning rate": {"learning_rate": RECIPE_A.learning_rate / 2},
    "twice the learning rate": {"learning_rate": RECIPE_A.learning_rate * 2},
    "batches of 256": {"batch_size": 256},
    "half the channels": {"widths": tuple(width // 2 for width in RECIPE_A.widths)},
}
WANTED = {  # the name in results.csv, the classes that are held out, and what differs from the recipe
    "accuracy": [("without 4 and 9", (4, 9), {}), ("without 3 and 5", (3, 5), {}), ("all ten classes", (), {})],
    "ablation": [(name, (4, 9), change) for name, change in ABLATION.items()],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=WANTED)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--precision", choices=CHOICES, default="auto")
    options = parser.parse_args()
    dataset, source = open_dataset(options.data, print)
    if options.images < 1:
        dataset = few_images(dataset, str(options.images), seed=0)
    print(f"{dataset.name} ({source}), {len(dataset.x_train):,} training images")
    precision, reason = choose_precision(options.precision)
    print(f"Precision: {precision} ({reason})")

    data, cells = fingerprint(dataset), []
    for seed in range(options.seeds):
        for name, classes, change in WANTED[options.what]:
            recipe = replace(RECIPE_A, **change, seed=seed, precision=precision)
            cells.append(Cell(name, Network(classes, seed, recipe, data, part="a")))
    plan, rows, failures = Plan(tuple(cells)), Rows(options.out), {}

    def ended(network, error):
        if error:
            failures[network.key] = error
        print(f"without {network.classes}, seed {network.seed}: {error or 'done'}", flush=True)

    with connect(options.workers, None) as client:
        execute(plan, rows, dataset, client, ended)
    results = table(plan, rows, failures, dataset.class_names)
    write_results(options.out / "results.csv", results)
    print(summary(results).to_string())


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over the seeds, in percent."""
    results = results.assign(gap=results["train_accuracy"] - results["test_accuracy"])
    groups = results.groupby("strategy", sort=False)
    percent = 100 * groups[["test_accuracy", "train_accuracy", "gap"]].mean()
    percent["spread"] = 100 * groups["test_accuracy"].std()
    percent["seconds"] = groups["seconds"].median()
    percent["seeds"] = groups.size()
    return percent.round(2)


if __name__ == "__main__":
    main()

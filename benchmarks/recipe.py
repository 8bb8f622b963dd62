"""The evidence for network A's recipe, on test images: nothing is chosen by it.

    python benchmarks/recipe.py accuracy|ablation OUT [--data PATH] [--seeds 3] [--images 1.0] [--workers 2]

`accuracy` trains the recipe, and the standard network with it, without 4 and 9, without 3 and 5, and on all ten
classes; `ablation` trains it without 4 and 9, each ingredient taken away once. Every trained network is a file in OUT,
so that the same command goes on where it stopped; OUT/results.csv has a row for each, and a summary is printed.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from headstart.practical.recipe import RECIPE_A, Recipe
from headstart.sources import fingerprint, open_dataset
from headstart.study.cluster import connect, execute
from headstart.study.plan import Cell, Network, Plan
from headstart.study.rows import Rows, table, write_results
from headstart.study.work import few_images
from headstart.tuning.space import STANDARD

NETWORK = {name: getattr(STANDARD, name) for name in ("widths", "strides", "pools", "units")}
TASKS = {"without 4 and 9": (4, 9), "without 3 and 5": (3, 5), "all ten classes": ()}
ABLATION = {
    "the recipe": {},
    "32-32-64-64, pooled behind 2 and 4, 512 units": NETWORK,
    "no stride: pooled behind 1 and 3": {"strides": (1, 1, 1, 1), "pools": (1, 3)},
    "no mirror image": {"mirror": False},
    "no shift": {"shift": 0},
    "no dropout": {"dropout": (0.0, 0.0, 0.0)},
    "no label smoothing": {"label_smoothing": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "half the learning rate": {"learning_rate": RECIPE_A.learning_rate / 2},
    "twice the learning rate": {"learning_rate": RECIPE_A.learning_rate * 2},
    "he_normal": {"initialisation": "he_normal"},
    "batches of 256": {"batch_size": 256},
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("accuracy", "ablation"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    dataset, source = open_dataset(options.data, print)
    if options.images < 1:
        dataset = few_images(dataset, str(options.images), seed=0)
    print(f"{dataset.name} ({source}), {len(dataset.x_train):,} training images")

    data, cells = fingerprint(dataset), []
    for seed in range(options.seeds):
        if options.what == "ablation":
            wanted = [(name, (4, 9), replace(RECIPE_A, **change)) for name, change in ABLATION.items()]
        else:
            standard: Recipe = replace(RECIPE_A, **NETWORK)
            wanted = [(task, classes, RECIPE_A) for task, classes in TASKS.items()]
            wanted += [(f"{task}, standard network", classes, standard) for task, classes in TASKS.items()]
        for name, classes, recipe in wanted:
            cells.append(Cell(name, Network(classes, seed, replace(recipe, seed=seed), data, part="a")))
    plan, rows = Plan(tuple(dict.fromkeys(cells))), Rows(options.out)
    with connect(options.workers, None) as client:
        failures = execute(plan, rows, dataset, client, lambda network, error: print(network.recipe, error, flush=True))
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

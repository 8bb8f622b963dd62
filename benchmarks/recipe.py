"""The evidence for network A's recipe, on test images: nothing is chosen by it.

    python benchmarks/recipe.py accuracy|ablation|time OUT [--data PATH] [--seeds 3] [--images 1.0] [--workers 2]
        [--precision auto]

`accuracy` trains the recipe without 4 and 9, without 3 and 5, and on all ten classes; `ablation` trains it without 4
and 9, each ingredient taken away once. Every trained network is a file in OUT, so that the same command goes on where
it stopped; OUT/results.csv has a row for each, and a summary is printed. `time` does the whole practical for three
epochs, with the recipe's network and with the standard one (with Adam) in turn; OUT/seconds.csv has a row for each.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from headstart.practical.data import split_classes
from headstart.practical.environment import set_up
from headstart.practical.network import build_network, colour_statistics
from headstart.practical.recipe import RECIPE_A, RECIPE_B
from headstart.practical.training import train
from headstart.practical.transfer import STRATEGIES, transfer
from headstart.precision import CHOICES, choose_precision
from headstart.sources import fingerprint, open_dataset
from headstart.study.cluster import connect, execute
from headstart.study.plan import Cell, Network, Plan
from headstart.study.rows import Rows, table, write_results
from headstart.study.subsets import few_images
from headstart.tuning.space import STANDARD

NETWORK = {name: getattr(STANDARD, name) for name in ("widths", "strides", "pools", "units")}
TASKS = {"without 4 and 9": (4, 9), "without 3 and 5": (3, 5), "all ten classes": ()}
ABLATION = {
    "the recipe": {},
    "32-32-64-64, pooled behind 2 and 4": NETWORK,
    "conv4 without a stride": {"strides": (1, 1, 1, 1)},
    "Adam for all weights": {"optimizer": "adam"},
    "no mirror image": {"mirror": False},
    "no shift": {"shift": 0},
    "no dropout": {"dropout": (0.0, 0.0, 0.0)},
    "no label smoothing": {"label_smoothing": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "a cosine instead of a straight fall": {"decay": "cosine"},
    "no warm-up": {"warmup": 0.0},
    "half the learning rate": {"learning_rate": RECIPE_A.learning_rate / 2},
    "twice the learning rate": {"learning_rate": RECIPE_A.learning_rate * 2},
    "he_normal": {"initialisation": "he_normal"},
    "batches of 256": {"batch_size": 256},
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("accuracy", "ablation", "time"))
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
    options.precision, reason = choose_precision(options.precision)
    print(f"Precision: {options.precision} ({reason})")

    if options.what == "time":
        measure_time(dataset, options)
    else:
        train_all(dataset, options)


def train_all(dataset, options):
    data, cells = fingerprint(dataset), []
    for seed in range(options.seeds):
        if options.what == "ablation":
            wanted = [(name, (4, 9), replace(RECIPE_A, **change)) for name, change in ABLATION.items()]
        else:
            wanted = [(task, classes, RECIPE_A) for task, classes in TASKS.items()]
        for name, classes, recipe in wanted:
            recipe = replace(recipe, seed=seed, precision=options.precision)
            cells.append(Cell(name, Network(classes, seed, recipe, data, part="a")))
    plan, rows, failures = Plan(tuple(dict.fromkeys(cells))), Rows(options.out), {}

    def ended(network, error):
        if error:
            failures[network.key] = error
        print(f"without {network.classes}, seed {network.seed}: {error or 'done'}", flush=True)

    with connect(options.workers, None) as client:
        execute(plan, rows, dataset, client, ended)
    results = table(plan, rows, failures, dataset.class_names)
    write_results(options.out / "results.csv", results)
    print(summary(results).to_string())


def measure_time(dataset, options):
    """Seconds of the practical's trainings with either network, one after the other, so many times."""
    set_up()
    part_a, part_b = split_classes(dataset, (4, 9))
    seconds = []
    for _ in range(options.seeds):
        for name, network in (("recipe", {}), ("standard", {**NETWORK, "optimizer": "adam"})):
            given = {"epochs": 3, "precision": options.precision, **network}
            recipe_a, recipe_b = (replace(recipe, **given) for recipe in (RECIPE_A, RECIPE_B))
            statistics = colour_statistics(part_a.x_train)
            source = train(build_network(len(part_a.class_names), recipe_a, statistics, seed=0), part_a, recipe_a)
            done = [source, *(transfer(source, strategy, part_b, recipe_b) for strategy in STRATEGIES)]
            seconds.append({"network": name, "seconds": sum(trained.seconds for trained in done)})
            print(seconds[-1], flush=True)
    taken = pd.DataFrame(seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    taken.to_csv(options.out / "seconds.csv", index=False, lineterminator="\n")
    recipe, standard = (taken[taken["network"] == name]["seconds"].to_numpy() for name in ("recipe", "standard"))
    print(f"the recipe's network takes {np.median(recipe / standard):.2f} times as long")


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

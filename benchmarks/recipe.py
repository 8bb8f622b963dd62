"""Measure network A's recipe on test images, after it was chosen on validation images.

    python benchmarks/recipe.py accuracy|ablation OUT [--data PATH] [--seeds 3] [--images 1.0] [--workers 2]
        [--precision auto]

`accuracy` trains the recipe without 4 and 9, without 3 and 5, and on all ten classes. `ablation` trains it without 4
and 9, each time with one component removed or changed. Every trained network is a file in OUT, so the same command
continues where it stopped. OUT/results.csv has a row for each network, and a summary is printed.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from headstart.datasets.sources import fingerprint, open_dataset
from headstart.runtime.precision import CHOICES, choose_precision
from headstart.study.plan import Condition, NetworkSpec, Plan
from headstart.study.results import ResultStore, collect_results, write_results
from headstart.study.scheduler import connect, execute_plan
from headstart.study.subsets import take_subset
from headstart.training.recipes import RECIPE_A

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
    dataset, source = open_dataset(options.data)
    if options.images < 1:
        dataset = take_subset(dataset, str(options.images), seed=0)
    print(f"{dataset.name} ({source}), {len(dataset.x_train):,} training images")
    precision, reason = choose_precision(options.precision)
    print(f"Precision: {precision} ({reason})")

    data, conditions = fingerprint(dataset), []
    for seed in range(options.seeds):
        for name, classes, change in WANTED[options.what]:
            recipe = replace(RECIPE_A, **change, seed=seed, precision=precision)
            conditions.append(Condition(name, NetworkSpec(classes, seed, recipe, data, part="a")))
    plan, store, failures = Plan(tuple(conditions)), ResultStore(options.out), {}

    def on_done(network, error):
        if error:
            failures[network.key] = error
        print(f"without {network.classes}, seed {network.seed}: {error or 'completed'}", flush=True)

    with connect(options.workers, None) as client:
        execute_plan(plan, store, dataset, client, on_done)
    results = collect_results(plan, store, failures, dataset.class_names)
    write_results(options.out / "results.csv", results)
    print(summary(results).to_string())


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard deviations over the seeds, in percent."""
    results = results.assign(gap=results["train_accuracy"] - results["test_accuracy"])
    groups = results.groupby("strategy", sort=False)
    percent = 100 * groups[["test_accuracy", "train_accuracy", "gap"]].mean()
    percent["standard_deviation"] = 100 * groups["test_accuracy"].std()
    percent["seconds"] = groups["seconds"].median()
    percent["seeds"] = groups.size()
    return percent.round(2)


if __name__ == "__main__":
    main()

"""What tests of a study need that train tiny networks on Dask's workers. Workers import this module, too."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from headstart.datasets.sources import fingerprint
from headstart.errors import InvalidRequest
from headstart.practical.data import Dataset
from headstart.study.plan import NetworkSpec, Plan
from headstart.study.results import ResultStore, Source, collect_results
from headstart.study.subsets import count_images
from headstart.study.worker import REJECTED, STUDIES, Outcome
from headstart.training.recipes import Recipe

if TYPE_CHECKING:
    from distributed import Client

    from headstart.study.runner import Study

TINY = Recipe(widths=(4, 4, 8, 8), units=16, batch_size=32, learning_rate=1e-2, shift=0)
QUICK = ("--data", "digits", "--pairs", "4,9", "--seeds", "1", "--epochs", "1", "--precision", "float32")
"""Options of a study with few networks."""


def study_of(plan: Plan, dataset: Dataset, folder: Path) -> Study:
    """Make a study from a plan, without its options being checked."""
    from headstart.study.runner import Study  # imports Matplotlib, which workers do not need

    options = {"pairs": "4,9+3,5", "data": "digits", "precision": "float32", "precision_reason": "a test"}
    return Study(plan, dataset, "a test", options, (TINY, TINY), folder)


def results_of(plan: Plan, store: ResultStore, dataset: Dataset) -> pd.DataFrame:
    """Return the results without the seconds, which are never the same."""
    return collect_results(plan, store, {}, dataset.class_names).drop(columns="seconds")


def expect_success(network: NetworkSpec, error: str) -> None:
    """Fail if a network failed."""
    assert not error, error


def append_keys(keys: list[str]) -> Callable[[NetworkSpec, str], None]:
    """Return a callback that appends the key of each network that has ended."""

    def append(network: NetworkSpec, error: str) -> None:
        expect_success(network, error)
        keys.append(network.key)

    return append


def worker_processes(client: Client) -> list[int]:
    """Return the process number of each worker."""
    return list(client.run(os.getpid).values())


def count_datasets() -> int:
    """Return how many datasets this worker has."""
    return len(STUDIES)


def count_rejections() -> int:
    """Return for how many studies this worker is rejected."""
    return len(REJECTED)


def intra_op_threads() -> int:
    """Return how many threads TensorFlow uses for one operation."""
    import tensorflow as tf

    return int(tf.config.threading.get_intra_op_parallelism_threads())


def imports_tensorflow() -> bool:
    """Return whether this process has imported TensorFlow."""
    return "tensorflow" in sys.modules


def load_unless(lost: Path, dataset: Dataset) -> Dataset:
    """Return the images as long as a file does not exist."""
    if lost.exists():
        raise InvalidRequest("the images have gone")
    return dataset


class FakeTraining:
    """Replaces a training by numbers that follow from the network, its images and its source.

    Args:
        log: The file for the keys of the networks whose training was started.
        first_fails: Whether the very first training fails.
        seconds: How long a training takes.
    """

    def __init__(self, log: Path, *, first_fails: bool = False, seconds: float = 0.02) -> None:
        self.log, self.first_fails, self.seconds = log, first_fails, seconds

    def __call__(self, spec: NetworkSpec, dataset: Dataset, source: Source | None) -> Outcome:
        """Return a row and, for a source, weights."""
        try:
            self.log.touch(exist_ok=False)  # of two workers that start at the same time, one is the first
            first = True
        except FileExistsError:
            first = False
        with self.log.open("a") as log:
            log.write(f"{spec.key}\n")
        if first and self.first_fails:
            raise RuntimeError("it failed once")
        if not isinstance(spec.recipe.learning_rate, float):
            raise ValueError(spec.recipe.learning_rate)
        time.sleep(self.seconds)
        weights = [array.tolist() for array in source.weights] if source else []
        number = random.Random(f"{spec.key} {fingerprint(dataset)} {weights}").random()
        images = count_images(spec.train_size, spec.classes, dataset)
        row = {
            "copied": spec.strategy.copied if spec.strategy else 0,
            "frozen": spec.strategy.frozen if spec.strategy else 0,
            "train_images": len(dataset.y_train) - images if spec.part == "a" else images,
            "test_images": len(dataset.y_test),
            **dict.fromkeys(("test_accuracy", "test_loss", "train_accuracy", "train_loss", "seconds"), number),
            "curve": [number] * spec.recipe.epochs,
        }
        statistics = ([0.0] * 3, [1.0] * 3)
        return row, None if spec.strategy else Source(8, spec.recipe, statistics, [np.full(3, number)])

    def started(self) -> list[str]:
        """Return the keys of the networks whose training was started."""
        return self.log.read_text().split()


def spoil(network: NetworkSpec) -> NetworkSpec:
    """Change network A so that it fails in the worker, and with it all networks that start from it."""
    if network.part == "a":
        recipe = copy(network.recipe)
        object.__setattr__(recipe, "learning_rate", "no learning_rate")  # Recipe itself would refuse it
        return replace(network, recipe=recipe)
    return replace(network, source=spoil(network.source)) if network.source else network


def spoiled(plan: Plan) -> Plan:
    """Return a plan whose sources on part A fail."""
    conditions = [replace(condition, network=spoil(condition.network)) for condition in plan.conditions]
    return Plan(tuple(conditions))


def train_without_cluster(network: NetworkSpec, dataset: Dataset) -> tuple[float, list[float]]:
    """Train a strategy and its source in this process, and return its test loss and its curve."""
    from headstart.practical.data import split_classes
    from headstart.practical.network import colour_statistics
    from headstart.study.subsets import take_subset
    from headstart.training.trainer import build_network, train, transfer

    part_a, part_b = split_classes(dataset, (4, 9))
    assert network.source is not None
    assert network.strategy is not None
    recipe_a = network.source.recipe
    source = train(build_network(8, recipe_a, colour_statistics(part_a.x_train), recipe_a.seed), part_a, recipe_a)
    trained = transfer(source, network.strategy, take_subset(part_b, network.train_size, network.seed), network.recipe)
    return trained.test_loss, trained.history["test_accuracy"].tolist()

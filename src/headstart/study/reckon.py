"""What a plan would take, reckoned from a short measurement on this machine."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from headstart.cost import layer_work
from headstart.practical.data import split_classes
from headstart.practical.network import colour_statistics
from headstart.recipes import Recipe
from headstart.study.plan import Network, Plan
from headstart.study.subsets import count_images
from headstart.study.work import prepare
from headstart.training import build_network, train

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

IMAGES = 640  # of the measurement
START = 2000  # what a training costs besides, about, in images shown


def reckon(plan: Plan, missing: list[Network], dataset: Dataset, workers: int) -> str:
    """The plan in words, and how long what is missing would take so many workers on this machine."""
    sources = sum(network.strategy is None for network in plan.networks.values())
    shared = len(plan.cells) - len(plan.networks)
    per_image, overhead = measure(dataset, next(iter(plan.networks.values())).recipe, workers)
    cost = {network.key: overhead + per_image * passes(network, dataset) for network in missing}
    chains = [cost[network.key] + (cost.get(network.source.key, 0) if network.source else 0) for network in missing]
    seconds = max(sum(cost.values()) / workers, max(chains, default=0))  # nothing starts before its source has ended
    return (
        f"{len(plan.networks):,} networks for {len(plan.cells):,} rows ({shared:,} rows share a network): {sources:,} "
        f"sources, each trained once, and {len(plan.networks) - sources:,} that start from them or from scratch. "
        f"{len(missing):,} are not trained yet: {seconds / 3600:,.1f} hours for {workers} worker(s) of this machine, "
        f"reckoned from {1000 * per_image:.2f} ms for an image and {overhead:.1f} s for starting a training in each."
    )


def measure(dataset: Dataset, recipe: Recipe, workers: int) -> tuple[float, float]:
    """Seconds to train on an image, and what a training costs besides, in processes like so many workers'."""
    few, recipe = sample(dataset, IMAGES), replace(recipe, epochs=3, batch_size=64)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=prepare) as pool:
        timed = [pool.submit(time_training, few, recipe) for _ in range(workers)]
        per_image, overhead = np.median([training.result() for training in timed], axis=0)
        return float(per_image), float(overhead)


def sample(dataset: Dataset, images: int) -> Dataset:
    """The first training images of a part A, and one test image: what is to be timed is training."""
    part, _ = split_classes(dataset, (0, 1))
    few = replace(part, x_train=part.x_train[:images], y_train=part.y_train[:images])
    return replace(few, x_test=part.x_test[:1], y_test=part.y_test[:1])


def time_training(few: Dataset, recipe: Recipe) -> tuple[float, float]:
    """The same of one training."""
    start = time.perf_counter()
    network = build_network(len(few.class_names), recipe, colour_statistics(few.x_train), seed=0)
    epochs = train(network, few, recipe).history["seconds"].diff().dropna()
    per_image = float(epochs.min()) / len(few.x_train)
    return per_image, time.perf_counter() - start - per_image * recipe.epochs * len(few.x_train)


def passes(network: Network, dataset: Dataset) -> float:
    """A training's work, in images shown to the whole network in training: forward a third, backward two thirds."""
    train_images = count_images(network.train_size, network.classes, dataset)
    test = int(np.isin(dataset.y_test, network.classes).sum())
    if network.part == "a":
        train_images, test = len(dataset.y_train) - train_images, len(dataset.y_test) - test
    frozen = network.strategy.frozen if network.strategy else 0
    work = layer_work(network.recipe)
    trained = float(work[frozen:].sum() / work.sum())
    curve = (test + min(test, train_images)) * (network.recipe.epochs if network.strategy else 1)
    measured = curve + test + train_images  # at the end the test images once more, and all training images
    features = 2 * train_images + test if frozen else 0
    return trained * (network.recipe.epochs * train_images + measured / 3) + features / 3

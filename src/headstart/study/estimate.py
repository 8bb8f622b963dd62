"""Estimate how long a plan takes, from a short measurement on this machine."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np

from headstart.practical.data import Dataset, split_classes
from headstart.practical.network import colour_statistics
from headstart.study.cost import training_cost
from headstart.study.plan import NetworkSpec, Plan
from headstart.study.task import use_one_thread
from headstart.training.recipes import Recipe
from headstart.training.trainer import build_network, train

IMAGES = 640  # in the measurement


def describe_plan(
    plan: Plan, missing: list[NetworkSpec], workers: int, speed: tuple[float, float], dataset: Dataset
) -> str:
    """Describe a plan and its estimated duration in one paragraph.

    Args:
        plan: The plan.
        missing: The networks that are not trained yet.
        workers: How many networks are trained at the same time.
        speed: From `measure_speed`.
        dataset: All images.
    """
    sources = sum(network.strategy is None for network in plan.networks.values())
    shared = len(plan.conditions) - len(plan.networks)
    per_image, startup = speed
    return (
        f"{len(plan.networks):,} networks for {len(plan.conditions):,} rows ({shared:,} rows share a network): "
        f"{sources:,} sources, each trained once, and {len(plan.networks) - sources:,} that start from them or from "
        f"scratch. {len(missing):,} are not trained yet: about "
        f"{estimate_duration(missing, workers, speed, dataset) / 3600:,.1f} hours with {workers} worker(s) on this "
        f"machine. The estimate is from {1000 * per_image:.2f} ms per image and {startup:.1f} s to start a training, "
        "measured in each worker."
    )


def estimate_duration(missing: list[NetworkSpec], workers: int, speed: tuple[float, float], dataset: Dataset) -> float:
    """Return the estimated seconds until all networks are trained.

    Args:
        missing: The networks that are not trained yet.
        workers: How many networks are trained at the same time.
        speed: From `measure_speed`.
        dataset: All images.
    """
    per_image, startup = speed
    cost = {network.key: startup + per_image * training_cost(network, dataset) for network in missing}
    chains = [cost[network.key] + (cost.get(network.source.key, 0) if network.source else 0) for network in missing]
    return max(sum(cost.values()) / workers, max(chains, default=0))  # a network starts after its source


def measure_speed(dataset: Dataset, recipe: Recipe, workers: int) -> tuple[float, float]:
    """Measure trainings in one process per worker, all at the same time.

    Args:
        dataset: All images, of which few are used.
        recipe: The network's sizes.
        workers: How many processes.

    Returns:
        Seconds per image and epoch, and seconds to start a training: medians over the processes.
    """
    sample, recipe = timing_sample(dataset, IMAGES), replace(recipe, epochs=3, batch_size=64)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=use_one_thread) as pool:
        timed = [pool.submit(time_training, sample, recipe) for _ in range(workers)]
        per_image, startup = np.median([training.result() for training in timed], axis=0)
        return float(per_image), float(startup)


def timing_sample(dataset: Dataset, images: int) -> Dataset:
    """Return the first training images of a part A, and one test image, because only training is timed.

    Args:
        dataset: All images.
        images: How many training images.
    """
    part, _ = split_classes(dataset, (0, 1))
    sample = replace(part, x_train=part.x_train[:images], y_train=part.y_train[:images])
    return replace(sample, x_test=part.x_test[:1], y_test=part.y_test[:1])


def time_training(sample: Dataset, recipe: Recipe) -> tuple[float, float]:
    """Measure one training in this process.

    Args:
        sample: From `timing_sample`.
        recipe: How to train; at least two epochs.

    Returns:
        Seconds per image and epoch, and seconds to start the training.
    """
    start = time.perf_counter()
    network = build_network(len(sample.class_names), recipe, colour_statistics(sample.x_train), seed=0)
    epochs = train(network, sample, recipe).history["seconds"].diff().dropna()
    per_image = float(epochs.min()) / len(sample.x_train)
    return per_image, time.perf_counter() - start - per_image * recipe.epochs * len(sample.x_train)

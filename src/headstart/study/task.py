"""A worker's task: train one network, and return its row and, for a source, the weights that others copy."""

from __future__ import annotations

import gc
from typing import Any

import keras
import tensorflow as tf

from headstart.practical.data import Dataset, split_classes
from headstart.practical.network import colour_statistics
from headstart.runtime.environment import describe_environment
from headstart.runtime.memory import FreeOptimizer, free_variables
from headstart.storage.files import finite_or_none
from headstart.study.plan import NetworkSpec
from headstart.study.results import Source
from headstart.study.subsets import take_subset
from headstart.training.trainer import Trained, build_network, input_statistics, train, transfer


def use_one_thread() -> None:
    """Let TensorFlow use one thread in this process, so that results do not depend on the number of workers."""
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # cannot be set again after a training
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def build_source(source: Source) -> keras.Sequential:
    """Return the network of a source."""
    network = build_network(source.classes, source.recipe, source.statistics, seed=0)
    network.set_weights(source.weights)
    return network


def train_network(spec: NetworkSpec, dataset: Dataset, source: Source | None) -> tuple[dict[str, Any], Source | None]:
    """Train one network, and free its memory afterwards.

    Args:
        spec: What to train.
        dataset: All classes.
        source: The source network, if the strategy copies layers.

    Returns:
        The network's row, and its weights if it is a source.
    """
    callbacks = [FreeOptimizer()]
    part_a, part_b = split_classes(dataset, spec.classes)
    part = part_a if spec.part == "a" else take_subset(part_b, spec.train_size, spec.seed)
    if spec.strategy is None:
        statistics = colour_statistics(part.x_train)
        network = build_network(len(part.class_names), spec.recipe, statistics, spec.recipe.seed)
        trained = train(network, part, spec.recipe, name=spec.part, callbacks=callbacks, every_epoch=False)
    else:
        trained = transfer(
            build_source(source) if source else None, spec.strategy, part, spec.recipe, callbacks=callbacks
        )
    row = describe(trained, len(part.x_train))
    result = None
    if spec.strategy is None:
        weights = trained.network.get_weights()
        result = Source(len(part.class_names), spec.recipe, input_statistics(trained.network), weights)
    free_variables(trained.network.variables)  # otherwise hundreds of networks would stay in a worker's memory
    del trained
    keras.backend.clear_session()
    gc.collect()
    return row, result


def describe(trained: Trained, images: int) -> dict[str, Any]:
    """Return a network's row: the measurements of `results.csv`, the curve and the environment.

    Args:
        trained: The network with its measurements.
        images: How many training images it had.
    """
    return {
        "copied": trained.copied,
        "frozen": trained.frozen,
        "train_images": images,
        "test_images": len(trained.labels),
        "test_accuracy": trained.test_accuracy,
        "test_loss": finite_or_none(trained.test_loss),
        "train_accuracy": trained.train_accuracy,
        "train_loss": finite_or_none(trained.train_loss),
        "seconds": round(trained.seconds, 3),
        "curve": [float(accuracy) for accuracy in trained.history["test_accuracy"]],
        "environment": describe_environment(),
    }

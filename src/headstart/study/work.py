"""What a worker does: train one network, and hand back its row and, of a source, what others copy from it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headstart.artefacts import finite
from headstart.environment import describe_environment
from headstart.memory import EmptyOptimizer, empty
from headstart.practical.data import Dataset, split_classes
from headstart.practical.network import colour_statistics
from headstart.recipes import Recipe
from headstart.study.plan import Network
from headstart.study.subsets import few_images
from headstart.training import Trained, build_network, input_statistics, train, transfer


@dataclass(frozen=True)
class Source:
    """A trained network as it travels: what is needed to build it again."""

    classes: int
    recipe: Recipe
    statistics: tuple[list[float], list[float]]  # mean and variance of each colour
    weights: Sequence[np.ndarray]

    def build(self) -> keras.Sequential:
        """The network."""
        network = build_network(self.classes, self.recipe, self.statistics, seed=0)
        network.set_weights(self.weights)
        return network


def prepare() -> None:
    """Make this process a worker: one thread, so that results do not depend on how many workers there are."""
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # one that has trained cannot set it again
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def train_network(planned: Network, dataset: Dataset, source: Source | None) -> tuple[dict[str, Any], Source | None]:
    """The trained network's row, and the network itself if others start from it."""
    callbacks = [EmptyOptimizer()]
    part_a, part_b = split_classes(dataset, planned.classes)
    part = part_a if planned.part == "a" else few_images(part_b, planned.train_size, planned.seed)
    if planned.strategy is None:
        statistics = colour_statistics(part.x_train)
        network = build_network(len(part.class_names), planned.recipe, statistics, planned.recipe.seed)
        trained = train(network, part, planned.recipe, name=planned.part, callbacks=callbacks, every_epoch=False)
    else:
        trained = transfer(
            source.build() if source else None, planned.strategy, part, planned.recipe, callbacks=callbacks
        )
    row = describe(trained, len(part.x_train))
    result = None
    if planned.strategy is None:
        weights = trained.network.get_weights()
        result = Source(len(part.class_names), planned.recipe, input_statistics(trained.network), weights)
    empty(trained.network.variables)  # or hundreds of networks would pile up in a worker
    del trained
    keras.backend.clear_session()
    gc.collect()
    return row, result


def describe(trained: Trained, images: int) -> dict[str, Any]:
    """What `results.csv` says of a trained network, and its curves."""
    return {
        "copied": trained.copied,
        "frozen": trained.frozen,
        "train_images": images,
        "test_images": len(trained.labels),
        "test_accuracy": trained.test_accuracy,
        "test_loss": finite(trained.test_loss),
        "train_accuracy": trained.train_accuracy,
        "train_loss": finite(trained.train_loss),
        "seconds": round(trained.seconds, 3),
        "curve": [float(accuracy) for accuracy in trained.history["test_accuracy"]],
        "environment": describe_environment(),
    }

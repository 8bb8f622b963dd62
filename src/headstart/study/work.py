"""What a worker does: train one network, and hand back its row and, of a source, what others copy from it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import headstart
from headstart.artefacts import finite
from headstart.memory import EmptyOptimizer, empty
from headstart.practical.data import Dataset, split_classes
from headstart.practical.environment import describe_environment, set_up
from headstart.practical.network import Statistics, build_network, colour_statistics, input_statistics
from headstart.practical.recipe import Recipe
from headstart.practical.training import Trained, train
from headstart.practical.transfer import transfer
from headstart.study.plan import Network
from headstart.study.subsets import few_images


@dataclass(frozen=True)
class Source:
    """A trained network as it travels: what is needed to build it again."""

    classes: int
    recipe: Recipe
    statistics: Statistics
    weights: Sequence[np.ndarray]

    def build(self) -> keras.Sequential:
        """The network."""
        network = build_network(self.classes, self.recipe, self.statistics, seed=0)
        network.set_weights(self.weights)
        return network


def prepare() -> None:
    """Make this process a worker: one thread, so that results do not depend on how many workers there are."""
    set_up()
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
        trained = train(network, part, planned.recipe, name=planned.part, callbacks=callbacks, only_last=True)
    else:
        from_where: Any = SimpleNamespace(network=source.build() if source else None)  # all that transfer looks at
        trained = transfer(from_where, planned.strategy, part, planned.recipe, callbacks=callbacks)
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
    last = trained.history.iloc[-1]
    return {
        "copied": trained.copied,
        "frozen": trained.frozen,
        "train_images": images,
        "test_images": len(trained.labels),
        "test_accuracy": trained.test_accuracy,
        "test_loss": finite(trained.test_loss),
        "train_accuracy": float(last["train_accuracy"]),
        "train_loss": finite(last["train_loss"]),
        "seconds": round(trained.seconds, 3),
        "curve": [float(accuracy) for accuracy in trained.history["test_accuracy"]],
        "environment": {**describe_environment(), "headstart": headstart.__version__},
    }

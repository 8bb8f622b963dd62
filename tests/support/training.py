"""The tiny run's networks, trained a second time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from headstart.practical.network import colour_statistics
from headstart.training.strategies import STRATEGIES
from headstart.training.trainer import Trained, build_network, train, transfer
from support.tiny import TinyRun

MEASURED = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def train_again(run: TinyRun, name: str, **options: Any) -> Trained:
    """Train one of the tiny run's networks again. Network A's images are shifted, so that random states matter."""
    if name == "a":
        network = build_network(8, run.recipe_a, colour_statistics(run.part_a.x_train), seed=0)
        return train(network, run.part_a, run.recipe_a, **options)
    strategy = next(strategy for strategy in STRATEGIES if strategy.name == name)
    return transfer(run.source, strategy, run.part_b, run.recipe_b, **options)


def original(run: TinyRun, name: str) -> Trained:
    """The tiny run's own network of this name."""
    return next(trained for trained in run.networks if trained.name == name)


def assert_same(one: Trained, other: Trained) -> None:
    """Check that two results are equal, bit for bit, in everything except the seconds."""
    for mine, its in zip(one.network.get_weights(), other.network.get_weights(), strict=True):
        assert mine.tobytes() == its.tobytes()
    for mine, its in zip(one.start, other.start, strict=True):
        assert mine.tobytes() == its.tobytes()
    assert (one.hashes_before, one.hashes_after) == (other.hashes_before, other.hashes_after)
    assert one.probabilities.tobytes() == other.probabilities.tobytes()
    columns = ["epoch", *MEASURED]
    pd.testing.assert_frame_equal(one.history[columns], other.history[columns], rtol=0, atol=0)
    figures = ("train_loss", "train_accuracy", "test_accuracy")
    assert [getattr(one, name) for name in figures] == [getattr(other, name) for name in figures]

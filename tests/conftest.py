"""What many tests share: a tiny dataset, one tiny finished run, and made-up results. TensorFlow loads on first use."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import keras

    from headstart.practical.data import Dataset
    from headstart.recipes import Recipe
    from headstart.training import Trained

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A shell that puts the tests into the background has Ctrl-C ignored, in their subprocesses, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says more of the machine's other work than of ours.
settings.register_profile("headstart", deadline=None)
settings.load_profile("headstart")

# A file is one process's: those that take minutes go first, or at the end one process waits for the other.
LONGEST = (
    *("test_study", "test_tuning", "test_report_pages", "test_runs", "test_training", "test_faults"),
    *("test_execution", "test_cli", "test_precision", "test_machines"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within a file, their random order stays."""
    place = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish() -> None:
    """What imports have left is no garbage: no training need look through it (Keras collects after each)."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, repr=False)
class TinyRun:
    """Network A and the practical's three strategies, trained for four epochs on a few hundred digits."""

    part_a: Dataset
    part_b: Dataset
    recipe_a: Recipe
    recipe_b: Recipe
    source: Trained
    strategies: tuple[Trained, Trained, Trained]
    source_weights: list[list[np.ndarray]]  # network A's, after each epoch

    @property
    def networks(self) -> tuple[Trained, ...]:
        return (self.source, *self.strategies)

    @property
    def scratch(self) -> Trained:
        return self.strategies[0]

    @property
    def last_layer(self) -> Trained:
        return self.strategies[1]

    @property
    def two_layers(self) -> Trained:
        return self.strategies[2]


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Few enough digits to train on in a second; part B has 67 to train on and 29 to test with, both odd on purpose."""
    from headstart.practical.digits import load_dataset

    whole = load_dataset()
    return replace(
        whole,
        x_train=whole.x_train[:320],
        y_train=whole.y_train[:320],
        x_test=whole.x_test[:160],
        y_test=whole.y_test[:160],
    )


@pytest.fixture(scope="session")
def tiny_run(digits: Dataset) -> TinyRun:
    import keras

    from headstart.parts import split_classes
    from headstart.practical.network import colour_statistics
    from headstart.recipes import Recipe
    from headstart.strategies import STRATEGIES
    from headstart.training import build_network, train, transfer

    part_a, part_b = split_classes(digits, (4, 9))
    recipe_a = Recipe(widths=(4, 4, 8, 8), units=16, epochs=4, batch_size=16, learning_rate=1e-2, shift=1)
    recipe_b = replace(recipe_a, learning_rate=2e-2, shift=0)
    network = build_network(8, recipe_a, colour_statistics(part_a.x_train), seed=0)
    weights: list[list[np.ndarray]] = []
    snapshots = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(network.get_weights()))
    source = train(network, part_a, recipe_a, callbacks=[snapshots])
    scratch, last_layer, two_layers = (transfer(source, strategy, part_b, recipe_b) for strategy in STRATEGIES)
    return TinyRun(part_a, part_b, recipe_a, recipe_b, source, (scratch, last_layer, two_layers), weights)


@pytest.fixture(scope="session")
def copy_network() -> Callable[[keras.Model], keras.Model]:
    """A copy to tamper with: the networks of the tiny run belong to all tests."""
    import keras

    def copy(network: keras.Model) -> keras.Model:
        twin = keras.models.clone_model(network)
        twin.set_weights(network.get_weights())
        return twin

    return copy


@pytest.fixture
def make_trained() -> Callable[..., Trained]:
    """A result made up by hand: which of the test images are classified rightly, and its curves."""
    from headstart.recipes import Recipe
    from headstart.training import Trained

    def make(name: str = "scratch", right: int | list[bool] = 90, of: int = 100, **given: Any) -> Trained:
        is_right = np.arange(of) < right if isinstance(right, int) else np.array(right)
        labels = np.arange(len(is_right)) % 2
        accuracy = float(is_right.mean())
        curves = {
            "train_loss": [0.9, 0.5, 0.32, 0.31, 0.3],
            "train_accuracy": [accuracy] * 5,
            "test_loss": [0.9, 0.5, 0.4, 0.35, 0.34],
            "test_accuracy": [accuracy - 0.2, accuracy - 0.1, accuracy, accuracy, accuracy],
        } | given.pop("curves", {})
        epochs = min(len(curve) for curve in curves.values())
        columns = {column: np.array(curve[-epochs:], dtype=float) for column, curve in curves.items()}
        history = pd.DataFrame(
            {"epoch": np.arange(1, epochs + 1), **columns, "seconds": 2.0 * np.arange(1, epochs + 1)}
        )
        answers = np.where(is_right, labels, 1 - labels)
        defaults = {
            "name": name,
            "network": SimpleNamespace(
                trainable_weights=[np.zeros((3, 2)), np.zeros(2)],
                get_layer=lambda _: SimpleNamespace(get_config=lambda: {"mean": [0.0] * 3, "variance": [1.0] * 3}),
            ),
            "start": [],
            "recipe": Recipe(epochs=epochs),
            "copied": 0,
            "frozen": 0,
            "class_names": ("cat", "dog"),
            "labels": labels,
            "probabilities": np.where(np.arange(2) == answers[:, None], 0.9, 0.1).astype(np.float32),
            "history": history,
            "train_loss": float(history["train_loss"].iloc[-1]),
            "train_accuracy": float(history["train_accuracy"].iloc[-1]),
            "test_accuracy": accuracy,
            "feature_seconds": 0.0,
            "hashes_before": {},
            "hashes_after": {},
            "features": "",
        }
        return Trained(**(defaults | given))

    return make

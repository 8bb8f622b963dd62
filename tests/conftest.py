"""What many tests share: a tiny dataset, one tiny run and invented results. TensorFlow is imported on first use."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from support.tiny import TinyRun

if TYPE_CHECKING:
    import keras

    from headstart.practical.data import Dataset
    from headstart.training.trainer import Trained

pytest_plugins = ["support.runs", "support.studies"]

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A shell that starts the tests in the background makes them and their subprocesses ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The time of one example depends on the other load of the machine more than on our code.
settings.register_profile("headstart", deadline=None)
settings.load_profile("headstart")

# With `--dist loadfile`, one process executes a whole file. Files that take minutes are first, so that no process is
# left with one of them in the end.
LONGEST = (
    *("study/test_scheduler", "notebook/test_execute", "report/test_pages", "runs/test_runner"),
    *("tuning/test_objective", "training/test_trainer", "practical/test_training", "study/test_runner"),
    *("study/test_task", "runs/test_audit", "runs/test_machines", "storage/test_faults", "tuning/test_search"),
    *("runtime/test_startup", "test_cli", "tuning/test_coordination", "statistics/test_intervals"),
    *("study/test_estimate", "runtime/test_precision"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the random order inside a file is kept."""
    place = {name: place for place, name in enumerate(LONGEST)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: place.get(item.path.relative_to(tests).with_suffix("").as_posix(), len(LONGEST)))


def pytest_collection_finish() -> None:
    """Exclude what imports created from garbage collection, because Keras collects after each training."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Return so few digits that a training takes a second. Part B has 67 training and 29 test images, both odd."""
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

    from headstart.practical.network import colour_statistics
    from headstart.training.parts import split_classes
    from headstart.training.recipes import Recipe
    from headstart.training.strategies import STRATEGIES
    from headstart.training.trainer import build_network, train, transfer

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
    """Return a function that copies a network: those of the tiny run belong to all tests and must not change."""
    import keras

    def copy(network: keras.Model) -> keras.Model:
        twin = keras.models.clone_model(network)
        twin.set_weights(network.get_weights())
        return twin

    return copy


@pytest.fixture
def make_trained() -> Callable[..., Trained]:
    """Return a function that invents a result: which test images are classified correctly, and its curves."""
    from headstart.training.recipes import Recipe
    from headstart.training.trainer import Trained

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

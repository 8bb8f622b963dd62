"""
## Training

Behind frozen layers, only the rest of the network, its **head**, is trained, with a new optimizer.

The curves are measured at the end of each epoch with dropout off, on the test images and on equally many training
images (on all of them after the last epoch). The loss that they show is plain cross-entropy. Label smoothing keeps it
above 0, even where all images are classified correctly: it asks for a loss of 0.025 with two classes, 0.045 with eight.
Keras' own training accuracy is a running mean over the epoch, with dropout on: it would compare unlike things.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from headstart.practical.course import FEATURE_BYTES, as_features, feature_table, plan_course, training_steps
from headstart.practical.data import Dataset
from headstart.practical.network import predict, split_network, weight_hashes
from headstart.practical.optimizer import OPTIMIZERS, OneCycle
from headstart.practical.recipe import Recipe

TITLES = {
    "a": "Network A",
    "scratch": "From scratch",
    "last_layer": "Fine-tuning one layer",
    "two_layers": "Fine-tuning two layers",
}

Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Trained:
    """A trained network, and what was measured of it in inference mode."""

    name: str  # "a", or the strategy's
    network: keras.Sequential
    recipe: Recipe
    copied: int  # weight layers that began as the source's
    frozen: int  # weight layers that were not trained
    class_names: tuple[str, ...]
    labels: np.ndarray  # of the test images: int64 (n,)
    probabilities: np.ndarray  # for the test images, after the last epoch: float32 (n, classes)
    history: pd.DataFrame  # a row an epoch: epoch, train_loss, train_accuracy, test_loss, test_accuracy, seconds
    hashes_before: dict[str, str]  # of each weight layer, before the first step and
    hashes_after: dict[str, str]  # after the last
    optimizer_steps: int
    features: str  # how the frozen layers' output was obtained; empty where nothing is frozen
    seconds: float  # spent on training: frozen features and epochs, without measuring

    @property
    def title(self) -> str:
        """The name in words."""
        return TITLES.get(self.name, self.name)

    @property
    def trainable_parameters(self) -> int:
        """How many numbers were trained."""
        return sum(math.prod(weight.shape) for weight in self.network.trainable_weights)

    @property
    def test_loss(self) -> float:
        """Mean cross-entropy on the test images after the last epoch, in nats."""
        return cross_entropy(self.probabilities, self.labels)

    @property
    def test_accuracy(self) -> float:
        """The part of the test images that is classified correctly after the last epoch."""
        return accuracy(self.probabilities, self.labels)


# %% [markdown]
# ### Measuring


# %%
def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The part of the images whose most probable class is the right one."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log(probability of the right class), in nats: the loss without label smoothing."""
    right = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, 1e-7)).mean(dtype=np.float64))


# %% [markdown]
# ### The curves


# %%
class Curves(keras.callbacks.Callback):
    """Measures the network after each epoch, in inference mode, and adds a row to the history and to Keras' logs."""

    def __init__(self, network: keras.Model, seen: Dataset, recipe: Recipe, rows: Rows, only_last: bool):
        """`network` is what takes the images, or features, of `seen`."""
        super().__init__()
        self.network, self.seen, self.epochs, self.rows = network, seen, recipe.epochs, rows
        self.only_last = only_last
        sample = np.random.default_rng(recipe.seed).permutation(len(seen.y_train))[: len(seen.y_test)]
        self.sample = seen.x_train[sample], seen.y_train[sample]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock, which measuring does not run on."""
        if epoch == 0 or not self.only_last:
            self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Measure on the test images and on as many training images; after the last epoch on all of those."""
        seconds = time.perf_counter() - self.start
        last = epoch + 1 == self.epochs
        if self.only_last and not last:
            return
        x_train, y_train = (self.seen.x_train, self.seen.y_train) if last else self.sample
        train, test = predict(self.network, x_train), predict(self.network, self.seen.x_test)
        row = {
            "epoch": epoch + 1,
            "train_loss": cross_entropy(train, y_train),
            "train_accuracy": accuracy(train, y_train),
            "test_loss": cross_entropy(test, self.seen.y_test),
            "test_accuracy": accuracy(test, self.seen.y_test),
            "seconds": seconds,
        }
        self.rows.append(row)
        logs.update(row)


# %% [markdown]
# ### Optimizer and loss


# %%
def compile_head(head: keras.Model, recipe: Recipe, steps: int, whole_epochs: bool) -> None:
    """The recipe's optimizer with its learning rate, and cross-entropy with its label smoothing."""
    head.compile(
        OPTIMIZERS[recipe.optimizer](OneCycle(recipe, recipe.epochs * steps), weight_decay=recipe.weight_decay or None),
        keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        # Several steps in one call cost less than as many calls. A head's whole epoch is short enough for one; a
        # whole network's would keep an interruption waiting.
        steps_per_execution=steps if whole_epochs else max(n for n in range(1, 9) if steps % n == 0),
    )
    head.optimizer.build(head.trainable_variables)


# %% [markdown]
# ### The training itself


# %%
def train(
    network: keras.Sequential,
    part: Dataset,
    recipe: Recipe,
    *,
    name: str = "a",
    copied: int = 0,
    frozen: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: Callable[[keras.Model], Rows] | None = None,
    feature_bytes: int = FEATURE_BYTES,
    only_last: bool = False,
) -> Trained:
    """Train all but the first `frozen` weight layers with a new optimizer, and measure the network every epoch.

    With `only_last`, it is measured after the last epoch alone, which has the only row of the history then.
    `resume` may bring the compiled head back to where an earlier training stopped; it returns the rows till then.
    """
    tf.config.experimental.enable_op_determinism()
    gc.collect()  # Keras' models are cycles: this frees the optimizer of a training before
    hashes_before = weight_hashes(network)
    prefix, head = split_network(network, frozen)
    steps = plan_course(len(part.x_train), recipe)[0].shape[1]
    compile_head(head, recipe, steps, whole_epochs=frozen > 0)
    rows = list(resume(head)) if resume else []

    start = time.perf_counter()
    table, features = feature_table(prefix, part.x_train, recipe, feature_bytes) if prefix else (None, "")
    measured, seen = (network, part) if table is None else (head, as_features(part, prefix, table, recipe))
    seconds = time.perf_counter() - start
    if len(rows) < recipe.epochs:
        left = {"epochs": recipe.epochs, "initial_epoch": len(rows), "steps_per_epoch": steps}
        batches = training_steps(part, recipe, prefix, table, done=len(rows))
        curves = Curves(measured, seen, recipe, rows, only_last)
        head.fit(batches, **left, callbacks=[curves, *callbacks], shuffle=False, verbose=0)
    what = (name, network, recipe, copied, frozen, part.class_names, part.y_test)
    return Trained(
        *what,
        probabilities=predict(measured, seen.x_test),
        history=pd.DataFrame(rows),
        hashes_before=hashes_before,
        hashes_after=weight_hashes(network),
        optimizer_steps=int(head.optimizer.iterations),
        features=features,
        seconds=seconds + sum(row["seconds"] for row in rows),
    )

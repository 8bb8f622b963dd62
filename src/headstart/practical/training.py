"""
## Training

Three decisions make the results comparable:

1. **A new optimizer and a new `compile` for every training.** Keras decides at `compile` which weights are trained,
   so a layer that is frozen later would still be trained.
2. **The same order of images for all strategies.** The order in each epoch follows from the seed and the epoch. The
   last images, too few for a whole batch, are left out; they are other ones in every epoch.
3. **The same measurement after every epoch**: all test images, and a fixed sample of equally many training images,
   both in *inference mode*, that is, with dropout and augmentation off. (The training accuracy that Keras prints is a
   mean over the epoch with dropout on; it would compare unlike things.) The measured loss is without label smoothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from headstart.practical.data import Dataset
from headstart.practical.recipe import Recipe

TITLES = {"a": "Network A", "scratch": "From scratch", "last_layer": "One layer", "two_layers": "Two layers"}


@dataclass(frozen=True)
class Trained:
    """A trained network, and what was measured of it in inference mode."""

    name: str
    network: keras.Sequential
    start: list[np.ndarray]  # its weights before the first step
    class_names: tuple[str, ...]
    labels: np.ndarray  # of the test images
    probabilities: np.ndarray  # for the test images, after the last epoch: (n, classes)
    history: pd.DataFrame  # a row for each epoch; "seconds" counts from the start, without measuring
    train_loss: float  # on all training images, after the last epoch
    train_accuracy: float
    test_accuracy: float
    feature_seconds: float  # of all seconds, those for the output of frozen layers


# %%
def training_batches(views: list, targets: np.ndarray, size: int, recipe: Recipe, first_epoch: int) -> tf.data.Dataset:
    """Make the batches of all epochs from `first_epoch` on; each image is shown in its views in turn."""

    def generate():
        for epoch in range(first_epoch, recipe.epochs):
            order = np.random.default_rng([recipe.seed, epoch]).permutation(len(targets))
            for chosen in order[: len(order) // size * size].reshape(-1, size):
                yield np.stack([views[(i + epoch) % len(views)][i] for i in chosen]), targets[chosen]

    signature = tuple(tf.TensorSpec((size, *array.shape[1:]), array.dtype) for array in (views[0], targets))
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread stalls the end of about every second epoch
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2).with_options(options)


# %%
def predict(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Compute the output in inference mode, by batches (Keras' own `predict` would turn the autotuning on again)."""
    return np.concatenate([network.predict_on_batch(images[i : i + 250]) for i in range(0, len(images), 250)])


def measure(network: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Measure the cross-entropy, and the share of the images that are classified correctly."""
    probabilities = predict(network, images)
    loss = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    return float(np.mean(loss)), float((probabilities.argmax(axis=1) == labels).mean())


class EpochMetrics(keras.callbacks.Callback):
    """Add a row to the history after each epoch; the time for measuring is not counted."""

    def __init__(self, samples: dict[str, tuple], rows: list[dict], seconds: float):
        super().__init__()
        self.samples, self.rows, self.seconds = samples, rows, seconds

    def on_epoch_begin(self, epoch: int, logs: dict) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.seconds += time.perf_counter() - self.began
        row = {"epoch": epoch + 1, "seconds": self.seconds}
        for kind, (images, labels) in self.samples.items():
            row[f"{kind}_loss"], row[f"{kind}_accuracy"] = measure(self.model, images, labels)
        self.rows.append(row)
        logs.update(row)  # for the callbacks that come after this one


# %%
def learning_rate(epoch: int, recipe: Recipe) -> float:
    """Return the learning rate of an epoch, counted from 0: it rises in a straight line, then it falls."""
    epochs, rising = recipe.epochs, max(1, round(recipe.warmup * recipe.epochs))
    return recipe.learning_rate * min((epoch + 1) / rising, (epochs - epoch - 0.5) / (epochs - rising + 0.5))


# %%
def train(
    network, part: Dataset, recipe: Recipe, name: str, features=None, callbacks=(), resume=None, metrics=EpochMetrics
) -> Trained:
    """Train the network, or what is behind its frozen layers. `resume` may restore an earlier state, with its rows."""
    start, labels = network.get_weights(), part.y_train
    images = [part.x_train, part.x_train[:, :, ::-1]]
    views, feature_seconds, x_test, trained_layers = features or (images, 0.0, part.x_test, network.layers)
    size = min(recipe.batch_size, max(4, len(labels) // 8), len(labels))  # of few images, an epoch has eight batches
    model = keras.Sequential([keras.Input(views[0].shape[1:]), *trained_layers])
    optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer, loss, jit_compile=False)  # XLA makes training slower on a CPU
    rows = resume(model) if resume else []
    sample = np.random.default_rng(recipe.seed).permutation(len(labels))[: len(part.y_test)]
    samples = {"train": (views[0][sample], labels[sample]), "test": (x_test, part.y_test)}
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(epoch, recipe))
    measuring = metrics(samples, rows, rows[-1]["seconds"] if rows else feature_seconds)
    if len(rows) < recipe.epochs:
        targets = np.eye(len(part.class_names), dtype="float32")[labels]
        batches = training_batches(views, targets, size, recipe, len(rows))
        epochs = {"initial_epoch": len(rows), "epochs": recipe.epochs, "steps_per_epoch": len(labels) // size}
        model.fit(batches, **epochs, shuffle=False, verbose=0, callbacks=[schedule, measuring, *callbacks])
    measured = (part.class_names, part.y_test, predict(model, x_test), pd.DataFrame(rows))
    accuracies = (*measure(model, views[0], labels), rows[-1]["test_accuracy"])
    views.clear()  # TensorFlow keeps the generator of the batches, but the images need not stay in memory
    return Trained(name, network, start, *measured, *accuracies, feature_seconds)

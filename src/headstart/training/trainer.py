"""Train and transfer: the practical's functions with checked arguments and a record of what was done."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

import keras
import numpy as np

from headstart.errors import InvalidRequest
from headstart.practical import network as practical_network
from headstart.practical import training as practical
from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS, colour_statistics
from headstart.practical.transfer import frozen_output
from headstart.training.parts import check_dataset
from headstart.training.recipes import Recipe
from headstart.training.strategies import Strategy

FEATURE_BYTES = 2**30  # larger features are stored in a temporary file
TRAINED: WeakSet[keras.Model] = WeakSet()  # the networks that were trained here
SEED_OFFSET = 10_000  # networks on part B start from other random weights than network A

Rows = list[dict[str, float]]
Resume = Callable[[keras.Model], Rows]


def no_rows(model: keras.Model) -> Rows:
    """Return no rows, so that the training starts with the first epoch."""
    return []


@dataclass(frozen=True)
class Trained(practical.Trained):
    """A trained network, what was measured of it in inference mode, and how it was trained."""

    recipe: Recipe
    copied: int  # weight layers that started from the source network
    frozen: int  # weight layers that were not trained
    features: str  # how the frozen layers' output was computed; empty if nothing is frozen
    hashes_before: dict[str, str]  # SHA-256 of each weight layer, before the first step
    hashes_after: dict[str, str]  # the same, after the last step

    @property
    def title(self) -> str:
        """Return the name in words."""
        return practical.TITLES.get(self.name, self.name)

    @property
    def seconds(self) -> float:
        """Return the seconds of training, including the frozen layers' output, without measuring."""
        return float(self.history["seconds"].iloc[-1])

    @property
    def test_loss(self) -> float:
        """Return the mean cross-entropy on the test images after the last epoch, in nats."""
        return float(self.history["test_loss"].iloc[-1])

    @property
    def trainable_parameters(self) -> int:
        """Return how many numbers were trained."""
        return sum(math.prod(weight.shape) for weight in self.network.trainable_weights)


class LastEpochOnly(practical.EpochMetrics):
    """Measure the network after the last epoch only. The history then has one row."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Count the seconds, and measure if this is the last epoch."""
        if epoch + 1 == self.params["epochs"]:
            super().on_epoch_end(epoch, logs)
        else:
            self.seconds += time.perf_counter() - self.began


def build_network(
    classes: int, recipe: Recipe, statistics: tuple[list[float], list[float]], seed: int = 0
) -> keras.Sequential:
    """Build the practical's network with new random weights.

    Args:
        classes: How many outputs it has, at least 2.
        recipe: Its sizes, dropout, augmentation and precision.
        statistics: Mean and variance of each colour, in units of 0..255 and their square: see `colour_statistics`.
        seed: The weights follow from it alone.

    Returns:
        A network that takes images (n, 32, 32, 3) with values 0 to 255.

    Raises:
        InvalidRequest: Fewer than two classes.
    """
    if classes < 2:
        raise InvalidRequest("give 2 or more", option="classes", value=classes)
    with keras_settings(recipe.precision):
        return practical_network.build_network(classes, recipe, statistics, seed)


def train(
    network: keras.Sequential,
    part: Dataset,
    recipe: Recipe,
    *,
    name: str = "a",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: Resume = no_rows,
    every_epoch: bool = True,
) -> Trained:
    """Train a whole network, and measure it after each epoch.

    Args:
        network: As `build_network` makes it, with as many outputs as `part` has classes.
        part: Images uint8 (n, 32, 32, 3) with values 0 to 255, labels from 0 to k - 1.
        recipe: How to train.
        name: A name for tables and figures.
        callbacks: Keras' callbacks; their `logs` hold the epoch's row of the history.
        resume: Called with the compiled model before the first step. It may restore an earlier state, and returns the
            rows of the epochs that are done.
        every_epoch: False measures after the last epoch only.

    Returns:
        The trained network, which is the one that was given, with its measurements.

    Raises:
        InvalidRequest: The network has another number of outputs than the part has classes, it is trained already, or
            the part is not valid.
    """
    return record(network, part, recipe, Strategy(name, 0, 0), callbacks, resume, every_epoch)


def transfer(
    source: keras.Sequential | practical.Trained | None,
    strategy: Strategy,
    part: Dataset,
    recipe: Recipe,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: Resume = no_rows,
    every_epoch: bool = True,
    feature_bytes: int = FEATURE_BYTES,
) -> Trained:
    """Make a new network for `part`, and copy, freeze and train its layers by a strategy.

    Args:
        source: The network to copy from, or what `train` returned; None if nothing is copied. It is not changed.
        strategy: How many layers are copied, and how many of those stay fixed.
        part: Images uint8 (n, 32, 32, 3) with values 0 to 255, labels from 0 to k - 1.
        recipe: How to train; `shift` must be 0 if layers are frozen.
        callbacks: Keras' callbacks.
        resume: As in `train`.
        every_epoch: As in `train`.
        feature_bytes: If the frozen layers' output has more bytes, it is stored in a temporary file.

    Returns:
        The new network with its measurements.

    Raises:
        InvalidRequest: Layers are copied and there is no source, or the recipe shifts images before frozen layers.
    """
    check_dataset(part)
    network_a: Any = source.network if isinstance(source, practical.Trained) else source
    if strategy.copied and network_a is None:
        raise InvalidRequest(f"{strategy}: layers are copied, but no source network was given; give one")
    if strategy.frozen and recipe.shift:
        raise InvalidRequest(f"give 0 with {strategy}, or freeze no layer", option="recipe.shift", value=recipe.shift)
    statistics = input_statistics(network_a) if strategy.copied else colour_statistics(part.x_train)
    network = build_network(len(part.class_names), recipe, statistics, recipe.seed + SEED_OFFSET)
    for layer in WEIGHT_LAYERS[: strategy.copied]:
        network.get_layer(layer).set_weights(network_a.get_layer(layer).get_weights())
    for layer in WEIGHT_LAYERS[: strategy.frozen]:
        network.get_layer(layer).trainable = False
    return record(network, part, recipe, strategy, callbacks, resume, every_epoch, feature_bytes)


def record(
    network: keras.Sequential,
    part: Dataset,
    recipe: Recipe,
    strategy: Strategy,
    callbacks: Sequence[keras.callbacks.Callback],
    resume: Resume,
    every_epoch: bool,
    feature_bytes: int = FEATURE_BYTES,
) -> Trained:
    """Train the layers that are not frozen, and hash all weights before and after.

    Args:
        network: With as many outputs as `part` has classes; its frozen layers are not trainable.
        part: Images uint8 (n, 32, 32, 3) with values 0 to 255, labels from 0 to k - 1.
        recipe: How to train.
        strategy: What was copied and frozen.
        callbacks: Keras' callbacks.
        resume: As in `train`.
        every_epoch: As in `train`.
        feature_bytes: As in `transfer`.

    Returns:
        The network with its measurements.

    Raises:
        InvalidRequest: The network has another number of outputs than the part has classes.
    """
    check_dataset(part)
    if network.output_shape[-1] != len(part.class_names):
        outputs, classes = network.output_shape[-1], len(part.class_names)
        raise InvalidRequest(
            f"the network has {outputs} outputs and the part {classes} classes; build a network with {classes}"
        )
    if network in TRAINED:
        raise InvalidRequest("this network is trained already, and its result would change: build a new one")

    def prepare(model: keras.Model) -> Rows:
        """Build the optimizer, because TensorFlow would trace a training twice that makes variables; then resume."""
        model.optimizer.build(model.trainable_variables)
        return resume(model)

    before, features, words = weight_hashes(network), None, ""
    with keras_settings(recipe.precision):
        if strategy.frozen:
            features = frozen_output(network, part, partial(predict_within, feature_bytes))
            size = sum(view.nbytes for view in features[0])
            words = f"computed once for 2 views of each image ({size / 1e6:,.0f} MB)"
        metrics = practical.EpochMetrics if every_epoch else LastEpochOnly
        trained = practical.train(network, part, recipe, strategy.name, features, callbacks, prepare, metrics)
    how: dict[str, Any] = {"recipe": recipe, "copied": strategy.copied, "frozen": strategy.frozen, "features": words}
    TRAINED.add(network)
    return Trained(**how, **vars(trained), hashes_before=before, hashes_after=weight_hashes(network))


@contextmanager
def keras_settings(precision: str) -> Iterator[None]:
    """Set this precision, channels last and Keras' defaults. Restore the process' own settings afterwards."""
    config = keras.config
    if config.backend() != "tensorflow":
        rule = "headstart needs tensorflow; import headstart before Keras, or set KERAS_BACKEND=tensorflow"
        raise InvalidRequest(f"Keras was imported with the backend {config.backend()}: {rule}")
    before = config.dtype_policy(), config.image_data_format(), config.floatx(), config.epsilon()
    try:
        config.set_floatx("float32")
        config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        config.set_image_data_format("channels_last")
        config.set_epsilon(1e-7)  # the loss uses it
        yield
    finally:
        config.set_floatx(before[2])
        config.set_dtype_policy(before[0])
        config.set_image_data_format(before[1])
        config.set_epsilon(before[3])


def input_statistics(network: keras.Sequential) -> tuple[list[float], list[float]]:
    """Return the mean and variance of each colour in a network's normalisation, in units of 0..255 and their square."""
    config = network.get_layer("normalise").get_config()
    return config["mean"], config["variance"]


def weight_hashes(network: keras.Sequential) -> dict[str, str]:
    """Return the SHA-256 (hex) of each weight layer: equal if and only if all its weights are equal, bit for bit."""
    hashes = {}
    for name in WEIGHT_LAYERS:
        digest = hashlib.sha256()
        for array in network.get_layer(name).get_weights():
            digest.update(np.ascontiguousarray(array).data)
        hashes[name] = digest.hexdigest()
    return hashes


def predict_within(most_bytes: int, network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the network's output for all images, in a temporary file if it is too large for memory.

    Args:
        most_bytes: The largest output that is kept in memory.
        network: Any Keras network.
        images: uint8 (n, 32, 32, 3) with values 0 to 255; n at least 1.

    Raises:
        OSError: The temporary file does not fit on the disk.
    """
    first = network.predict_on_batch(images[:250])
    size = first.nbytes // len(first) * len(images)
    if size <= most_bytes:
        return practical.predict(network, images)
    with tempfile.TemporaryFile(prefix="headstart-features-") as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a full disk raises OSError here, not a signal later
        features = np.memmap(file, first.dtype, "r+", shape=(len(images), *first.shape[1:]))
    for start in range(0, len(images), 250):
        features[start : start + 250] = network.predict_on_batch(images[start : start + 250])
    return features

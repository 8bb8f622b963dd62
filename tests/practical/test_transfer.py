"""The stored output of frozen layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from headstart.practical.network import WEIGHT_LAYERS, build_network
from headstart.practical.training import learning_rate, predict, training_batches
from headstart.practical.transfer import frozen_output
from headstart.training.strategies import LAST_LAYER
from headstart.training.trainer import Trained, input_statistics, transfer
from support.tiny import TinyRun


@pytest.mark.parametrize("frozen", range(1, 6))
def test_the_frozen_part_and_the_rest_make_the_whole_network(frozen: int, tiny_run: TinyRun) -> None:
    network = build_network(2, replace(tiny_run.recipe_b, dropout=(0.9, 0.9)), ([100.0] * 3, [900.0] * 3), seed=0)
    for name in WEIGHT_LAYERS[:frozen]:
        network.get_layer(name).trainable = False
    (plain, mirrored), seconds, of_test_images, rest = frozen_output(network, tiny_run.part_b)
    assert seconds > 0
    assert [layer.name for layer in rest if layer.get_weights()] == list(WEIGHT_LAYERS[frozen:])
    assert rest[0].name == {1: "conv2", 2: "conv3", 3: "conv4", 4: "dropout1", 5: "dropout2"}[frozen]
    head = keras.Sequential([keras.Input(plain.shape[1:]), *rest])
    images = tiny_run.part_b.x_train
    for features, seen in ((plain, images), (mirrored, images[:, :, ::-1]), (of_test_images, tiny_run.part_b.x_test)):
        np.testing.assert_allclose(predict(head, features), predict(network, seen), atol=1e-6)


class InInferenceMode(keras.layers.Layer):
    """A network whose dropout is never active. (Keras' functional models lose `training=False` in `fit`.)"""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=False)


def train_through_the_frozen_part(trained: Trained, run: TinyRun) -> tuple[keras.Model, list[np.ndarray]]:
    """Train with the frozen part in front of the rest in every step; return the model and all weights."""
    recipe, part = trained.recipe, run.part_b
    network = build_network(2, recipe, input_statistics(run.source.network), recipe.seed + 10_000)
    network.set_weights(trained.start)
    cut = [layer.name for layer in network.layers].index("dropout1" if trained.frozen == 4 else "dropout2")
    prefix = keras.Sequential([keras.Input((32, 32, 3)), *network.layers[:cut]])
    prefix.trainable = False
    model = keras.Sequential([keras.Input((32, 32, 3)), InInferenceMode(prefix), *network.layers[cut:]])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(keras.optimizers.AdamW(weight_decay=recipe.weight_decay), loss, jit_compile=False)
    views = [part.x_train, part.x_train[:, :, ::-1]]
    targets = np.eye(2, dtype="float32")[part.y_train]
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(epoch, recipe))
    batches = training_batches(views, targets, 8, recipe, 0)
    model.fit(batches, epochs=4, steps_per_epoch=8, shuffle=False, verbose=0, callbacks=[schedule])
    return model, network.get_weights()


@pytest.mark.parametrize("name", ["last_layer", "two_layers"])
def test_stored_output_gives_the_same_network_as_a_frozen_part(name: str, tiny_run: TinyRun) -> None:
    trained: Trained = getattr(tiny_run, name)
    assert trained.recipe.dropout[1] > 0  # so that random states matter
    model, weights = train_through_the_frozen_part(trained, tiny_run)
    for mine, its in zip(trained.network.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-4)
    np.testing.assert_allclose(predict(model, tiny_run.part_b.x_test), trained.probabilities, atol=1e-4)


def test_dropout_between_frozen_layers_is_not_active(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, dropout=(0.9, tiny_run.recipe_b.dropout[1]))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, recipe)
    assert trained.hashes_after == tiny_run.last_layer.hashes_after


def test_dropout_in_front_of_the_trained_layers_is_active(tiny_run: TinyRun) -> None:
    without = replace(tiny_run.recipe_b, dropout=(tiny_run.recipe_b.dropout[0], 0.0))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, without)
    assert trained.hashes_after["fc2"] != tiny_run.last_layer.hashes_after["fc2"]

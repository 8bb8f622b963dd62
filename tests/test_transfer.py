from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest

from conftest import TinyRun
from headstart.errors import BadRequest
from headstart.practical.network import WEIGHT_LAYERS, colour_statistics
from headstart.practical.training import learning_rate, predict, training_batches
from headstart.practical.transfer import frozen_output
from headstart.recipes import Recipe
from headstart.strategies import LAST_LAYER, SCRATCH, STRATEGIES, TWO_LAYERS, Strategy
from headstart.training import Trained, build_network, input_statistics, transfer, weight_hashes

LEGAL = [(copied, frozen) for copied in range(6) for frozen in range(copied + 1)]


# Which strategies there are


def test_the_practicals_strategies_are_three_of_them() -> None:
    points = {strategy.name: (strategy.copied, strategy.frozen) for strategy in STRATEGIES}
    assert points == {"scratch": (0, 0), "last_layer": (5, 5), "two_layers": (5, 4)}


def test_exactly_the_pairs_with_0_to_frozen_to_copied_to_5_are_legal() -> None:
    for copied, frozen in product(range(-2, 9), repeat=2):
        if (copied, frozen) in LEGAL:
            assert Strategy("any", copied, frozen).copied == copied
        else:
            with pytest.raises(BadRequest, match="0 <= frozen <= copied <= 5") as caught:
                Strategy("any", copied, frozen)
            assert f"copied={copied}, frozen={frozen}" in str(caught.value)


def test_copying_without_a_source_is_refused(tiny_run: TinyRun) -> None:
    for strategy in (LAST_LAYER, Strategy("conv1", 1, 0)):
        with pytest.raises(BadRequest) as caught:
            transfer(None, strategy, tiny_run.part_b, tiny_run.recipe_b)
        assert str(strategy) in str(caught.value)
        assert f"it copies {strategy.copied} layers, but there is no source network; give one" in str(caught.value)


def test_shifts_in_front_of_frozen_layers_are_refused_and_others_are_not(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, shift=2, epochs=1)
    with pytest.raises(BadRequest, match=r"shift=2 with .*frozen=4.*give 0, or freeze no layer"):
        transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, recipe)
    assert len(transfer(tiny_run.source, Strategy("all", 5, 0), tiny_run.part_b, recipe).history) == 1


# What is copied, fixed and trained


def test_copied_layers_are_the_sources_frozen_ones_stay_and_all_others_change(tiny_run: TinyRun) -> None:
    of_a = tiny_run.source.network.get_weights()
    for trained, strategy in zip(tiny_run.strategies, STRATEGIES, strict=True):
        after = trained.network.get_weights()
        equal_to_a = [np.array_equal(start, a) for start, a in zip(trained.start[:10], of_a, strict=False)]
        weights_of_a, biases_of_a = equal_to_a[::2], equal_to_a[1::2]
        assert weights_of_a == biases_of_a == [place < strategy.copied for place in range(5)]
        assert trained.start[10].shape == (16, 2)  # fc2 is new: network A's has eight classes
        kept = [start.tobytes() == end.tobytes() for start, end in zip(trained.start, after, strict=True)]
        assert kept == [place < 2 * strategy.frozen for place in range(12)]
        hashes = [trained.hashes_before[name] == trained.hashes_after[name] for name in WEIGHT_LAYERS]
        assert hashes == kept[::2]
        assert trained.hashes_after == weight_hashes(trained.network)
        trainable = [layer.name for layer in trained.network.layers if layer.trainable_weights]
        assert trainable == list(WEIGHT_LAYERS[strategy.frozen :])
        assert (trained.copied, trained.frozen) == (strategy.copied, strategy.frozen)


def test_the_source_is_only_read(tiny_run: TinyRun) -> None:
    network = tiny_run.source.network  # three strategies have used it
    assert weight_hashes(network) == tiny_run.source.hashes_after
    assert all(np.array_equal(*pair) for pair in zip(network.get_weights(), tiny_run.source_weights[-1], strict=True))
    assert all(layer.trainable for layer in network.layers)
    layers = [layer for trained in tiny_run.networks for layer in trained.network.layers]
    assert len({id(layer) for layer in layers}) == len(layers)


def test_the_source_may_be_a_network_or_what_train_has_returned(tiny_run: TinyRun) -> None:
    trained = transfer(tiny_run.source.network, LAST_LAYER, tiny_run.part_b, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.last_layer.hashes_after  # for which it was the Trained


def test_scratch_owes_nothing_to_the_source_nor_to_the_test_images(tiny_run: TinyRun) -> None:
    dark = replace(tiny_run.part_b, x_test=np.zeros_like(tiny_run.part_b.x_test))
    trained = transfer(None, SCRATCH, dark, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.scratch.hashes_after
    assert input_statistics(trained.network) == input_statistics(tiny_run.scratch.network)


def test_what_is_not_copied_starts_the_same_in_every_strategy_and_not_as_network_a_did(tiny_run: TinyRun) -> None:
    assert len({trained.hashes_before["fc2"] for trained in tiny_run.strategies}) == 1
    ours, a = tiny_run.scratch.hashes_before, tiny_run.source.hashes_before
    assert all(ours[name] != a[name] for name in WEIGHT_LAYERS)


def test_copied_layers_see_images_normalised_as_in_a_and_scratch_as_in_bs_training_images(tiny_run: TinyRun) -> None:
    of_a, of_b = colour_statistics(tiny_run.part_a.x_train), colour_statistics(tiny_run.part_b.x_train)
    assert not np.allclose(of_a, of_b)
    np.testing.assert_allclose(input_statistics(tiny_run.scratch.network), of_b)
    for trained in (tiny_run.last_layer, tiny_run.two_layers):
        np.testing.assert_allclose(input_statistics(trained.network), of_a)


# The stored output of frozen layers


@pytest.mark.parametrize("frozen", range(1, 6))
def test_the_frozen_part_and_the_rest_are_the_network_in_inference_mode(frozen: int, tiny_run: TinyRun) -> None:
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
    """A network whose dropout never acts. (Keras' functional models lose `training=False` when they are trained.)"""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=False)


def train_through_the_frozen_part(trained: Trained, run: TinyRun) -> tuple[keras.Model, list[np.ndarray]]:
    """The same strategy with the frozen part in front of the rest in every step; the model, and its weights then."""
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
def test_training_on_stored_output_gives_the_network_of_training_through_the_frozen_part(
    name: str, tiny_run: TinyRun
) -> None:
    trained: Trained = getattr(tiny_run, name)
    assert trained.recipe.dropout[1] > 0  # random states count, too
    model, weights = train_through_the_frozen_part(trained, tiny_run)
    for mine, its in zip(trained.network.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-4)
    np.testing.assert_allclose(predict(model, tiny_run.part_b.x_test), trained.probabilities, atol=1e-4)


def test_dropout_between_frozen_layers_does_not_act(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, dropout=(0.9, tiny_run.recipe_b.dropout[1]))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, recipe)
    assert trained.hashes_after == tiny_run.last_layer.hashes_after


def test_dropout_in_front_of_the_trained_layers_acts(tiny_run: TinyRun) -> None:
    without = replace(tiny_run.recipe_b, dropout=(tiny_run.recipe_b.dropout[0], 0.0))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, without)
    assert trained.hashes_after["fc2"] != tiny_run.last_layer.hashes_after["fc2"]


def test_how_the_output_of_frozen_layers_was_obtained_is_said_in_words(tiny_run: TinyRun) -> None:
    assert tiny_run.scratch.features == tiny_run.source.features == ""
    assert tiny_run.scratch.feature_seconds == 0
    for trained in (tiny_run.last_layer, tiny_run.two_layers):
        assert trained.features == "computed once for 2 views of each image (0 MB)"
        assert trained.feature_seconds > 0
    wide = Recipe(widths=(4, 4, 8, 64), units=8, epochs=1)
    source = build_network(8, wide, ([0.0] * 3, [1.0] * 3), seed=0)
    part = tiny_run.part_b
    many = replace(part, x_train=np.concatenate([part.x_train] * 4), y_train=np.concatenate([part.y_train] * 4))
    trained = transfer(source, TWO_LAYERS, many, replace(wide, shift=0))
    assert trained.features == "computed once for 2 views of each image (2 MB)"  # 2 x 268 x 1024 numbers of 4 bytes


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_output_that_is_too_large_goes_to_a_temporary_file_and_changes_no_bit(
    precision: str, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output for 67 training images in one view is 67 x 128 numbers; for the 29 test images it is less."""
    files: list[str] = []
    in_a_file = tempfile.TemporaryFile

    def noted(*given: Any, **options: Any) -> Any:
        files.append(options["prefix"])
        return in_a_file(*given, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    size = {"float32": 4, "bfloat16": 2}[precision] * 128
    recipe = replace(tiny_run.recipe_b, precision=precision, epochs=2)
    results = [
        transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, recipe, feature_bytes=most)
        for most in (67 * size, 67 * size - 1, 0)
    ]
    assert files == ["headstart-features-"] * (0 + 2 + 3)
    for trained in results[1:]:
        assert trained.hashes_after == results[0].hashes_after
        assert trained.probabilities.tobytes() == results[0].probabilities.tobytes()
        assert trained.history["train_loss"].tolist() == results[0].history["train_loss"].tolist()
        assert trained.features == results[0].features


def test_strategies_train_in_bfloat16_too(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, precision="bfloat16")
    trained = transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, recipe)
    kept = [name for name in WEIGHT_LAYERS if trained.hashes_before[name] == trained.hashes_after[name]]
    assert kept == list(WEIGHT_LAYERS[:4])
    whole = trained.network.predict_on_batch(tiny_run.part_b.x_test)
    np.testing.assert_allclose(whole, trained.probabilities, atol=2e-2)
    assert not np.array_equal(trained.probabilities, tiny_run.two_layers.probabilities)


def test_all_strategies_have_one_recipe_and_another_name_is_its_own_title(tiny_run: TinyRun) -> None:
    assert {trained.recipe for trained in tiny_run.strategies} == {tiny_run.recipe_b}
    recipe = replace(tiny_run.recipe_b, epochs=1)
    trained = transfer(tiny_run.source, Strategy("A3B+", 3, 0), tiny_run.part_b, recipe)
    assert trained.name == trained.title == "A3B+"

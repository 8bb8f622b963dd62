from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorflow.python.framework.config import is_op_determinism_enabled

from headstart.errors import InvalidRequest
from headstart.practical.network import WEIGHT_LAYERS, colour_statistics
from headstart.practical.network import build_network as build_plainly
from headstart.storage.checkpoint import Checkpoint
from headstart.training.recipes import Recipe
from headstart.training.strategies import LAST_LAYER, SCRATCH, STRATEGIES, TWO_LAYERS, Strategy
from headstart.training.trainer import build_network, input_statistics, train, transfer, weight_hashes
from support.tiny import TinyRun
from support.training import assert_same, original, train_again

PLAIN = ([0.0] * 3, [1.0] * 3)
SMALL = Recipe(widths=(4, 4, 8, 8), units=16, dropout=(0.25, 0.5), shift=0)


def some_images(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)


# Building a network


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_a_network_with_fewer_than_two_classes_is_refused(classes: int) -> None:
    with pytest.raises(InvalidRequest, match=f"^classes={classes}: give 2 or more$"):
        build_network(classes, SMALL, PLAIN)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_computes_in_the_recipes_precision(precision: str) -> None:
    network = build_network(8, replace(SMALL, precision=precision), PLAIN, seed=0)
    assert network.get_layer("conv3").compute_dtype == precision
    assert network.get_layer("conv3").kernel.dtype == "float32"
    probabilities = np.asarray(network(some_images(), training=False))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_the_statistics_of_a_network_can_be_read_back() -> None:
    statistics = colour_statistics(some_images(40) // np.array([1, 2, 5], np.uint8))
    np.testing.assert_allclose(input_statistics(build_network(2, SMALL, statistics)), statistics)


# Keras' settings in the process

CALLERS_SETTINGS = [("mixed_bfloat16", "channels_last"), ("float64", "channels_first"), ("float32", "channels_first")]


@contextmanager
def settings(policy: str, data_format: str) -> Iterator[None]:
    """Keras' settings as a caller may have set them; the code inside must restore them."""
    config = keras.config
    before = config.dtype_policy(), config.image_data_format()
    config.set_floatx("float16")
    config.set_epsilon(1e-3)
    config.set_dtype_policy(policy)
    config.set_image_data_format(data_format)
    try:
        yield
        assert (config.dtype_policy().name, config.image_data_format()) == (policy, data_format)
        assert (config.floatx(), config.epsilon()) == ("float16", 1e-3)
    finally:
        config.set_floatx("float32")
        config.set_epsilon(1e-7)
        config.set_dtype_policy(before[0])
        config.set_image_data_format(before[1])


@pytest.mark.parametrize("callers", CALLERS_SETTINGS)
def test_the_callers_settings_change_no_network_and_are_restored(callers: tuple[str, str]) -> None:
    recipe, images = replace(SMALL, shift=2), some_images()
    plain = build_plainly(2, recipe, PLAIN, seed=3)
    with settings(*callers):
        network = build_network(2, recipe, PLAIN, seed=3)
        probabilities = np.asarray(network(images, training=False))
    assert network.get_layer("conv1").compute_dtype == "float32"
    assert network.get_layer("conv1").data_format == "channels_last"
    assert weight_hashes(network) == weight_hashes(plain)
    assert np.array_equal(probabilities, plain(images, training=False))


def test_the_callers_settings_are_restored_if_building_fails() -> None:
    with settings("mixed_bfloat16", "channels_first"), pytest.raises(ValueError, match="mean"):
        build_network(2, SMALL, ([0.0] * 3, None), seed=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a", "two_layers"])
@pytest.mark.parametrize("callers", CALLERS_SETTINGS[:2])
def test_the_callers_settings_change_no_training_and_are_restored(
    name: str, callers: tuple[str, str], tiny_run: TinyRun
) -> None:
    with settings(*callers):
        trained = train_again(tiny_run, name)
    assert_same(trained, original(tiny_run, name))


class StoppedError(Exception):
    pass


class Stop(keras.callbacks.Callback):
    """Interrupts the training after an epoch."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if epoch + 1 == self.after:
            raise StoppedError


@pytest.mark.parametrize("name", ["a", "two_layers"])
def test_the_callers_settings_are_restored_after_an_interruption(name: str, tiny_run: TinyRun) -> None:
    with settings("mixed_bfloat16", "channels_first"), pytest.raises(StoppedError):
        train_again(tiny_run, name, callbacks=[Stop(after=1)])


def test_training_never_continues_from_trained_weights(tiny_run: TinyRun) -> None:
    """A cell that is run twice would train twice, and change the first result."""
    before = weight_hashes(tiny_run.source.network)
    with pytest.raises(
        InvalidRequest, match="this network is trained already, and its result would change: build a new"
    ):
        train(tiny_run.source.network, tiny_run.part_a, tiny_run.recipe_a)
    assert weight_hashes(tiny_run.source.network) == before == tiny_run.source.hashes_after


def test_a_part_with_other_images_or_labels_is_refused(tiny_run: TinyRun) -> None:
    part = replace(tiny_run.part_b, y_train=tiny_run.part_b.y_train[:, None])
    with pytest.raises(InvalidRequest, match=r"^y_train="):
        train(build_network(2, SMALL, PLAIN), part, SMALL)
    bright = replace(tiny_run.part_b, x_train=tiny_run.part_b.x_train / 255)
    with pytest.raises(InvalidRequest, match=r"^x_train=.float64 .* from 0 to 1"):
        transfer(tiny_run.source, Strategy("last_layer", 5, 5), bright, tiny_run.recipe_b)


# Hashes and files


def test_one_changed_bit_changes_the_hash_of_its_layer_only() -> None:
    network = build_network(2, SMALL, PLAIN, seed=0)
    before = weight_hashes(network)
    kernel, bias = network.get_layer("conv3").get_weights()
    kernel.flat[7] = np.nextafter(kernel.flat[7], np.float32(1))
    network.get_layer("conv3").set_weights([kernel, bias])
    after = weight_hashes(network)
    assert [name for name in WEIGHT_LAYERS if before[name] != after[name]] == ["conv3"]


def test_a_saved_network_gives_the_same_probabilities_for_raw_images(tiny_run: TinyRun, tmp_path: Path) -> None:
    for trained in (tiny_run.source, tiny_run.last_layer):
        trained.network.save(tmp_path / "network.keras")
        reloaded = keras.saving.load_model(tmp_path / "network.keras")
        part = tiny_run.part_a if trained is tiny_run.source else tiny_run.part_b
        assert part.x_test.dtype == np.uint8
        np.testing.assert_allclose(reloaded.predict_on_batch(part.x_test), trained.probabilities, atol=1e-5)
        np.testing.assert_allclose(input_statistics(reloaded), input_statistics(trained.network))


# Training


@pytest.mark.parametrize("name", ["a", "two_layers"])
def test_a_training_measured_only_at_its_end_is_the_same_training(name: str, tiny_run: TinyRun) -> None:
    trained, whole = train_again(tiny_run, name, every_epoch=False), original(tiny_run, name)
    assert len(trained.history) == 1
    assert trained.seconds > whole.history["seconds"].iloc[0] / 4 + trained.feature_seconds  # of all its epochs
    assert_same(trained, replace(whole, history=whole.history.tail(1).reset_index(drop=True)))


def test_tensorflow_traces_a_training_once(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would trace a second time if the first made the optimizer's variables, and a trace takes a second."""
    traced, step = [], keras.Sequential.train_step

    def note(model: keras.Sequential, data: Any) -> Any:
        traced.append(model)
        return step(model, data)

    monkeypatch.setattr(keras.Sequential, "train_step", note)
    train_again(tiny_run, "last_layer")
    assert len(traced) == 1


def test_trained_parameters_are_counted_and_networks_have_titles(tiny_run: TinyRun) -> None:
    fc1, fc2 = 4 * 4 * 8 * 16 + 16, 16 * 2 + 2
    convolutions = (27 * 4 + 4) + (36 * 4 + 4) + (36 * 8 + 8) + (72 * 8 + 8)
    counts = [trained.trainable_parameters for trained in tiny_run.networks]
    assert counts == [convolutions + fc1 + 16 * 8 + 8, convolutions + fc1 + fc2, fc2, fc1 + fc2]
    assert [trained.title for trained in tiny_run.networks] == ["Network A", "From scratch", "One layer", "Two layers"]


def test_a_network_must_have_as_many_outputs_as_the_part_has_classes(tiny_run: TinyRun) -> None:
    before = weight_hashes(tiny_run.source.network)
    with pytest.raises(
        InvalidRequest, match=r"^the network has 8 outputs and the part 2 classes; build a network with 2$"
    ):
        train(tiny_run.source.network, tiny_run.part_b, tiny_run.recipe_b)
    assert weight_hashes(tiny_run.source.network) == before


def test_the_slow_deterministic_operations_stay_off(tiny_run: TinyRun) -> None:
    assert tiny_run.source.network.built  # it was trained in this process
    train_again(tiny_run, "last_layer")
    assert not is_op_determinism_enabled()


@pytest.mark.parametrize(("name", "after"), [("a", 2), ("scratch", 3), ("last_layer", 4), ("two_layers", 2)])
def test_a_resumed_training_gives_the_same_result(name: str, after: int, tiny_run: TinyRun, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz")
    with pytest.raises(StoppedError):
        train_again(tiny_run, name, callbacks=[checkpoint.callback(), Stop(after)])
    epochs: list[int] = []
    count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    after_a_restart = Checkpoint(tmp_path / "checkpoint.npz")
    resumed = train_again(tiny_run, name, callbacks=[count], resume=after_a_restart.restore)
    assert epochs == list(range(after, 4))
    assert_same(resumed, original(tiny_run, name))
    saved = [row["seconds"] for row in after_a_restart.rows[:after]]
    assert resumed.history["seconds"].tolist()[:after] == saved
    assert (np.diff(resumed.history["seconds"]) > 0).all()


# Transfer


def test_copying_without_a_source_is_refused(tiny_run: TinyRun) -> None:
    for strategy in (LAST_LAYER, Strategy("conv1", 1, 0)):
        with pytest.raises(InvalidRequest) as caught:
            transfer(None, strategy, tiny_run.part_b, tiny_run.recipe_b)
        assert str(caught.value) == f"{strategy}: layers are copied, but no source network was given; give one"


def test_shifts_before_frozen_layers_only_are_refused(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, shift=2, epochs=1)
    with pytest.raises(InvalidRequest, match=r"^recipe.shift=2: give 0 with .*frozen=4.*, or freeze no layer$"):
        transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, recipe)
    assert len(transfer(tiny_run.source, Strategy("all", 5, 0), tiny_run.part_b, recipe).history) == 1


def test_layers_are_copied_frozen_and_trained_as_the_strategy_says(tiny_run: TinyRun) -> None:
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
    network = tiny_run.source.network  # three strategies have read it
    assert weight_hashes(network) == tiny_run.source.hashes_after
    assert all(np.array_equal(*pair) for pair in zip(network.get_weights(), tiny_run.source_weights[-1], strict=True))
    assert all(layer.trainable for layer in network.layers)
    layers = [layer for trained in tiny_run.networks for layer in trained.network.layers]
    assert len({id(layer) for layer in layers}) == len(layers)


def test_the_source_may_be_a_network_or_the_result_of_train(tiny_run: TinyRun) -> None:
    trained = transfer(tiny_run.source.network, LAST_LAYER, tiny_run.part_b, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.last_layer.hashes_after  # which was transferred from the Trained


def test_scratch_uses_neither_a_source_nor_the_test_images(tiny_run: TinyRun) -> None:
    dark = replace(tiny_run.part_b, x_test=np.zeros_like(tiny_run.part_b.x_test))
    trained = transfer(None, SCRATCH, dark, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.scratch.hashes_after
    assert input_statistics(trained.network) == input_statistics(tiny_run.scratch.network)


def test_new_layers_start_equal_in_all_strategies_and_not_as_in_a(tiny_run: TinyRun) -> None:
    assert len({trained.hashes_before["fc2"] for trained in tiny_run.strategies}) == 1
    ours, a = tiny_run.scratch.hashes_before, tiny_run.source.hashes_before
    assert all(ours[name] != a[name] for name in WEIGHT_LAYERS)


def test_copied_layers_get_images_normalised_as_in_network_a(tiny_run: TinyRun) -> None:
    of_a, of_b = colour_statistics(tiny_run.part_a.x_train), colour_statistics(tiny_run.part_b.x_train)
    assert not np.allclose(of_a, of_b)
    np.testing.assert_allclose(input_statistics(tiny_run.scratch.network), of_b)
    for trained in (tiny_run.last_layer, tiny_run.two_layers):
        np.testing.assert_allclose(input_statistics(trained.network), of_a)


def test_how_the_frozen_layers_output_was_obtained_is_described(tiny_run: TinyRun) -> None:
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
def test_large_output_in_a_temporary_file_changes_no_bit(
    precision: str, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output for 67 training images in one view is 67 x 128 numbers; that for the 29 test images is smaller."""
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


def test_the_title_of_another_strategy_is_its_name(tiny_run: TinyRun) -> None:
    assert {trained.recipe for trained in tiny_run.strategies} == {tiny_run.recipe_b}
    recipe = replace(tiny_run.recipe_b, epochs=1)
    trained = transfer(tiny_run.source, Strategy("A3B+", 3, 0), tiny_run.part_b, recipe)
    assert trained.name == trained.title == "A3B+"

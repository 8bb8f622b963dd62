from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers

from conftest import TinyRun
from headstart.errors import BadRequest
from headstart.practical.network import WEIGHT_LAYERS, colour_statistics
from headstart.practical.network import build_network as build_plainly
from headstart.recipes import RECIPE_A, RECIPE_B, Recipe
from headstart.training import build_network, input_statistics, weight_hashes

PLAIN = ([0.0] * 3, [1.0] * 3)
SMALL = Recipe(widths=(4, 4, 8, 8), units=16, dropout=(0.25, 0.5), shift=0)


def some_images(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)


# The layers


def test_the_network_is_the_specifications() -> None:
    network = build_network(8, RECIPE_B, PLAIN, seed=0)
    of_kind = {
        kind: [layer.name for layer in network.layers if type(layer) is kind] for kind in map(type, network.layers)
    }
    assert of_kind[layers.Conv2D] == ["conv1", "conv2", "conv3", "conv4"]
    assert len(of_kind[layers.MaxPooling2D]) == 2
    assert of_kind[layers.Dense] == ["fc1", "fc2"]
    assert [layer.name for layer in network.layers if layer.get_weights()] == list(WEIGHT_LAYERS)
    assert network.layers[-1].name == "fc2"
    activations = [network.get_layer(name).activation.__name__ for name in WEIGHT_LAYERS]
    assert activations == ["relu"] * 5 + ["softmax"]
    assert [layer.rate for layer in network.layers if isinstance(layer, layers.Dropout)] == [0.1, 0.2]
    extra = set(of_kind) - {layers.Conv2D, layers.MaxPooling2D, layers.Dense, layers.Dropout, layers.Flatten}
    assert extra == {layers.Normalization}


def test_network_a_has_one_layer_more_which_shifts() -> None:
    with_shift, without = (build_network(8, replace(RECIPE_A, shift=shift), PLAIN, seed=0) for shift in (4, 0))
    extra = [layer for layer in with_shift.layers if isinstance(layer, layers.RandomTranslation)]
    assert len(extra) == 1
    assert len(with_shift.layers) == len(without.layers) + 1
    assert extra[0].height_factor == extra[0].width_factor == 4 / 32
    assert not extra[0].weights
    for mine, its in zip(with_shift.get_weights(), without.get_weights(), strict=True):
        assert np.array_equal(mine, its)


def test_it_has_as_many_weights_as_counted_by_hand() -> None:
    network = build_network(2, Recipe(), PLAIN, seed=0)
    sizes = [sum(weight.size for weight in network.get_layer(name).get_weights()) for name in WEIGHT_LAYERS]
    assert sizes == [
        3 * 3 * 3 * 48 + 48,
        3 * 3 * 48 * 96 + 96,
        3 * 3 * 96 * 192 + 192,
        3 * 3 * 192 * 256 + 256,
        4 * 4 * 256 * 512 + 512,
        512 * 2 + 2,
    ]
    assert network.count_params() == sum(sizes)


def test_the_picture_is_halved_three_times() -> None:
    network = build_network(2, SMALL, PLAIN, seed=0)
    names = [layer.name for layer in network.layers if layer.name != "normalise"]
    order = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "flatten", "dropout1", "fc1", "dropout2", "fc2"]
    assert names == order
    sizes = [network.get_layer(name).output.shape[1:] for name in order[:7]]
    assert sizes == [(32, 32, 4), (16, 16, 4), (16, 16, 4), (8, 8, 4), (8, 8, 8), (4, 4, 8), (128,)]


# Random weights


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (weight_hashes(build_network(2, SMALL, PLAIN, seed)) for seed in (3, 3, 4))
    assert first == again
    assert all(first[name] != other[name] for name in WEIGHT_LAYERS)


def test_the_weights_do_not_depend_on_the_classes_the_dropout_or_the_colours_but_for_the_last_layers() -> None:
    """So that the same seed gives strategies with other statistics the same new layers."""
    plain = weight_hashes(build_network(2, SMALL, PLAIN, seed=3))
    other = weight_hashes(build_network(8, replace(SMALL, dropout=(0.0, 0.0)), ([9.0] * 3, [4.0] * 3), seed=3))
    assert [name for name in WEIGHT_LAYERS if plain[name] == other[name]] == list(WEIGHT_LAYERS[:5])


def test_what_else_draws_random_numbers_does_not_touch_the_weights() -> None:
    """Dask's threads do, while a worker trains."""
    expected = weight_hashes(build_network(2, SMALL, PLAIN, seed=3))
    keras.utils.set_random_seed(99)
    before = random.getstate()
    assert weight_hashes(build_network(2, SMALL, PLAIN, seed=3)) == expected
    assert random.getstate() == before


def test_the_initial_weights_are_glorots() -> None:
    """A uniform distribution with the variance 2 / (inputs + outputs); biases are 0."""
    kernel, bias = build_network(2, replace(SMALL, units=64), PLAIN, 0).get_layer("fc1").get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (128 + 64)), rel=0.05)
    assert np.abs(kernel).max() <= np.sqrt(6 / (128 + 64))
    assert not bias.any()


# Colours


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_colour_statistics_are_the_mean_and_variance_of_all_pixels(images: np.ndarray) -> None:
    mean, variance = colour_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(variance, images.var(axis=(0, 1, 2)), atol=1e-9)


def test_of_many_images_about_5000_are_enough() -> None:
    images = np.zeros((15_000, 1, 1, 3), np.uint8)
    images[::3] = [10, 20, 30]  # every third image is in the sample, from the first on
    assert colour_statistics(images) == ([10, 20, 30], [0, 0, 0])


def test_raw_pixels_are_normalised_inside_the_network() -> None:
    images = some_images(40) // np.array([1, 2, 5], np.uint8)
    statistics = colour_statistics(images)
    network = build_network(2, SMALL, statistics, seed=0)
    inside = np.asarray(network.get_layer("normalise")(images))
    np.testing.assert_allclose(inside.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(inside.std(axis=(0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(input_statistics(network), statistics)


# What it computes


def test_probabilities_are_positive_and_sum_to_one_whatever_the_precision() -> None:
    for precision in ("float32", "bfloat16"):
        network = build_network(8, replace(SMALL, precision=precision), PLAIN, seed=0)
        assert network.get_layer("conv3").compute_dtype == precision
        assert network.get_layer("conv3").kernel.dtype == "float32"
        probabilities = np.asarray(network(some_images(), training=False))
        assert probabilities.dtype == np.float32
        assert probabilities.shape == (6, 8)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_dropout_and_shifts_act_in_training_alone() -> None:
    images = some_images()
    for recipe in (replace(SMALL, dropout=(0.9, 0.9)), replace(SMALL, dropout=(0.0, 0.0), shift=4)):
        network = build_network(2, recipe, PLAIN, seed=0)
        assert np.array_equal(network(images, training=False), network(images, training=False))
        assert not np.array_equal(network(images, training=True), network(images, training=True))


def test_images_are_shifted_by_no_more_than_the_recipes_pixels() -> None:
    """A dark left half: where it ends in the middle row, the image was shifted by so much."""
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[:, :, 16:] = 255
    network = build_network(2, replace(SMALL, shift=2), PLAIN, seed=0)
    [layer] = [layer for layer in network.layers if isinstance(layer, layers.RandomTranslation)]
    edges = [int((np.asarray(layer(image, training=True))[0, 16, :, 0] < 128).sum()) for _ in range(60)]
    assert min(edges) >= 14
    assert max(edges) <= 18
    assert len(set(edges)) >= 4


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_a_network_of_fewer_than_two_classes_is_refused(classes: int) -> None:
    with pytest.raises(BadRequest, match=f"^classes={classes}: give 2 or more$"):
        build_network(classes, SMALL, PLAIN)


# The settings of the process

CALLERS_SETTINGS = [("mixed_bfloat16", "channels_last"), ("float64", "channels_first"), ("float32", "channels_first")]


@contextmanager
def settings(policy: str, data_format: str) -> Iterator[None]:
    """Keras' settings as a caller may have them; what happens inside has to leave them so."""
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(data_format)
    try:
        yield
        assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == (policy, data_format)
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])


@pytest.mark.parametrize("callers", CALLERS_SETTINGS)
def test_the_callers_settings_change_no_network_and_stay_as_they_are(callers: tuple[str, str]) -> None:
    recipe, images = replace(SMALL, shift=2), some_images()
    plain = build_plainly(2, recipe, PLAIN, seed=3)
    with settings(*callers):
        network = build_network(2, recipe, PLAIN, seed=3)
        probabilities = np.asarray(network(images, training=False))
    assert network.get_layer("conv1").compute_dtype == "float32"
    assert network.get_layer("conv1").data_format == "channels_last"
    assert weight_hashes(network) == weight_hashes(plain)
    assert np.array_equal(probabilities, plain(images, training=False))


def test_the_callers_settings_stay_as_they_are_where_the_network_cannot_be_built() -> None:
    with settings("mixed_bfloat16", "channels_first"), pytest.raises(ValueError, match="mean"):
        build_network(2, SMALL, ([0.0] * 3, None), seed=3)  # type: ignore[arg-type]


# Hashes and files


def test_a_hash_changes_with_the_last_bit_of_one_weight_and_no_other_hash_does() -> None:
    network = build_network(2, SMALL, PLAIN, seed=0)
    before = weight_hashes(network)
    kernel, bias = network.get_layer("conv3").get_weights()
    kernel.flat[7] = np.nextafter(kernel.flat[7], np.float32(1))
    network.get_layer("conv3").set_weights([kernel, bias])
    after = weight_hashes(network)
    assert [name for name in WEIGHT_LAYERS if before[name] != after[name]] == ["conv3"]


def test_a_saved_network_takes_raw_images_and_gives_the_same_probabilities(tiny_run: TinyRun, tmp_path: Path) -> None:
    for trained in (tiny_run.source, tiny_run.last_layer):
        trained.network.save(tmp_path / "network.keras")
        reloaded = keras.saving.load_model(tmp_path / "network.keras")
        part = tiny_run.part_a if trained is tiny_run.source else tiny_run.part_b
        assert part.x_test.dtype == np.uint8
        np.testing.assert_allclose(reloaded.predict_on_batch(part.x_test), trained.probabilities, atol=1e-5)
        np.testing.assert_allclose(input_statistics(reloaded), input_statistics(trained.network))

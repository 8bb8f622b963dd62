from __future__ import annotations

import random
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers

from headstart.practical.network import WEIGHT_LAYERS, build_network, colour_statistics
from headstart.practical.recipe import RECIPE_A, RECIPE_B, Recipe

PLAIN = ([0.0] * 3, [1.0] * 3)
SMALL = Recipe(widths=(4, 4, 8, 8), units=16, dropout=(0.25, 0.5), shift=0)


def weights(network: keras.Model) -> dict[str, bytes]:
    """The bytes of each weight layer's arrays."""
    return {
        name: b"".join(array.tobytes() for array in network.get_layer(name).get_weights()) for name in WEIGHT_LAYERS
    }


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


def test_network_a_has_one_more_layer_which_shifts_images() -> None:
    with_shift, without = (build_network(8, replace(RECIPE_A, shift=shift), PLAIN, seed=0) for shift in (4, 0))
    extra = [layer for layer in with_shift.layers if isinstance(layer, layers.RandomTranslation)]
    assert len(extra) == 1
    assert len(with_shift.layers) == len(without.layers) + 1
    assert extra[0].height_factor == extra[0].width_factor == 4 / 32
    assert not extra[0].weights
    for mine, its in zip(with_shift.get_weights(), without.get_weights(), strict=True):
        assert np.array_equal(mine, its)


def test_the_number_of_weights_is_as_counted_by_hand() -> None:
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


def test_the_image_is_halved_three_times() -> None:
    network = build_network(2, SMALL, PLAIN, seed=0)
    names = [layer.name for layer in network.layers if layer.name != "normalise"]
    order = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "flatten", "dropout1", "fc1", "dropout2", "fc2"]
    assert names == order
    sizes = [network.get_layer(name).output.shape[1:] for name in order[:7]]
    assert sizes == [(32, 32, 4), (16, 16, 4), (16, 16, 4), (8, 8, 4), (8, 8, 8), (4, 4, 8), (128,)]


# Random weights


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (weights(build_network(2, SMALL, PLAIN, seed)) for seed in (3, 3, 4))
    assert first == again
    assert all(first[name] != other[name] for name in WEIGHT_LAYERS)


def test_only_the_last_layers_weights_depend_on_the_classes() -> None:
    """Nor on dropout and colours: strategies with the same seed get the same new layers."""
    plain = weights(build_network(2, SMALL, PLAIN, seed=3))
    other = weights(build_network(8, replace(SMALL, dropout=(0.0, 0.0)), ([9.0] * 3, [4.0] * 3), seed=3))
    assert [name for name in WEIGHT_LAYERS if plain[name] == other[name]] == list(WEIGHT_LAYERS[:5])


def test_other_random_numbers_in_the_process_change_no_weights() -> None:
    """Dask's threads draw some while a worker trains."""
    expected = weights(build_network(2, SMALL, PLAIN, seed=3))
    keras.utils.set_random_seed(99)
    before = random.getstate()
    assert weights(build_network(2, SMALL, PLAIN, seed=3)) == expected
    assert random.getstate() == before


def test_the_initial_weights_have_glorots_distribution() -> None:
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


def test_the_statistics_of_many_images_come_from_a_sample() -> None:
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


# What it computes


def test_probabilities_are_positive_and_sum_to_one() -> None:
    probabilities = np.asarray(build_network(8, SMALL, PLAIN, seed=0)(some_images(), training=False))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (6, 8)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_dropout_and_shifts_are_active_in_training_only() -> None:
    images = some_images()
    for recipe in (replace(SMALL, dropout=(0.9, 0.9)), replace(SMALL, dropout=(0.0, 0.0), shift=4)):
        network = build_network(2, recipe, PLAIN, seed=0)
        assert np.array_equal(network(images, training=False), network(images, training=False))
        assert not np.array_equal(network(images, training=True), network(images, training=True))


def test_images_are_shifted_by_at_most_the_recipes_pixels() -> None:
    """The left half is dark. Its right end in the middle row says how far the image was shifted."""
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[:, :, 16:] = 255
    network = build_network(2, replace(SMALL, shift=2), PLAIN, seed=0)
    [layer] = [layer for layer in network.layers if isinstance(layer, layers.RandomTranslation)]
    edges = [int((np.asarray(layer(image, training=True))[0, 16, :, 0] < 128).sum()) for _ in range(60)]
    assert min(edges) >= 14
    assert max(edges) <= 18
    assert len(set(edges)) >= 4

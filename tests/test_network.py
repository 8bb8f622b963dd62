from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers

from conftest import TinyRun
from headstart.practical.network import (
    WEIGHT_LAYERS,
    build_network,
    colour_statistics,
    convolve_by_two,
    input_statistics,
    layer_table,
    split_network,
    weight_hashes,
)
from headstart.practical.recipe import RECIPE_A, Recipe

PLAIN = ([0.0] * 3, [1.0] * 3)
SMALL = Recipe(widths=(4, 4, 8, 8), units=16, dropout=(0.1, 0.25, 0.5))


def some_images(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)


def test_the_network_is_the_specifications() -> None:
    network = build_network(8, RECIPE_A, PLAIN, seed=0)
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
    assert sum(layer.rate > 0 for layer in network.layers if isinstance(layer, layers.Dropout)) >= 1
    extra = set(of_kind) - {layers.Conv2D, layers.MaxPooling2D, layers.Dense, layers.Dropout, layers.Flatten}
    assert extra == {layers.Normalization}


def test_it_has_as_many_weights_as_counted_by_hand() -> None:
    network = build_network(2, Recipe(), PLAIN, seed=0)
    sizes = [sum(weight.size for weight in network.get_layer(name).get_weights()) for name in WEIGHT_LAYERS]
    assert sizes == [
        3 * 3 * 3 * 48 + 48,
        3 * 3 * 48 * 96 + 96,
        3 * 3 * 96 * 160 + 160,
        3 * 3 * 160 * 224 + 224,
        4 * 4 * 224 * 512 + 512,
        512 * 2 + 2,
    ]
    table = layer_table(network).set_index("layer")
    assert table["parameters"].sum() == sum(sizes)
    assert table.loc["fc1", ["kind", "activation", "output"]].tolist() == ["Dense", "relu", "512"]
    assert table.loc["pool2", "output"] == "8 × 8 × 96"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (weight_hashes(build_network(2, SMALL, PLAIN, seed)) for seed in (3, 3, 4))
    assert first == again
    assert all(first[name] != other[name] for name in WEIGHT_LAYERS)


def test_what_else_draws_random_numbers_does_not_touch_the_weights() -> None:
    """Dask's threads do, beside a worker's training."""
    expected = weight_hashes(build_network(2, SMALL, PLAIN, seed=3))
    keras.utils.set_random_seed(99)
    before = random.getstate()
    assert weight_hashes(build_network(2, SMALL, PLAIN, seed=3)) == expected
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("pools", "strides", "order", "features"),
    [
        ((2, 4), (1, 1, 1, 1), ["conv1", "conv2", "pool1", "dropout1", "conv3", "conv4", "pool2"], 8 * 8 * 8),
        ((1, 3), (1, 1, 1, 1), ["conv1", "pool1", "dropout1", "conv2", "conv3", "pool2", "conv4"], 8 * 8 * 8),
        ((1, 2), (1, 1, 1, 2), ["conv1", "pool1", "dropout1", "conv2", "pool2", "conv3", "conv4"], 4 * 4 * 8),
        ((1, 4), (1, 1, 2, 1), ["conv1", "pool1", "dropout1", "conv2", "conv3", "conv4", "pool2"], 4 * 4 * 8),
    ],
)
def test_the_picture_is_halved_where_the_recipe_says(
    pools: tuple[int, int], strides: tuple[int, int, int, int], order: list[str], features: int
) -> None:
    network = build_network(2, replace(SMALL, pools=pools, strides=strides), PLAIN, seed=0)
    names = [layer.name for layer in network.layers]
    assert names == ["normalise", *order, "flatten", "dropout2", "fc1", "dropout3", "fc2"]
    assert network.get_layer("fc1").kernel.shape == (features, 16)
    prefix, head = split_network(network, 4)
    assert prefix.layers[-1].name == "flatten"
    assert head.layers[0].name == "dropout2"


def test_a_dropout_of_nothing_is_no_layer() -> None:
    network = build_network(2, replace(SMALL, dropout=(0.0, 0.5, 0.0)), PLAIN, seed=0)
    assert [layer.name for layer in network.layers if isinstance(layer, layers.Dropout)] == ["dropout2"]


def test_the_initialisation_is_the_recipes() -> None:
    """No uniform number is beyond 1.74 times their deviation; of Kaiming's, a truncated normal, some are."""
    beyond = {}
    for name in ("glorot_uniform", "he_normal"):
        recipe = replace(SMALL, units=64, initialisation=name)
        kernel = np.asarray(build_network(2, recipe, PLAIN, 0).get_layer("fc1").kernel)
        beyond[name] = np.mean(np.abs(kernel) > 1.75 * kernel.std())
        fan = {"glorot_uniform": (128 + 64) / 2, "he_normal": 128 / 2}[name]
        assert kernel.std() == pytest.approx(fan**-0.5, rel=0.05)
    assert beyond["glorot_uniform"] == 0 < beyond["he_normal"]


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_colour_statistics_are_the_mean_and_variance_of_all_pixels(images: np.ndarray) -> None:
    mean, variance = colour_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(variance, images.var(axis=(0, 1, 2)), atol=1e-9)


def test_raw_pixels_are_normalised_inside_the_network() -> None:
    images = some_images(40) // np.array([1, 2, 5], np.uint8)
    statistics = colour_statistics(images)
    network = build_network(2, SMALL, statistics, seed=0)
    inside = np.asarray(network.get_layer("normalise")(images))
    np.testing.assert_allclose(inside.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(inside.std(axis=(0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(input_statistics(network), statistics)


def test_probabilities_are_positive_and_sum_to_one_whatever_the_precision() -> None:
    for precision in ("float32", "bfloat16"):
        network = build_network(8, replace(SMALL, precision=precision), PLAIN, seed=0)
        probabilities = np.asarray(network(some_images(), training=False))
        assert probabilities.dtype == np.float32
        assert probabilities.shape == (6, 8)
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_the_convolution_by_two_is_kerass_and_so_are_its_gradients(
    images: int, height: int, width: int, channels: int, filters: int
) -> None:
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(images, height, width, channels)).astype(np.float32))
    layer = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False)
    layer.build(inputs.shape)
    results = []
    for convolve in (layer.convolution_op, convolve_by_two):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = convolve(inputs, layer.kernel)
            loss = tf.reduce_sum(tf.sin(outputs))
        results.append([outputs, *tape.gradient(loss, [inputs, layer.kernel.value])])
    for keras_own, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-4)


def test_only_a_convolution_with_a_stride_in_bfloat16_has_a_gradient_of_ours() -> None:
    """Elsewhere it would gain nothing; and a saved network is Keras' alone."""
    for precision, ours in (("float32", []), ("bfloat16", ["conv4"])):
        network = build_network(2, replace(SMALL, strides=(1, 1, 1, 2), precision=precision), PLAIN, seed=0)
        convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
        assert [layer.name for layer in convolutions if layer.convolution_op is convolve_by_two] == ours
        assert all(type(layer) is layers.Conv2D for layer in convolutions)
        copy = keras.Sequential.from_config(network.get_config())
        copy.set_weights(network.get_weights())
        np.testing.assert_array_equal(copy(some_images(), training=False), network(some_images(), training=False))


def test_dropout_acts_in_training_alone() -> None:
    network = build_network(2, replace(SMALL, dropout=(0.9, 0.9, 0.9)), PLAIN, seed=0)
    images = some_images()
    assert np.array_equal(network(images, training=False), network(images, training=False))
    assert not np.array_equal(network(images, training=True), network(images, training=True))


@pytest.mark.parametrize("frozen", range(6))
def test_prefix_and_head_are_the_network_cut_in_two(frozen: int) -> None:
    network = build_network(2, replace(SMALL, dropout=(0.9, 0.9, 0.9)), PLAIN, seed=0)
    prefix, head = split_network(network, frozen)
    inside = [layer.name for layer in prefix.layers if layer.get_weights()] if prefix else []
    assert inside == list(WEIGHT_LAYERS[:frozen])
    assert [layer.name for layer in head.layers if layer.get_weights()] == list(WEIGHT_LAYERS[frozen:])
    images = some_images()
    features = prefix(images, training=False) if prefix else images
    np.testing.assert_allclose(head(features, training=False), network(images, training=False), atol=1e-6)


def test_the_dropout_in_front_of_the_first_trained_layer_belongs_to_the_head() -> None:
    network = build_network(2, SMALL, PLAIN, seed=0)
    for frozen, first in ((1, "dropout1"), (4, "dropout2"), (5, "dropout3")):
        assert split_network(network, frozen)[1].layers[0].name == first


def test_training_the_head_trains_the_network() -> None:
    network = build_network(2, SMALL, PLAIN, seed=0)
    _, head = split_network(network, 4)
    head.get_layer("fc2").set_weights([np.ones((16, 2)), np.zeros(2)])
    assert np.array_equal(network.get_layer("fc2").get_weights()[0], np.ones((16, 2)))


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

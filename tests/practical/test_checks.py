from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from headstart.practical.checks import check, equal_layers
from headstart.practical.network import WEIGHT_LAYERS, build_network, colour_statistics
from headstart.training.trainer import Trained
from support.tiny import TinyRun

Copy = Callable[[keras.Model], keras.Model]


@pytest.fixture(scope="module")
def fresh(tiny_run: TinyRun) -> list[keras.Sequential]:
    """Untrained networks with the same seeds."""
    of_a = build_network(8, tiny_run.recipe_a, colour_statistics(tiny_run.part_a.x_train), seed=0)
    of_b = build_network(2, tiny_run.recipe_b, colour_statistics(tiny_run.part_b.x_train), seed=10_000)
    return [of_a, of_b, of_b, of_b]


def checked(run: TinyRun, fresh: list[keras.Sequential], epochs: int = 4, **tampered: Any) -> list[str]:
    """Return the broken rules when some of the run's results are replaced by these."""
    parts = [tampered.get("part_a", run.part_a), tampered.get("part_b", run.part_b)]
    networks = [tampered.get(trained.name, trained) for trained in run.networks]
    count, *broken = check(parts, networks, fresh, epochs).split("\n")
    assert count == f"{17 - len(broken)} of 17 rules hold."
    return [line.removeprefix("- broken: ") for line in broken]


def with_weights(trained: Trained, copy: Copy, change: dict[str, Callable[[np.ndarray], np.ndarray]]) -> Trained:
    """The same result with a network in which the kernels of some layers are changed."""
    network = copy(trained.network)
    for layer, changed in change.items():
        kernel, bias = network.get_layer(layer).get_weights()
        network.get_layer(layer).set_weights([changed(kernel), bias])
    return replace(trained, network=network)


def one_bit_more(kernel: np.ndarray) -> np.ndarray:
    kernel.flat[5] = np.nextafter(kernel.flat[5], np.float32(1))
    return kernel


def test_all_rules_hold_for_an_honest_run(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    assert check([tiny_run.part_a, tiny_run.part_b], [*tiny_run.networks], fresh, 4) == "17 of 17 rules hold."


# The data


@pytest.mark.parametrize("origin", ["part_a", "part_b"])
@pytest.mark.parametrize("name", ["part_a", "part_b"])
def test_a_test_image_among_the_training_images_is_found(
    name: str, origin: str, tiny_run: TinyRun, fresh: list[keras.Sequential]
) -> None:
    part, other = getattr(tiny_run, name), getattr(tiny_run, origin)
    leaky = replace(part, x_test=np.concatenate([part.x_test[:-1], other.x_train[3:4]]))
    shared = ["part A and part B have no image in common"] if name != origin else []
    assert checked(tiny_run, fresh, **{name: leaky}) == [*shared, "no test image is a training image"]


def test_an_image_in_both_parts_is_found(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    part_a, part_b = tiny_run.part_a, tiny_run.part_b
    mixed = replace(part_b, x_train=np.concatenate([part_b.x_train[:-1], part_a.x_train[3:4]]))
    assert checked(tiny_run, fresh, part_b=mixed) == ["part A and part B have no image in common"]


def test_a_class_in_both_parts_is_found(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    part_b = replace(tiny_run.part_b, class_names=("four", "zero"))
    assert checked(tiny_run, fresh, part_b=part_b) == ["part A and part B have no class in common"]


# The network


def test_another_order_of_layers_is_found(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    built = [type(layer).from_config(layer.get_config()) for layer in tiny_run.scratch.network.layers]
    without_a_pool = [layer for layer in built if layer.name != "pool1"]
    network = keras.Sequential([keras.Input((32, 32, 3)), *without_a_pool])
    smaller = replace(tiny_run.scratch, network=network)
    rule = "4 convolutional, 2 pooling and 2 fully connected layers"
    assert rule in checked(tiny_run, fresh, scratch=smaller)


def test_another_activation_is_found(tiny_run: TinyRun, fresh: list[keras.Sequential], copy_network: Copy) -> None:
    network = copy_network(fresh[0])
    network.get_layer("conv2").activation = keras.activations.tanh
    assert checked(tiny_run, [network, *fresh[1:]]) == ["ReLU, and softmax at the end"]


# The training


def test_a_network_that_was_trained_twice_is_found(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    """As if its cell trained again without building a new network: the second training starts from trained weights."""
    again = replace(tiny_run.source, start=tiny_run.source_weights[0])
    assert checked(tiny_run, fresh, a=again) == ["a: 0 layers copied, the others new"]


@pytest.mark.parametrize("name", ["a", "scratch", "last_layer", "two_layers"])
def test_random_weights_of_another_seed_are_found(name: str, tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    place = ["a", "scratch", "last_layer", "two_layers"].index(name)
    trained = tiny_run.networks[place]
    other = build_network(len(trained.class_names), trained.recipe, ([0.0] * 3, [1.0] * 3), seed=77)
    others = [other if place == number else network for number, network in enumerate(fresh)]
    copied = 5 if place > 1 else 0
    assert checked(tiny_run, others) == [f"{name}: {copied} layers copied, the others new"]


def test_epochs_that_are_missing_or_counted_twice_are_found(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    scratch = tiny_run.scratch
    shorter = replace(scratch, history=scratch.history.iloc[:-1])
    assert checked(tiny_run, fresh, scratch=shorter) == ["scratch: 4 epochs"]
    twice = replace(scratch, history=scratch.history.assign(epoch=[1, 2, 2, 4]))
    assert checked(tiny_run, fresh, scratch=twice) == ["scratch: 4 epochs"]
    assert [rule[-9:] for rule in checked(tiny_run, fresh, epochs=20)] == ["20 epochs"] * 4


# The transfer


@pytest.mark.parametrize("layer", WEIGHT_LAYERS[:4])
def test_a_frozen_layer_that_changed_is_found(
    layer: str, tiny_run: TinyRun, fresh: list[keras.Sequential], copy_network: Copy
) -> None:
    changed = with_weights(tiny_run.two_layers, copy_network, {layer: one_bit_more})
    assert checked(tiny_run, fresh, two_layers=changed) == ["two_layers: 4 layers fixed, the others trained"]


def test_a_layer_that_was_not_trained_is_found(
    tiny_run: TinyRun, fresh: list[keras.Sequential], copy_network: Copy
) -> None:
    network = copy_network(tiny_run.two_layers.network)
    network.get_layer("fc1").set_weights(tiny_run.two_layers.start[8:10])
    untrained = replace(tiny_run.two_layers, network=network)
    assert checked(tiny_run, fresh, two_layers=untrained) == ["two_layers: 4 layers fixed, the others trained"]


def test_a_layer_that_was_not_copied_is_found(tiny_run: TinyRun, fresh: list[keras.Sequential]) -> None:
    """It starts with the seed's random weights."""
    start = [*tiny_run.last_layer.start]
    start[2] = fresh[2].get_weights()[2]
    uncopied = replace(tiny_run.last_layer, start=start)
    assert "last_layer: 5 layers copied, the others new" in checked(tiny_run, fresh, last_layer=uncopied)


def test_a_source_that_was_changed_after_its_training_is_found(
    tiny_run: TinyRun, fresh: list[keras.Sequential], copy_network: Copy
) -> None:
    changed = with_weights(tiny_run.source, copy_network, {"conv3": one_bit_more})
    broken = checked(tiny_run, fresh, a=changed)
    assert broken == [f"{name}: 5 layers copied, the others new" for name in ("last_layer", "two_layers")]


def test_layers_are_equal_only_if_kernel_and_bias_are(tiny_run: TinyRun) -> None:
    weights = tiny_run.source.network.get_weights()
    other = [array.copy() for array in weights]
    assert equal_layers(weights, other) == list(WEIGHT_LAYERS)
    other[1] += 1  # conv1's bias
    other[4] += 1  # conv3's kernel
    assert equal_layers(weights, other) == ["conv2", "conv4", "fc1", "fc2"]

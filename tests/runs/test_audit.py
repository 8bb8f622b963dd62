from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from headstart.practical.network import WEIGHT_LAYERS, colour_statistics
from headstart.runs.audit import audit
from headstart.training.trainer import Trained, build_network, train, weight_hashes
from support.tiny import TinyRun

Copy = Callable[[keras.Model], keras.Model]


def broken_rules(run: TinyRun, **tampered: Any) -> set[str]:
    """Return the rules that do not hold after some of the run's parts were replaced."""
    strategies = tuple(tampered.get(trained.name, trained) for trained in run.strategies)
    source = tampered.get("source", run.source)
    table = audit(tampered.get("part_a", run.part_a), tampered.get("part_b", run.part_b), source, strategies)
    return set(table.loc[~table["holds"].astype(bool), "rule"])


def is_broken(broken: set[str], *words: str) -> bool:
    """Check whether one of the broken rules has all these words."""
    return any(all(word.lower() in rule.lower() for word in words) for rule in broken)


def alone_is_broken(broken: set[str], *words: str) -> bool:
    """Check whether the only broken rule has all these words."""
    return len(broken) == 1 and is_broken(broken, *words)


def test_a_correct_run_keeps_every_rule_with_evidence(tiny_run: TinyRun) -> None:
    table = audit(tiny_run.part_a, tiny_run.part_b, tiny_run.source, tiny_run.strategies)
    assert list(table.columns) == ["rule", "holds", "evidence"]
    assert table["holds"].all(), table[~table["holds"].astype(bool)].to_string()
    assert set(map(type, table["holds"])) <= {bool, np.bool_}
    assert table["evidence"].str.len().min() >= 3
    assert table["rule"].is_unique
    for trained in tiny_run.networks:
        assert table["rule"].str.startswith(f"{trained.title}: ").sum() >= 7


# The data


@pytest.mark.parametrize("origin", ["a", "b"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_test_image_that_is_a_training_image_is_found(name: str, origin: str, tiny_run: TinyRun) -> None:
    part, other = getattr(tiny_run, f"part_{name}"), getattr(tiny_run, f"part_{origin}")
    leaky = replace(part, x_test=np.concatenate([other.x_train[3:4], part.x_test[1:]]))
    assert is_broken(broken_rules(tiny_run, **{f"part_{name}": leaky}), f"part {name}", "test image")


@pytest.mark.parametrize("name", ["a", "b"])
def test_labels_that_were_not_renumbered_are_found(name: str, tiny_run: TinyRun) -> None:
    part = getattr(tiny_run, f"part_{name}")
    shifted = replace(part, y_test=part.y_test + 1)
    broken = broken_rules(tiny_run, **{f"part_{name}": shifted})
    assert alone_is_broken(broken, f"part {name}", "labels")


@pytest.mark.parametrize("names", [("four", "zero"), ("four", "nine", "ten"), ("four",)])
def test_a_wrong_split_by_class_is_found(names: tuple[str, ...], tiny_run: TinyRun) -> None:
    part_b = replace(tiny_run.part_b, class_names=names)
    assert is_broken(broken_rules(tiny_run, part_b=part_b), "part B has two classes")


# The network


def move_fc1_to_the_front(built: list[layers.Layer]) -> list[layers.Layer]:
    fc1 = next(layer for layer in built if layer.name == "fc1")
    others = [layer for layer in built if layer is not fc1]
    return [others[0], fc1, *others[1:]]


def without(name: str) -> Callable[[list[layers.Layer]], list[layers.Layer]]:
    return lambda built: [layer for layer in built if layer.name != name]


def with_extra(make: Callable[[], layers.Layer], place: int) -> Callable[[list[layers.Layer]], list[layers.Layer]]:
    def change(built: list[layers.Layer]) -> list[layers.Layer]:
        at = place if place > 0 else len(built)
        return [*built[:at], make(), *built[at:]]

    return change


def activated(name: str, function: str) -> Callable[[list[layers.Layer]], list[layers.Layer]]:
    def change(built: list[layers.Layer]) -> list[layers.Layer]:
        next(layer for layer in built if layer.name == name).activation = keras.activations.get(function)
        return built

    return change


def without_dropout(built: list[layers.Layer]) -> list[layers.Layer]:
    for layer in built:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    return built


LAYERS, ACTIVATIONS = "fully connected", "softmax last"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        pytest.param(without("pool1"), LAYERS, id="one pooling"),
        pytest.param(with_extra(layers.MaxPooling2D, 3), LAYERS, id="three poolings"),
        pytest.param(
            with_extra(lambda: layers.Conv2D(4, 3, padding="same", activation="relu", name="conv5"), 2),
            LAYERS,
            id="five convolutions",
        ),
        pytest.param(
            with_extra(lambda: layers.Dense(2, activation="softmax", name="fc3"), 0), LAYERS, id="three dense"
        ),
        pytest.param(move_fc1_to_the_front, LAYERS, id="fc1 in front of the convolutions"),
        pytest.param(activated("conv2", "tanh"), ACTIVATIONS, id="tanh"),
        pytest.param(activated("fc1", "linear"), ACTIVATIONS, id="no activation"),
        pytest.param(activated("fc2", "sigmoid"), ACTIVATIONS, id="sigmoid last"),
        pytest.param(with_extra(lambda: layers.Activation("tanh"), 5), ACTIVATIONS, id="a layer of tanh"),
        pytest.param(with_extra(layers.LeakyReLU, 5), f"{ACTIVATIONS}|{LAYERS}", id="a leaky ReLU"),
        pytest.param(without_dropout, "dropout", id="no dropout"),
        pytest.param(with_extra(layers.BatchNormalization, 3), LAYERS, id="batch normalisation"),
    ],
)
def test_a_network_that_breaks_the_specification_is_found(
    change: Callable[[list[layers.Layer]], list[layers.Layer]], rule: str, tiny_run: TinyRun
) -> None:
    built = [type(layer).from_config(layer.get_config()) for layer in tiny_run.scratch.network.layers]
    network = keras.Sequential([keras.Input((32, 32, 3)), *change(built)], name="scratch")
    broken = broken_rules(tiny_run, scratch=replace(tiny_run.scratch, network=network))
    assert any(is_broken(broken, "From scratch: ", words) for words in rule.split("|"))


def test_a_strategy_with_another_architecture_than_a_is_found(tiny_run: TinyRun) -> None:
    wide = replace(tiny_run.recipe_b, widths=(4, 4, 8, 10))
    network = build_network(2, wide, colour_statistics(tiny_run.part_b.x_train), seed=0)
    assert is_broken(broken_rules(tiny_run, scratch=replace(tiny_run.scratch, network=network)), "all networks")


# The training


def without_last_row(trained: Trained) -> Trained:
    return replace(trained, history=trained.history.iloc[:-1])


def with_an_epoch_twice(trained: Trained) -> Trained:
    return replace(trained, history=trained.history.assign(epoch=[1, 2, 2, 4]))


def with_a_better_epoch_reported(trained: Trained) -> Trained:
    return replace(trained, test_accuracy=trained.history["test_accuracy"].max() + 0.01)


@pytest.mark.parametrize(
    ("tamper", "rule"),
    [(without_last_row, "4 epochs"), (with_an_epoch_twice, "4 epochs"), (with_a_better_epoch_reported, "last epoch")],
)
def test_a_training_that_breaks_the_recipe_is_found(
    tamper: Callable[[Trained], Trained], rule: str, tiny_run: TinyRun
) -> None:
    assert tiny_run.scratch.test_accuracy < 1
    assert is_broken(broken_rules(tiny_run, scratch=tamper(tiny_run.scratch)), "From scratch: ", rule)


@pytest.mark.parametrize("name", ["source", "scratch", "last_layer"])
def test_a_normalisation_with_test_images_is_found(name: str, tiny_run: TinyRun) -> None:
    part = tiny_run.part_b if name == "scratch" else tiny_run.part_a
    seen = colour_statistics(np.concatenate([part.x_train, part.x_test]))
    trained = getattr(tiny_run, name)
    network = build_network(len(trained.class_names), trained.recipe, seen, seed=0)
    network.set_weights(trained.network.get_weights())
    broken = broken_rules(tiny_run, **{name: replace(trained, network=network)})
    assert is_broken(broken, f"{trained.title}: ", "normalised")


def test_a_strategy_with_its_own_recipe_is_found(tiny_run: TinyRun) -> None:
    favoured = replace(tiny_run.two_layers, recipe=replace(tiny_run.recipe_b, learning_rate=1.0))
    assert alone_is_broken(broken_rules(tiny_run, two_layers=favoured), "strategies share one recipe")


def test_a_source_that_was_trained_further_is_found(tiny_run: TinyRun, copy_network: Copy) -> None:
    network = copy_network(tiny_run.source.network)
    kernel, bias = network.get_layer("fc1").get_weights()
    network.get_layer("fc1").set_weights([kernel, bias + np.float32(1e-6)])
    broken = broken_rules(tiny_run, source=replace(tiny_run.source, network=network))
    assert alone_is_broken(broken, "no strategy changed network A")


# The transfer


@pytest.mark.parametrize("layer", WEIGHT_LAYERS[:4])
def test_a_frozen_layer_that_changed_is_found(layer: str, tiny_run: TinyRun) -> None:
    hashes = tiny_run.two_layers.hashes_after | {layer: "0" * 64}
    broken = broken_rules(tiny_run, two_layers=replace(tiny_run.two_layers, hashes_after=hashes))
    assert alone_is_broken(broken, "Two layers: 4 layers frozen")


def test_freezing_that_does_not_freeze_is_found(tiny_run: TinyRun) -> None:
    """fc1 was trained, although the result claims that it was frozen."""
    broken = broken_rules(tiny_run, two_layers=replace(tiny_run.two_layers, frozen=5))
    assert alone_is_broken(broken, "Two layers: 5 layers frozen")


def test_a_trainable_layer_that_did_not_change_is_found(tiny_run: TinyRun) -> None:
    broken = broken_rules(tiny_run, last_layer=replace(tiny_run.last_layer, frozen=4))
    assert alone_is_broken(broken, "One layer: 4 layers frozen")


def test_missing_and_unwanted_copies_are_found(tiny_run: TinyRun) -> None:
    random = weight_hashes(build_network(2, tiny_run.recipe_b, ([0.0] * 3, [1.0] * 3), seed=10_000))
    fresh = tiny_run.two_layers.hashes_before | {"conv2": random["conv2"]}
    broken = broken_rules(tiny_run, two_layers=replace(tiny_run.two_layers, hashes_before=fresh))
    assert is_broken(broken, "Two layers: 5 layers start from A")
    assert is_broken(broken, "Two layers: 1 layers start from the seed's random weights")
    inherited = tiny_run.scratch.hashes_before | {"conv1": tiny_run.source.hashes_after["conv1"]}
    broken = broken_rules(tiny_run, scratch=replace(tiny_run.scratch, hashes_before=inherited))
    assert is_broken(broken, "From scratch: 0 layers start from A")
    assert is_broken(broken, "From scratch: 6 layers start from the seed's random weights")
    assert len(broken) == 2


def test_probabilities_measured_with_dropout_are_found(tiny_run: TinyRun, copy_network: Copy) -> None:
    network = copy_network(tiny_run.last_layer.network)
    noisy = np.asarray(network(tiny_run.part_b.x_test, training=True))
    broken = broken_rules(tiny_run, last_layer=replace(tiny_run.last_layer, probabilities=noisy))
    assert is_broken(broken, "One layer: ", "inference mode")


def test_a_training_loss_of_another_network_is_found(tiny_run: TinyRun) -> None:
    """Dropout in the features of the training images changes the training loss only."""
    other = replace(tiny_run.last_layer, train_loss=tiny_run.last_layer.train_loss + 0.05)
    assert alone_is_broken(broken_rules(tiny_run, last_layer=other), "One layer: ", "inference mode")


# The random weights


def test_a_network_that_is_trained_twice_is_found(tiny_run: TinyRun) -> None:
    network = build_network(2, tiny_run.recipe_b, colour_statistics(tiny_run.part_b.x_train), seed=10_000)
    network.set_weights(tiny_run.scratch.network.get_weights())
    again = train(network, tiny_run.part_b, tiny_run.recipe_b, name="scratch")
    broken = broken_rules(tiny_run, scratch=again)
    assert alone_is_broken(broken, "From scratch: 6 layers start from the seed's random weights")


@pytest.mark.parametrize("name", ["source", "scratch", "last_layer", "two_layers"])
def test_the_random_weights_of_another_seed_are_found(name: str, tiny_run: TinyRun) -> None:
    trained = getattr(tiny_run, name)
    new = dict.fromkeys(WEIGHT_LAYERS[trained.copied :], "0" * 64)
    other = replace(trained, hashes_before=trained.hashes_before | new)
    rule = f"{6 - trained.copied} layers start from the seed's random weights"
    assert alone_is_broken(broken_rules(tiny_run, **{name: other}), f"{trained.title}: {rule}")


def test_the_random_weights_of_network_a_in_a_strategy_are_found(tiny_run: TinyRun) -> None:
    """The strategies have another seed than network A, so that scratch does not start where A started."""
    recipe = replace(tiny_run.recipe_b, epochs=4)
    network = build_network(2, recipe, colour_statistics(tiny_run.part_b.x_train), seed=0)
    scratch = train(network, tiny_run.part_b, recipe, name="scratch")
    broken = broken_rules(tiny_run, scratch=scratch)
    assert alone_is_broken(broken, "From scratch: 6 layers start from the seed's random weights")

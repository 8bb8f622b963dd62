from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from conftest import TinyRun
from headstart.practical.network import WEIGHT_LAYERS, build_network, colour_statistics, input_statistics, weight_hashes
from headstart.practical.transfer import LAST_LAYER, SCRATCH, STRATEGIES, TWO_LAYERS, Strategy, transfer

LEGAL = [(copied, frozen) for copied in range(6) for frozen in range(copied + 1)]


def test_the_practicals_strategies_are_three_points_of_the_plane() -> None:
    points = {strategy.name: (strategy.copied, strategy.frozen) for strategy in STRATEGIES}
    assert points == {"scratch": (0, 0), "last_layer": (5, 5), "two_layers": (5, 4)}


def test_exactly_the_pairs_with_0_to_frozen_to_copied_to_5_are_legal() -> None:
    for copied, frozen in product(range(-2, 9), repeat=2):
        if (copied, frozen) in LEGAL:
            assert Strategy("any", copied, frozen).copied == copied
        else:
            with pytest.raises(ValueError, match="0 <= frozen <= copied <= 5"):
                Strategy("any", copied, frozen)


def test_the_source_is_only_read(tiny_run: TinyRun) -> None:
    network = tiny_run.source.network  # three strategies have used it
    assert weight_hashes(network) == tiny_run.source.hashes_after
    assert all(np.array_equal(*pair) for pair in zip(network.get_weights(), tiny_run.source_weights[-1], strict=True))
    assert all(layer.trainable for layer in network.layers)
    layers = [layer for trained in tiny_run.networks for layer in trained.network.layers]
    assert len({id(layer) for layer in layers}) == len(layers)


def test_scratch_owes_nothing_to_the_source_nor_to_the_test_images(tiny_run: TinyRun) -> None:
    unlike = build_network(8, tiny_run.recipe_a, ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), seed=99)
    source = replace(tiny_run.source, network=unlike)
    dark = replace(tiny_run.part_b, x_test=np.zeros_like(tiny_run.part_b.x_test))
    trained = transfer(source, SCRATCH, dark, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.scratch.hashes_after
    assert input_statistics(trained.network) == input_statistics(tiny_run.scratch.network)


def test_what_is_not_copied_starts_the_same_in_every_strategy_and_not_as_network_a_did(tiny_run: TinyRun) -> None:
    assert len({trained.hashes_before["fc2"] for trained in tiny_run.strategies}) == 1
    ours, a = tiny_run.scratch.hashes_before, tiny_run.source.hashes_before
    assert all(ours[name] != a[name] for name in WEIGHT_LAYERS)


def test_all_strategies_have_one_recipe_and_as_many_steps(tiny_run: TinyRun) -> None:
    assert {trained.recipe for trained in tiny_run.strategies} == {tiny_run.recipe_b}
    assert len({trained.optimizer_steps for trained in tiny_run.strategies}) == 1


def test_copied_layers_see_images_normalised_as_in_a_and_scratch_as_in_bs_training_images(tiny_run: TinyRun) -> None:
    of_a, of_b = colour_statistics(tiny_run.part_a.x_train), colour_statistics(tiny_run.part_b.x_train)
    assert not np.allclose(of_a, of_b)
    np.testing.assert_allclose(input_statistics(tiny_run.scratch.network), of_b)
    for trained in (tiny_run.last_layer, tiny_run.two_layers):
        np.testing.assert_allclose(input_statistics(trained.network), of_a)


@pytest.mark.parametrize("place", [1, 2], ids=["last_layer", "two_layers"])
def test_features_computed_at_every_step_give_the_network_of_those_computed_once_whatever_the_frozen_dropout(
    place: int, tiny_run: TinyRun
) -> None:
    cached, strategy = tiny_run.strategies[place], STRATEGIES[place]
    frozen_dropouts = strategy.frozen - 3  # the one in front of conv3, and for last_layer that in front of fc1
    recipe = replace(
        tiny_run.recipe_b, dropout=(*[0.9] * frozen_dropouts, *tiny_run.recipe_b.dropout[frozen_dropouts:])
    )
    uncached = transfer(tiny_run.source, strategy, tiny_run.part_b, recipe, feature_bytes=0)
    assert uncached.features.startswith("computed anew for every batch")
    assert uncached.features.endswith("MB at once would be more than 0 MB)")
    assert cached.features.startswith("computed once for each of 18 views")
    np.testing.assert_allclose(np.log(uncached.probabilities), np.log(cached.probabilities), atol=1e-4)
    columns = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    np.testing.assert_allclose(uncached.history[columns], cached.history[columns], atol=1e-4)
    assert all(uncached.hashes_after[name] == cached.hashes_after[name] for name in WEIGHT_LAYERS[: cached.frozen])


def test_dropout_in_the_frozen_prefix_does_not_act_when_features_are_computed_once(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, dropout=(0.9, 0.9, tiny_run.recipe_b.dropout[2]))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, recipe)
    assert trained.hashes_after == tiny_run.last_layer.hashes_after


def test_dropout_in_front_of_the_trained_layers_acts(tiny_run: TinyRun) -> None:
    without = replace(tiny_run.recipe_b, dropout=(*tiny_run.recipe_b.dropout[:2], 0.0))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, without)
    assert trained.hashes_after["fc2"] != tiny_run.last_layer.hashes_after["fc2"]


def test_strategies_train_in_bfloat16_too(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, precision="bfloat16")
    trained = transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, recipe)
    kept = [name for name in WEIGHT_LAYERS if trained.hashes_before[name] == trained.hashes_after[name]]
    assert kept == list(WEIGHT_LAYERS[:4])
    whole = trained.network.predict_on_batch(tiny_run.part_b.x_test)
    np.testing.assert_allclose(whole, trained.probabilities, atol=2e-2)


def test_a_networks_title_is_in_words(tiny_run: TinyRun) -> None:
    titles = [trained.title for trained in tiny_run.networks]
    assert titles == ["Network A", "From scratch", "Fine-tuning one layer", "Fine-tuning two layers"]


def test_a_strategy_may_have_the_literatures_names(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, epochs=1)
    trained = transfer(tiny_run.source, Strategy("A3B+", 3, 0), tiny_run.part_b, recipe)
    assert trained.name == "A3B+"

"""One trial: what is trained, what counts, when it is stopped, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from headstart.practical.data import split_classes
from headstart.practical.network import colour_statistics
from headstart.runtime.memory import FreeOptimizer
from headstart.training.recipes import read_recipes
from headstart.training.strategies import STRATEGIES
from headstart.training.trainer import build_network, train, transfer
from headstart.tuning.coordination import open_search
from headstart.tuning.objective import Search
from headstart.tuning.results import read_best
from headstart.tuning.search import hide_test_images, search_recipe
from headstart.tuning.space import MAX_WORK
from support.tuning import add_trials

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

Messages = Callable[[], list[str]]


def test_on_part_b_every_strategy_and_every_pair_counts_equally(
    hidden: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, sources = [], []

    def note(source: Any, strategy: Any, part: Dataset, *given: Any, **options: Any) -> Any:
        trained = transfer(source, strategy, part, *given, **options)
        tried.append((strategy.name, part.class_names, trained.test_accuracy))
        if strategy.name == "last_layer":
            sources.append((part.class_names, trained.network.get_layer("conv1").get_weights()[0].tobytes()))
        return trained

    monkeypatch.setattr("headstart.tuning.objective.transfer", note)
    search_recipe(Search("b", hidden, [(4, 9), (3, 5)], epochs=1), tmp_path, trials=2)
    accuracies = pd.read_csv(tmp_path / "trials.csv")["validation_accuracy"]
    assert len(accuracies) == 2
    for trial, accuracy in enumerate(accuracies):
        networks = tried[6 * trial : 6 * trial + 6]
        strategies, pairs = ("scratch", "last_layer", "two_layers"), (("four", "nine"), ("three", "five"))
        assert {(name, pair) for name, pair, _ in networks} == {(name, pair) for name in strategies for pair in pairs}
        assert accuracy == pytest.approx(np.mean([accuracy for *_, accuracy in networks]))
    assert sources[:2] == sources[2:]  # the next trial does not start from what was freed after the first
    assert len(set(sources)) == 2


@pytest.mark.parametrize(("part", "when"), [("a", "after epoch 2"), ("b", "after 3 networks")])
def test_a_trial_that_is_worse_than_the_others_is_stopped(
    part: str, when: str, hidden: Dataset, small: None, tmp_path: Path, messages: Messages
) -> None:
    add_trials(open_search(tmp_path, part, epochs=4), part, [1.01] * 8, steps=range(8))
    search_recipe(Search(part, hidden, [(3, 5), (1, 8)], epochs=4), tmp_path, trials=9)
    assert messages()[-1] == f"trial 8: worse than the others {when}"
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert list(trials["state"]) == ["complete"] * 8 + ["pruned"]
    assert list(trials["validation_accuracy"].isna()) == [False] * 8 + [True]


def test_a_stopped_trial_leaves_no_network_in_memory(
    hidden: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = []

    def note(network: Any, *given: Any, **options: Any) -> Any:
        assert isinstance(options["callbacks"][-1], FreeOptimizer)
        networks.append(network)
        return train(network, *given, **options)

    monkeypatch.setattr("headstart.tuning.objective.train", note)
    add_trials(open_search(tmp_path, "a", epochs=2), "a", [1.01] * 8, steps=range(8))
    search_recipe(Search("a", hidden, [(4, 9)], epochs=2), tmp_path, trials=9)
    assert [sum(np.size(weight) for weight in network.trainable_variables) for network in networks] == [0]


def test_a_network_that_needs_too_much_work_is_not_trained(
    search_a: Search,
    small: None,
    start_with: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    messages: Messages,
) -> None:
    """Another recipe is tried instead."""
    monkeypatch.setattr("headstart.tuning.space.WIDTHS", {"wide": (64, 128, 256, 512), "narrow": (4, 4, 8, 8)})
    start_with(widths="wide")
    search_recipe(search_a, tmp_path, trials=1)
    assert "trial 0: not trained, because it is more than 8.0 times the work" in messages()
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert len(trials) == 1
    assert (trials["work"] <= MAX_WORK).all()
    assert trials["seconds"].notna().all()


@pytest.mark.parametrize("part", ["a", "b"])
def test_the_best_recipe_file_gives_the_same_accuracy_again(
    part: str, digits: Dataset, small: None, tmp_path: Path
) -> None:
    hidden = hide_test_images(digits, share=0.3)
    candidates = ['{"learning_rate": 0.006, "batch_size": 64}']
    search_recipe(Search(part, hidden, [(4, 9)], epochs=2, seed=3), tmp_path, trials=2, candidates=candidates)
    best = read_best(tmp_path)["best"]
    recipe_a, recipe_b = (replace(recipe, epochs=2, seed=3) for recipe in read_recipes([tmp_path / "best.json"]))
    part_a, part_b = split_classes(hidden, (4, 9))
    source = train(build_network(8, recipe_a, colour_statistics(part_a.x_train), seed=3), part_a, recipe_a)
    trained = [source] if part == "a" else [transfer(source, strategy, part_b, recipe_b) for strategy in STRATEGIES]
    assert best["validation_accuracy"] == pytest.approx(np.mean([network.test_accuracy for network in trained]))
    trials = pd.read_csv(tmp_path / "trials.csv").set_index("trial")
    assert trials["validation_accuracy"].idxmax() == best["trial"]
    gap = np.mean([network.train_accuracy - network.test_accuracy for network in trained])
    assert trials.loc[best["trial"], "gap"] == pytest.approx(gap)

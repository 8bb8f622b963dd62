"""What is written of a search: the best recipe, where it comes from, and a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from headstart.training.recipes import RECIPE_A, RECIPE_B, SET_BY_OPTIONS, Recipe, read_recipes
from headstart.tuning.objective import Search
from headstart.tuning.results import plot_search, read_best
from headstart.tuning.search import search_recipe
from headstart.tuning.space import current_recipe, relative_work
from support.tuning import add_trials

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


def test_the_search_is_described_next_to_the_best_recipe(
    hidden: Dataset, small: None, untrained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.tuning.search.train_sources", lambda search, folder: [])
    search_recipe(Search("b", hidden, [(4, 9), (3, 5)], epochs=1, seed=3), tmp_path, trials=1)
    found = json.loads((tmp_path / "search.json").read_text())
    assert found["best"] == {"trial": 0, "validation_accuracy": 0.5}
    search = found["search"]
    assert (search["part"], search["pairs"], search["epochs"]) == ("b", [[4, 9], [3, 5]], 1)
    assert (search["seed"], search["precision"], search["dataset"]) == (3, "float32", hidden.name)
    assert [recipe["widths"] for recipe in search["recipes"]] == [[4, 4, 8, 8]] * 2
    best = json.loads((tmp_path / "best.json").read_text())
    assert best.keys() == {"b"}
    assert best["b"].keys() == {field.name for field in fields(Recipe)} - {*SET_BY_OPTIONS}
    assert read_best(tmp_path) == {**best, **found}


def test_the_best_recipe_of_part_a_has_its_sizes_for_part_b_too(
    search_a: Search, untrained: None, start_with: Callable[..., None], tmp_path: Path
) -> None:
    """Part B's networks copy layers from it, which needs equal sizes."""
    start_with(widths="32-64-96-128", units=256, shift=2)
    search_recipe(search_a, tmp_path, trials=1)
    recipe_a, recipe_b = read_recipes([tmp_path / "best.json"])
    sizes: dict[str, Any] = {"widths": (32, 64, 96, 128), "units": 256}
    assert recipe_a == replace(RECIPE_A, **sizes, shift=2)
    assert recipe_b == replace(RECIPE_B, **sizes)


@pytest.mark.parametrize(("part", "against"), [("a", "work of a training step"), ("b", "highest learning rate")])
def test_the_figure_has_importances_all_trials_and_the_current_recipe(part: str, against: str) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    accuracies = [0.5, 0.6, 0.9, 0.7, 0.65, 0.8, 0.55, 0.75, 0.85]
    add_trials(study, part, accuracies[:2])
    study.enqueue_trial(current_recipe(part))  # others may end before it
    add_trials(study, part, accuracies[2:])
    figure = plot_search(study, current_recipe(part), "some data")
    assert figure.get_suptitle() == "9 recipes\nData: some data"
    left, right = figure.axes
    assert {label.get_text() for label in left.get_yticklabels()} == set(current_recipe(part))
    assert sum(bar.get_width() for bar in left.patches) == pytest.approx(1)
    assert right.get_xlabel().startswith(against)
    every, current = ([tuple(point) for point in points.get_offsets()] for points in right.collections)
    assert [y for _, y in every] == pytest.approx([100 * accuracy for accuracy in accuracies])
    recipe = RECIPE_A if part == "a" else RECIPE_B
    x = relative_work(recipe) if part == "a" else recipe.learning_rate
    assert current == [pytest.approx((x, 90.0))]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["a trial", "the current recipe"]


def test_equal_accuracies_give_a_figure_without_importances() -> None:
    study = optuna.create_study(direction="maximize")
    add_trials(study, "a", [0.5] * 8)  # without the current recipe
    [only] = plot_search(study, current_recipe("a"), "some data").axes
    assert only.get_ylabel() == "validation accuracy (%)"
    assert [text.get_text() for text in only.get_legend().get_texts()] == ["a trial"]

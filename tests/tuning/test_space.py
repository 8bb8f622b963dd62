from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import optuna
import pytest

from headstart.errors import InvalidRequest
from headstart.training.recipes import RECIPE_A, RECIPE_B, Recipe
from headstart.tuning.space import MAX_WORK, STANDARD, WIDTHS, change_recipe, current_recipe, relative_work, suggest


@pytest.mark.parametrize(("part", "recipe"), [("a", RECIPE_A), ("b", RECIPE_B)], ids=["a", "b"])
def test_the_packages_own_recipe_is_in_the_space(part: str, recipe: Recipe) -> None:
    assert suggest(optuna.trial.FixedTrial(current_recipe(part)), part) == recipe  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("learning_rate=1e-3", "Expecting value"),
        ("[1]", "give an object of some of these: dropout_fc1"),
        ('{"epochs": 3}', "give an object of some of these"),
        ('{"batch_size": 100}', "'100' not in (64, 128, 256)"),
        ('{"learning_rate": 1}', "out of the range"),
        ('{"shift": 3}', "out of the range"),
        ('{"learning_rate": [1]}', "not a valid type"),
        ('{"widths": "1-2-3-4"}', "'1-2-3-4' not in ('32-32-64-64'"),
        ("[" * 100_000, "recursion"),
    ],
    ids=lambda text: text[:20],
)
def test_a_candidate_outside_the_space_is_refused(changes: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        change_recipe(changes, "a")
    assert (refused.value.option, refused.value.value) == ("try", changes)
    assert reason in refused.value.rule


@pytest.mark.parametrize("changes", ['{"shift": 2}', '{"widths": "32-32-64-64"}', '{"units": 256}'])
def test_parameters_of_part_a_alone_are_refused_for_b(changes: str) -> None:
    assert current_recipe("a") | json.loads(changes) == change_recipe(changes, "a")
    with pytest.raises(InvalidRequest, match="some of these"):
        change_recipe(changes, "b")


STANDARD_LAYERS = {  # outputs of a channel, times channels in and out, times the nine places of the kernel
    "conv1": 1024 * 3 * 32 * 9,
    "conv2": 256 * 32 * 32 * 9,  # after pool1
    "conv3": 64 * 32 * 64 * 9,  # after pool2
    "conv4": 16 * 64 * 64 * 9,  # with stride 2
    "fc1": 16 * 64 * 512,
    "fc2": 512 * 8,
}


@pytest.mark.parametrize(
    ("change", "layers"),
    [
        ({}, {}),
        ({"widths": (32, 32, 64, 128)}, {"conv4": 16 * 64 * 128 * 9, "fc1": 16 * 128 * 512}),
        ({"widths": (64, 32, 64, 64)}, {"conv1": 1024 * 3 * 64 * 9, "conv2": 256 * 64 * 32 * 9}),
        ({"units": 256}, {"fc1": 16 * 64 * 256, "fc2": 256 * 8}),
    ],
    ids=str,
)
def test_work_is_counted_in_multiplications(change: dict[str, Any], layers: dict[str, int]) -> None:
    expected = sum((STANDARD_LAYERS | layers).values()) / sum(STANDARD_LAYERS.values())
    assert relative_work(replace(STANDARD, **change)) == pytest.approx(expected, rel=1e-3)


def test_no_network_of_the_space_is_much_slower_than_our_own() -> None:
    """Its 31.7 million multiplications are 5.7 times the standard network's 5.5 million."""
    assert relative_work(RECIPE_A) == pytest.approx(31.74 / 5.538, rel=1e-3)
    assert relative_work(RECIPE_A) < 0.75 * MAX_WORK
    slowest = max(relative_work(replace(RECIPE_A, widths=widths, units=512)) for widths in WIDTHS.values())
    assert 0.9 * MAX_WORK < slowest <= MAX_WORK

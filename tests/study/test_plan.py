from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import InvalidRequest
from headstart.study.plan import Plan, make_plan, named_strategies, parse_pairs, parse_sizes, parse_strategies
from headstart.study.subsets import take_subset
from headstart.training.recipes import RECIPE_A, RECIPE_B

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.training.recipes import Recipe

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def plan_of(dataset: Dataset, data: str = "some data", **options: Any) -> Plan:
    return make_plan(dataset, data, **{"pairs": "4,9", "seeds": 1, **options})


# Options


def test_pairs_are_all_random_or_named() -> None:
    assert len(parse_pairs("all", NAMES)) == 45
    assert parse_pairs("4,9+cat,dog+9,4+5,cat", NAMES) == [(4, 9), (3, 5)]
    few, more = parse_pairs("5-random", NAMES), parse_pairs("20-random", NAMES)
    assert len(set(few)) == 5
    assert more[:5] == few
    assert all(first < second for first, second in more)


def test_strategies_are_groups_or_names_and_include_scratch() -> None:
    assert parse_strategies("practical") == ["scratch", "last_layer", "two_layers"]
    assert parse_strategies("A3B, B3B+") == ["scratch", "A3B", "B3B+"]
    depth = parse_strategies("depth")
    assert len(depth) == 21
    assert {f"{part}{n}B{plus}" for part in "AB" for n in range(1, 6) for plus in ("", "+")} < set(depth)
    assert parse_strategies("depth,practical,scratch") == [*depth, "last_layer", "two_layers"]


def test_names_from_the_literature_have_their_meaning() -> None:
    named = named_strategies()
    assert {name: (s.copied, s.frozen, part) for name, (s, part) in named.items() if "3" in name} == {
        "A3B": (3, 3, "a"),
        "A3B+": (3, 0, "a"),
        "B3B": (3, 3, "b"),
        "B3B+": (3, 0, "b"),
    }
    assert [named[name][1] for name in ("scratch", "last_layer", "two_layers")] == ["", "a", "a"]


def test_sizes_are_fractions_or_images_per_class(digits: Dataset) -> None:
    assert parse_sizes("1.0,.5, 0.25,10,10", digits) == ["1.0", "0.5", "0.25", "10"]
    twenty = take_subset(digits, "20", seed=0)
    assert parse_sizes("10,0.5,1.0,20,11", twenty) == ["10", "1.0", "11"]  # half of 20 are 10, and all are 20
    assert parse_sizes("20,1.0", twenty) == ["1.0"]  # one name in every plan


@pytest.mark.parametrize(
    "options",
    [
        *({"pairs": pairs} for pairs in ("", "4", "4,4", "4,10", "4,9,3", "cat;dog", "0-random", "46-random", "4,9+")),
        *({"strategies": names} for names in ("", "A6B", "A0B", "a", "b", "Practical", "scratch,,A1B")),
        *({"train_sizes": sizes} for sizes in ("", "0", "-1", "0.0", "1.5", "1e2", "100000", "half", "1.0;10", "١٠")),
        *({"seeds": seeds} for seeds in (0, -1)),
        {"epochs": 0},
    ],
    ids=str,
)
def test_an_invalid_option_is_refused_in_one_line(options: dict[str, object], digits: Dataset) -> None:
    with pytest.raises(InvalidRequest) as refused:
        plan_of(digits, **options)
    [(name, value)] = options.items()
    assert (refused.value.option, refused.value.value) == (name, value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=12))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (parse_strategies, lambda text: parse_pairs(text, NAMES)):
        with contextlib.suppress(InvalidRequest):
            assert parse(text)


# The plan


def test_a_network_that_conditions_share_is_planned_once(digits: Dataset) -> None:
    plan = plan_of(digits, pairs="all", seeds=5)
    assert len(plan.conditions) == len(plan.networks) == 45 * 5 * (3 + 1)  # three strategies and one source
    named_twice = plan_of(digits, strategies="last_layer,A5B")
    assert [condition.strategy for condition in named_twice.conditions] == ["scratch", "a", "last_layer", "A5B"]
    assert len(named_twice.networks) == 3
    sizes = plan_of(digits, train_sizes="1.0,10,5")
    assert sum(network.part == "a" for network in sizes.networks.values()) == 1


def test_all_strategies_of_a_pair_and_seed_share_source_recipe_and_size(digits: Dataset) -> None:
    plan = plan_of(digits, strategies="depth", seeds=2, pairs="4,9+3,5")
    for classes in ((4, 9), (3, 5)):
        for seed in (0, 1):
            here = [n for n in plan.networks.values() if n.classes == classes and n.seed == seed and n.strategy]
            assert len(here) == 21
            assert {network.source.part for network in here if network.source} == {"a", "b"}
            assert len({network.source.key for network in here if network.source}) == 2
            assert {(network.recipe, network.train_size) for network in here} == {(here[0].recipe, "1.0")}


def test_the_source_of_a_control_is_trained_on_b_with_another_seed(digits: Dataset) -> None:
    plan = plan_of(digits, strategies="B2B", train_sizes="10")
    [control] = [network for network in plan.networks.values() if network.strategy is None]
    [scratch] = [network for network in plan.networks.values() if network.strategy and network.source is None]
    assert (control.part, control.train_size, control.seed) == ("b", "10", scratch.seed)
    assert control.recipe == replace(scratch.recipe, seed=scratch.recipe.seed + 20_000)


def test_a_network_comes_after_its_source(digits: Dataset) -> None:
    keys = list(plan_of(digits, strategies="depth").networks)
    for network in plan_of(digits, strategies="depth").networks.values():
        if network.source:
            assert keys.index(network.source.key) < keys.index(network.key)


def test_a_larger_plan_keeps_the_keys_of_a_smaller_one(digits: Dataset) -> None:
    small = plan_of(digits)
    for larger in ({"seeds": 3}, {"pairs": "all"}, {"strategies": "depth,practical"}, {"train_sizes": "10,1.0"}):
        assert small.networks.keys() < plan_of(digits, **larger).networks.keys(), larger


def test_a_key_depends_on_everything_that_determines_the_weights(digits: Dataset, monkeypatch) -> None:
    plans = [plan_of(digits), plan_of(digits, data="other data"), plan_of(digits, epochs=3)]
    plans += [plan_of(digits, precision="bfloat16"), plan_of(digits, pairs="3,5"), plan_of(digits, train_sizes="10")]
    plans.append(plan_of(digits, recipes=(RECIPE_A, replace(RECIPE_B, learning_rate=0.5))))
    monkeypatch.setattr("headstart.study.plan.provenance", lambda: "another")
    plans.append(plan_of(digits))
    strategies = [{key for key, network in plan.networks.items() if network.strategy} for plan in plans]
    for number, keys in enumerate(strategies):
        assert not keys & set.union(*strategies[:number], *strategies[number + 1 :]), number


def test_a_network_has_the_recipe_of_its_part(digits: Dataset) -> None:
    sizes = {"widths": (4, 4, 8, 8), "units": 16}
    recipe_a, recipe_b = replace(RECIPE_A, **sizes, shift=2), replace(RECIPE_B, **sizes, label_smoothing=0.2)
    plan = plan_of(digits, recipes=(recipe_a, recipe_b), seeds=2, epochs=3, precision="bfloat16")
    for network in plan.networks.values():
        recipe = recipe_a if network.part == "a" else recipe_b
        assert network.recipe == replace(recipe, epochs=3, seed=network.seed, precision="bfloat16")


def test_part_as_recipe_changes_the_keys_of_what_starts_from_a(digits: Dataset) -> None:
    def keys(recipe_a: Recipe) -> dict[str, str]:
        plan = plan_of(digits, strategies="practical,B2B", recipes=(recipe_a, RECIPE_B))
        return {condition.strategy: condition.network.key for condition in plan.conditions}

    before, after = keys(RECIPE_A), keys(replace(RECIPE_A, shift=2))
    assert {name for name in before if before[name] != after[name]} == {"a", "last_layer", "two_layers"}


@pytest.mark.parametrize("changes", [{"widths": (32, 32, 64, 64)}, {"units": 256}, {"shift": 2}], ids=str)
def test_recipes_that_do_not_fit_together_are_refused(changes: dict[str, Any], digits: Dataset) -> None:
    with pytest.raises(InvalidRequest, match=rf"^recipe: {next(iter(changes))}.* for part B") as refused:
        plan_of(digits, recipes=(RECIPE_A, replace(RECIPE_B, **changes)))
    assert "\n" not in str(refused.value)


def test_three_classes_are_too_few(digits: Dataset) -> None:
    few = replace(digits, class_names=("a", "b", "c"))
    with pytest.raises(InvalidRequest, match="3 classes"):
        plan_of(few, pairs="all")
    assert np.bincount(digits.y_train).min() > 10  # enough for the sizes above

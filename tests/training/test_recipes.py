from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import InvalidRequest
from headstart.practical import recipe as practical
from headstart.training.recipes import (
    RECIPE_A,
    RECIPE_B,
    Recipe,
    as_file,
    as_json,
    check_recipes,
    from_json,
    read_recipes,
    recipe_option,
)

NAN, INFINITY = float("nan"), float("inf")
WIDTHS, RATES = "four whole numbers from 1 to 2048", "two rates from 0 up to but not including 1"
SHARE = "a number from 0 up to but not including 1"
REFUSED = {
    "widths": (
        WIDTHS,
        [(4, 4, 8), (4, 4, 8, 8, 8), (0, 4, 8, 8), (4, 4, 8, 2049), (4, 4, 8, True), (4, 4, 8.0, 8), [4, 4, 8, 8], 4],
    ),
    "units": ("a whole number from 1 to 2048", [0, 2049, 1.5, 512.0, True, "512", None]),
    "dropout": (RATES, [(0.1,), (0.1, 0.2, 0.3), (0.1, 1.0), (-0.1, 0.2), (NAN, 0.2), (True, 0.2), [0.1, 0.2], 0.5]),
    "epochs": ("a whole number from 1 upwards", [0, -1, 1.0, True, "20", None]),
    "batch_size": ("a whole number from 1 upwards", [0, 128.0, False, None]),
    "learning_rate": ("a number above 0", [0, -1e-3, NAN, INFINITY, True, "1e-3", None]),
    "warmup": (SHARE, [-0.1, 1, 1.0, NAN, False, "0.2"]),
    "weight_decay": ("a number of 0 or more", [-0.1, NAN, INFINITY, True, None]),
    "label_smoothing": (SHARE, [-0.1, 1.0, NAN, True]),
    "shift": ("a whole number of pixels from 0 to 16", [-1, 17, 4.0, True, None]),
    "precision": ("one of float32, bfloat16", ["float16", "mixed_bfloat16", None, 32, ["float32"]]),
    "seed": ("a whole number from 0 to 2147483647", [-1, 2**31, 0.0, True, None]),
}


@pytest.mark.parametrize(
    ("name", "value", "rule"), [(name, value, rule) for name, (rule, values) in REFUSED.items() for value in values]
)
def test_an_invalid_value_is_refused_with_its_name_and_the_rule(name: str, value: Any, rule: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Recipe(**{name: value})
    assert str(caught.value) == f"recipe.{name}={value!r}: give {rule}"


def test_every_value_of_a_recipe_is_checked() -> None:
    assert REFUSED.keys() == vars(RECIPE_A).keys()


@pytest.mark.parametrize(
    "given_values",
    [
        {"widths": (1, 1, 1, 1), "units": 1, "batch_size": 1, "epochs": 1, "shift": 0, "seed": 0},
        {"widths": (2048,) * 4, "units": 2048, "shift": 16, "seed": 2**31 - 1, "precision": "bfloat16"},
        {"dropout": (0, 0.999), "warmup": 0, "weight_decay": 0, "label_smoothing": 0.0, "learning_rate": 1},
    ],
)
def test_the_limits_of_the_ranges_are_valid(given_values: dict[str, Any]) -> None:
    recipe = Recipe(**given_values)
    assert all(getattr(recipe, name) == value for name, value in given_values.items())


def test_a_changed_recipe_is_checked_again() -> None:
    with pytest.raises(InvalidRequest, match="epochs=0"):
        replace(RECIPE_A, epochs=0)


def test_the_packages_recipes_are_the_practicals() -> None:
    assert vars(RECIPE_A) == vars(practical.RECIPE_A)
    assert vars(RECIPE_B) == vars(practical.RECIPE_B)
    check_recipes(RECIPE_A, RECIPE_B)


# Files


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(content: Any, name: str = "recipe.json") -> Path:
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / name

    return write_file


Write = Callable[..., Path]


def test_without_a_file_the_recipes_are_the_packages() -> None:
    assert read_recipes([]) == (RECIPE_A, RECIPE_B)


def test_a_file_changes_only_the_part_and_the_values_that_it_names(write: Write) -> None:
    file = write({"a": {"learning_rate": 1e-3, "dropout": [0.1, 0.3]}})
    assert read_recipes([file]) == (replace(RECIPE_A, learning_rate=1e-3, dropout=(0.1, 0.3)), RECIPE_B)
    file = write({"b": {"batch_size": 64}})
    assert read_recipes([str(file)]) == (RECIPE_A, replace(RECIPE_B, batch_size=64))
    file = write({"a": {"shift": 2}, "b": {"warmup": 0}})
    assert read_recipes([file]) == (replace(RECIPE_A, shift=2), replace(RECIPE_B, warmup=0))
    assert read_recipes([write({"a": {}})]) == (RECIPE_A, RECIPE_B)


def test_a_later_file_overrides_an_earlier_one(write: Write) -> None:
    first = write({"a": {"learning_rate": 1e-3, "shift": 2}, "b": {"batch_size": 64}}, "first.json")
    second = write({"a": {"learning_rate": 5e-3}}, "second.json")
    assert read_recipes([first, second])[0] == replace(RECIPE_A, learning_rate=5e-3, shift=2)
    assert read_recipes([second, first])[0] == replace(RECIPE_A, learning_rate=1e-3, shift=2)
    assert read_recipes([first, second])[1] == replace(RECIPE_B, batch_size=64)


def test_two_files_can_change_the_sizes_of_both_parts(write: Write) -> None:
    widths = {"widths": [4, 4, 8, 8], "units": 16}
    recipes = read_recipes([write({"a": widths}, "a.json"), write({"b": widths}, "b.json")])
    assert [(recipe.widths, recipe.units) for recipe in recipes] == [((4, 4, 8, 8), 16)] * 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"c": {}}, 'give {"a": {...}}, {"b": {...}} or both, not ["c"]'),
        ({"a": {}, "A": {}}, 'not ["a", "A"]'),
        ({}, "not []"),
        ({"a": {"momentum": 0.9}}, "a: 'momentum' is none of widths, units, dropout, batch_size, "),
        ({"b": {"epochs": 5}}, "b: 'epochs' is none of widths"),
        ({"b": {"seed": 5}}, "b: 'seed' is none of widths"),
        ({"a": {"precision": "bfloat16"}}, "a: 'precision' is none of widths"),
        ({"a": {"units": 0}}, "units=0: give a whole number from 1 to 2048"),
        ({"a": {"units": True}}, "units=True: give a whole number"),
        ({"a": {"learning_rate": "fast"}}, "learning_rate='fast': give a number above 0"),
        ('{"a": {"learning_rate": NaN}}', "learning_rate=nan: give a number above 0"),
        ('{"a": {"learning_rate": 1e999}}', "learning_rate=inf: give a number above 0"),
        ({"a": {"units": [4]}}, "units=(4,): give a whole number"),
        ({"a": {"widths": [4, 4, 8]}}, "widths=(4, 4, 8): give four whole numbers"),
        ({"a": {"learning_rate": None}}, "it does not have the structure"),
        ({"a": 3}, "it does not have the structure"),
        ([{"a": {}}], "it does not have the structure"),
        ("3", "it does not have the structure"),
        ('{"a": {', "Expecting"),
        ("", "Expecting value"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_an_invalid_file_is_refused_with_its_name_and_the_reason(content: Any, problem: str, write: Write) -> None:
    file = write(content)
    with pytest.raises(InvalidRequest) as caught:
        read_recipes([file])
    assert str(caught.value).startswith(f"{file}: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"none\.json"):
        read_recipes([tmp_path / "none.json"])
    with pytest.raises(InvalidRequest, match=f"^{tmp_path}: "):
        read_recipes([tmp_path])
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match=r"binary\.json"):
        read_recipes([tmp_path / "binary.json"])


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("widths", [4, 4, 8, 8], "widths is (4, 4, 8, 8) for part A and (48, 96, 192, 256) for part B"),
        ("units", 16, "units is 16 for part A and 512 for part B"),
    ],
)
def test_sizes_that_differ_between_the_parts_are_refused(name: str, value: Any, problem: str, write: Write) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_recipes([write({"a": {name: value}})])
    assert str(caught.value) == f"recipe: {problem}: give equal values, because weights are copied"
    with pytest.raises(InvalidRequest, match=f"{name} is"):
        check_recipes(RECIPE_A, replace(RECIPE_B, **from_json({name: value})))


def test_shifts_on_part_b_are_refused(write: Write) -> None:
    with pytest.raises(
        InvalidRequest, match="shift=4 for part B: give 0, because the frozen layers' output is computed once"
    ):
        read_recipes([write({"b": {"shift": 4}})])


# Writing recipes


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.integers(1, 4096),
        "learning_rate": st.floats(1e-6, 1),
        "dropout": st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
        "weight_decay": st.floats(0, 10),
        "label_smoothing": st.floats(0, 0.99),
        "warmup": st.floats(0, 0.99),
    },
)


@given(CHANGES, CHANGES, st.integers(0, 16))
def test_written_recipes_are_read_back_unchanged(
    tmp_path_factory, of_a: dict[str, Any], of_b: dict[str, Any], shift: int
) -> None:
    recipes = replace(RECIPE_A, shift=shift, **of_a), replace(RECIPE_B, **of_b)
    file = tmp_path_factory.mktemp("recipe") / "recipe.json"
    file.write_text(json.dumps(as_file(recipes)))
    assert read_recipes([file]) == recipes


def test_a_file_has_no_value_that_is_set_by_an_option() -> None:
    content = as_file((replace(RECIPE_A, epochs=3, seed=7, precision="bfloat16"), RECIPE_B))
    assert [*content] == ["a", "b"]
    names = {"widths", "units", "dropout", "batch_size", "learning_rate", "warmup"}
    assert content["a"].keys() == content["b"].keys() == names | {"weight_decay", "label_smoothing", "shift"}
    assert content["b"]["widths"] == [48, 96, 192, 256]


def test_a_recipe_can_be_converted_to_json_and_back() -> None:
    recipe = Recipe(widths=(4, 4, 8, 8), dropout=(0.0, 0.3), epochs=3, precision="bfloat16", seed=5)
    assert Recipe(**from_json(json.loads(json.dumps(as_json(recipe))))) == recipe


def test_only_other_recipes_than_the_packages_own_need_an_option() -> None:
    own = {part: as_json(replace(recipe, epochs=3, seed=7)) for part, recipe in (("a", RECIPE_A), ("b", RECIPE_B))}
    assert recipe_option(own) == []
    assert recipe_option(json.loads(json.dumps(own))) == []
    for part in "ab":
        assert recipe_option(own | {part: own[part] | {"batch_size": 64}}) == ["--recipe", "recipe.json"]

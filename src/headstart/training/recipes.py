"""Recipes with checked values, and files that change them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from headstart.errors import InvalidRequest
from headstart.practical import recipe as practical
from headstart.storage.schema import read_json

PRECISIONS = ("float32", "bfloat16")
LARGEST_LAYER = 2048  # channels or units
HIGHEST_SEED = 2**31 - 1
RECIPE_SCHEMA = {str: (str, bool, float, [float])}
RECIPE_FILE = "recipe.json"  # in the folder of a run or a study
SET_BY_OPTIONS = ("epochs", "seed", "precision")  # of a command, not by a recipe file


@dataclass(frozen=True)
class Recipe(practical.Recipe):
    """How a network is built and trained; the practical's recipe, with every value checked.

    Args:
        widths: Channels of conv1 to conv4, four whole numbers from 1 to 2048.
        units: Outputs of fc1, from 1 to 2048.
        dropout: Rates before fc1 and before fc2, each from 0 up to but not including 1.
        epochs: Passes over the training images, at least 1.
        batch_size: Images in a step, at least 1. With few images, an epoch has eight steps.
        learning_rate: The highest one, above 0.
        warmup: The part of the training in which the learning rate rises, from 0 up to but not including 1.
        weight_decay: At least 0. A step makes each weight smaller by this part, times the learning rate.
        label_smoothing: From 0 up to but not including 1.
        shift: Pixels by which images are shifted at random, from 0 to 16; 0 where layers are frozen.
        precision: "float32" or "bfloat16".
        seed: From 0 to 2**31 - 1.

    Raises:
        InvalidRequest: A value is out of its range; the message names it, the value and the rule.
    """

    def __post_init__(self) -> None:
        whole = {"units": LARGEST_LAYER, "epochs": None, "batch_size": None}
        for name, most in whole.items():
            require(self, name, is_whole(getattr(self, name), 1, most), f"a whole number from 1{upto(most)}")
        sizes = isinstance(self.widths, tuple) and len(self.widths) == 4
        sizes = sizes and all(is_whole(width, 1, LARGEST_LAYER) for width in self.widths)
        require(self, "widths", sizes, f"four whole numbers from 1 to {LARGEST_LAYER}")
        rates = isinstance(self.dropout, tuple) and len(self.dropout) == 2 and all(map(is_share, self.dropout))
        require(self, "dropout", rates, "two rates from 0 up to but not including 1")
        require(self, "learning_rate", is_number(self.learning_rate) and self.learning_rate > 0, "a number above 0")
        require(self, "weight_decay", is_number(self.weight_decay) and self.weight_decay >= 0, "a number of 0 or more")
        for name in ("warmup", "label_smoothing"):
            require(self, name, is_share(getattr(self, name)), "a number from 0 up to but not including 1")
        require(self, "shift", is_whole(self.shift, 0, 16), "a whole number of pixels from 0 to 16")
        require(self, "precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        require(self, "seed", is_whole(self.seed, 0, HIGHEST_SEED), f"a whole number from 0 to {HIGHEST_SEED}")


def require(recipe: Recipe, name: str, holds: bool, rule: str) -> None:
    """Raise InvalidRequest unless the rule for a value holds.

    Args:
        recipe: The recipe.
        name: The value's name.
        holds: Whether the value follows the rule.
        rule: The rule, for the message.
    """
    if not holds:
        raise InvalidRequest(f"give {rule}", option=f"recipe.{name}", value=getattr(recipe, name))


def upto(most: int | None) -> str:
    """Return the end of a range in words."""
    return f" to {most}" if most else " upwards"


def is_whole(value: Any, least: int, most: int | None) -> bool:
    """Check whether the value is a whole number in this range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= (most or value)


def is_number(value: Any) -> bool:
    """Check whether the value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_share(value: Any) -> bool:
    """Check whether the value is a number from 0 up to but not including 1."""
    return is_number(value) and 0 <= value < 1


RECIPE_A = Recipe(**vars(practical.RECIPE_A))
RECIPE_B = Recipe(**vars(practical.RECIPE_B))
Recipes = tuple[Recipe, Recipe]  # part A's and part B's


def read_recipes(files: Iterable[str | Path]) -> Recipes:
    """Return the recipes of parts A and B: the package's own, changed by files. A later file overrides an earlier one.

    Args:
        files: JSON files with `{"a": {...}}`, `{"b": {...}}` or both; each object holds some of Recipe's values. The
            `best.json` of a search is such a file.

    Raises:
        InvalidRequest: A file cannot be read, or a value is unknown or out of its range.
    """
    recipes = {"a": RECIPE_A, "b": RECIPE_B}
    known = [field.name for field in fields(Recipe) if field.name not in SET_BY_OPTIONS]
    for file in files:
        try:
            content = read_json(Path(file), {str: {str: (bool, float, [float], str)}})
            if not content or content.keys() - recipes.keys():
                raise ValueError(f'give {{"a": {{...}}}}, {{"b": {{...}}}} or both, not {json.dumps([*content])}')
            for part, changes in content.items():
                if unknown := [name for name in changes if name not in known]:
                    raise ValueError(f"{part}: {unknown[0]!r} is none of {', '.join(known)}")
                recipes[part] = replace(recipes[part], **from_json(changes))
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{file}: {error}") from None
    recipe_a, recipe_b = recipes.values()
    check_recipes(recipe_a, recipe_b)
    return recipe_a, recipe_b


def from_json(values: dict[str, Any]) -> dict[str, Any]:
    """Convert a recipe's values from JSON, which has lists instead of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def check_recipes(recipe_a: Recipe, recipe_b: Recipe) -> None:
    """Check that a network with the first recipe can be transferred to part B with the second one.

    Args:
        recipe_a: Part A's.
        recipe_b: Part B's. It must have the same sizes and a shift of 0.

    Raises:
        InvalidRequest: The recipes do not fit together.
    """
    for name in ("widths", "units"):
        if (of_a := getattr(recipe_a, name)) != (of_b := getattr(recipe_b, name)):
            raise InvalidRequest(
                f"recipe: {name} is {of_a} for part A and {of_b} for part B: give equal values, because weights are "
                "copied"
            )
    if recipe_b.shift:
        raise InvalidRequest(
            f"recipe: shift={recipe_b.shift} for part B: give 0, because the frozen layers' output is computed once "
            "for each image, unchanged and mirrored"
        )


def as_json(recipe: Recipe) -> dict[str, Any]:
    """Convert a recipe to JSON's types."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(recipe).items()}


def as_file(recipes: Recipes) -> dict[str, dict[str, Any]]:
    """Return the content of a recipe file: all values that are not set by options of a command."""
    return {
        part: {name: value for name, value in as_json(recipe).items() if name not in SET_BY_OPTIONS}
        for part, recipe in zip("ab", recipes, strict=True)
    }


def recipe_option(stored: dict[str, dict[str, Any]]) -> list[str]:
    """Return the command-line option that gives stored recipes.

    Args:
        stored: The content of a recipe file.

    Returns:
        Two words of the command; none if the recipes are the package's own.
    """
    own = as_file((RECIPE_A, RECIPE_B))
    same = all(stored[part].get(name) == value for part in own for name, value in own[part].items())
    return [] if same else ["--recipe", RECIPE_FILE]

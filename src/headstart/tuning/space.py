"""The space of recipes that is searched."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FixedTrial

from headstart.errors import InvalidRequest
from headstart.training.cost import layer_work
from headstart.training.recipes import RECIPE_A, RECIPE_B, Recipe

# The network whose work is 1; it has 0.17 of the multiplications of the package's own.
STANDARD = replace(RECIPE_A, widths=(32, 32, 64, 64))
MAX_WORK = 8.0  # a network with more is not trained; the package's own has 5.7
WIDTHS = {
    "-".join(map(str, widths)): widths
    for widths in [
        (32, 32, 64, 64),
        (32, 64, 96, 128),
        (32, 64, 128, 256),
        (48, 96, 160, 224),
        (48, 96, 192, 256),
        (64, 128, 192, 256),
    ]
}


def suggest(trial: optuna.Trial, part: str) -> Recipe:
    """Suggest a recipe. Part B has A's network, so only the training is searched.

    Args:
        trial: Optuna's trial.
        part: "a" or "b".
    """
    training: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 6e-3, log=True),
        "warmup": trial.suggest_float("warmup", 0.05, 0.4),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256]),
        "label_smoothing": trial.suggest_categorical("label_smoothing", [0.0, 0.05, 0.1]),
        "weight_decay": trial.suggest_categorical("weight_decay", [0.0, 0.01, 0.1]),
        "dropout": tuple(
            trial.suggest_float(f"dropout_{place}", 0.0, highest, step=0.05)
            for place, highest in (("fc1", 0.5), ("fc2", 0.6))
        ),
    }
    if part == "b":
        return replace(RECIPE_B, **training)
    return replace(
        RECIPE_A,
        **training,
        shift=trial.suggest_int("shift", 0, 4, step=2),
        widths=WIDTHS[trial.suggest_categorical("widths", list(WIDTHS))],
        units=trial.suggest_categorical("units", [256, 512]),
    )


def current_recipe(part: str) -> dict[str, Any]:
    """Return the parameters of the package's own recipe, which is tried first."""
    recipe = RECIPE_A if part == "a" else RECIPE_B
    fc1, fc2 = recipe.dropout
    parameters: dict[str, Any] = {"dropout_fc1": fc1, "dropout_fc2": fc2}
    names = ["learning_rate", "warmup", "batch_size", "label_smoothing", "weight_decay"]
    if part == "a":
        names += ["shift", "units"]
        parameters["widths"] = "-".join(map(str, recipe.widths))
    return parameters | {name: getattr(recipe, name) for name in names}


def change_recipe(changes: str, part: str) -> dict[str, Any]:
    """Return the parameters of the package's own recipe with changes.

    Args:
        changes: JSON such as '{"batch_size": 64}'.
        part: "a" or "b".

    Raises:
        InvalidRequest: A parameter or a value is not in the space that is searched.
    """
    current = current_recipe(part)
    try:
        changed = json.loads(changes)
        if not isinstance(changed, dict) or changed.keys() - current.keys():
            raise ValueError(f"give an object of some of these: {', '.join(current)}")
        trial: Any = FixedTrial(current | changed)  # has the methods of a Trial
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # for a number out of its range, Optuna only warns
            suggest(trial, part)
    except (ValueError, RecursionError, UserWarning) as error:
        raise InvalidRequest(str(error), option="try", value=changes) from None
    return current | changed


def relative_work(recipe: Recipe) -> float:
    """Return the multiplications of a recipe's network, relative to the standard one."""
    return float(layer_work(recipe).sum() / layer_work(STANDARD).sum())

"""The recipes among which is searched."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headstart.cost import layer_work
from headstart.errors import BadRequest
from headstart.practical.optimizer import OPTIMIZERS
from headstart.practical.recipe import RECIPE_A, RECIPE_B, Recipe

if TYPE_CHECKING:
    import optuna

# The network that work is counted by:
STANDARD = Recipe(widths=(32, 32, 64, 64), strides=(1, 1, 1, 1), pools=(2, 4), units=512)
MOST_WORK = 1.4  # times its multiplications: a slower network has to be refused
WIDTHS = {
    "-".join(map(str, widths)): widths
    for widths in [
        (32, 32, 64, 64),
        (32, 64, 96, 128),
        (32, 64, 128, 128),
        (32, 64, 128, 256),
        (32, 96, 128, 128),
        (48, 96, 160, 224),
        (48, 96, 192, 256),
        (64, 64, 128, 128),
    ]
}
HALVINGS: dict[str, dict[str, Any]] = {  # where the picture is halved: pools and strides
    "pools 2 and 4": {"pools": (2, 4), "strides": (1, 1, 1, 1)},
    "pools 1 and 3": {"pools": (1, 3), "strides": (1, 1, 1, 1)},
    "pools 1 and 2": {"pools": (1, 2), "strides": (1, 1, 1, 1)},
    "pools 1 and 4, conv3": {"pools": (1, 4), "strides": (1, 1, 2, 1)},
    "pools 1 and 2, conv4": {"pools": (1, 2), "strides": (1, 1, 1, 2)},
}
AVERAGING = [0.0, 0.99, 0.998]  # how much of the mean of the weights stays in a step; with 0 they are not averaged


def suggest_averaging(trial: optuna.Trial) -> float:
    """What is tried on part A beside its recipe, in which the averaging of weights has no place."""
    return float(trial.suggest_categorical("averaging", AVERAGING))


def suggest(trial: optuna.Trial, part: str) -> Recipe:
    """A recipe from the space that is searched. B has A's network: only its training is open."""
    training: dict[str, Any] = {
        "optimizer": trial.suggest_categorical("optimizer", list(OPTIMIZERS)),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 6e-3, log=True),
        "warmup": trial.suggest_float("warmup", 0.05, 0.4),
        "decay": trial.suggest_categorical("decay", ["cosine", "linear"]),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256]),
        "label_smoothing": trial.suggest_categorical("label_smoothing", [0.0, 0.05, 0.1]),
        "weight_decay": trial.suggest_categorical("weight_decay", [0.0, 0.01, 0.1]),
        "dropout": tuple(
            trial.suggest_float(f"dropout_{place}", 0.0, most, step=0.05)
            for place, most in (("pool1", 0.2), ("fc1", 0.5), ("fc2", 0.6))
        ),
        "mirror": trial.suggest_categorical("mirror", [True, False]),
    }
    if part == "b":
        return replace(RECIPE_B, **training)
    return replace(
        RECIPE_A,
        **training,
        shift=trial.suggest_int("shift", 0, 4, step=2),
        widths=WIDTHS[trial.suggest_categorical("widths", list(WIDTHS))],
        **HALVINGS[trial.suggest_categorical("halvings", list(HALVINGS))],
        units=trial.suggest_categorical("units", [256, 512]),
        initialisation=trial.suggest_categorical("initialisation", ["glorot_uniform", "he_normal"]),
    )


def first_guess(part: str) -> dict[str, Any]:
    """The parameters of the recipe that stands, with which the search begins."""
    recipe = RECIPE_A if part == "a" else RECIPE_B
    pool1, fc1, fc2 = recipe.dropout
    guess: dict[str, Any] = {"dropout_pool1": pool1, "dropout_fc1": fc1, "dropout_fc2": fc2}
    names = ["optimizer", "learning_rate", "warmup", "decay", "batch_size", "label_smoothing", "weight_decay", "mirror"]
    if part == "a":
        halvings = {"pools": recipe.pools, "strides": recipe.strides}
        names += ["shift", "units", "initialisation"]
        guess |= {"widths": name_of(WIDTHS, recipe.widths), "halvings": name_of(HALVINGS, halvings), "averaging": 0.0}
    return guess | {name: getattr(recipe, name) for name in names}


def change_guess(changes: str, part: str) -> dict[str, Any]:
    """The parameters of the first guess, some of them changed by JSON such as `{"batch_size": 64}`.

    Raises BadRequest unless they are parameters that are searched, and values among which is searched.
    """
    from optuna.trial import FixedTrial

    guess = first_guess(part)
    try:
        changed = json.loads(changes)
        if not isinstance(changed, dict) or changed.keys() - guess.keys():
            raise ValueError(f"give an object of some of these: {', '.join(guess)}")
        trial: Any = FixedTrial(guess | changed)  # it stands in for a trial
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a number out of its range, of which Optuna only warns
            suggest(trial, part)
            if part == "a":
                suggest_averaging(trial)
    except (ValueError, RecursionError, UserWarning) as error:
        raise BadRequest(f"--try {changes}: {error}") from None
    return guess | changed


def name_of(choices: dict[str, Any], value: Any) -> str:
    """The name of one of the choices."""
    return next(name for name, choice in choices.items() if choice == value)


def relative_work(recipe: Recipe) -> float:
    """Multiplications of a recipe's network, as a part of the standard one's."""
    return float(layer_work(recipe).sum() / layer_work(STANDARD).sum())

"""Write the results of a search from its journal: tables, the best recipe and a figure."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.trial import TrialState

from headstart.storage.files import write_atomically, write_json, write_text
from headstart.style import BLUE, ORANGE, add_heading, drawing
from headstart.training.recipes import SET_BY_OPTIONS
from headstart.tuning.space import MAX_WORK, current_recipe

FILES = ("trials.csv", "best.json", "search.json", "tuning.png")


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that have ended.

    A failed trial counts only if its recipe is not tried again. A trial whose network would be too slow does not count.
    """
    trials = study.get_trials(deepcopy=False)
    tried_again = {trial.user_attrs.get("instead_of") for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state.is_finished() and trial.number not in tried_again and trial.user_attrs.get("work", 0) <= MAX_WORK
    ]


def completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that were trained to their end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """Return `trials.csv`: a row for each ended trial.

    The accuracy is empty if the trial was stopped early or failed. `gap` is the training accuracy minus the validation
    accuracy after the last epoch.
    """
    rows = [
        {
            "trial": trial.number,
            "state": "failed" if trial.state == TrialState.FAIL else trial.state.name.lower(),
            # For a stopped trial, Optuna's value is the last reported one.
            "validation_accuracy": trial.value if trial.state == TrialState.COMPLETE else None,
            "gap": trial.user_attrs.get("gap"),
            "work": trial.user_attrs.get("work"),
            "seconds": trial.user_attrs.get("seconds"),
            **trial.params,
        }
        for trial in ended(study)
    ]
    return pd.DataFrame(rows)


def write_results(study: optuna.Study, settings: dict[str, Any], data_name: str, folder: Path) -> None:
    """Write all files that are made from the journal.

    `best.json` is a recipe file, and `search.json` describes the search that found it. Part B has A's network. So the
    best recipe of part A contains the sizes for both parts.

    Args:
        study: The search.
        settings: Everything that determines a recipe's accuracy.
        data_name: The dataset's name.
        folder: Where.
    """
    write_text(folder / "trials.csv", trial_table(study).to_csv(index=False, lineterminator="\n"))
    complete = completed(study)
    if not complete:
        return
    best = study.best_trial
    recipe = {name: value for name, value in best.user_attrs["recipe"].items() if name not in SET_BY_OPTIONS}
    sizes = {"b": {name: recipe[name] for name in ("widths", "units")}} if settings["part"] == "a" else {}
    write_json(folder / "best.json", {settings["part"]: recipe, **sizes})
    found = {"trial": best.number, "validation_accuracy": best.value}
    write_json(folder / "search.json", {"search": {**settings, "dataset": data_name}, "best": found})
    if len(complete) >= 8:
        with drawing([data_name]):
            figure = plot_search(study, current_recipe(settings["part"]), data_name)
            write_atomically(folder / "tuning.png", lambda file: figure.savefig(file, format="png", dpi=110))


def plot_search(study: optuna.Study, current: dict[str, Any], data_name: str) -> Figure:
    """Plot the importance of each parameter, and the accuracy of each trial.

    The accuracy is plotted by the work of a training step. On part B, all networks have equal work, and it is plotted
    by the learning rate.

    Args:
        study: The search.
        current: The parameters of the current recipe, which is marked.
        data_name: The dataset's name.
    """
    complete, importances = completed(study), dict[str, float]()
    # Not Optuna's default, because it compares the best tenth with the rest. Of few trials, that is two.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with suppress(RuntimeError):  # all recipes have the same accuracy
        importances = optuna.importance.get_param_importances(study, evaluator=evaluator)
    columns = 2 if importances else 1
    figure, axes = plt.subplots(1, columns, figsize=(5.5 * columns, 4.5), squeeze=False)
    left, right = axes[0, 0], axes[0, -1]
    if importances:
        left.barh(list(importances)[::-1], list(importances.values())[::-1], color=BLUE)
        left.set_xlabel("share of the variance in accuracy")
    x, label = [trial.user_attrs["work"] for trial in complete], "work of a training step (32-32-64-64 channels: 1)"
    if len(set(x)) == 1:  # a search on part B, which has A's network
        x, label = [trial.params["learning_rate"] for trial in complete], "highest learning rate"
        right.set_xscale("log")
        right.minorticks_off()
        right.set_xticks([0.0005, 0.001, 0.002, 0.005], ["0.0005", "0.001", "0.002", "0.005"])
    accuracy = [100 * float(trial.value or 0) for trial in complete]
    right.scatter(x, accuracy, color=BLUE, label="a trial")
    for number in [number for number, trial in enumerate(complete) if trial.params == current][:1]:
        right.scatter(x[number], accuracy[number], color=ORANGE, marker="s", label="the current recipe")
    right.set(xlabel=label, ylabel="validation accuracy (%)")
    right.legend()
    right.grid(alpha=0.3)
    return add_heading(figure, f"{len(complete)} recipes", data_name)


def read_best(folder: Path) -> dict[str, Any]:
    """Return the content of `best.json` and `search.json` together."""
    files = (folder / name for name in ("best.json", "search.json"))
    best, search = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    return {**best, **search}

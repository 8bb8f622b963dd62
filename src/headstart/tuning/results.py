"""What a search leaves: `trials.csv`, `best.json`, `search.json` and `tuning.png`, all made from its journal."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.trial import TrialState

from headstart.recipes import SET_BY_OPTIONS
from headstart.store import write_json, write_text, write_whole
from headstart.tuning.space import MOST_WORK, current_recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to an end; one that failed, only if its recipe is not tried again.

    Not those that were refused, because their network is too slow to be trained.
    """
    everything = study.get_trials(deepcopy=False)
    tried_again = {trial.user_attrs.get("instead_of") for trial in everything}
    return [
        trial
        for trial in everything
        if trial.state.is_finished()
        and trial.number not in tried_again
        and trial.user_attrs.get("work", 0) <= MOST_WORK
    ]


def completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that were trained to their end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """`trials.csv`: a row a trial that ended; accuracy is empty where it was stopped early or has failed.

    The gap is that between training and validation accuracy after the last epoch.
    """
    rows = [
        {
            "trial": trial.number,
            "state": "failed" if trial.state == TrialState.FAIL else trial.state.name.lower(),
            # Optuna takes the last one that was reported for a stopped trial's value.
            "validation_accuracy": trial.value if trial.state == TrialState.COMPLETE else None,
            "gap": trial.user_attrs.get("gap"),
            "work": trial.user_attrs.get("work"),
            "seconds": trial.user_attrs.get("seconds"),
            **trial.params,
        }
        for trial in ended(study)
    ]
    return pd.DataFrame(rows)


def write_results(study: optuna.Study, asked: dict[str, Any], data: str, folder: Path) -> None:
    """All files that are made from the journal; `asked` is the search, `data` the dataset's name.

    `best.json` is a recipe file, which `--recipe` takes; `search.json` says where its recipe comes from. Part B has A's
    network, so that the best of part A names its sizes for both.
    """
    write_text(folder / "trials.csv", trial_table(study).to_csv(index=False, lineterminator="\n"))
    complete = completed(study)
    if not complete:
        return
    best = study.best_trial
    recipe = {name: value for name, value in best.user_attrs["recipe"].items() if name not in SET_BY_OPTIONS}
    sizes = {"b": {name: recipe[name] for name in ("widths", "units")}} if asked["part"] == "a" else {}
    write_json(folder / "best.json", {asked["part"]: recipe, **sizes})
    found = {"trial": best.number, "validation_accuracy": best.value}
    write_json(folder / "search.json", {"search": {**asked, "dataset": data}, "best": found})
    if len(complete) >= 8:
        figure = plot_search(study, current_recipe(asked["part"]), data)
        write_whole(folder / "tuning.png", lambda file: figure.savefig(file, format="png", dpi=110))


def plot_search(study: optuna.Study, guess: dict[str, Any], data: str) -> Figure:
    """What mattered, and accuracy against work; on part B, where no network costs more, against the learning rate.

    What mattered is left out where no two recipes differ in accuracy. `guess` are the first guess's parameters.
    """
    import matplotlib.pyplot as plt

    from headstart.plots import BLUE, ORANGE, finish

    complete, importances = completed(study), dict[str, float]()
    # Over the whole space that was searched: Optuna's default tells the best tenth from the rest, of few trials two.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with suppress(RuntimeError):  # there are no differences to explain
        importances = optuna.importance.get_param_importances(study, evaluator=evaluator)
    columns = 2 if importances else 1
    figure, axes = plt.subplots(1, columns, figsize=(5.5 * columns, 4.5), squeeze=False)
    left, right = axes[0, 0], axes[0, -1]
    if importances:
        left.barh(list(importances)[::-1], list(importances.values())[::-1], color=BLUE)
        left.set_xlabel("share of the differences in accuracy that it explains")
    x, label = [trial.user_attrs["work"] for trial in complete], "work of a training step (32-32-64-64 channels: 1)"
    if len(set(x)) == 1:  # a search on part B, which has A's network
        x, label = [trial.params["learning_rate"] for trial in complete], "highest learning rate"
        right.set_xscale("log")
        right.minorticks_off()
        right.set_xticks([0.0005, 0.001, 0.002, 0.005], ["0.0005", "0.001", "0.002", "0.005"])
    accuracy = [100 * float(trial.value or 0) for trial in complete]
    right.scatter(x, accuracy, color=BLUE, label="a trial")
    for number in [number for number, trial in enumerate(complete) if trial.params == guess][:1]:
        right.scatter(x[number], accuracy[number], color=ORANGE, marker="s", label="the first guess")
    right.set(xlabel=label, ylabel="validation accuracy (%)")
    right.legend()
    right.grid(alpha=0.3)
    return finish(figure, f"{len(complete)} recipes", data)


def read_best(folder: Path) -> dict[str, Any]:
    """What `best.json` and `search.json` hold."""
    files = (folder / name for name in ("best.json", "search.json"))
    best, search = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    return {**best, **search}

"""What a search leaves: `trials.csv`, `best.json` and `tuning.png`, all made from its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd

from headstart.store import write_json, write_text, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to an end."""
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return study.get_trials(deepcopy=False, states=states)


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """`trials.csv`: a row a trial that ended; accuracy is empty where it was stopped early."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "validation_accuracy": trial.value,
            "gap": trial.user_attrs.get("gap"),
            "work": trial.user_attrs.get("work"),
            "seconds": trial.user_attrs.get("seconds"),
            **trial.params,
        }
        for trial in ended(study)
    ]
    return pd.DataFrame(rows)


def write_results(study: optuna.Study, asked: dict[str, Any], data: str, folder: Path) -> None:
    """All files that are made from the journal; `asked` is the search, `data` the dataset's name."""
    write_text(folder / "trials.csv", trial_table(study).to_csv(index=False, lineterminator="\n"))
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        return
    best = study.best_trial
    content = {
        "search": {**asked, "dataset": data},
        "trial": best.number,
        "validation_accuracy": best.value,
        "recipe": best.user_attrs["recipe"],
    }
    write_json(folder / "best.json", content)
    if len(complete) >= 8:
        figure = plot_search(study, complete, data)
        write_whole(folder / "tuning.png", lambda file: figure.savefig(file, format="png", dpi=110))


def plot_search(study: optuna.Study, complete: list[optuna.trial.FrozenTrial], data: str) -> Figure:
    """What mattered, and accuracy against work; on part B, where no network costs more, against the learning rate."""
    import matplotlib.pyplot as plt

    from headstart.practical.figures import BLUE, ORANGE, finish

    # Over the whole space that was searched: Optuna's default tells the best tenth from the rest, of few trials two.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    importances = optuna.importance.get_param_importances(study, evaluator=evaluator)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    left.barh(list(importances)[::-1], list(importances.values())[::-1], color=BLUE)
    left.set_xlabel("share of the differences in accuracy that it explains")
    x, label = [trial.user_attrs["work"] for trial in complete], "work of a training step (32-32-64-64 and 512: 1)"
    if len(set(x)) == 1:  # a search on part B, which has A's network
        x, label = [trial.params["learning_rate"] for trial in complete], "highest learning rate"
        right.set_xscale("log")
        right.minorticks_off()
        right.set_xticks([0.0005, 0.001, 0.002, 0.005], ["0.0005", "0.001", "0.002", "0.005"])
    accuracy = [100 * float(trial.value or 0) for trial in complete]
    right.scatter(x, accuracy, color=BLUE, label="a trial")
    right.scatter(x[0], accuracy[0], color=ORANGE, marker="s", label="the first guess")
    right.set(xlabel=label, ylabel="validation accuracy (%)")
    right.legend()
    right.grid(alpha=0.3)
    return finish(figure, f"{len(complete)} recipes", data)


def read_best(folder: Path) -> dict[str, Any]:
    """What `best.json` holds."""
    content: dict[str, Any] = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    return content

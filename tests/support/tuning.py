"""What tests of a search need: trials with made-up accuracies, and a search that trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.training.recipes import as_json

if TYPE_CHECKING:
    import optuna


def add_trials(study: optuna.Study, part: str, accuracies: list[float], steps: range = range(0)) -> None:
    """Add trials that ended with these accuracies, and reported them in all these steps."""
    from headstart.tuning.space import relative_work, suggest

    for accuracy in accuracies:
        trial = study.ask()
        recipe = suggest(trial, part)
        trial.set_user_attr("work", relative_work(recipe))
        trial.set_user_attr("recipe", as_json(recipe))
        for step in steps:
            trial.report(accuracy, step)
        study.tell(trial, accuracy)


def end_at_once(trial: optuna.Trial, *_: Any) -> float:
    """Stand in for `try_recipe`, without training."""
    trial.set_user_attr("seconds", 1.0)
    trial.set_user_attr("gap", 0.0)
    return 0.5

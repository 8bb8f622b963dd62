"""Whose turn it is: the journal that the processes of a search share, and which trial each of them is at.

Two locks that the system frees with their process, however it ends: the **turn**, under which trials are given out and
told of, and one for each trial that somebody is at. Who is at a trial waits for the turn; who has the turn never waits
for a trial that another is at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from headstart.errors import BadRequest
from headstart.strategies import STRATEGIES
from headstart.tuning.results import ended
from headstart.tuning.space import current_recipe

MOST_FAILURES = 2  # a kill or an error may be chance; twice with one recipe, it is the recipe's


class Claimed(NamedTuple):
    """A trial to be done, the lock that says somebody is at it, and which it is of all."""

    trial: optuna.Trial
    at_work: AbstractContextManager[Any]
    place: int


class JournalLock(JournalFileSymlinkLock):
    """Optuna's lock of the journal; who holds it finds the last line whole.

    A full disk may have left a part of one, which the next append would join. Only here is it certain that nobody is
    writing it just now: who is at a trial appends without having the turn.
    """

    def __init__(self, journal: Path):
        # The lock is a symbolic link, whose target's age tells whether it was left by a process that was killed:
        # a relative one leads nowhere.
        self.journal = journal.resolve()
        super().__init__(str(self.journal))

    def acquire(self) -> bool:
        """Wait for the lock, and mend the journal."""
        super().acquire()
        try:
            with self.journal.open("rb+") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                if file.read() not in (b"", b"\n"):
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
        except BaseException:
            self.release()
            raise
        return True


def open_study(folder: Path, part: str, epochs: int) -> optuna.Study:
    """The folder's search as Optuna has it; of another part, too, which `join` refuses."""
    lock = JournalLock(folder / "journal.log")
    # In epochs, the first of which is 0; on part B in networks, where only a whole pair can be compared.
    warm_up = max(0, epochs // 2 - 1) if part == "a" else len(STRATEGIES)
    return optuna.create_study(
        study_name="recipe",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(lock.journal), lock)),
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=12),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=warm_up),
    )


def join(study: optuna.Study, asked: dict[str, Any], folder: Path) -> None:
    """Begin the search, or make sure that the folder's is the same. Raises BadRequest if it is another."""
    held = study.user_attrs.get("search")
    if held is None:
        # In this order: between the two, a kill would lose the first guess.
        study.enqueue_trial(current_recipe(asked["part"]), skip_if_exists=True)
        study.set_user_attr("search", asked)
    elif held.get("by") != asked["by"]:
        raise BadRequest(f"--out {folder}: it holds a search by other code ({held.get('by')}); name another folder")
    elif held != asked:
        others = ", ".join(f"{name} {held.get(name)}" for name in asked if held.get(name) != asked[name])
        raise BadRequest(f"--out {folder}: it holds another search ({others}); ask for that, or name another folder")


def claim(
    study: optuna.Study, trials: int, folder: Path, turn: FileLock, say: Callable[[str], object]
) -> Claimed | None:
    """The next trial; None when the search has all its trials.

    Where others are at the last ones it waits for them: what a killed process leaves falls to those who wait.
    """
    waiting = False
    while True:
        with turn:
            at_work = take_up(study, folder)
            done = len(ended(study))
            if done >= trials:
                return None
            if done + at_work < trials:
                trial = study.ask()
                return Claimed(trial, trial_lock(folder, trial.number).acquire(), done + at_work + 1)
        if not waiting:
            say(f"waiting for {at_work} trial{'s' * (at_work > 1)} that other processes are at")
        waiting = True
        time.sleep(1)


def take_up(study: optuna.Study, folder: Path) -> int:
    """What killed processes were trying waits to be tried again. How many trials somebody is at. It needs the turn."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        with suppress(Timeout), trial_lock(folder, trial.number).acquire(timeout=0):
            fail(study, trial.number)
    return len(study.get_trials(states=(TrialState.RUNNING,)))


def fail(study: optuna.Study, number: int, blamed: bool = True) -> bool:
    """Tell that a trial has failed. Whether its recipe waits to be tried again, as it does until it is given up.

    It needs the turn and the trial's lock.
    """
    everything = study.get_trials(deepcopy=False)
    trial = everything[number]
    failures: int = trial.user_attrs.get("failures", 0) + blamed
    again = failures < MOST_FAILURES
    if again and not any(other.user_attrs.get("instead_of") == number for other in everything):
        # All of it: one that was killed while it was suggested has only a part of its parameters.
        parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(parameters, user_attrs={"instead_of": number, "failures": failures})
    study.tell(number, state=TrialState.FAIL)
    return again


def trial_lock(folder: Path, number: int) -> FileLock:
    """Held as long as somebody is at the trial."""
    return FileLock(folder / f".trial-{number}.lock")

"""Whose turn it is: the journal that the processes of a search share, and which trial each of them is at.

Two locks that the system frees with their process, however it ends: the **turn**, under which trials are given out and
told of, and one for each trial that somebody is at. Who is at a trial waits for the turn; who has the turn never waits
for a trial that another is at.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from headstart.errors import BadRequest
from headstart.tuning.results import ended
from headstart.tuning.space import first_guess


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


def open_study(folder: Path, epochs: int) -> optuna.Study:
    """The folder's search as Optuna has it; of another part, too, which `join` refuses."""
    lock = JournalLock(folder / "journal.log")
    return optuna.create_study(
        study_name="recipe",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(lock.journal), lock)),
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=12),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=max(0, epochs // 2 - 1)),
    )


def join(study: optuna.Study, asked: dict[str, Any], folder: Path) -> None:
    """Begin the search, or make sure that the folder's is the same. Raises BadRequest if it is another."""
    held = study.user_attrs.get("search")
    if held is None:
        # In this order: between the two, a kill would lose the first guess.
        study.enqueue_trial(first_guess(asked["part"]), skip_if_exists=True)
        study.set_user_attr("search", asked)
    elif held != asked:
        others = ", ".join(f"{name} {held.get(name)}" for name in asked if held.get(name) != asked[name])
        raise BadRequest(f"--out {folder}: it holds another search ({others}); ask for that, or name another folder")


def claim(
    study: optuna.Study, trials: int, folder: Path, turn: FileLock
) -> tuple[optuna.Trial, AbstractContextManager[Any]] | None:
    """The next trial and the lock that says somebody is at it; None when the search has all its trials.

    Where others are at the last ones it waits for them: what a killed process leaves falls to those who wait.
    """
    while True:
        with turn:
            at_work = take_up(study, folder)
            done = len(ended(study))
            if done >= trials:
                return None
            if done + at_work < trials:
                trial = study.ask()
                return trial, trial_lock(folder, trial.number).acquire()
        time.sleep(1)


def take_up(study: optuna.Study, folder: Path) -> int:
    """What killed processes were trying waits to be tried again. How many trials somebody is at."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        with suppress(Timeout), trial_lock(folder, trial.number).acquire(timeout=0):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return len(study.get_trials(states=(TrialState.RUNNING,)))


def trial_lock(folder: Path, number: int) -> FileLock:
    """Held as long as somebody is at the trial: the system frees it with the process, however that ends."""
    return FileLock(folder / f".trial-{number}.lock")

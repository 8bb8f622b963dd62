"""Coordinate the processes of one search: they share a journal, and each works on one trial at a time.

There are two kinds of locks, which the system releases when their process ends. A process holds the *search lock* to
take a trial or to record its result. Each trial has a lock that is held while a process works on it. A process that
works on a trial may wait for the search lock. A process that holds the search lock never waits for another trial's
lock, so there is no deadlock.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from headstart.errors import InvalidRequest
from headstart.training.strategies import STRATEGIES
from headstart.tuning.results import ended
from headstart.tuning.space import current_recipe

MAX_FAILURES = 2  # one kill or error may be an accident; a second one is attributed to the recipe

logger = logging.getLogger(__name__)


class Claimed(NamedTuple):
    """A trial to work on, its lock, and its number among all trials."""

    trial: optuna.Trial
    lock: AbstractContextManager[Any]
    number: int


class JournalLock(JournalFileSymlinkLock):
    """Optuna's lock of the journal. It also repairs an incomplete last line, which a full disk may have left.

    The next line would be appended to the incomplete one. The repair needs this lock, because processes append to the
    journal without the search lock.

    Args:
        journal: The journal file.
    """

    def __init__(self, journal: Path):
        # The lock is a symbolic link, and the age of its target shows whether a killed process left it. A relative
        # target would not be found.
        self.journal = journal.resolve()
        super().__init__(str(self.journal))

    def acquire(self) -> bool:
        """Wait for the lock, and repair the journal."""
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


def open_search(folder: Path, part: str, epochs: int) -> optuna.Study:
    """Open or create the search in a folder. `attach` checks that it is the same search.

    Args:
        folder: The search's folder, which exists.
        part: "a" or "b".
        epochs: Epochs of each training, which determine when a trial may be stopped.
    """
    lock = JournalLock(folder / "journal.log")
    # Steps are epochs from 0 for part A, and networks for part B, where only complete pairs can be compared.
    warm_up = max(0, epochs // 2 - 1) if part == "a" else len(STRATEGIES)
    return optuna.create_study(
        study_name="recipe",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(lock.journal), lock)),
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=12),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=warm_up),
    )


def attach(study: optuna.Study, settings: dict[str, Any], folder: Path) -> None:
    """Start the search, or check that the folder has the same one.

    Args:
        study: The search.
        settings: Everything that determines a recipe's accuracy.
        folder: For messages.

    Raises:
        InvalidRequest: The folder has another search.
    """
    stored = study.user_attrs.get("search")
    if stored is None:
        # In this order, because a kill between the two calls must not lose the current recipe.
        study.enqueue_trial(current_recipe(settings["part"]), skip_if_exists=True)
        study.set_user_attr("search", settings)
    elif stored.get("by") != settings["by"]:
        rule = f"the folder has a search by other code ({stored.get('by')}); name another folder"
        raise InvalidRequest(rule, option="out", value=folder)
    elif stored != settings:
        others = ", ".join(f"{name} {stored.get(name)}" for name in settings if stored.get(name) != settings[name])
        rule = f"the folder has another search ({others}); give the same options, or name another folder"
        raise InvalidRequest(rule, option="out", value=folder)


def claim_trial(study: optuna.Study, trials: int, folder: Path, lock: FileLock) -> Claimed | None:
    """Take the next trial, and lock it.

    If other processes are working on the last trials, wait for them. If one of them is killed, its trial is taken here.

    Args:
        study: The search.
        trials: How many trials the search should have.
        folder: The search's folder.
        lock: The search lock, which this process does not hold yet.

    Returns:
        The trial; None when the search has all its trials.
    """
    waiting = False
    while True:
        with lock:
            running = requeue_orphans(study, folder)
            done = len(ended(study))
            if done >= trials:
                return None
            if done + running < trials:
                trial = study.ask()
                return Claimed(trial, trial_lock(folder, trial.number).acquire(), done + running + 1)
        if not waiting:
            logger.info("waiting for %s trial(s) of other processes", running)
        waiting = True
        time.sleep(1)


def requeue_orphans(study: optuna.Study, folder: Path) -> int:
    """Queue the trials of killed processes again, and count the running ones. The caller holds the search lock.

    Args:
        study: The search.
        folder: The search's folder.

    Returns:
        How many trials are running.
    """
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        with suppress(Timeout), trial_lock(folder, trial.number).acquire(timeout=0):
            record_failure(study, trial.number)
    return len(study.get_trials(states=(TrialState.RUNNING,)))


def record_failure(study: optuna.Study, number: int, caused_by_recipe: bool = True) -> bool:
    """Record that a trial failed, and queue its recipe again unless it has failed too often.

    The caller holds the search lock and the trial's lock.

    Args:
        study: The search.
        number: The trial's number.
        caused_by_recipe: False for Ctrl-C or a full disk, which do not count as failures of the recipe.

    Returns:
        Whether the recipe will be tried again.
    """
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    failures: int = trial.user_attrs.get("failures", 0) + caused_by_recipe
    again = failures < MAX_FAILURES
    if again and not any(other.user_attrs.get("instead_of") == number for other in trials):
        # Both, because a process that was killed during the suggestion has stored only some of the parameters.
        parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(parameters, user_attrs={"instead_of": number, "failures": failures})
    study.tell(number, state=TrialState.FAIL)
    return again


def trial_lock(folder: Path, number: int) -> FileLock:
    """Return the lock that is held while a process works on this trial."""
    return FileLock(folder / f".trial-{number}.lock")

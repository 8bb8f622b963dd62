"""Several processes share a search, and one of them may be killed at any time."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from filelock import FileLock, Timeout

from headstart.errors import InvalidRequest
from headstart.tuning.coordination import (
    JournalLock,
    attach,
    claim_trial,
    open_search,
    record_failure,
    requeue_orphans,
    trial_lock,
)
from headstart.tuning.objective import Search
from headstart.tuning.results import ended
from headstart.tuning.search import search_recipe
from headstart.tuning.space import current_recipe
from support.runs import command

# Trials


def test_the_trial_of_a_killed_process_is_tried_again_once(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25, "y": 0.75})
    study.ask().suggest_float("x", 0, 1)  # and not y yet
    others = study.ask()
    with trial_lock(tmp_path, others.number):
        assert requeue_orphans(study, tmp_path) == 1
        assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "WAITING"]
        assert ended(study) == []
        again = study.ask()
        assert (again.suggest_float("x", 0, 1), again.suggest_float("y", 0, 1)) == (0.25, 0.75)
        assert requeue_orphans(study, tmp_path) == 1
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "FAIL"]  # it ended two processes
    assert [trial.number for trial in ended(study)] == [again.number]


def test_only_failures_caused_by_the_recipe_are_counted() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    again = [
        record_failure(study, study.ask().number, caused_by_recipe) for caused_by_recipe in (False, True, False, True)
    ]
    assert again == [True, True, True, False]


@pytest.mark.parametrize(
    "write", [lambda study, folder: attach(study, {"part": "a"}, folder), requeue_orphans], ids=["attach", "requeue"]
)
def test_a_kill_between_two_lines_of_the_journal_keeps_the_recipe_once(
    write: Callable[[optuna.Study, Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_die(step: Callable[..., object]) -> Callable[..., object]:
        def do(*given: Any, **options: Any) -> None:
            step(*given, **options)
            raise KeyboardInterrupt

        return do

    study = optuna.create_study()
    if write is requeue_orphans:
        study.enqueue_trial(current_recipe("a"))
        study.ask()
    with monkeypatch.context() as patch:
        for step in ("enqueue_trial", "set_user_attr", "tell"):
            patch.setattr(study, step, then_die(getattr(study, step)))
        with pytest.raises(KeyboardInterrupt):
            write(study, tmp_path)
    write(study, tmp_path)
    [waiting] = study.get_trials(states=[optuna.trial.TrialState.WAITING])
    assert waiting.system_attrs["fixed_params"] == current_recipe("a")


def test_a_trial_is_locked_until_its_end_is_recorded(
    search_a: Search, untrained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, ends = optuna.Study.tell, []

    def check(study: optuna.Study, trial: Any, *given: Any, **options: Any) -> Any:
        for lock in (FileLock(tmp_path / ".search.lock"), trial_lock(tmp_path, trial.number)):
            with pytest.raises(Timeout):
                lock.acquire(timeout=0)
        ends.append(trial.number)
        return tell(study, trial, *given, **options)

    monkeypatch.setattr(optuna.Study, "tell", check)
    search_recipe(search_a, tmp_path, trials=2)
    assert ends == [0, 1]


def test_who_waits_for_the_last_trial_takes_it_if_its_process_dies(
    tmp_path: Path, messages: Callable[[], list[str]]
) -> None:
    study, lock = optuna.create_study(), FileLock(tmp_path / "turn")
    dying = FileLock(trial_lock(tmp_path, study.ask().number).lock_file, thread_local=False)
    dying.acquire()

    class Release(logging.Handler):
        """Lets the other process die when it is waited for."""

        def emit(self, record: logging.LogRecord) -> None:
            dying.release()

    logger, handler = logging.getLogger("headstart.tuning.coordination"), Release()
    logger.addHandler(handler)
    try:
        claimed = claim_trial(study, 1, tmp_path, lock)
    finally:
        logger.removeHandler(handler)
    assert messages() == ["waiting for 1 trial(s) of other processes"]
    assert claimed is not None
    assert claimed.number == 1
    with claimed.lock:
        assert requeue_orphans(study, tmp_path) == 1
        study.tell(claimed.trial, 0.5)
    assert claim_trial(study, 1, tmp_path, lock) is None


TUNE = """
import sys, time

import headstart.tuning.search as search
from headstart.cli import main

seconds = float(sys.argv.pop(1))

def try_recipe(trial, *_):
    time.sleep(seconds)
    trial.set_user_attr("seconds", seconds)
    trial.set_user_attr("gap", 0.0)
    return 0.5

search.try_recipe = try_recipe
main()
"""


def test_two_processes_share_a_search_and_a_kill_costs_one_trial(untrained: None, tmp_path: Path) -> None:
    """Nothing is trained; the trial of the process that is killed takes ten minutes."""
    options = ["tune", "--data", "digits", "--epochs", "1", "--precision", "float32", "--out", str(tmp_path)]
    with ExitStack() as stack:
        processes = []
        for seconds in ("600", "0"):
            words = [sys.executable, "-c", TUNE, seconds, *options, "--trials", "3"]
            process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            processes.append(process)
            next(line for line in process.stdout or () if line.startswith("trial"))
        processes[0].kill()
        assert "validation_accuracy" in processes[1].communicate(timeout=300)[0]
    assert processes[1].returncode == 0
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 3
    states = Counter(trial.state.name for trial in open_search(tmp_path, "a", 1).trials)
    assert (states["COMPLETE"], states["FAIL"]) == (3, 1)

    after = command(*options, "--trials", "5")
    places = re.findall(r"^trial \d+, (\d of \d):", after.output, re.MULTILINE)
    assert list(dict.fromkeys(places)) == ["4 of 5", "5 of 5"]


# The journal


def test_a_lock_left_by_a_killed_process_in_a_relative_folder_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("search")
    folder.mkdir()
    open_search(folder, "a", 1)
    JournalLock(folder / "journal.log").acquire()  # and is killed
    start = time.monotonic()

    def fast_clock() -> float:
        seconds = time.monotonic() - start
        assert seconds < 20, "it waits forever"
        return 100 * seconds

    monkeypatch.setattr("optuna.storages.journal._file.time", SimpleNamespace(monotonic=fast_clock, sleep=time.sleep))
    open_search(folder, "a", 1)


@pytest.mark.parametrize("incomplete", ["{", '{"op_code":4,"worker_id":"5c'])
def test_an_incomplete_last_line_of_the_journal_is_repaired(incomplete: str, tmp_path: Path) -> None:
    """Both a process that has the journal open and one that opens it continue."""
    study = open_search(tmp_path, "a", 1)
    joined = open_search(tmp_path, "a", 1)
    study.set_user_attr("before", 1)
    for number in range(2):
        with (tmp_path / "journal.log").open("a") as journal:
            journal.write(incomplete)
        joined.set_user_attr(f"after {number}", 2)
        assert open_search(tmp_path, "a", 1).user_attrs == joined.user_attrs
    assert set(joined.user_attrs) == {"before", "after 0", "after 1"}


def test_a_search_by_other_code_is_refused(tmp_path: Path) -> None:
    study = optuna.create_study()
    attach(study, {"part": "a", "by": "one version"}, tmp_path)
    attach(study, {"part": "a", "by": "one version"}, tmp_path)
    with pytest.raises(InvalidRequest, match=r"has a search by other code \(one version\); name another folder$"):
        attach(study, {"part": "a", "by": "another"}, tmp_path)
    with pytest.raises(InvalidRequest, match=r"has another search \(part a\); give the same options"):
        attach(study, {"part": "b", "by": "one version"}, tmp_path)

from __future__ import annotations

import errno
import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from headstart.datasets.sources import Opened, fingerprint
from headstart.errors import InvalidRequest
from headstart.study.plan import NetworkSpec
from headstart.study.results import ResultStore
from headstart.training.trainer import train
from headstart.tuning import search as search_module
from headstart.tuning.coordination import open_search
from headstart.tuning.objective import Search
from headstart.tuning.results import FILES, ended, read_best
from headstart.tuning.search import hide_test_images, search_recipe
from headstart.tuning.space import current_recipe
from support.runs import command, the_one_line

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

Messages = Callable[[], list[str]]


# Test images are not used


def test_validation_images_are_training_images_of_every_class(digits: Dataset) -> None:
    hidden = hide_test_images(digits, share=0.25)
    everything = Counter(image.tobytes() for image in digits.x_train)
    trained, validation = (Counter(image.tobytes() for image in images) for images in (hidden.x_train, hidden.x_test))
    assert trained + validation == everything
    assert len(hidden.x_test) == 80
    expected = np.bincount(digits.y_train) / 4
    assert np.abs(np.bincount(hidden.y_test) - expected).max() <= 1
    fewer = hide_test_images(digits, share=0.25, images=0.5)
    assert np.array_equal(fewer.x_test, hidden.x_test)
    assert len(fewer.x_train) == 120


@pytest.mark.parametrize("part", ["a", "b"])
def test_the_command_needs_no_test_images(
    part: str, digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without: Any = replace(digits, x_test=None, y_test=None)  # whatever reads them fails
    monkeypatch.setattr("headstart.workflows.open_dataset", lambda *_: Opened(without, "without test images"))
    options = ("--part", part, "--pairs", "4,9", "--epochs", 1, "--trials", 1, "--images", 0.5, "--out", tmp_path)
    ended = command("tune", *options, "--precision", "float32", "--seed", 3)
    assert (ended.status, ended.errors) == (0, "")
    best = read_best(tmp_path)
    assert 0 < best["best"]["validation_accuracy"] <= 1
    assert best["search"]["seed"] == 3
    assert json.loads(ended.output[ended.output.index("{") :]) == best


def test_too_few_images_of_a_class_are_refused(digits: Dataset) -> None:
    def part(kept: np.ndarray) -> Dataset:
        return replace(digits, x_train=digits.x_train[kept], y_train=digits.y_train[kept])

    for few in (np.arange(60), np.flatnonzero((digits.y_train != 9) | (np.cumsum(digits.y_train == 9) <= 3))):
        with pytest.raises(InvalidRequest, match=r"^images=1\.0: .* 10% .* an image of each class, .*: give a larger"):
            hide_test_images(part(few))
    with pytest.raises(InvalidRequest, match=r"^images=0\.001: "):
        hide_test_images(digits, images=0.001)


# The order of recipes


def test_candidates_are_tried_after_the_current_recipe_and_once_each(
    search_a: Search, untrained: None, tmp_path: Path
) -> None:
    candidates = ['{"weight_decay": 0.0}', '{"batch_size": 256, "label_smoothing": 0.1}']
    search_recipe(search_a, tmp_path, trials=2, candidates=candidates)
    search_recipe(search_a, tmp_path, trials=3, candidates=candidates)
    current = current_recipe("a")
    changed = [{}, {"weight_decay": 0.0}, {"batch_size": 256, "label_smoothing": 0.1}]
    assert [trial.params for trial in open_search(tmp_path, "a", 1).trials] == [current | change for change in changed]


def test_an_invalid_candidate_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    line = the_one_line(command("tune", "--data", "digits", "--try", '{"optimizer": "adam"}', "--out", tmp_path / "a"))
    assert "--try" in line
    assert "give an object of some of these" in line
    assert not (tmp_path / "a").exists()


def test_every_trial_is_announced_with_its_number_and_its_work(
    search_a: Search, untrained: None, tmp_path: Path, messages: Messages
) -> None:
    search_recipe(search_a, tmp_path, trials=2)
    precision, *of_trials = messages()
    assert precision == "Precision: float32 (float32 was requested)"
    work = pd.read_csv(tmp_path / "trials.csv")["work"]
    assert of_trials[::2] == [f"trial {i}, {i + 1} of 2: {work[i]:.2f} times the work" for i in range(2)]
    assert all(re.fullmatch(rf"trial {i}: \d+ s, \d+\.\d\d%", of_trials[2 * i + 1]) for i in range(2))


# Failures


def test_a_recipe_that_fails_is_tried_once_more_and_the_search_continues(
    search_a: Search, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: Messages
) -> None:
    tries = iter(range(9))

    def fail_twice(*given: Any, **options: Any) -> Any:
        if next(tries) < 2:
            raise ValueError("it has\nfailed")
        return train(*given, **options)

    monkeypatch.setattr("headstart.tuning.objective.train", fail_twice)
    search_recipe(search_a, tmp_path, trials=2)
    assert [message for message in messages() if "failed" in message] == [
        "trial 0: failed (ValueError: it has failed), will be tried once more",
        "trial 1: failed (ValueError: it has failed), not tried again",
    ]
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert list(trials["trial"]) == [1, 2]
    assert list(trials["state"]) == ["failed", "complete"]
    assert list(trials["validation_accuracy"].isna()) == [True, False]
    first, again, _ = open_search(tmp_path, "a", 1).trials
    assert first.params == again.params == current_recipe("a")


def test_a_search_whose_trials_all_fail_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any, **options: Any) -> Any:
        raise ValueError("it is broken")

    monkeypatch.setattr("headstart.tuning.search.try_recipe", fail)
    options = ("--epochs", 1, "--trials", 2, "--images", 0.2, "--precision", "float32", "--out", tmp_path)
    ended = command("tune", "--data", "digits", *options)
    assert "none of 2 recipes was trained to its end" in the_one_line(ended, status=1)
    assert "it is broken" in ended.output


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
def test_an_interruption_does_not_count_as_a_failure_of_the_recipe(
    cause: BaseException, search_a: Search, untrained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any, **options: Any) -> Any:
        raise cause

    with monkeypatch.context() as patch:
        patch.setattr("headstart.tuning.search.try_recipe", interrupted)
        for _ in range(2):
            with pytest.raises(type(cause)):
                search_recipe(search_a, tmp_path, trials=1)
    search_recipe(search_a, tmp_path, trials=1)
    [trial] = ended(open_search(tmp_path, "a", 1))
    assert (trial.number, trial.state.name, trial.params) == (2, "COMPLETE", current_recipe("a"))


# The folder


def test_a_search_continues_and_does_no_more_trials_than_requested(
    search_a: Search, untrained: None, tmp_path: Path
) -> None:
    search_recipe(search_a, tmp_path, trials=2)
    before = (tmp_path / "trials.csv").read_text()
    search_recipe(search_a, tmp_path, trials=2)
    assert (tmp_path / "trials.csv").read_text() == before
    search_recipe(search_a, tmp_path, trials=3)
    assert (tmp_path / "trials.csv").read_text().startswith(before)
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 3


def test_partial_files_of_a_killed_search_are_removed(search_a: Search, untrained: None, tmp_path: Path) -> None:
    """Those in sources/ are not touched: another process may be writing them."""
    own = [tmp_path / f".{name}.killed.part" for name in FILES]
    others = tmp_path / "sources" / ".another.npz.running.part"
    others.parent.mkdir()
    for path in (*own, others):
        path.touch()
    search_recipe(search_a, tmp_path, trials=1)
    assert [path for path in own if path.exists()] == []
    assert others.exists()


def test_a_sources_partial_file_is_removed_once_no_process_trains_it(
    hidden: Dataset, small: None, untrained: None, tmp_path: Path, messages: Messages
) -> None:
    """Another process is training the first source; it dies when the second has been trained here."""
    search = Search("b", hidden, [(4, 9), (3, 5)], epochs=1)
    recipe = search.with_settings(search_module.RECIPE_A)
    keys = [NetworkSpec(pair, 0, recipe, fingerprint(hidden), part="a").key for pair in search.pairs]
    parts = [tmp_path / "sources" / f".{key}.npz.x.part" for key in keys]
    parts[0].parent.mkdir()
    for part in parts:
        part.touch()
    training, at_second = FileLock(tmp_path / f".{keys[0]}.lock", thread_local=False), list[list[bool]]()
    training.acquire()

    class Die(logging.Handler):
        """Ends the other process when the second source has been trained."""

        def emit(self, record: logging.LogRecord) -> None:
            if "network A without (3, 5)" in record.getMessage():
                at_second.append([part.exists() for part in parts])
                training.release()

    logger, handler = logging.getLogger("headstart.tuning.search"), Die()
    logger.addHandler(handler)
    try:
        search_recipe(search, tmp_path, trials=1)
    finally:
        logger.removeHandler(handler)
    assert at_second == [[True, False]]
    assert [part.exists() for part in parts] == [False, False]
    assert all(ResultStore(tmp_path).source_path(key).exists() for key in keys)


def test_a_source_is_trained_once_for_all_calls(
    hidden: Dataset, small: None, untrained: None, tmp_path: Path, messages: Messages
) -> None:
    search = Search("b", hidden, [(4, 9)], epochs=1)
    search_recipe(search, tmp_path, trials=1)
    search_recipe(search, tmp_path, trials=2)
    subjects = [re.split(r"[,:]| without", line)[0] for line in messages() if not line.startswith("Precision")]
    assert subjects == ["network A", "trial 0", "trial 0", "trial 1", "trial 1"]


def test_another_search_in_the_same_folder_is_refused(
    search_a: Search, untrained: None, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_recipe(search_a, tmp_path, trials=1)
    before = (tmp_path / "trials.csv").read_text()
    others: list[dict[str, Any]] = [{"epochs": 2}, {"pairs": [(3, 5)]}, {"part": "b"}, {"seed": 1}]
    for other in (*others, {"dataset": hide_test_images(digits, images=0.25)}):
        with pytest.raises(InvalidRequest, match="has another search"):
            search_recipe(replace(search_a, **other), tmp_path, trials=2)
    monkeypatch.setattr("headstart.tuning.objective.provenance", lambda: "other code")
    with pytest.raises(InvalidRequest, match=r"has a search by other code \(headstart .*name another folder$"):
        search_recipe(search_a, tmp_path, trials=2)
    assert (tmp_path / "trials.csv").read_text() == before


@pytest.mark.parametrize("part", ["a", "b"])
def test_a_search_of_an_earlier_version_is_refused_and_not_changed(part: str, tmp_path: Path) -> None:
    """Its recipes had other parameters; its settings contained the recipes themselves."""
    study = open_search(tmp_path, part, epochs=1)
    recipes = [{"optimizer": "muon", "strides": [1, 1, 1, 2]}] * 2
    study.set_user_attr("search", {"part": part, "precision": "float32", "recipes": recipes, "by": "headstart 0.0.9"})
    trial = study.ask()
    trial.suggest_categorical("optimizer", ["muon", "adam"])
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    study.tell(trial, 0.5)
    before = [trial.params for trial in study.trials]
    line = the_one_line(command("tune", "--data", "digits", "--part", part, "--epochs", 1, "--out", tmp_path))
    assert line.endswith("the folder has a search by other code (headstart 0.0.9); name another folder\n")
    assert [trial.params for trial in open_search(tmp_path, part, epochs=1).trials] == before
    assert not (tmp_path / "trials.csv").exists()


def test_all_processes_of_a_search_train_in_its_precision(
    search_a: Search, untrained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = replace(search_a, precision="auto")
    monkeypatch.setattr("headstart.options.choose_precision", lambda precision: ("bfloat16", "measured"))
    search_recipe(search, tmp_path, trials=1)
    assert read_best(tmp_path)["search"]["precision"] == "bfloat16"
    monkeypatch.setattr("headstart.options.choose_precision", lambda precision: (precision, "requested"))
    search_recipe(search, tmp_path, trials=2)
    trials = open_search(tmp_path, "a", 1).trials
    assert [trial.user_attrs["recipe"]["precision"] for trial in trials] == ["bfloat16"] * 2
    with pytest.raises(InvalidRequest, match=r"another search.*precision bfloat16"):
        search_recipe(replace(search, precision="float32"), tmp_path, trials=3)


# The command


@pytest.mark.parametrize(
    "arguments",
    [
        ("--part", "c"),
        ("--trials", "0"),
        ("--epochs", "0"),
        ("--seed", "-1"),
        ("--images", "0"),
        ("--images", "1.5"),
        ("--images", "0.001"),
        ("--pairs", "4"),
        ("--precision", "float8"),
    ],
    ids=" ".join,
)
def test_an_invalid_command_gets_one_line_and_writes_nothing(arguments: tuple[str, ...], here: Path) -> None:
    the_one_line(command("tune", "--data", "digits", *arguments))
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.txt", "journal.log"])
def test_a_folder_with_other_files_is_not_changed(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("dear diary, no line ends here")
    line = the_one_line(command("tune", "--data", "digits", "--out", tmp_path))
    assert "the folder contains other files; name a folder that is new, empty or contains a search" in line
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "dear diary, no line ends here"}


def test_the_command_prints_the_best_recipe(untrained: None, here: Path) -> None:
    options = ("--trials", 1, "--epochs", 1, "--images", 0.2, "--precision", "float32")
    ended = command("tune", "--data", "digits", *options)
    assert (ended.status, ended.errors) == (0, "")
    assert json.loads(ended.output[ended.output.index("{") :]) == read_best(Path("tuning-a"))

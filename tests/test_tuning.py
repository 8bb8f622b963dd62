from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
import pytest
from filelock import FileLock

from fixtures_runs import command, the_one_line
from headstart.errors import BadRequest
from headstart.practical.data import split_classes
from headstart.practical.network import build_network, colour_statistics, predict
from headstart.practical.recipe import RECIPE_A, RECIPE_B, Recipe
from headstart.practical.training import train
from headstart.tuning import Search, hide_test_images, tune
from headstart.tuning.averaging import Averaging
from headstart.tuning.results import read_best
from headstart.tuning.space import MOST_WORK, STANDARD, first_guess, relative_work, suggest
from headstart.tuning.turns import JournalLock, claim, open_study, take_up, trial_lock

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that train in a second."""
    tiny = dict.fromkeys(("32-32-64-64", "64-64-128-128"), (4, 4, 8, 8))
    monkeypatch.setattr("headstart.tuning.space.WIDTHS", tiny)
    recipe = replace(RECIPE_A, widths=(4, 4, 8, 8), shift=0)
    for name in ("tuning.RECIPE_A", "tuning.space.RECIPE_A", "tuning.space.RECIPE_B"):
        monkeypatch.setattr(f"headstart.{name}", recipe)


def quiet(line: str) -> None:
    """Says nothing."""


# No test image is read


def test_validation_images_come_from_the_training_images_of_every_class_alike(digits: Dataset) -> None:
    hidden = hide_test_images(digits, share=0.25)
    everything = Counter(image.tobytes() for image in digits.x_train)
    seen, held_back = (Counter(image.tobytes() for image in images) for images in (hidden.x_train, hidden.x_test))
    assert seen + held_back == everything
    assert len(hidden.x_test) == 80
    expected = np.bincount(digits.y_train) / 4
    assert np.abs(np.bincount(hidden.y_test) - expected).max() <= 1
    fewer = hide_test_images(digits, share=0.25, images=0.5)
    assert np.array_equal(fewer.x_test, hidden.x_test)
    assert len(fewer.x_train) == 120


@pytest.mark.parametrize("part", ["a", "b"])
def test_a_search_needs_no_test_images_at_all(part: str, digits: Dataset, small: None, tmp_path: Path) -> None:
    without: Any = replace(digits, x_test=None, y_test=None)  # whatever would read them fails
    search = Search(part, hide_test_images(without), [(4, 9)], epochs=1)
    tune(search, tmp_path, trials=2, say=quiet)
    assert 0 < read_best(tmp_path)["validation_accuracy"] <= 1


def test_too_few_images_to_have_some_of_each_class_are_refused(digits: Dataset) -> None:
    def part(kept: np.ndarray) -> Dataset:
        return replace(digits, x_train=digits.x_train[kept], y_train=digits.y_train[kept])

    for few in (np.arange(60), np.flatnonzero((digits.y_train != 9) | (np.cumsum(digits.y_train == 9) <= 3))):
        with pytest.raises(BadRequest, match=r"^--images 1\.0: 10% of .* one of each class .*: give a larger part"):
            hide_test_images(part(few))
    with pytest.raises(BadRequest, match=r"^--images 0\.001: "):
        hide_test_images(digits, images=0.001)


# The space


def test_the_search_begins_with_the_recipe_that_stands() -> None:
    for part, recipe in (("a", RECIPE_A), ("b", RECIPE_B)):
        assert suggest(optuna.trial.FixedTrial(first_guess(part)), part) == recipe  # type: ignore[arg-type]


def test_work_is_reckoned_from_the_layers() -> None:
    assert relative_work(STANDARD) == 1.0
    # conv2's products fall to a quarter where a pooling stands in front of it, conv3's stay
    earlier = 1 - 0.75 * (9 * 32 * 32 * 1024) / 26_285_568
    assert relative_work(replace(STANDARD, pools=(1, 4))) < earlier + 0.5
    assert relative_work(replace(STANDARD, widths=(64, 64, 128, 128))) > 3


def test_a_network_that_costs_too_much_is_refused_untrained(digits: Dataset, tmp_path: Path, monkeypatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr("headstart.tuning.train", never)
    costly = {**first_guess("a"), "widths": "64-64-128-128", "halvings": "pools 2 and 4"}
    monkeypatch.setattr("headstart.tuning.turns.first_guess", lambda part: costly)
    lines: list[str] = []
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=1), tmp_path, trials=1, say=lines.append)
    [row] = pd.read_csv(tmp_path / "trials.csv").to_dict("records")
    assert row["state"] == "pruned"
    assert row["work"] > MOST_WORK
    assert "times the work" in lines[-1]


# Averaged weights


def test_averaged_weights_are_the_mean_over_the_steps_and_those_that_are_measured_last(digits: Dataset) -> None:
    import keras

    part, _ = split_classes(digits, (4, 9))
    recipe = Recipe(widths=(4, 4, 8, 8), units=16, epochs=2, batch_size=16, learning_rate=1e-2, shift=0)
    network = build_network(8, recipe, colour_statistics(part.x_train), seed=0)
    ends, seen = [0], list[list[np.ndarray]]()

    def note(batch: int, logs: object) -> None:
        ends.append(int(noting.model.optimizer.iterations))
        seen.append(network.get_weights()[-12:])  # behind the normalisation's

    noting = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    trained = train(network, part, recipe, callbacks=[noting, Averaging(0.9)])
    assert ends == [0, 5, 10, 15, 20, 25, 30]  # Keras calls after every five steps
    weight_of_a_step = 0.9 ** (30 - np.arange(1, 31)) * 0.1 / (1 - 0.9**30)
    shares = weight_of_a_step.reshape(6, 5).sum(axis=1)
    assert shares.sum() == pytest.approx(1)
    for place, averaged in enumerate(network.trainable_variables):
        expected = sum(share * weights[place] for share, weights in zip(shares, seen, strict=True))
        np.testing.assert_allclose(averaged, expected, rtol=1e-4, atol=1e-6)
        assert not np.allclose(averaged, seen[-1][place])
    assert trained.test_accuracy == np.mean(predict(network, part.x_test).argmax(axis=1) == part.y_test)


def test_an_averaging_of_0_changes_nothing(digits: Dataset) -> None:
    part, _ = split_classes(digits, (4, 9))
    recipe = Recipe(widths=(4, 4, 8, 8), units=16, epochs=1, batch_size=16, shift=0)
    hashes = []
    for callbacks in ([], [Averaging(0.0)]):
        network = build_network(8, recipe, colour_statistics(part.x_train), seed=0)
        hashes.append(train(network, part, recipe, callbacks=callbacks).hashes_after)
    assert hashes[0] == hashes[1]


# The folder


def test_the_best_recipe_gives_its_accuracy_again(digits: Dataset, small: None, tmp_path: Path) -> None:
    hidden = hide_test_images(digits)
    tune(Search("a", hidden, [(4, 9)], epochs=2), tmp_path, trials=3, say=quiet)
    best = read_best(tmp_path)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in best["recipe"].items()}
    recipe = Recipe(**values)
    part_a, _ = split_classes(hidden, (4, 9))
    network = build_network(8, recipe, colour_statistics(part_a.x_train), recipe.seed)
    assert train(network, part_a, recipe).test_accuracy == best["validation_accuracy"]
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert trials["validation_accuracy"].max() == best["validation_accuracy"]
    assert trials.loc[0, "widths"] == "32-32-64-64"


def test_a_second_sitting_goes_on_and_does_no_more_than_asked(digits: Dataset, small: None, tmp_path: Path) -> None:
    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1)
    tune(search, tmp_path, trials=2, say=quiet)
    before = (tmp_path / "trials.csv").read_text()
    tune(search, tmp_path, trials=2, say=quiet)
    assert (tmp_path / "trials.csv").read_text() == before
    tune(search, tmp_path, trials=3, say=quiet)
    assert (tmp_path / "trials.csv").read_text().startswith(before)
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 3


def test_another_search_in_the_same_folder_is_refused(digits: Dataset, small: None, tmp_path: Path) -> None:
    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1)
    tune(search, tmp_path, trials=1, say=quiet)
    before = (tmp_path / "trials.csv").read_text()
    others: list[dict[str, Any]] = [{"epochs": 2}, {"pairs": [(3, 5)]}, {"part": "b"}]
    for other in (*others, {"dataset": hide_test_images(digits, images=0.5)}):
        with pytest.raises(BadRequest, match="holds another search"):
            tune(replace(search, **other), tmp_path, trials=2, say=quiet)
    assert (tmp_path / "trials.csv").read_text() == before


def test_a_source_is_trained_once_for_all_sittings(digits: Dataset, small: None, tmp_path: Path) -> None:
    search, lines = Search("b", hide_test_images(digits), [(4, 9), (3, 5)], epochs=1), list[str]()
    tune(search, tmp_path, trials=1, say=lines.append)
    tune(search, tmp_path, trials=2, say=lines.append)
    told = [line for line in lines if not line.startswith("Precision")]
    assert ["network A" in line for line in told] == [True, True, False, False]


def test_all_who_join_a_search_train_in_its_precision(
    digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search("b", hide_test_images(digits), [(4, 9)], epochs=1, precision="auto")
    monkeypatch.setattr("headstart.tuning.choose_precision", lambda asked: ("bfloat16", "measured"))
    tune(search, tmp_path, trials=1, say=quiet)
    assert read_best(tmp_path)["recipe"]["precision"] == "bfloat16"
    monkeypatch.setattr("headstart.tuning.choose_precision", lambda asked: (asked, "asked for"))
    tune(search, tmp_path, trials=2, say=quiet)
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 2
    with pytest.raises(BadRequest, match=r"another search.*precision bfloat16"):
        tune(replace(search, precision="float32"), tmp_path, trials=3, say=quiet)


def test_what_a_killed_process_was_trying_is_tried_again(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    study.ask().suggest_float("x", 0, 1)
    others = study.ask()
    with trial_lock(tmp_path, others.number):
        assert take_up(study, tmp_path) == 1
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "WAITING"]
    assert study.ask().suggest_float("x", 0, 1) == 0.25


def test_the_last_trial_is_waited_for_and_done_by_who_waits_if_its_process_dies(tmp_path: Path) -> None:
    study = optuna.create_study()
    theirs = study.ask()
    dying = FileLock(trial_lock(tmp_path, theirs.number).lock_file, thread_local=False)
    dying.acquire()
    threading.Timer(1.5, dying.release).start()
    began = time.monotonic()
    claimed = claim(study, 1, tmp_path, FileLock(tmp_path / "turn"))
    assert claimed is not None
    assert time.monotonic() - began >= 1.5
    trial, at_work = claimed
    with at_work:
        assert take_up(study, tmp_path) == 1
        study.tell(trial, 0.5)
    assert claim(study, 1, tmp_path, FileLock(tmp_path / "turn")) is None


def test_a_lock_that_a_killed_process_left_in_a_relative_folder_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("search")
    folder.mkdir()
    open_study(folder, 1)
    JournalLock(folder / "journal.log").acquire()  # and is killed
    began = time.monotonic()

    def fast_clock() -> float:
        seconds = time.monotonic() - began
        assert seconds < 20, "it waits forever"
        return 100 * seconds

    monkeypatch.setattr("optuna.storages.journal._file.time", SimpleNamespace(monotonic=fast_clock, sleep=time.sleep))
    open_study(folder, 1)


@pytest.mark.parametrize("torn", ["{", '{"op_code":4,"worker_id":"5c'])
def test_a_search_goes_on_from_a_journal_whose_last_line_a_full_disk_has_torn(torn: str, tmp_path: Path) -> None:
    study = open_study(tmp_path, 1)
    joined = open_study(tmp_path, 1)
    study.set_user_attr("before", 1)
    for number in range(2):
        with (tmp_path / "journal.log").open("a") as journal:
            journal.write(torn)
        joined.set_user_attr(f"after {number}", 2)  # who has it open goes on, and so does who opens it
        assert open_study(tmp_path, 1).user_attrs == joined.user_attrs
    assert set(joined.user_attrs) == {"before", "after 0", "after 1"}


def test_two_processes_share_a_search_and_a_kill_costs_one_trial(tmp_path: Path) -> None:
    tuning = [sys.executable, "-c", "from headstart.cli import main; main()", "tune", "--data", "digits"]
    tuning += ["--images", "0.1", "--epochs", "1", "--trials", "5", "--out", str(tmp_path)]
    processes = [subprocess.Popen(tuning, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for line in processes[0].stdout or ():
        if line.startswith("trial"):
            break
    processes[0].kill()
    processes[0].communicate()
    assert "validation_accuracy" in processes[1].communicate()[0]
    assert processes[1].returncode == 0
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert len(trials) == 5
    assert trials["trial"].is_unique

    after = subprocess.run([*tuning[:-3], "7", *tuning[-2:]], stdout=subprocess.PIPE, text=True, check=True)
    assert after.stdout.count("\ntrial ") == 2
    assert pd.read_csv(tmp_path / "trials.csv")["trial"].is_unique


# The command


@pytest.mark.parametrize(
    "arguments",
    [
        ("--part", "c"),
        ("--trials", "0"),
        ("--epochs", "0"),
        ("--images", "0"),
        ("--images", "1.5"),
        ("--images", "0.001"),
        ("--pairs", "4"),
        ("--precision", "float8"),
    ],
    ids=" ".join,
)
def test_a_wrong_request_takes_one_line(arguments: tuple[str, ...], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command("tune", "--data", "digits", *arguments)
    assert (ended.status, ended.errors.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("headstart.tuning")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'headstart[tune]'" in the_one_line(command("tune", "--data", "digits"))


def test_the_command_prints_the_best_recipe(small: None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command("tune", "--data", "digits", "--trials", 1, "--epochs", 1, "--images", 0.2)
    assert (ended.status, ended.errors) == (0, "")
    assert json.loads(ended.output[ended.output.index("{") :]) == read_best(Path("tuning-a"))

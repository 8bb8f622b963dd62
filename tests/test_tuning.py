from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
import pytest
from filelock import FileLock, Timeout

from fixtures_runs import command, the_one_line
from headstart.errors import BadRequest
from headstart.memory import EmptyOptimizer
from headstart.parts import split_classes
from headstart.practical.network import colour_statistics
from headstart.recipes import RECIPE_A, RECIPE_B, Recipe, as_json, read_recipes
from headstart.sources import Opened
from headstart.strategies import STRATEGIES
from headstart.training import build_network, train, transfer
from headstart.tuning import Search, hide_test_images, tune
from headstart.tuning.results import ended, plot_search, read_best
from headstart.tuning.space import MOST_WORK, STANDARD, WIDTHS, change_recipe, current_recipe, relative_work, suggest
from headstart.tuning.turns import JournalLock, claim, join, open_study, take_up, trial_lock

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's networks, and those that are searched, train in a second."""
    monkeypatch.setattr("headstart.tuning.space.WIDTHS", {"4-4-8-8": (4, 4, 8, 8), "4-4-8-16": (4, 4, 8, 16)})
    for name, recipe in (("RECIPE_A", RECIPE_A), ("RECIPE_B", RECIPE_B)):
        for module in ("recipes", "tuning", "tuning.space"):
            monkeypatch.setattr(f"headstart.{module}.{name}", replace(recipe, widths=(4, 4, 8, 8), shift=0))


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that end at once."""

    def end(trial: optuna.Trial, *_: Any) -> float:
        trial.set_user_attr("seconds", 1.0)
        trial.set_user_attr("gap", 0.0)
        return 0.5

    monkeypatch.setattr("headstart.tuning.try_recipe", end)


@pytest.fixture
def begin_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes the parameters with which a search on part A begins."""

    def change(**parameters: object) -> None:
        monkeypatch.setattr("headstart.tuning.turns.current_recipe", lambda part: current_recipe(part) | parameters)

    return change


def quiet(line: str) -> None:
    """Says nothing."""


def make_up(study: optuna.Study, part: str, accuracies: list[float], steps: range = range(0)) -> None:
    """Trials that end with these accuracies, and have reported them in all these steps."""
    for accuracy in accuracies:
        trial = study.ask()
        recipe = suggest(trial, part)
        trial.set_user_attr("work", relative_work(recipe))
        trial.set_user_attr("recipe", as_json(recipe))
        for step in steps:
            trial.report(accuracy, step)
        study.tell(trial, accuracy)


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
def test_the_command_needs_no_test_images_at_all(
    part: str, digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without: Any = replace(digits, x_test=None, y_test=None)  # whatever would read them fails
    monkeypatch.setattr("headstart.sources.open_dataset", lambda data, say: Opened(without, "without test images"))
    search = ("--part", part, "--pairs", "4,9", "--epochs", 1, "--trials", 1, "--images", 0.5, "--out", tmp_path)
    ended = command("tune", *search, "--precision", "float32", "--seed", 3)
    assert (ended.status, ended.errors) == (0, "")
    best = read_best(tmp_path)
    assert 0 < best["best"]["validation_accuracy"] <= 1
    assert best["search"]["seed"] == 3


def test_too_few_images_to_have_some_of_each_class_are_refused(digits: Dataset) -> None:
    def part(kept: np.ndarray) -> Dataset:
        return replace(digits, x_train=digits.x_train[kept], y_train=digits.y_train[kept])

    for few in (np.arange(60), np.flatnonzero((digits.y_train != 9) | (np.cumsum(digits.y_train == 9) <= 3))):
        with pytest.raises(BadRequest, match=r"^--images 1\.0: 10% of .* one of each class .*: give a larger part"):
            hide_test_images(part(few))
    with pytest.raises(BadRequest, match=r"^--images 0\.001: "):
        hide_test_images(digits, images=0.001)


# The space


def test_the_search_begins_with_the_packages_own_recipe() -> None:
    for part, recipe in (("a", RECIPE_A), ("b", RECIPE_B)):
        assert suggest(optuna.trial.FixedTrial(current_recipe(part)), part) == recipe  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("learning_rate=1e-3", "Expecting value"),
        ("[1]", "give an object of some of these: dropout_fc1"),
        ('{"epochs": 3}', "give an object of some of these"),
        ('{"batch_size": 100}', "'100' not in (64, 128, 256)"),
        ('{"learning_rate": 1}', "out of the range"),
        ('{"shift": 3}', "out of the range"),
        ('{"learning_rate": [1]}', "not a valid type"),
        ('{"widths": "1-2-3-4"}', "'1-2-3-4' not in ('32-32-64-64'"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_candidate_outside_the_space_is_refused(changes: str, reason: str) -> None:
    with pytest.raises(BadRequest, match="--try") as refused:
        change_recipe(changes, "a")
    assert reason in str(refused.value)


@pytest.mark.parametrize("changes", ['{"shift": 2}', '{"widths": "32-32-64-64"}', '{"units": 256}'])
def test_what_is_searched_on_part_a_alone_is_refused_for_b(changes: str) -> None:
    assert current_recipe("a") | json.loads(changes) == change_recipe(changes, "a")
    with pytest.raises(BadRequest, match="some of these"):
        change_recipe(changes, "b")


def test_the_command_refuses_a_candidate_outside_the_space_before_it_writes_anything(tmp_path: Path) -> None:
    said = the_one_line(command("tune", "--data", "digits", "--try", '{"optimizer": "adam"}', "--out", tmp_path / "a"))
    assert "give an object of some of these" in said
    assert not (tmp_path / "a").exists()


def test_candidates_are_tried_after_the_packages_own_recipe_and_each_once(
    digits: Dataset, small: None, untrained: None, tmp_path: Path
) -> None:
    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1)
    candidates = ['{"weight_decay": 0.0}', '{"batch_size": 256, "label_smoothing": 0.1}']
    tune(search, tmp_path, trials=2, say=quiet, candidates=candidates)
    tune(search, tmp_path, trials=3, say=quiet, candidates=candidates)
    current = current_recipe("a")
    changed = [{}, {"weight_decay": 0.0}, {"batch_size": 256, "label_smoothing": 0.1}]
    assert [trial.params for trial in open_study(tmp_path, "a", 1).trials] == [current | change for change in changed]


def test_work_is_counted_in_the_layers_multiplications() -> None:
    assert relative_work(STANDARD) == 1.0
    standard = {  # outputs of a channel, times channels in and out, times the kernel's nine places
        "conv1": 1024 * 3 * 32 * 9,
        "conv2": 256 * 32 * 32 * 9,  # after pool1
        "conv3": 64 * 32 * 64 * 9,  # after pool2
        "conv4": 16 * 64 * 64 * 9,  # in every second place
        "fc1": 16 * 64 * 512,
        "fc2": 512 * 8,
    }
    changes: list[tuple[dict[str, Any], dict[str, int]]] = [
        ({"widths": (32, 32, 64, 128)}, {"conv4": 16 * 64 * 128 * 9, "fc1": 16 * 128 * 512}),
        ({"widths": (64, 32, 64, 64)}, {"conv1": 1024 * 3 * 64 * 9, "conv2": 256 * 64 * 32 * 9}),
        ({"units": 256}, {"fc1": 16 * 64 * 256, "fc2": 256 * 8}),
    ]
    for change, changed in changes:
        wanted = sum((standard | changed).values()) / sum(standard.values())
        assert relative_work(replace(STANDARD, **change)) == pytest.approx(wanted, rel=1e-3), change


def test_the_packages_own_network_is_far_from_too_slow_and_no_other_of_the_space_is_much_slower() -> None:
    """Its 31.7 million multiplications are 5.7 times the standard network's 5.5."""
    assert relative_work(RECIPE_A) == pytest.approx(31.74 / 5.538, rel=1e-3)
    assert relative_work(RECIPE_A) < 0.75 * MOST_WORK
    slowest = max(relative_work(replace(RECIPE_A, widths=widths, units=512)) for widths in WIDTHS.values())
    assert 0.9 * MOST_WORK < slowest <= MOST_WORK


def test_a_network_that_costs_too_much_is_refused_untrained_and_another_tried_instead(
    digits: Dataset, small: None, begin_with, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("headstart.tuning.space.WIDTHS", {"wide": (64, 128, 256, 512), "narrow": (4, 4, 8, 8)})
    begin_with(widths="wide")
    lines: list[str] = []
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=1), tmp_path, trials=2, say=lines.append)
    assert "trial 0: not trained, for it is more than 8.0 times the work" in lines
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert len(trials) == 2
    assert (trials["work"] <= MOST_WORK).all()
    assert trials["seconds"].notna().all()


# Trials


def test_on_part_b_every_strategy_counts_alike_on_every_pair(
    digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, sources = [], []

    def note(source: Any, strategy: Any, part: Dataset, *given: Any, **options: Any) -> Any:
        trained = transfer(source, strategy, part, *given, **options)
        tried.append((strategy.name, part.class_names, trained.test_accuracy))
        if strategy.name == "last_layer":
            sources.append((part.class_names, trained.network.get_layer("conv1").get_weights()[0].tobytes()))
        return trained

    monkeypatch.setattr("headstart.tuning.trial.transfer", note)
    tune(Search("b", hide_test_images(digits), [(4, 9), (3, 5)], epochs=1), tmp_path, trials=2, say=quiet)
    for trial, accuracy in enumerate(pd.read_csv(tmp_path / "trials.csv")["validation_accuracy"]):
        its = tried[6 * trial : 6 * trial + 6]
        strategies, pairs = ("scratch", "last_layer", "two_layers"), (("four", "nine"), ("three", "five"))
        assert {(name, pair) for name, pair, _ in its} == {(name, pair) for name in strategies for pair in pairs}
        assert accuracy == pytest.approx(np.mean([its_accuracy for *_, its_accuracy in its]))
    assert sources[:2] == sources[2:]  # what is freed after a trial is not what the next one begins with
    assert len(set(sources)) == 2


@pytest.mark.parametrize(("part", "when"), [("a", "after epoch 2"), ("b", "after 3 networks")])
def test_a_trial_that_is_worse_than_the_others_is_stopped(
    part: str, when: str, digits: Dataset, small: None, tmp_path: Path
) -> None:
    lines: list[str] = []
    make_up(open_study(tmp_path, part, epochs=4), part, [1.01] * 8, steps=range(8))
    search = Search(part, hide_test_images(digits), [(3, 5), (1, 8)], epochs=4)
    tune(search, tmp_path, trials=9, say=lines.append)
    assert lines[-1] == f"trial 8: behind the others {when}"
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert list(trials["state"]) == ["complete"] * 8 + ["pruned"]
    assert list(trials["validation_accuracy"].isna()) == [False] * 8 + [True]


def test_a_trial_leaves_no_network_behind(
    digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = []

    def note(network: Any, *given: Any, **options: Any) -> Any:
        assert isinstance(options["callbacks"][-1], EmptyOptimizer)
        networks.append(network)
        return train(network, *given, **options)

    monkeypatch.setattr("headstart.tuning.trial.train", note)
    make_up(open_study(tmp_path, "a", epochs=2), "a", [1.01] * 8, steps=range(8))
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=2), tmp_path, trials=9, say=quiet)  # one is stopped
    assert [sum(np.size(weight) for weight in network.trainable_variables) for network in networks] == [0]


def test_a_recipe_that_fails_is_tried_once_more_and_the_search_continues(
    digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, tries = list[str](), iter(range(9))

    def fail_twice(*given: Any, **options: Any) -> Any:
        if next(tries) < 2:
            raise ValueError("it has\nfailed")
        return train(*given, **options)

    monkeypatch.setattr("headstart.tuning.trial.train", fail_twice)
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=1), tmp_path, trials=2, say=lines.append)
    failures = [line for line in lines if "failed" in line]
    assert failures == [
        "trial 0: failed (ValueError: it has failed), to be tried once more",
        "trial 1: failed (ValueError: it has failed), given up",
    ]
    trials = pd.read_csv(tmp_path / "trials.csv")
    assert list(trials["trial"]) == [1, 2]
    assert list(trials["state"]) == ["failed", "complete"]
    assert list(trials["validation_accuracy"].isna()) == [True, False]
    first, again, _ = open_study(tmp_path, "a", 1).trials
    assert first.params == again.params == current_recipe("a")


def test_a_search_whose_trials_all_fail_has_failed(
    digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **options: Any) -> Any:
        raise ValueError("it is broken")

    monkeypatch.setattr("headstart.tuning.trial.train", fail)
    search = ("--epochs", 1, "--trials", 2, "--images", 0.2, "--precision", "float32", "--out", tmp_path)
    ended = command("tune", "--data", "digits", *search)
    assert (ended.status, ended.errors.count("\n")) == (1, 1)
    assert "none of 2 recipes was trained to its end" in ended.errors
    assert "it is broken" in ended.output


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
def test_an_interruption_is_not_held_against_the_recipe(
    cause: BaseException, digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any, **options: Any) -> Any:
        raise cause

    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr("headstart.tuning.trial.train", interrupted)
        for _ in range(2):
            with pytest.raises(type(cause)):
                tune(search, tmp_path, trials=1, say=quiet)
    tune(search, tmp_path, trials=1, say=quiet)
    [trial] = ended(open_study(tmp_path, "a", 1))
    assert (trial.number, trial.state.name, trial.params) == (2, "COMPLETE", current_recipe("a"))


# The best recipe


@pytest.mark.parametrize("part", ["a", "b"])
def test_the_best_recipe_is_a_recipe_file_and_gives_its_accuracy_again(
    part: str, digits: Dataset, small: None, tmp_path: Path
) -> None:
    hidden = hide_test_images(digits, share=0.3)
    candidates = ['{"learning_rate": 0.006, "batch_size": 64}']
    tune(Search(part, hidden, [(4, 9)], epochs=2, seed=3), tmp_path, trials=2, say=quiet, candidates=candidates)
    best, found = (json.loads((tmp_path / name).read_text()) for name in ("best.json", "search.json"))
    assert best[part].keys() == {field.name for field in fields(Recipe)} - {"epochs", "seed", "precision"}
    recipe_a, recipe_b = (replace(recipe, epochs=2, seed=3) for recipe in read_recipes([tmp_path / "best.json"]))
    part_a, part_b = split_classes(hidden, (4, 9))
    source = train(build_network(8, recipe_a, colour_statistics(part_a.x_train), seed=3), part_a, recipe_a)
    trained = [source] if part == "a" else [transfer(source, strategy, part_b, recipe_b) for strategy in STRATEGIES]
    accuracy = np.mean([network.test_accuracy for network in trained])
    assert found["best"].keys() == {"trial", "validation_accuracy"}
    assert found["best"]["validation_accuracy"] == pytest.approx(accuracy)
    trials = pd.read_csv(tmp_path / "trials.csv").set_index("trial")
    assert trials["validation_accuracy"].idxmax() == found["best"]["trial"]
    gap = np.mean([network.train_accuracy - network.test_accuracy for network in trained])
    assert trials.loc[found["best"]["trial"], "gap"] == pytest.approx(gap)


def test_what_was_searched_is_written_next_to_the_best_recipe(
    digits: Dataset, small: None, untrained: None, tmp_path: Path
) -> None:
    search = Search("b", hide_test_images(digits), [(4, 9), (3, 5)], epochs=1, seed=3)
    tune(search, tmp_path, trials=1, say=quiet)
    found = json.loads((tmp_path / "search.json").read_text())
    assert found["best"] == {"trial": 0, "validation_accuracy": 0.5}
    searched = found["search"]
    assert (searched["part"], searched["pairs"], searched["epochs"]) == ("b", [[4, 9], [3, 5]], 1)
    assert (searched["seed"], searched["precision"], searched["dataset"]) == (3, "float32", digits.name)
    assert [recipe["widths"] for recipe in searched["recipes"]] == [[4, 4, 8, 8]] * 2


def test_the_best_of_part_a_names_its_sizes_for_part_b_too(
    digits: Dataset, untrained: None, begin_with, tmp_path: Path
) -> None:
    """Part B's networks copy from it: with other sizes they could not."""
    begin_with(widths="32-64-96-128", units=256, shift=2)
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=1), tmp_path, trials=1, say=quiet)
    recipe_a, recipe_b = read_recipes([tmp_path / "best.json"])
    sizes: dict[str, Any] = {"widths": (32, 64, 96, 128), "units": 256}
    assert recipe_a == replace(RECIPE_A, **sizes, shift=2)
    assert recipe_b == replace(RECIPE_B, **sizes)


# The folder


def test_a_search_that_is_started_again_continues_and_does_no_more_than_asked(
    digits: Dataset, small: None, untrained: None, tmp_path: Path
) -> None:
    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1)
    tune(search, tmp_path, trials=2, say=quiet)
    before = (tmp_path / "trials.csv").read_text()
    tune(search, tmp_path, trials=2, say=quiet)
    assert (tmp_path / "trials.csv").read_text() == before
    tune(search, tmp_path, trials=3, say=quiet)
    assert (tmp_path / "trials.csv").read_text().startswith(before)
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 3


def test_another_search_in_the_same_folder_is_refused(
    digits: Dataset, small: None, untrained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1)
    tune(search, tmp_path, trials=1, say=quiet)
    before = (tmp_path / "trials.csv").read_text()
    others: list[dict[str, Any]] = [{"epochs": 2}, {"pairs": [(3, 5)]}, {"part": "b"}, {"seed": 1}]
    for other in (*others, {"dataset": hide_test_images(digits, images=0.5)}):
        with pytest.raises(BadRequest, match="holds another search"):
            tune(replace(search, **other), tmp_path, trials=2, say=quiet)
    monkeypatch.setattr("headstart.tuning.provenance", lambda: "other code")
    with pytest.raises(BadRequest, match=r"holds a search by other code \(headstart .*name another folder$"):
        tune(search, tmp_path, trials=2, say=quiet)
    assert (tmp_path / "trials.csv").read_text() == before


@pytest.mark.parametrize("part", ["a", "b"])
def test_a_search_of_an_earlier_version_is_refused_in_one_short_line_and_stays_as_it_is(
    part: str, tmp_path: Path
) -> None:
    """Its recipes had other parameters; its description had the recipes themselves in it."""
    study = open_study(tmp_path, part, epochs=1)
    recipes = [{"optimizer": "muon", "strides": [1, 1, 1, 2]}] * 2
    study.set_user_attr("search", {"part": part, "precision": "float32", "recipes": recipes, "by": "headstart 0.0.9"})
    trial = study.ask()
    trial.suggest_categorical("optimizer", ["muon", "adam"])
    trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    study.tell(trial, 0.5)
    before = [trial.params for trial in study.trials]
    said = the_one_line(command("tune", "--data", "digits", "--part", part, "--epochs", 1, "--out", tmp_path))
    assert said.endswith("it holds a search by other code (headstart 0.0.9); name another folder\n")
    assert [trial.params for trial in open_study(tmp_path, part, epochs=1).trials] == before
    assert not (tmp_path / "trials.csv").exists()


def test_a_source_is_trained_once_however_often_the_search_is_started(
    digits: Dataset, small: None, untrained: None, tmp_path: Path
) -> None:
    search, lines = Search("b", hide_test_images(digits), [(4, 9)], epochs=1), list[str]()
    tune(search, tmp_path, trials=1, say=lines.append)
    tune(search, tmp_path, trials=2, say=lines.append)
    subjects = [re.split(r"[,:]| without", line)[0] for line in lines if not line.startswith("Precision")]
    assert subjects == ["network A", "trial 0", "trial 0", "trial 1", "trial 1"]


def test_every_trial_is_announced_with_its_place_and_its_work(
    digits: Dataset, small: None, untrained: None, tmp_path: Path
) -> None:
    lines: list[str] = []
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=1), tmp_path, trials=2, say=lines.append)
    _, *of_trials = lines
    work = pd.read_csv(tmp_path / "trials.csv")["work"]
    assert of_trials[::2] == [f"trial {i}, {i + 1} of 2: {work[i]:.2f} times the work" for i in range(2)]
    assert all(re.fullmatch(rf"trial {i}: \d+ s, \d+\.\d\d%", of_trials[2 * i + 1]) for i in range(2))


def test_all_who_join_a_search_train_in_its_precision(
    digits: Dataset, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search("a", hide_test_images(digits), [(4, 9)], epochs=1, precision="auto")
    monkeypatch.setattr("headstart.tuning.choose_precision", lambda asked: ("bfloat16", "measured"))
    tune(search, tmp_path, trials=1, say=quiet)
    assert read_best(tmp_path)["search"]["precision"] == "bfloat16"
    monkeypatch.setattr("headstart.tuning.choose_precision", lambda asked: (asked, "asked for"))
    tune(search, tmp_path, trials=2, say=quiet)
    trials = open_study(tmp_path, "a", 1).trials
    assert [trial.user_attrs["recipe"]["precision"] for trial in trials] == ["bfloat16"] * 2
    with pytest.raises(BadRequest, match=r"another search.*precision bfloat16"):
        tune(replace(search, precision="float32"), tmp_path, trials=3, say=quiet)


def test_what_a_killed_process_was_trying_is_tried_again(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25, "y": 0.75})
    study.ask().suggest_float("x", 0, 1)  # and y not yet
    others = study.ask()
    with trial_lock(tmp_path, others.number):
        assert take_up(study, tmp_path) == 1
        assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "WAITING"]
        assert ended(study) == []
        again = study.ask()
        assert (again.suggest_float("x", 0, 1), again.suggest_float("y", 0, 1)) == (0.25, 0.75)
        assert take_up(study, tmp_path) == 1
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "FAIL"]  # it killed two: it is given up
    assert [trial.number for trial in ended(study)] == [again.number]


@pytest.mark.parametrize("write", [lambda study, folder: join(study, {"part": "a"}, folder), take_up])
def test_a_kill_between_two_lines_of_the_journal_neither_loses_a_recipe_nor_doubles_it(
    write: Callable[[optuna.Study, Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_die(step: Callable[..., object]) -> Callable[..., object]:
        def do(*given: Any, **options: Any) -> None:
            step(*given, **options)
            raise KeyboardInterrupt

        return do

    study = optuna.create_study()
    if write is take_up:
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


def test_a_trial_is_locked_until_its_end_is_written(
    digits: Dataset, small: None, untrained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, ends = optuna.Study.tell, []

    def check(study: optuna.Study, trial: Any, *given: Any, **options: Any) -> Any:
        for lock in (FileLock(tmp_path / ".turn.lock"), trial_lock(tmp_path, trial.number)):
            with pytest.raises(Timeout):
                lock.acquire(timeout=0)
        ends.append(trial.number)
        return tell(study, trial, *given, **options)

    monkeypatch.setattr(optuna.Study, "tell", check)
    tune(Search("a", hide_test_images(digits), [(4, 9)], epochs=1), tmp_path, trials=2, say=quiet)
    assert ends == [0, 1]


def test_the_last_trial_is_waited_for_and_done_by_who_waits_if_its_process_dies(tmp_path: Path) -> None:
    study = optuna.create_study()
    theirs = study.ask()
    dying = FileLock(trial_lock(tmp_path, theirs.number).lock_file, thread_local=False)
    dying.acquire()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        dying.release()

    claimed = claim(study, 1, tmp_path, FileLock(tmp_path / "turn"), say)
    assert claimed is not None
    assert lines == ["waiting for 1 trial that other processes are at"]
    trial, at_work, place = claimed
    assert place == 1
    with at_work:
        assert take_up(study, tmp_path) == 1
        study.tell(trial, 0.5)
    assert claim(study, 1, tmp_path, FileLock(tmp_path / "turn"), quiet) is None


def test_a_lock_that_a_killed_process_left_in_a_relative_folder_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("search")
    folder.mkdir()
    open_study(folder, "a", 1)
    JournalLock(folder / "journal.log").acquire()  # and is killed
    began = time.monotonic()

    def fast_clock() -> float:
        seconds = time.monotonic() - began
        assert seconds < 20, "it waits forever"
        return 100 * seconds

    monkeypatch.setattr("optuna.storages.journal._file.time", SimpleNamespace(monotonic=fast_clock, sleep=time.sleep))
    open_study(folder, "a", 1)


@pytest.mark.parametrize("torn", ["{", '{"op_code":4,"worker_id":"5c'])
def test_a_search_continues_from_a_journal_whose_last_line_a_full_disk_has_torn(torn: str, tmp_path: Path) -> None:
    study = open_study(tmp_path, "a", 1)
    joined = open_study(tmp_path, "a", 1)
    study.set_user_attr("before", 1)
    for number in range(2):
        with (tmp_path / "journal.log").open("a") as journal:
            journal.write(torn)
        joined.set_user_attr(f"after {number}", 2)  # who has it open continues, and so does who opens it
        assert open_study(tmp_path, "a", 1).user_attrs == joined.user_attrs
    assert set(joined.user_attrs) == {"before", "after 0", "after 1"}


def test_two_processes_share_a_search_and_a_kill_costs_one_trial(tmp_path: Path) -> None:
    tuning = [sys.executable, "-c", "from headstart.cli import main; main()", "tune", "--data", "digits"]
    tuning += ["--images", "0.1", "--epochs", "1", "--trials", "3", "--out", str(tmp_path)]
    # Its trial takes for ever, so that the kill falls into it however busy the machine is.
    forever = "import time; import headstart.tuning; headstart.tuning.try_recipe = lambda *_: time.sleep(600); "
    with ExitStack() as stack:
        processes = []
        for arguments in ([*tuning[:2], forever + tuning[2], *tuning[3:]], tuning):
            process = stack.enter_context(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            processes.append(process)
            next(line for line in process.stdout or () if line.startswith("trial"))
        processes[0].kill()
        assert "validation_accuracy" in processes[1].communicate(timeout=300)[0]
    assert processes[1].returncode == 0
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 3
    states = Counter(trial.state.name for trial in open_study(tmp_path, "a", 1).trials)
    assert (states["COMPLETE"], states["FAIL"]) == (3, 1)

    after = command(*tuning[3:-3], "5", *tuning[-2:])
    places = re.findall(r"^trial \d+, (\d of \d):", after.output, re.MULTILINE)
    assert list(dict.fromkeys(places)) == ["4 of 5", "5 of 5"]  # a place is given again where a network is refused


# The figure


@pytest.mark.parametrize(("part", "against"), [("a", "work of a training step"), ("b", "highest learning rate")])
def test_the_figure_shows_what_mattered_every_trial_and_the_first_guess(part: str, against: str) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    accuracies = [0.5, 0.6, 0.9, 0.7, 0.65, 0.8, 0.55, 0.75, 0.85]
    make_up(study, part, accuracies[:2])
    study.enqueue_trial(current_recipe(part))  # others may end before it
    make_up(study, part, accuracies[2:])
    figure = plot_search(study, current_recipe(part), "some data")
    assert figure.get_suptitle() == "9 recipes\nData: some data"
    left, right = figure.axes
    assert {label.get_text() for label in left.get_yticklabels()} == set(current_recipe(part))
    assert sum(bar.get_width() for bar in left.patches) == pytest.approx(1)
    assert right.get_xlabel().startswith(against)
    every, guess = ([tuple(point) for point in points.get_offsets()] for points in right.collections)
    assert [y for _, y in every] == pytest.approx([100 * accuracy for accuracy in accuracies])
    recipe = RECIPE_A if part == "a" else RECIPE_B
    x = relative_work(recipe) if part == "a" else recipe.learning_rate
    assert guess == [pytest.approx((x, 90.0))]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["a trial", "the first guess"]


def test_the_figure_leaves_out_what_it_cannot_show() -> None:
    study = optuna.create_study(direction="maximize")
    make_up(study, "a", [0.5] * 8)  # no differences to explain, and no first guess
    [only] = plot_search(study, current_recipe("a"), "some data").axes
    assert only.get_ylabel() == "validation accuracy (%)"
    assert [text.get_text() for text in only.get_legend().get_texts()] == ["a trial"]


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
def test_a_wrong_request_takes_one_line(arguments: tuple[str, ...], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command("tune", "--data", "digits", *arguments)
    assert (ended.status, ended.errors.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.txt", "journal.log"])
def test_a_folder_that_holds_something_else_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("dear diary, no line ends here")
    ended = command("tune", "--data", "digits", "--out", str(tmp_path))
    assert (ended.status, ended.errors.count("\n")) == (2, 1)
    assert "it holds something else" in ended.errors
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "dear diary, no line ends here"}


def test_the_command_prints_the_best_recipe(small: None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command("tune", "--data", "digits", "--trials", 1, "--epochs", 1, "--images", 0.2)
    assert (ended.status, ended.errors) == (0, "")
    assert json.loads(ended.output[ended.output.index("{") :]) == read_best(Path("tuning-a"))

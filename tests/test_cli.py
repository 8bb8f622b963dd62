from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fixtures_runs import HOSTILE, TINY, FinishedRun, command, contents, make_pictures, the_one_line, write_recipe
from fixtures_studies import make_study
from headstart import cli
from headstart.download import CIFAR10
from headstart.errors import BadRequest, Failed
from headstart.recipes import RECIPE_A, RECIPE_B
from headstart.request import Request
from headstart.tables import show_predictions

pytest_plugins = ["fixtures_runs"]

DIGITS = ("--data", "digits", "--epochs", "1", "--precision", "float32")


@pytest.fixture(autouse=True)
def nothing_is_trained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here trains anything itself."""

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("a training began")

    for name in request.fixturenames:  # runs that others have finished
        if name.endswith("_run"):
            request.getfixturevalue(name)
    monkeypatch.setattr("headstart.practical.training.train", trained)


def refused(*arguments: object) -> str:
    """The line that refuses this run; nothing may be left in the working directory by it."""
    before = contents(Path())
    folders = sorted(path for path in Path().rglob("*") if path.is_dir() and ".cache" not in path.parts)
    line = the_one_line(command("run", *arguments))
    after = {path: content for path, content in contents(Path()).items() if not path.startswith(".cache/")}
    assert after == before
    now = sorted(path for path in Path().rglob("*") if path.is_dir() and ".cache" not in path.parts)
    assert [path for path in now if path.parts[0] != ".keras"] == folders
    return line


# Requests that are wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "registration number or --classes"),
        (("49", "--classes", "four,nine"), "registration number or --classes"),
        (("",), "registration number ''"),
        (("4",), "two different digits"),
        (("4444",), "two different digits"),
        (("49x",), "digits 0 to 9 only"),
        (("٤٩",), "digits 0 to 9 only"),
        (("4²",), "digits 0 to 9 only"),
        ((" 49",), "digits 0 to 9 only"),
        (("4\n9",), "digits 0 to 9 only"),
        (("49", "--epochs", "0"), "--epochs 0"),
        (("49", "--epochs", "-3"), "--epochs -3"),
        (("49", "--seed", "-1"), "--seed -1"),
        (("49", "--seed", str(2**31)), f"--seed {2**31}"),
        (("49", "--precision", "float16"), "--precision float16"),
        (("--classes", "four"), "two different class names"),
        (("--classes", ""), "two different class names"),
        (("--classes", "four,four"), "two different class names"),
        (("--classes", "four, four"), "two different class names"),
        (("--classes", "one,two,three"), "two different class names"),
        (("--classes", "four,cat"), "no class is called 'cat'; there are zero, one"),
        (("--classes", "four,Nine"), "no class is called 'Nine'"),
        (("49", "--data", "imagenet"), "imagenet"),
        (("49", "--data", "no/such/path"), "no/such/path"),
        (("49", "--data", "/dev/null"), "/dev/null"),
    ],
)
def test_a_wrong_run_takes_one_line_and_leaves_nothing(arguments: tuple[str, ...], words: str, here: Path) -> None:
    options = () if "--data" in arguments else ("--data", "digits")
    assert words in refused(*arguments, *options)


def test_a_folder_with_one_class_is_refused(here: Path) -> None:
    make_pictures(here / "pictures", names=("cat",), train=1, test=1)
    assert "nothing to tell apart" in refused("49", "--data", "pictures")


def test_a_folder_with_too_few_classes_to_hold_two_out_is_refused(here: Path) -> None:
    make_pictures(here / "pictures", names=("cat", "dog", "frog"), train=1, test=1)
    assert "3 classes" in refused("--classes", "cat,dog", "--data", "pictures")


def test_a_number_that_names_a_class_that_is_not_there_is_refused(here: Path) -> None:
    make_pictures(here / "pictures", train=1, test=1)
    assert "names class 9" in refused("49", "--data", "pictures")


def test_a_folder_with_an_empty_class_is_refused(here: Path) -> None:
    folder = make_pictures(here / "pictures", names=("cat", "dog", "frog", "ship"), train=1, test=1)
    (folder / "train" / "dog" / "0.png").unlink()
    assert str(Path("train", "dog")) in refused("--classes", "cat,dog", "--data", "pictures")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n torn"])
def test_a_folder_with_a_file_that_is_no_image_is_refused(content: bytes, here: Path) -> None:
    folder = make_pictures(here / "pictures", names=("cat", "dog", "frog", "ship"), train=1, test=1)
    (folder / "test" / "frog" / "note.png").write_bytes(content)
    assert "note.png" in refused("--classes", "cat,dog", "--data", "pictures")


def test_a_truncated_archive_is_refused(here: Path) -> None:
    (here / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(1000))
    assert "torn" in refused("49", "--data", "cifar-10-python.tar.gz")


def test_an_archive_with_a_wrong_hash_is_refused(here: Path) -> None:
    with (here / "cifar-10-python.tar.gz").open("wb") as file:
        file.truncate(CIFAR10.size)  # the right size, but zeros, which take no room
    ended = command("run", "49", "--data", "cifar-10-python.tar.gz")
    assert "not the official archive" in the_one_line(ended)
    assert [path.name for path in here.iterdir() if path.name[0] != "."] == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize(
    "folder", ["file", "file/inside", "other", "/proc/no-such-folder", "/proc/1/no/such", "/dev/null/a", "x" * 300]
)
def test_a_folder_that_cannot_take_the_run_is_refused(folder: str, here: Path) -> None:
    (here / "file").write_text("mine")
    (here / "other").mkdir()
    (here / "other" / "thesis.txt").write_text("mine")
    refused("49", *DIGITS, "--out", folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"request": {}}', '{"request": []}', "\0"])
def test_a_folder_with_a_foreign_run_json_is_refused(content: str, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text(content)
    assert "not a run of this version" in refused("49", *DIGITS, "--out", "run")


@pytest.mark.parametrize(
    "difference",
    [
        ("49", "--seed", "1"),
        ("49", "--epochs", "3"),
        ("49", "--precision", "bfloat16"),
        ("49", "--recipe", "other.json"),
        ("48",),
        ("--classes", "four,eight"),
    ],
    ids=" ".join,
)
def test_a_folder_that_holds_another_run_is_refused_and_left_alone(
    difference: tuple[str, ...], digits_run: FinishedRun, here: Path
) -> None:
    (here / "other.json").write_text('{"a": {"label_smoothing": 0.06}}')  # on top of the run's own recipe
    before = contents(digits_run.folder)
    same = (*digits_run.arguments[1:], "--out", digits_run.folder)  # of two equal options, the last one holds
    assert "holds another run" in the_one_line(command("run", *same, *difference))
    assert command("run", *same, "49").status == 0
    assert contents(digits_run.folder) == before


def test_a_run_with_another_recipe_is_refused_by_its_folder_and_left_alone(digits_run: FinishedRun) -> None:
    before = contents(digits_run.folder)
    place = digits_run.arguments.index("--recipe")
    arguments = digits_run.arguments[:place] + digits_run.arguments[place + 2 :]
    line = the_one_line(command("run", *arguments, "--out", digits_run.folder))
    assert "holds another run (other data, classes, recipe, " in line
    assert contents(digits_run.folder) == before


def test_a_run_is_not_finished_by_other_code(digits_run: FinishedRun, monkeypatch) -> None:
    before = contents(digits_run.folder)
    monkeypatch.setattr("headstart.request.provenance", lambda: "headstart of tomorrow")
    assert "holds another run" in the_one_line(command("run", *digits_run.arguments, "--out", digits_run.folder))
    assert contents(digits_run.folder) == before


def test_a_run_of_an_earlier_version_is_refused_in_one_line_and_left_alone(digits_run: FinishedRun, here: Path) -> None:
    """Its run.json has neither words nor uncorrected p-values, and its code was other code."""
    shutil.copytree(digits_run.folder, here / "run")
    run = json.loads((here / "run" / "run.json").read_text(encoding="utf-8"))
    del run["cautions"]
    for network in run["networks"].values():
        del network["words"], network["feature_seconds"]
    for pair in run["comparison"]["pairs"]:
        del pair["p_uncorrected"]
    run["recipe"]["a"] |= {"optimizer": "muon", "pools": [1, 2], "decay": "linear"}
    run["request"]["identity"] = "0" * 64
    (here / "run" / "run.json").write_text(json.dumps(run))
    (here / "run" / "recipe.json").unlink()
    before = contents(here / "run")
    again = the_one_line(command("run", *digits_run.arguments, "--out", "run"))
    assert "holds another run (other data, classes, recipe, seed, epochs, precision, version or code)" in again
    for refusing in (("report", "run"), ("predict", "run", "a.png")):
        line = the_one_line(command(*refusing))
        assert "no finished run here (run.json: it is not as this version writes it)" in line
    assert contents(here / "run") == before


# Recipes


def asked_for(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Request:
    """What a run is asked for, which is stopped before it begins."""
    begun: list[Request] = []

    def begin(request: Request, *_: Any) -> None:
        begun.append(request)
        raise Failed("as far as that")

    monkeypatch.setattr("headstart.runs.run_request", begin)
    assert "as far as that" in command("run", "2020387499", "--data", "digits", *arguments).errors
    return begun[0]


def test_recipe_files_change_the_packages_recipes_one_after_the_other(here: Path, monkeypatch) -> None:
    write_recipe(here / "tiny.json", TINY)
    (here / "b.json").write_text('{"b": {"dropout": [0, 0.5], "learning_rate": 1}}')
    (here / "again.json").write_text('{"b": {"learning_rate": 0.125}, "a": {}}')
    files = ("--recipe", "tiny.json", "--recipe", "b.json", "--recipe", here / "again.json")
    request = asked_for(monkeypatch, *files, "--epochs", 3, "--seed", 5, "--precision", "bfloat16")
    tiny = {"widths": (2, 2, 2, 2), "units": 4, "epochs": 3, "seed": 5, "precision": "bfloat16"}
    assert vars(request.recipe_a) == vars(RECIPE_A) | tiny
    assert vars(request.recipe_b) == vars(RECIPE_B) | tiny | {"dropout": (0, 0.5), "learning_rate": 0.125}


BAD_RECIPES = {
    "empty": (b"", "Expecting value"),
    "no JSON": (b"widths: 3", "Expecting value"),
    "no text": (b"\xff\xfe\x00", "decode"),
    "a list": (b"[]", "not as this version writes it"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "nothing": (b"{}", '{"a": {...}}'),
    "values without a part": (b'{"units": 4}', "not as this version writes it"),
    "another part": (b'{"c": {"units": 4}}', '["c"]'),
    "an unknown value": (b'{"a": {"optimizer": "muon"}}', "'optimizer' is none of widths, units"),
    "a seed": (b'{"a": {"seed": 3}}', "a: 'seed' is none of"),
    "epochs": (b'{"b": {"epochs": 3}}', "b: 'epochs' is none of"),
    "a precision": (b'{"a": {"precision": "bfloat16"}}', "'precision' is none of"),
    "three widths": (b'{"a": {"widths": [4, 4, 4]}}', "widths=(4, 4, 4): give four whole numbers"),
    "a width of 0": (b'{"a": {"widths": [0, 4, 4, 4]}}', "give four whole numbers from 1"),
    "a dropout of 1": (b'{"a": {"dropout": [0.5, 1.0]}}', "dropout=(0.5, 1.0): give two rates"),
    "a rate that is text": (b'{"a": {"learning_rate": "0.1"}}', "learning_rate='0.1': give a number above 0"),
    "no number": (b'{"a": {"learning_rate": NaN}}', "learning_rate=nan: give a number above 0"),
    "yes for 1": (b'{"a": {"units": true}, "b": {"units": true}}', "units=True: give a whole number"),
    "units of part A alone": (b'{"a": {"units": 4}}', "units is 4 for part A and 512 for part B"),
    "shifts for part B": (b'{"b": {"shift": 4}}', "shift=4 for part B: give 0"),
}


@pytest.mark.parametrize("kind", BAD_RECIPES)
def test_a_bad_recipe_file_takes_one_line_and_leaves_nothing(kind: str, here: Path) -> None:
    content, words = BAD_RECIPES[kind]
    (here / "my.json").write_bytes(content)
    line = refused("49", *DIGITS, "--recipe", "my.json")
    assert words in line
    assert "recipe" in line


@pytest.mark.parametrize("path", ["no-such.json", "folder", "", "x" * 300, "/dev/zero"])
def test_a_recipe_file_that_cannot_be_read_takes_one_line_and_leaves_nothing(path: str, here: Path) -> None:
    (here / "folder").mkdir()
    assert refused("49", *DIGITS, "--recipe", path).startswith("headstart: recipe ")


def test_one_bad_recipe_of_two_is_enough(here: Path) -> None:
    write_recipe(here / "tiny.json", TINY)
    (here / "bad.json").write_text('{"a": {"units": 0}}')
    assert "recipe bad.json: " in refused("49", *DIGITS, "--recipe", "tiny.json", "--recipe", "bad.json")


def test_a_folder_that_holds_a_run_on_other_data_is_refused_and_left_alone(
    digits_run: FinishedRun, picture_run: FinishedRun
) -> None:
    before = contents(picture_run.folder)
    arguments = ("--classes", "four,nine", "--epochs", 3, "--precision", "float32", "--data", "digits")
    assert "holds another run" in the_one_line(command("run", *arguments, "--out", picture_run.folder))
    assert contents(picture_run.folder) == before


def test_a_run_whose_images_have_changed_or_vanished_is_refused_and_left_alone(
    picture_run: FinishedRun, here: Path
) -> None:
    shutil.copytree(picture_run.place / "pictures", here / "pictures")
    shutil.copytree(picture_run.folder, here / "run")
    before = contents(here / "run")
    arguments = ("--classes", ",".join(HOSTILE[:2]), "--epochs", 3, "--precision", "float32", "--data", "pictures")
    Image.new("RGB", (32, 32)).save(here / "pictures" / "test" / HOSTILE[0] / "0.png")
    assert "holds another run (other data" in the_one_line(command("run", *arguments, "--out", "run"))
    shutil.rmtree(here / "pictures")
    assert "no such name, file or folder" in the_one_line(command("run", *arguments, "--out", "run"))
    assert contents(here / "run") == before


# What the parser itself refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "49", "--no-such-option"), "--no-such-option"),
        (("run", "-5"), "-5"),
        (("run", "49", "--epochs"), "--epochs"),
        (("run", "49", "--epochs", "many"), "--epochs"),
        (("run", "49", "--epochs", "1.5"), "--epochs"),
        (("run", "49", "--seed", ""), "--seed"),
        (("run", "49", "50"), "50"),
        (("walk", "49"), "walk"),
        (("report",), "FOLDER"),
        (("predict",), "RUN"),
        (("predict", "run"), "IMAGE"),
        (("data", "--data"), "--data"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_a_usage_error_takes_one_line_too(arguments: tuple[str, ...], words: str) -> None:
    ended = command(*arguments)
    line = the_one_line(ended)
    assert words.lower() in line.lower()
    assert "--help" in line
    assert ended.output == ""


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [("study", "distributed", "study"), ("study", "dask", "study"), ("tune", "optuna", "tune")]
    + [("notebook", module, "notebook") for module in ("jupytext", "nbclient", "nbformat")],
)
def test_what_comes_with_an_extra_is_named_where_it_is_missing(
    name: str, missing: str, extra: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ("study.cluster", "tuning", "notebook", "execution")
    for module in [known for known in sys.modules if known.startswith(tuple(f"headstart.{one}" for one in ours))]:
        monkeypatch.delitem(sys.modules, module)  # it is imported again
    monkeypatch.setitem(sys.modules, missing, None)
    line = the_one_line(command(name))
    assert f"{name}: {missing} is not installed; in headstart's folder: pip install '.[{extra}]'" in line
    assert not list(here.iterdir())


def test_tensorflow_is_an_extra_too(here: Path) -> None:
    code = (
        "import sys, headstart.cli as c; sys.modules['tensorflow'] = None; "
        "sys.argv[1:] = ['run', '49', '--data', 'digits']; c.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "headstart: run: tensorflow is not installed; in headstart's folder: pip install '.[cpu]'\n"
    assert not list(here.iterdir())


def test_without_a_command_the_help_is_shown() -> None:
    ended = command()
    assert "notebook" in ended.output
    assert ended.errors == ""


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("notebook", "--help"), ("report", "--help")])
def test_help_ends_well(arguments: tuple[str, ...]) -> None:
    ended = command(*arguments)
    assert (ended.status, ended.errors) == (0, "")
    assert "Usage: " in ended.output


def test_help_names_the_commands_the_common_options_and_where_the_files_go() -> None:
    commands = command("--help").output
    assert all(name in commands for name in ("run", "notebook", "study", "report", "predict", "data"))
    for name in ("run", "notebook"):
        options = command(name, "--help").output
        assert all(option in options for option in ("--data", "--seed", "--epochs", "--out", "--classes"))
    for name, default in (
        ("run", "runs/<number>-"),
        ("notebook", "practical-<number>.ipynb"),
        ("tune", "tuning-<part>"),
    ):
        assert default in command(name, "--help").output


# How it ends


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (BadRequest("a\n  b"), 2, "headstart: a b\n"),
        (Failed("cell 3: it died"), 1, "headstart: cell 3: it died\n"),
        (None, 0, ""),
    ],
)
def test_each_ending_has_its_status(error, status: int, line: str, here: Path, monkeypatch) -> None:
    def end(*_: Any) -> None:
        if error:
            raise error

    monkeypatch.setattr("headstart.execution.execute_notebook", end)
    ended = command("notebook", "49", "--execute", "--data", "digits")
    assert (ended.status, ended.errors) == (status, line)


def test_without_options_a_run_is_the_practicals(here: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.precision.choose_precision", lambda asked: ("float32", f"{asked} was asked for"))
    request = asked_for(monkeypatch)
    assert request.held_out == (4, 9)
    assert (request.recipe_a, request.recipe_b) == (RECIPE_A, RECIPE_B)
    assert (request.recipe_a.epochs, request.recipe_b.epochs, request.recipe_a.seed) == (20, 20, 0)
    assert request.precision_reason == "auto was asked for"


def test_ctrl_c_ends_at_once_with_130_and_the_line_that_resumes(here: Path, monkeypatch) -> None:
    class Ended(BaseException): ...

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def leave(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr("headstart.runs.run_request", interrupt)
    monkeypatch.setattr(os, "_exit", leave)
    errors: list[str] = []
    monkeypatch.setattr(cli, "complain", errors.append)
    with pytest.raises(Ended, match="130"):
        command("run", "49", *DIGITS, "--out", "my folder")
    [line] = errors
    assert line.endswith("headstart run 49 --data digits --epochs 1 --precision float32 --out 'my folder'")


def test_an_error_of_ours_is_1_and_shows_where(here: Path) -> None:
    code = (
        "import sys, headstart.cli as c, headstart.finished as f; f.read_run = lambda _: 1 / 0; "
        "sys.argv[1:] = ['report', '.']; c.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


# What a run shows


def test_a_run_shows_its_table_its_conclusions_and_where_everything_lies(digits_run: FinishedRun) -> None:
    run = json.loads((digits_run.folder / "run.json").read_text(encoding="utf-8"))
    shown = digits_run.output
    assert "four or nine?" in shown
    for name, network in run["networks"].items():
        [row] = [line for line in shown.splitlines() if line.startswith(f"│ {name} ")]
        low, high = network["test_accuracy_ci95"]
        assert f"{network['test_accuracy']:.1%}" in row
        assert f"{low:.1%} to {high:.1%}" in row
    said = [shown.index(paragraph) for paragraph in (*run["cautions"], *run["conclusions"])]
    assert said == sorted(said)
    assert len(run["cautions"]) == 1
    assert f"Audit: {len(run['audit'])} of {len(run['audit'])} rules hold." in shown
    assert str(Path("run", "report.html")) in shown


def test_a_run_says_whose_images_it_uses_and_in_which_precision(digits_run: FinishedRun) -> None:
    head = digits_run.output.splitlines()[:3]
    assert head[0].startswith("Data: scikit-learn digits, not CIFAR-10")
    assert head[1] == "Precision: float32 (float32 was asked for)"
    assert head[2] == "Folder: run"


def test_class_names_are_shown_as_they_are(picture_run: FinishedRun) -> None:
    assert f"{HOSTILE[0]} or {HOSTILE[1]}? (" in picture_run.output


def test_rules_that_do_not_hold_are_named(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    run = json.loads((here / "run" / "run.json").read_text(encoding="utf-8"))
    run["audit"][3]["holds"] = False
    (here / "run" / "run.json").write_text(json.dumps(run))
    output = command("run", *digits_run.arguments, "--out", "run").output
    assert f"Audit: {len(run['audit']) - 1} of {len(run['audit'])} rules hold." in output
    assert f"  does not hold: {run['audit'][3]['rule']}\n" in output


# The other commands


def test_report_makes_the_same_page_anew(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    page = (here / "run" / "report.html").read_bytes()
    (here / "run" / "report.html").unlink()
    ended = command("report", "run")
    assert (ended.status, ended.errors, ended.output.strip()) == (0, "", str(Path("run", "report.html")))
    assert (here / "run" / "report.html").read_bytes() == page


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"classes": 3}'])
def test_report_needs_a_finished_run(content: str | None, here: Path) -> None:
    (here / "run").mkdir()
    if content is not None:
        (here / "run" / "run.json").write_text(content)
    before = contents(here)
    assert "no finished run" in the_one_line(command("report", "run"))
    assert contents(here) == before


def test_report_on_a_full_disk_takes_one_line_and_keeps_the_page(digits_run: FinishedRun, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(digits_run.folder)
    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in the_one_line(command("report", digits_run.folder))
    assert contents(digits_run.folder) == before


def test_report_makes_the_page_of_a_study_too(here: Path) -> None:
    make_study(here / "study")
    ended = command("report", "study")
    assert (ended.status, ended.errors, ended.output.strip()) == (0, "", str(Path("study", "report.html")))


def test_predict_says_what_the_run_has_said_of_the_same_picture(picture_run: FinishedRun, here: Path) -> None:
    pictures = [picture_run.place / "pictures" / "test" / name / "3.png" for name in HOSTILE[:2]]
    shutil.copy(pictures[1], here / "my [red]picture.png")
    ended = command("predict", picture_run.folder, pictures[0], "my [red]picture.png")
    assert (ended.status, ended.errors) == (0, "")
    assert "my [red]picture.png" in ended.output
    with np.load(picture_run.folder / "predictions.npz") as predictions:
        known = [predictions[name][number] for number in (3, 9) for name in ("scratch", "last_layer", "two_layers")]
    titles = ("From scratch", "One layer", "Two layers")
    rows = [line for line in ended.output.splitlines() if any(title in line for title in titles)]
    for probabilities, row in zip(known, rows, strict=True):
        assert f"{probabilities.max():.1%}" in row


def test_predict_names_each_networks_own_classes() -> None:
    """Of eight classes and of two, by hand."""
    letters = {"a": list("CDEFGHIJ"), "b": ["A", "B"]}
    answers = {"a": [0.0, 0.1, 0.0, 0.6, 0.0, 0.25, 0.05, 0.0], "scratch": [0.25, 0.75], "last_layer": [0.75, 0.25]}
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.tables.predict", lambda network, pictures: np.array([answers[network]]))
        pictures = {Path("a.png"): np.zeros((32, 32, 3), np.uint8)}
        show_predictions(
            {"classes": letters}, {name: name for name in answers}, pictures, Console(file=said, width=200)
        )
    cells = [
        [cell.strip() for cell in row.split("│")[1:-1]] for row in said.getvalue().splitlines() if "classes │" in row
    ]
    assert cells == [
        ["Network A", "8 classes", "F", "60.0%", "H 25.0%, D 10.0%"],
        ["From scratch", "2 classes", "B", "75.0%", "A 25.0%"],
        ["One layer", "2 classes", "A", "75.0%", "B 25.0%"],
    ]


@pytest.mark.parametrize("kind", ["missing", "text", "folder"])
def test_predict_needs_pictures(kind: str, picture_run: FinishedRun, here: Path) -> None:
    (here / "text").write_text("no picture")
    (here / "folder").mkdir()
    assert kind in the_one_line(command("predict", picture_run.folder, kind))


def test_predict_needs_a_finished_run(here: Path) -> None:
    assert "no finished run" in the_one_line(command("predict", "run", "a.png"))


def test_data_says_what_is_there(here: Path) -> None:
    ended = command("data", "--data", "digits")
    assert (ended.status, ended.errors) == (0, "")
    assert "1,000 training and 797 test images in 10 classes" in ended.output
    assert "0 zero, 1 one, 2 two" in ended.output


def test_data_refuses_what_is_not_there(here: Path) -> None:
    assert "nowhere" in the_one_line(command("data", "--data", "nowhere"))

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
from matplotlib import rc_context
from PIL import Image
from rich.console import Console

from headstart import cli
from headstart.datasets.download import CIFAR10
from headstart.errors import InvalidRequest, ResourceError, TrainingFailed
from headstart.report.terminal import show_predictions
from headstart.runs.request import Request
from headstart.training.recipes import RECIPE_A, RECIPE_B
from support.runs import (
    HOSTILE,
    TINY,
    FinishedRun,
    command,
    contents,
    make_pictures,
    refused,
    the_one_line,
    write_recipe,
)
from support.studies import make_study

DIGITS = ("--data", "digits", "--epochs", "1", "--precision", "float32")


@pytest.fixture(autouse=True)
def nothing_is_trained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a test of this file trains anything itself."""

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("a training began")

    for name in request.fixturenames:  # these runs are trained before
        if name.endswith("_run"):
            request.getfixturevalue(name)
    monkeypatch.setattr("headstart.practical.training.train", trained)


# Invalid data and folders


def test_a_folder_with_one_class_is_refused(here: Path) -> None:
    make_pictures(here / "pictures", names=("cat",), train=1, test=1)
    assert "at least two are needed" in refused("run", "49", "--data", "pictures")


def test_a_folder_with_an_empty_class_is_refused(here: Path) -> None:
    folder = make_pictures(here / "pictures", names=("cat", "dog", "frog", "ship"), train=1, test=1)
    (folder / "train" / "dog" / "0.png").unlink()
    assert str(Path("train", "dog")) in refused("run", "--classes", "cat,dog", "--data", "pictures")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n cut"])
def test_an_image_folder_with_another_file_is_refused(content: bytes, here: Path) -> None:
    folder = make_pictures(here / "pictures", names=("cat", "dog", "frog", "ship"), train=1, test=1)
    (folder / "test" / "frog" / "note.png").write_bytes(content)
    assert "note.png" in refused("run", "--classes", "cat,dog", "--data", "pictures")


def test_a_truncated_archive_is_refused(here: Path) -> None:
    (here / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b\x08\x00" + bytes(1000))
    assert "damaged" in refused("run", "49", "--data", "cifar-10-python.tar.gz")


def test_an_archive_with_a_wrong_hash_is_refused(here: Path) -> None:
    with (here / "cifar-10-python.tar.gz").open("wb") as file:
        file.truncate(CIFAR10.size)  # the right size, but zeros, which take no space
    ended = command("run", "49", "--data", "cifar-10-python.tar.gz")
    assert "not the official archive" in the_one_line(ended)
    assert [path.name for path in here.iterdir() if path.name[0] != "."] == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"request": {}}', '{"request": []}', "\0"])
def test_a_folder_with_another_run_json_is_refused(content: str, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text(content)
    assert "not a run of this version" in refused("run", "49", *DIGITS, "--out", "run")


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
def test_a_folder_with_another_run_is_refused_and_not_changed(
    difference: tuple[str, ...], digits_run: FinishedRun, here: Path
) -> None:
    (here / "other.json").write_text('{"a": {"label_smoothing": 0.06}}')  # in addition to the run's own recipe
    before = contents(digits_run.folder)
    same = (*digits_run.arguments[1:], "--out", digits_run.folder)  # the last one of two equal options is used
    assert "the folder contains another run" in the_one_line(command("run", *same, *difference))
    assert command("run", *same, "49").status == 0
    assert contents(digits_run.folder) == before


def test_the_folder_of_a_run_with_another_recipe_is_refused(digits_run: FinishedRun) -> None:
    before = contents(digits_run.folder)
    place = digits_run.arguments.index("--recipe")
    arguments = digits_run.arguments[:place] + digits_run.arguments[place + 2 :]
    line = the_one_line(command("run", *arguments, "--out", digits_run.folder))
    assert "the folder contains another run (other data, classes, recipe, " in line
    assert contents(digits_run.folder) == before


def test_a_run_of_other_code_is_refused(digits_run: FinishedRun, monkeypatch) -> None:
    before = contents(digits_run.folder)
    monkeypatch.setattr("headstart.runs.request.provenance", lambda: "headstart of tomorrow")
    line = the_one_line(command("run", *digits_run.arguments, "--out", digits_run.folder))
    assert "the folder contains another run" in line
    assert contents(digits_run.folder) == before


def test_a_run_of_an_earlier_version_is_refused_in_one_line(digits_run: FinishedRun, here: Path) -> None:
    """Its `run.json` has neither words nor uncorrected p-values, and it was executed by other code."""
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
    assert "another run (other data, classes, recipe, seed, epochs, precision, version or code)" in again
    for refusing in (("report", "run"), ("predict", "run", "a.png")):
        line = the_one_line(command(*refusing))
        assert "no finished run here (run.json: it does not have the structure that this version writes)" in line
    assert contents(here / "run") == before


# Recipes


def request_of(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Request:
    """Return the request of a command, which is stopped before it trains."""
    requests: list[Request] = []

    def stop(request: Request) -> None:
        requests.append(request)
        raise TrainingFailed("stopped")

    monkeypatch.setattr("headstart.runs.runner.execute_run", stop)
    assert "stopped" in the_one_line(command("run", "2020387499", "--data", "digits", *arguments), status=1)
    return requests[0]


def test_recipe_files_change_the_default_recipes_in_order(here: Path, monkeypatch) -> None:
    write_recipe(here / "tiny.json", TINY)
    (here / "b.json").write_text('{"b": {"dropout": [0, 0.5], "learning_rate": 1}}')
    (here / "again.json").write_text('{"b": {"learning_rate": 0.125}, "a": {}}')
    files = ("--recipe", "tiny.json", "--recipe", "b.json", "--recipe", here / "again.json")
    request = request_of(monkeypatch, *files, "--epochs", 3, "--seed", 5, "--precision", "bfloat16")
    tiny = {"widths": (2, 2, 2, 2), "units": 4, "epochs": 3, "seed": 5, "precision": "bfloat16"}
    assert vars(request.recipe_a) == vars(RECIPE_A) | tiny
    assert vars(request.recipe_b) == vars(RECIPE_B) | tiny | {"dropout": (0, 0.5), "learning_rate": 0.125}


INVALID_RECIPES = {
    "empty": (b"", "Expecting value"),
    "no JSON": (b"widths: 3", "Expecting value"),
    "no text": (b"\xff\xfe\x00", "decode"),
    "a list": (b"[]", "does not have the structure that this version writes"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "nothing": (b"{}", '{"a": {...}}'),
    "values without a part": (b'{"units": 4}', "does not have the structure that this version writes"),
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


@pytest.mark.parametrize("kind", INVALID_RECIPES)
def test_an_invalid_recipe_file_takes_one_line(kind: str, here: Path) -> None:
    content, words = INVALID_RECIPES[kind]
    (here / "my.json").write_bytes(content)
    line = refused("run", "49", *DIGITS, "--recipe", "my.json")
    assert words in line


@pytest.mark.parametrize("path", ["no-such.json", "folder", "", "x" * 300, "/dev/zero"])
def test_a_recipe_file_that_cannot_be_read_takes_one_line(path: str, here: Path) -> None:
    (here / "folder").mkdir()
    assert refused("run", "49", *DIGITS, "--recipe", path).startswith(f"headstart: {path or '.'}: ")


def test_one_invalid_recipe_of_two_is_refused(here: Path) -> None:
    write_recipe(here / "tiny.json", TINY)
    (here / "bad.json").write_text('{"a": {"units": 0}}')
    assert "bad.json: " in refused("run", "49", *DIGITS, "--recipe", "tiny.json", "--recipe", "bad.json")


def test_the_folder_of_a_run_on_other_data_is_refused(digits_run: FinishedRun, picture_run: FinishedRun) -> None:
    before = contents(picture_run.folder)
    arguments = ("--classes", "four,nine", "--epochs", 3, "--precision", "float32", "--data", "digits")
    assert "the folder contains another run" in the_one_line(command("run", *arguments, "--out", picture_run.folder))
    assert contents(picture_run.folder) == before


def test_a_run_whose_images_changed_is_refused_and_not_changed(picture_run: FinishedRun, here: Path) -> None:
    shutil.copytree(picture_run.place / "pictures", here / "pictures")
    shutil.copytree(picture_run.folder, here / "run")
    before = contents(here / "run")
    arguments = ("--classes", ",".join(HOSTILE[:2]), "--epochs", 3, "--precision", "float32", "--data", "pictures")
    Image.new("RGB", (32, 32)).save(here / "pictures" / "test" / HOSTILE[0] / "0.png")
    assert "the folder contains another run (other data" in the_one_line(command("run", *arguments, "--out", "run"))
    shutil.rmtree(here / "pictures")
    assert "no such name, file or folder" in the_one_line(command("run", *arguments, "--out", "run"))
    assert contents(here / "run") == before


# Usage errors


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
    ("arguments", "missing", "extra"),
    [
        ("study", "distributed", "study"),
        ("study", "dask", "study"),
        ("study --dry-run", "distributed", "study"),
        ("tune", "optuna", "tune"),
        ("notebook 49 --execute", "nbclient", "notebook"),
    ],
)
def test_the_extra_of_a_missing_package_is_named(arguments: str, missing: str, extra: str, here: Path) -> None:
    code = f"import sys, headstart.cli as c; sys.modules[{missing!r}] = None; c.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, check=False, cwd=here
    )
    name = arguments.split()[0]
    assert ended.returncode == 2
    line = f"headstart: {name}: {missing} is not installed; in headstart's folder: pip install '.[{extra}]'\n"
    assert ended.stderr == line
    assert {path.name for path in here.iterdir()} <= {".keras"}  # importing Keras creates it
    assert not (here / ".keras" / "datasets").exists()  # no data was downloaded before


def test_the_extra_of_tensorflow_is_named(here: Path) -> None:
    code = (
        "import sys, headstart.cli as c; sys.modules['tensorflow'] = None; "
        "sys.argv[1:] = ['run', '49', '--data', 'digits']; c.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "headstart: run: tensorflow is not installed; in headstart's folder: pip install '.[cpu]'\n"
    assert not list(here.iterdir())


def test_without_a_command_the_help_is_printed() -> None:
    ended = command()
    assert "notebook" in ended.output
    assert ended.errors == ""


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("notebook", "--help"), ("report", "--help")])
def test_help_succeeds(arguments: tuple[str, ...]) -> None:
    ended = command(*arguments)
    assert (ended.status, ended.errors) == (0, "")
    assert "Usage: " in ended.output


def test_help_names_commands_options_and_default_folders() -> None:
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
        (InvalidRequest("a\n  b"), 2, "headstart: a b\n"),
        (InvalidRequest("give 1", option="train_sizes", value="0"), 2, "headstart: --train-sizes 0: give 1\n"),
        (ResourceError("full\x1b[2J"), 1, "headstart: full?[2J\n"),
        (TrainingFailed("cell 3: it died"), 1, "headstart: cell 3: it died\n"),
        (None, 0, ""),
    ],
)
def test_each_kind_of_error_has_its_exit_status(error, status: int, line: str, here: Path, monkeypatch) -> None:
    def end(*_: Any) -> None:
        if error:
            raise error

    monkeypatch.setattr("headstart.notebook.execute.execute_notebook", end)
    ended = command("notebook", "49", "--execute", "--data", "digits", "--precision", "float32")
    assert (ended.status, ended.errors) == (status, line)


def test_without_options_a_run_is_that_of_the_practical(here: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.options.choose_precision", lambda precision: ("float32", f"{precision} was given"))
    request = request_of(monkeypatch)
    assert request.held_out == (4, 9)
    assert (request.recipe_a, request.recipe_b) == (RECIPE_A, RECIPE_B)
    assert (request.recipe_a.epochs, request.recipe_b.epochs, request.recipe_a.seed) == (20, 20, 0)
    assert request.precision_reason == "auto was given"


def test_ctrl_c_exits_with_130_and_the_command_that_resumes(here: Path, monkeypatch) -> None:
    class Ended(BaseException): ...

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def leave(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr("headstart.runs.runner.execute_run", interrupt)
    monkeypatch.setattr(os, "_exit", leave)
    errors: list[str] = []
    monkeypatch.setattr(cli, "complain", errors.append)
    with pytest.raises(Ended, match="130"):
        command("run", "49", *DIGITS, "--out", "my folder")
    [line] = errors
    assert line.endswith("headstart run 49 --data digits --epochs 1 --precision float32 --out 'my folder'")


def test_an_error_in_our_code_has_status_1_and_a_traceback(here: Path) -> None:
    code = (
        "import sys, headstart.cli as c, headstart.workflows as w; w.read_run = lambda _: 1 / 0; "
        "sys.argv[1:] = ['report', '.']; c.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


# What a run prints


def test_a_run_prints_its_table_conclusions_and_folder(digits_run: FinishedRun) -> None:
    run = json.loads((digits_run.folder / "run.json").read_text(encoding="utf-8"))
    shown = digits_run.output
    assert "four or nine?" in shown
    for name, network in run["networks"].items():
        [row] = [line for line in shown.splitlines() if line.startswith(f"│ {name} ")]
        low, high = network["test_accuracy_ci95"]
        assert f"{network['test_accuracy']:.1%}" in row
        assert f"{low:.1%} to {high:.1%}" in row
    places = [shown.index(paragraph) for paragraph in (*run["cautions"], *run["conclusions"])]
    assert places == sorted(places)
    assert len(run["cautions"]) == 1
    assert f"Audit: {len(run['audit'])} of {len(run['audit'])} rules hold." in shown
    assert str(Path("run", "report.html")) in shown


def test_a_run_prints_its_data_precision_and_folder(digits_run: FinishedRun) -> None:
    head = digits_run.output.splitlines()[:4]
    assert head[0].startswith("Data: scikit-learn digits, not CIFAR-10")
    assert head[1] == "Held out: four (4) and nine (9)"
    assert head[2] == "Precision: float32 (float32 was requested)"
    assert head[3] == "Folder: run"


def test_class_names_are_printed_as_they_are(picture_run: FinishedRun) -> None:
    assert f"{HOSTILE[0]} or {HOSTILE[1]}? (" in picture_run.output


def test_broken_rules_are_named(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    run = json.loads((here / "run" / "run.json").read_text(encoding="utf-8"))
    run["audit"][3]["holds"] = False
    (here / "run" / "run.json").write_text(json.dumps(run))
    output = command("run", *digits_run.arguments, "--out", "run").output
    assert f"Audit: {len(run['audit']) - 1} of {len(run['audit'])} rules hold." in output
    assert f"  broken: {run['audit'][3]['rule']}\n" in output


# The other commands


def test_report_writes_the_same_page_again(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    page = (here / "run" / "report.html").read_bytes()
    (here / "run" / "report.html").unlink()
    ended = command("report", "run")
    assert (ended.status, ended.errors, ended.output.strip()) == (0, "", str(Path("run", "report.html")))
    assert (here / "run" / "report.html").read_bytes() == page


def test_a_users_settings_of_matplotlib_change_no_figure(digits_run: FinishedRun, here: Path, monkeypatch) -> None:
    """LaTeX, which is not installed here, was needed by a user's text.usetex."""
    shutil.copytree(digits_run.folder, here / "run")
    with rc_context({"text.usetex": True, "font.size": 30, "axes.prop_cycle": "cycler('color', ['red'])"}):
        assert command("report", "run").status == 0
    for path in (here / "run" / "figures").iterdir():
        assert path.read_bytes() == (digits_run.folder / "figures" / path.name).read_bytes()


@pytest.mark.parametrize("broken", ["report.run.write_run_page", "runs.artefacts.write_figures"])
def test_a_chart_that_fails_ends_no_run(broken: str, digits_run: FinishedRun, here: Path, monkeypatch) -> None:
    """The numbers are saved, so it is a warning, and `report` can draw later."""
    run = Path(shutil.copytree(digits_run.folder, here / "run"))
    (run / "report.html").unlink()
    shutil.rmtree(run / "figures")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug in a chart")

    with monkeypatch.context() as patch:
        patch.setattr(f"headstart.{broken}", fail)
        options = ("--data", "digits", "--epochs", "2", "--precision", "float32")
        ended = command("run", "2020387499", *options, "--recipe", digits_run.place / "small.json", "--out", "run")
        assert (ended.status, ended.errors) == (0, "")
    what = "page" if "page" in broken else "figures"
    assert f"WARNING: run: the {what} failed (ZeroDivisionError: a bug in a chart)" in ended.output
    assert "WARNING: All results are saved. To try again: headstart report run" in ended.output
    assert (run / "report.html").exists() == (what == "figures")
    assert (run / "figures").exists() == (what == "page")
    assert command("report", "run").status == 0
    assert contents(run) == contents(digits_run.folder)


@pytest.mark.parametrize(
    "environment", [{"MPLBACKEND": "nonsense"}, {"PYTHONIOENCODING": "ascii"}, {"stdout": "/dev/full"}]
)
def test_output_and_users_settings_end_no_command(environment: dict[str, str], here: Path) -> None:
    make_pictures(here / "pictures", names=("鹿", "b", "c", "d"), train=1, test=1)
    file = environment.pop("stdout", "output")
    options = ["data", "--data", "pictures", "--contact-sheet", "sheet.png"]
    with Path(file).open("w") as output:
        ended = subprocess.run(
            [sys.executable, "-c", "from headstart.cli import main; main()", *options],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if file == "/dev/full":
        assert ended.returncode == 1
        assert ended.stderr.startswith(
            "headstart: standard output: No space left on device; only what should have been"
        )
        assert ended.stderr.count("\n") == 1
    else:
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ("  3 \\u9e7f: 1" if "PYTHONIOENCODING" in environment else "  0 b: 1") in Path("output").read_text()
    assert Path("sheet.png").exists()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"classes": 3}'])
def test_report_needs_a_finished_run(content: str | None, here: Path) -> None:
    (here / "run").mkdir()
    if content is not None:
        (here / "run" / "run.json").write_text(content)
    before = contents(here)
    assert "no finished run" in the_one_line(command("report", "run"))
    assert contents(here) == before


def test_report_on_a_full_disk_keeps_the_page(digits_run: FinishedRun, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(digits_run.folder)
    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in the_one_line(command("report", digits_run.folder), status=1)
    assert contents(digits_run.folder) == before


def test_report_writes_the_page_of_a_study(here: Path) -> None:
    make_study(here / "study")
    ended = command("report", "study")
    assert (ended.status, ended.errors, ended.output.strip()) == (0, "", str(Path("study", "report.html")))


@pytest.mark.parametrize("name", ["results.csv", "study.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"a,b\n1,2\n", b"[]"])
def test_report_refuses_a_damaged_file_of_a_study(name: str, content: bytes, study: Path) -> None:
    (study / name).write_bytes(content)
    line = the_one_line(command("report", study))
    assert f"{study / name}: not what a study writes there" in line
    assert "give the command of the study again" in line


@pytest.mark.parametrize("name", ["history.csv", "predictions.npz"])
def test_report_refuses_a_damaged_file_of_a_run(name: str, digits_run: FinishedRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(digits_run.folder, tmp_path / "run"))
    complete = (folder / name).read_bytes()
    for damaged in (b"", b"\xff\xfe", complete[: len(complete) // 2]):
        (folder / name).write_bytes(damaged)
        line = the_one_line(command("report", folder))
        assert f"{folder / name}: not what a run writes there" in line
        assert "execute the run again" in line


OUR_FUNCTIONS = {
    "study": [
        "study.summary.differences",
        "study.summary.summarise",
        "study.summary.jackknife_interval",
        "report.study.conclude",
        "report.study.figures_of_pair",
        "report.charts.gains",
        "report.page.packed_plotly",
    ],
    "run": ["report.charts.curves", "report.charts.confusion", "report.run.flow", "report.run.layer_table"],
}


@pytest.mark.parametrize("error", [ValueError, KeyError, ZeroDivisionError])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in OUR_FUNCTIONS.items() for name in names])
def test_a_fault_of_our_own_is_not_blamed_on_a_file(
    kind: str, name: str, error: type[Exception], shared_study: Path, digits_run: FinishedRun, monkeypatch
) -> None:
    fault = error("our fault")

    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(f"headstart.{name}", fail)
    with pytest.raises(error) as raised:
        command("report", shared_study if kind == "study" else digits_run.folder)
    assert raised.value is fault


def test_predict_agrees_with_the_run_about_the_same_picture(picture_run: FinishedRun, here: Path) -> None:
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


def test_predict_names_the_classes_of_each_network() -> None:
    """Network A has eight classes, the others two."""
    letters = {"a": list("CDEFGHIJ"), "b": ["A", "B"]}
    answers = {"a": [0.0, 0.1, 0.0, 0.6, 0.0, 0.25, 0.05, 0.0], "scratch": [0.25, 0.75], "last_layer": [0.75, 0.25]}
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.report.terminal.predict", lambda network, pictures: np.array([answers[network]]))
        pictures = {Path("a.png"): np.zeros((32, 32, 3), np.uint8)}
        show_predictions(
            {"classes": letters}, {name: name for name in answers}, pictures, Console(file=printed, width=200)
        )
    cells = [
        [cell.strip() for cell in row.split("│")[1:-1]] for row in printed.getvalue().splitlines() if "classes │" in row
    ]
    assert cells == [
        ["Network A", "8 classes", "F", "60.0%", "H 25.0%, D 10.0%"],
        ["From scratch", "2 classes", "B", "75.0%", "A 25.0%"],
        ["One layer", "2 classes", "A", "75.0%", "B 25.0%"],
    ]


@pytest.mark.parametrize("kind", ["missing", "text", "folder"])  # the folder is empty
def test_predict_needs_pictures(kind: str, picture_run: FinishedRun, here: Path) -> None:
    (here / "text").write_text("no picture")
    (here / "folder").mkdir()
    assert kind in the_one_line(command("predict", picture_run.folder, kind))


def test_predict_needs_a_finished_run(here: Path) -> None:
    assert "no finished run" in the_one_line(command("predict", "run", "a.png"))


def test_data_describes_the_dataset(here: Path) -> None:
    ended = command("data", "--data", "digits")
    assert (ended.status, ended.errors) == (0, "")
    assert "1,000 training and 797 test images in 10 classes" in ended.output
    assert "  9 nine: 100 training, 80 test\n" in ended.output
    assert "No test image is in the training images" in ended.output


def test_data_reports_a_test_part_that_is_the_training_part(here: Path) -> None:
    folder = make_pictures(here / "pictures", train=3, test=1)
    shutil.rmtree(folder / "test")
    (folder / "test").symlink_to("train")
    ended = command("data", "--data", "pictures", "--contact-sheet", "sheet.png")
    assert "12 of 12 test images are equal to a training image." in ended.output
    assert (here / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_wrong_with_images_is_said_before_any_training(here: Path, monkeypatch) -> None:
    """A class is a link to another one, and the test part has a training image."""
    folder = make_pictures(here / "pictures", names=("ant", "bee", "cat", "dog"), train=3, test=2)
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "cat")
        (folder / part / "cat").symlink_to("ant")
    shutil.copy(folder / "train" / "dog" / "0.png", folder / "test" / "dog" / "0.png")

    def stop(request: Request) -> Path:
        raise TrainingFailed("nothing is trained here")

    monkeypatch.setattr("headstart.runs.runner.execute_run", stop)
    ended = command("run", "01", "--data", "pictures", "--precision", "float32")
    assert ended.status == 1
    assert "Held out: ant (0) and bee (1)" in ended.output
    assert "WARNING: 1 of 8 test images are equal to a training image." in ended.output
    assert "WARNING: 5 pictures are in two classes." in ended.output


def test_predict_reads_all_pictures_of_a_folder(picture_run: FinishedRun, here: Path) -> None:
    for number in (10, 9):
        shutil.copy(picture_run.place / "pictures" / "test" / HOSTILE[0] / "3.png", here / f"{number}.png")
    (here / ".DS_Store").touch()
    ended = command("predict", picture_run.folder, here)
    assert (ended.status, ended.errors) == (0, "")
    assert -1 < ended.output.index("/9.png") < ended.output.index("/10.png")


def test_data_refuses_an_unknown_name(here: Path) -> None:
    assert "nowhere" in the_one_line(command("data", "--data", "nowhere"))

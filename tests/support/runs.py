"""Finished runs that several test files read, image folders, and commands that are executed in this process."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from headstart.cli import status_of
from support.shared import once

NETWORKS = ("a", "scratch", "last_layer", "two_layers")
HOSTILE = ("<script>alert(1)<&", "[bold]dog", "plain", "ünï cat")
"""Class names that break HTML, rich's markup or an ASCII terminal if they are not escaped, sorted by their number."""
SMALL = {"widths": [8, 8, 16, 16], "units": 32, "learning_rate": 0.01, "batch_size": 32}
TINY = {"widths": [2, 2, 2, 2], "units": 4}
"""Recipes of networks that are trained in seconds. The small ones learn something, the tiny ones do not have to."""


class Ended(NamedTuple):
    """The exit status of a command and what it printed."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class FinishedRun:
    """A folder that `headstart run` has written, and the command."""

    place: Path  # the working directory
    arguments: tuple[str, ...]  # of the command, without the folder
    folder: Path
    output: str
    headings: tuple[str, ...]  # of its figures


def make_pictures(folder: Path, names: tuple[str, ...] = HOSTILE, train: int = 12, test: int = 6) -> Path:
    """Write an image folder of noise in which each class is brighter than the one before."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for number, name in enumerate(names):
            (folder / part / name).mkdir(parents=True)
            for picture in range(count):
                dark = 160 * number // len(names)
                pixels = rng.integers(dark, dark + 60, size=(32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{picture}.png")
    return folder


def write_recipe(path: Path, values: dict[str, object]) -> Path:
    """Write a recipe file with the same values for both parts."""
    path.write_text(json.dumps({"a": values, "b": values}))
    return path


def command(*arguments: object) -> Ended:
    """Execute a command in this process."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        status = status_of([str(argument) for argument in arguments])
    return Ended(status, output.getvalue(), errors.getvalue())


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder by their relative path, without the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def the_one_line(ended: Ended, status: int = 2) -> str:
    """Return the one line of a command that failed; by default, because the request is invalid."""
    assert ended.status == status, ended
    assert ended.errors.startswith("headstart: "), ended
    assert ended.errors.endswith("\n"), ended
    assert ended.errors.count("\n") == 1, ended
    assert "Traceback" not in ended.output + ended.errors, ended
    return ended.errors


def refused(*arguments: object) -> str:
    """Return the line that refuses a command, which must change nothing in the working directory but its caches."""
    before = visible_contents()
    line = the_one_line(command(*arguments))
    assert visible_contents() == before
    return line


def visible_contents() -> dict[Path, bytes | None]:
    """Return the files of the working directory with their content, and its folders, without the hidden ones."""
    visible = [path for path in Path().rglob("*") if path.parts[0][0] != "."]
    return {path: path.read_bytes() if path.is_file() else None for path in visible}


@contextmanager
def at(place: Path) -> Iterator[pytest.MonkeyPatch]:
    """Make this the working directory and the place of all caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("XDG_CACHE_HOME", str(place / ".cache"))
        patch.setenv("KERAS_HOME", str(place / ".keras"))
        patch.setenv("MPLCONFIGDIR", mpl.get_cachedir())  # the list of fonts is there already
        yield patch


def finished_run(place: Path, *arguments: str) -> FinishedRun:
    """Execute a run, and record the headings of the figures that it saves."""
    headings = []
    savefig = Figure.savefig

    def record(figure: Figure, *given: object, **options: object) -> None:
        headings.append(figure.get_suptitle())
        savefig(figure, *given, **options)

    with at(place) as patch:
        patch.setattr(Figure, "savefig", record)
        ended = command("run", *arguments, "--out", "run")
    assert (ended.status, ended.errors) == (0, ""), ended
    return FinishedRun(place, arguments, place / "run", ended.output, tuple(headings))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """Make the test's own folder the working directory and the place of all caches."""
    with at(tmp_path):
        yield tmp_path


def copy_of(finished: FinishedRun, temporary: pytest.TempPathFactory) -> FinishedRun:
    """Return this process' own copy of a run, because a test may lock it. Its images and recipes stay in one place."""
    place = temporary.mktemp("copy") / finished.place.name
    shutil.copytree(finished.place, place)
    return replace(finished, place=place, folder=place / "run")


@pytest.fixture(scope="session")
def picture_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of three epochs with the default recipe, on an image folder of four classes with hostile names.

    The first two classes are held out.
    """

    def make(place: Path) -> FinishedRun:
        make_pictures(place / "pictures")
        pictures = ("--data", str(place / "pictures"), "--classes", ",".join(HOSTILE[:2]))
        return finished_run(place, *pictures, "--epochs", "3", "--precision", "float32")

    return copy_of(once(tmp_path_factory, "picture-run", make), tmp_path_factory)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of two epochs with small networks on all digits, for registration number 2020387499."""

    def make(place: Path) -> FinishedRun:
        recipe = str(write_recipe(place / "small.json", SMALL))
        options = ("--data", "digits", "--epochs", "2", "--precision", "float32", "--recipe", recipe)
        return finished_run(place, "2020387499", *options)

    return copy_of(once(tmp_path_factory, "digits-run", make), tmp_path_factory)

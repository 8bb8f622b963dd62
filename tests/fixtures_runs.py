"""Finished runs that several test files look at, the pictures they are made of, and commands run in this process.

PYTEST_DONT_REWRITE: the test files import from it before pytest loads it as their plugin. Hence the messages.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from headstart.cli import status_of

NETWORKS = ("a", "scratch", "last_layer", "two_layers")
HOSTILE = ("<script>alert(1)<&", "[bold]dog", "plain", "ünï cat")
"""Class names that HTML, rich's markup or an ASCII terminal would stumble over, in the order of their numbers."""
SMALL = {"widths": [8, 8, 16, 16], "units": 32, "learning_rate": 0.01, "batch_size": 32}
TINY = {"widths": [2, 2, 2, 2], "units": 4}
"""Recipes of networks that take seconds: the small ones learn something, the tiny ones need not."""


class Ended(NamedTuple):
    """What became of a command."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class FinishedRun:
    """A folder that `headstart run` has left, and how."""

    place: Path  # the working directory
    arguments: tuple[str, ...]  # of the command, without the folder
    folder: Path
    output: str
    headings: tuple[str, ...]  # of its figures


def make_pictures(folder: Path, names: tuple[str, ...] = HOSTILE, train: int = 12, test: int = 6) -> Path:
    """An image folder of noise, brighter from class to class."""
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
    """A recipe file with the same values for both parts."""
    path.write_text(json.dumps({"a": values, "b": values}))
    return path


def command(*arguments: object) -> Ended:
    """Run the command line in this process."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        status = status_of([str(argument) for argument in arguments])
    return Ended(status, output.getvalue(), errors.getvalue())


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for the lock, by their relative path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def the_one_line(ended: Ended) -> str:
    """What a refused command says; fails unless it was refused as it should be."""
    assert ended.status == 2, ended
    assert ended.errors.startswith("headstart: "), ended
    assert ended.errors.endswith("\n"), ended
    assert ended.errors.count("\n") == 1, ended
    assert "Traceback" not in ended.output + ended.errors, ended
    return ended.errors


@contextmanager
def at(place: Path) -> Iterator[pytest.MonkeyPatch]:
    """Work in this folder, and keep all caches in it, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("XDG_CACHE_HOME", str(place / ".cache"))
        patch.setenv("KERAS_HOME", str(place / ".keras"))
        patch.setenv("MPLCONFIGDIR", mpl.get_cachedir())  # where its fonts are listed already
        yield patch


def finished_run(place: Path, *arguments: str) -> FinishedRun:
    """Do a run, and note the headings of the figures that it saves."""
    headings = []
    savefig = Figure.savefig

    def noted(figure: Figure, *given: object, **options: object) -> None:
        headings.append(figure.get_suptitle())
        savefig(figure, *given, **options)

    with at(place) as patch:
        patch.setattr(Figure, "savefig", noted)
        ended = command("run", *arguments, "--out", "run")
    assert (ended.status, ended.errors) == (0, ""), ended
    return FinishedRun(place, arguments, place / "run", ended.output, tuple(headings))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """The test's own folder, as working directory and home of all caches."""
    with at(tmp_path):
        yield tmp_path


@pytest.fixture(scope="session")
def picture_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Three epochs with the package's recipe, on an image folder of four classes with hostile names.

    The first two are held out.
    """
    place = tmp_path_factory.mktemp("picture-run")
    make_pictures(place / "pictures")
    pictures = ("--data", str(place / "pictures"), "--classes", ",".join(HOSTILE[:2]))
    return finished_run(place, *pictures, "--epochs", "3", "--precision", "float32")


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two epochs with small networks on all digits, for registration number 2020387499."""
    place = tmp_path_factory.mktemp("digits-run")
    recipe = str(write_recipe(place / "small.json", SMALL))
    options = ("--data", "digits", "--epochs", "2", "--precision", "float32", "--recipe", recipe)
    return finished_run(place, "2020387499", *options)

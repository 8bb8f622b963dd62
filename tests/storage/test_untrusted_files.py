"""Files that are damaged, foreign or hostile, read by the commands and functions that users call."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.errors import ResourceError
from headstart.runs.reader import RUN_SCHEMA, read_run
from headstart.storage.schema import read_json
from headstart.study.results import ResultStore
from support.cifar10 import BAD_ARCHIVES, BAD_BATCHES
from support.hostile import BAD_ARRAYS, BAD_RUNS, HUGE, NOT_FILES, run_content
from support.runs import Ended, FinishedRun, command

# A run's folder


def refusal(ended: Ended) -> str:
    """The only line that a refused command prints."""
    assert ended.status == 2, ended
    assert ended.errors.startswith("headstart: "), ended
    assert ended.errors[:-1].isprintable(), ended
    return ended.errors


def test_valid_run_json_is_read(tmp_path: Path) -> None:
    """Otherwise, the tests below would prove nothing."""
    (tmp_path / "run.json").write_text(json.dumps(run_content()))
    assert read_run(tmp_path) == run_content()


@pytest.mark.parametrize("kind", BAD_RUNS)
def test_bad_run_json_is_refused_in_one_line(kind: str, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "run.json").write_bytes(BAD_RUNS[kind]())
    assert "no finished run here (run.json: " in refusal(command("report", "run"))
    assert not (here / "run" / "report.html").exists()


@pytest.mark.parametrize("kind", NOT_FILES)
def test_run_json_that_is_not_a_regular_file_is_refused(kind: str, here: Path) -> None:
    (here / "run").mkdir()
    NOT_FILES[kind](here / "run" / "run.json")
    assert "no finished run here (run.json: " in refusal(command("report", "run"))


def test_class_name_that_looks_like_markup_is_printed_as_it_is(here: Path) -> None:
    from rich.console import Console

    from headstart.report.terminal import show_results

    content = run_content()
    content["classes"]["b"] = ["[bold]", "[/red]"]
    (here / "run.json").write_text(json.dumps(content))
    show_results(here, Console(file=(printed := io.StringIO()), width=200))
    assert "[bold] or [/red]" in printed.getvalue()


def test_html_and_paths_in_names_are_only_text_on_the_page(picture_run: FinishedRun, here: Path) -> None:
    shutil.copytree(picture_run.folder, here / "run")
    content = json.loads((here / "run" / "run.json").read_text())
    content["networks"]["../../../etc/passwd"] = content["networks"]["a"]
    content["classes"]["b"] = ["<img src=x onerror=alert(1)>", "../../../etc/passwd"]
    content["conclusions"] = ["<img src=x onerror=alert(2)>"]
    (here / "run" / "run.json").write_text(json.dumps(content))
    before = sorted(path.name for path in (here / "run").iterdir())
    assert command("report", "run").status == 0
    assert "<img src=x" not in (here / "run" / "report.html").read_text()
    assert sorted(path.name for path in (here / "run").iterdir()) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [(key,) for key in RUN_SCHEMA] + [("networks", "a"), ("recipe", "a"), ("audit", 0), ("classes", "b")]
)


@settings(max_examples=40)
@given(place=PLACES, value=JSON)
@example(place=("recipe", "a"), value={"k": "\ud800"})
def test_run_json_that_matches_the_schema_can_be_shown(
    place: Any, value: Any, picture_run: FinishedRun, tmp_path_factory: Any
) -> None:
    from rich.console import Console

    from headstart.report.terminal import show_results

    folder = tmp_path_factory.getbasetemp() / "changed-run"
    if not folder.exists():
        shutil.copytree(picture_run.folder, folder)
    content = holder = json.loads((picture_run.folder / "run.json").read_text())
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    (folder / "run.json").write_text(json.dumps(content))
    try:
        read_json(folder / "run.json", RUN_SCHEMA)
    except ValueError:
        return
    show_results(folder, Console(file=io.StringIO()))
    ended = command("report", folder)
    assert ended.status == 0 or refusal(ended)  # the other files may not fit to it


def test_pipe_instead_of_a_network_does_not_block(picture_run: FinishedRun, here: Path) -> None:
    shutil.copytree(picture_run.folder, here / "run")
    (here / "run" / "models" / "a.keras").unlink()
    os.mkfifo(here / "run" / "models" / "a.keras")
    reason = "a.keras: not what a run writes there (it is not a regular file)"
    assert command("report", "run").status == 0
    assert reason in (here / "run" / "report.html").read_text()
    picture = next(path for path in (picture_run.place / "pictures").rglob("*") if path.is_file())
    assert reason in refusal(command("predict", "run", picture))


# A study's folder

ROW = {"key": "x", "copied": 0, "frozen": 0, "train_images": 9, "test_images": 9, "test_accuracy": 0.5}
ROW |= {"test_loss": None, "train_accuracy": 0.5, "train_loss": 0.1, "seconds": 1.0, "curve": [0.5]}
BAD_ROWS = [("key", "../x"), ("copied", "5"), ("test_accuracy", "=cmd()"), ("test_accuracy", HUGE), ("curve", "0.5")]
BAD_ROWS += [("curve", [[0.5]]), ("test_loss", "<b>"), ("seconds", True), ("train_images", 0.5)]


def test_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    ResultStore(tmp_path).write("x", {key: value for key, value in ROW.items() if key != "key"})
    assert ResultStore(tmp_path).read("x") == ROW


@pytest.mark.parametrize(("key", "value"), BAD_ROWS)
def test_bad_row_is_refused_in_a_line_that_names_it(key: str, value: Any, tmp_path: Path) -> None:
    path = ResultStore(tmp_path).path("x")
    path.parent.mkdir()
    path.write_text(json.dumps(ROW | {key: value}))
    with pytest.raises(ResourceError, match=r"x\.json: it does not have .* remove it to train the network again"):
        ResultStore(tmp_path).read("x")


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_source_counts_as_missing(kind: str, tmp_path: Path) -> None:
    path = ResultStore(tmp_path).source_path("x")
    path.parent.mkdir()
    path.write_bytes(BAD_ARRAYS[kind]())
    assert ResultStore(tmp_path).read_source("x", 8, None) is None


# Networks: headstart itself never loads a network with its layers

LAMBDA = """
import resource, os
import keras
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
network = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: open('mark', 'w') and x)])
network.save('lambda.keras')
os.remove('mark')
try:
    keras.models.load_model('lambda.keras')
except Exception as error:
    print(type(error).__name__)
"""


def test_our_version_of_keras_refuses_networks_with_code(here: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LAMBDA], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "ValueError"
    assert not (here / "mark").exists()


# Time and memory

READ_ALL = """
import time
from pathlib import Path
from headstart.datasets.cifar10 import read_archive, read_batch
from headstart.errors import InvalidRequest
from headstart.runs.reader import read_run
from headstart.storage.schema import read_arrays
READERS = {
    ".json": lambda path: read_run(path.parent),
    ".npz": read_arrays,
    ".gz": read_archive,
    ".batch": lambda path: read_batch(path.read_bytes(), path),
}
for path in sorted(Path().glob("*/*")):
    start = time.monotonic()
    try:
        READERS[path.suffix](path)
    except (InvalidRequest, ValueError):
        print(path.parent, time.monotonic() - start, sep=":")
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("megabytes", int(peak.split()[1]) // 1024, sep=":")
"""


def test_all_bad_files_are_refused_within_5_seconds_and_500_megabytes(here: Path) -> None:
    bad: dict[str, tuple[str, Callable[[], bytes]]] = {kind: ("run.json", make) for kind, make in BAD_RUNS.items()}
    bad |= {f"arrays {kind}": ("file.npz", make) for kind, make in BAD_ARRAYS.items()}
    bad |= {f"archive {kind}": ("file.gz", make) for kind, make in BAD_ARCHIVES.items()}
    bad |= {
        f"batch {kind}": ("file.batch", lambda make=make: make(here / "mark")) for kind, make in BAD_BATCHES.items()
    }
    for kind, (name, make) in bad.items():
        (here / "bad" / kind).mkdir(parents=True)
        (here / "bad" / kind / name).write_bytes(make())
    code = [sys.executable, "-c", READ_ALL]
    ended = subprocess.run(code, cwd=here / "bad", capture_output=True, text=True, check=True)
    *times, (_, megabytes) = [line.rsplit(":", 1) for line in ended.stdout.splitlines()]
    assert sorted(kind for kind, _ in times) == sorted(bad)
    assert len(bad) >= 70
    assert max(float(seconds) for _, seconds in times) < 5, times
    assert int(megabytes) < 500
    assert not (here / "mark").exists()

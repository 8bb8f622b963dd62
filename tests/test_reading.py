"""Files that are torn, foreign or hostile, through the commands and functions that read them back."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures_runs import NETWORKS, FinishedRun, command, the_one_line
from headstart.batches import BATCHES, read_archive
from headstart.errors import BadRequest
from headstart.finished import RUN, read_run
from headstart.reading import fits, read_arrays, read_json
from headstart.study.rows import Rows
from test_batches import Calls

pytest_plugins = ["fixtures_runs"]

HUGE = 10**400


def content() -> dict[str, Any]:
    """What a run.json holds, made up."""
    network = {"copied": 5, "frozen": 4, "trainable_parameters": 1234567, "epochs": 20, "seconds": 61.6, "features": ""}
    network |= {"feature_seconds": 1.5, "words": "some words"}
    network |= {"train_accuracy": 0.987, "test_accuracy": 0.9125, "test_accuracy_ci95": [0.9, 0.925]}
    network |= {"train_loss": 0.1, "test_loss": None, "normalisation": {"mean": [1.0] * 3, "variance": [1.0] * 3}}
    pair = {"difference": 0.0125, "ci95": [-0.001, 0.03], "p_value": 0.04, "p_uncorrected": 0.02, "significant": True}
    pairs = [pair | {"first": first, "second": second} for first, second in combinations(NETWORKS[1:], 2)]
    return {
        "registration": "49",
        "seed": 7,
        "dataset": {"name": "pictures", "source": "a test", "class_names": ["a", "b", "c", "d"]},
        "classes": {"a": ["c", "d"], "b": ["a", "b"]},
        "recipe": {"a": {"epochs": 20, "widths": [4, 4, 8, 8]}, "b": {"epochs": 20, "precision": "float32"}},
        "networks": {name: dict(network) for name in NETWORKS},
        "comparison": {"best": "two_layers", "pairs": pairs},
        "audit": [{"rule": "a rule", "holds": False, "evidence": "some"}],
        "cautions": ["with care"],
        "conclusions": ["first", "second"],
        "environment": {"python": "3"},
        "request": {"identity": "0", "data": "digits", "precision": "float32", "precision_reason": "none"},
    }


def json_with(*place: str | int, value: Any) -> bytes:
    """A run.json that is right but for one place."""
    whole: Any = content()
    holder = whole
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return json.dumps(whole).encode()


# run.json

BAD_RUNS = {
    "torn": lambda: json.dumps(content()).encode()[:-1],
    "no text": lambda: b"\xff\xfe\x00",
    "a pickle": lambda: pickle.dumps(Calls(os.abort)),
    "deep lists": lambda: b"[" * 200_000,
    "deep dictionaries": lambda: b'{"a":' * 200_000,
    "a number of 5,000 digits": lambda: b"1" * 5_000,
    "all keys, wrong values": lambda: json.dumps(dict.fromkeys(RUN, 3)).encode(),
    "no networks": lambda: json_with("networks", value=[]),
    "a network of nothing": lambda: json_with("networks", "a", value={}),
    "an accuracy that is text": lambda: json_with("networks", "a", "test_accuracy", value="<script>"),
    "an accuracy of 400 digits": lambda: json_with("networks", "a", "test_accuracy", value=HUGE),
    "an interval of three": lambda: json_with("networks", "a", "test_accuracy_ci95", value=[0, 1, 2]),
    "a conclusion that is one": lambda: json_with("conclusions", 0, value="\x1b]0;owned\x07"),
    "a caution that is none": lambda: json_with("cautions", value=[3]),
    "a p-value that is text": lambda: json_with("comparison", "pairs", 0, "p_uncorrected", value="0.01"),
    "words of two lines": lambda: json_with("networks", "a", "words", value="a\nb"),
    "a class name that no file can hold": lambda: json_with("classes", "b", 0, value="\ud800"),
    "a line break in a rule": lambda: json_with("audit", 0, "rule", value="a\nb"),
    "yes for true": lambda: json_with("audit", 0, "holds", value="yes"),
    "another precision": lambda: json_with("request", "precision", value="float8; rm -rf"),
    "a recipe of recipes": lambda: json_with("recipe", "a", "epochs", value={"a": 1}),
    "no environment": lambda: json_with("environment", value=None),
}
BAD_PLACES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "terabytes": lambda path: (path.touch(), os.truncate(path, 1 << 42)),
}


@pytest.mark.parametrize("kind", BAD_RUNS)
def test_a_bad_run_json_is_refused_in_one_line(kind: str, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "run.json").write_bytes(BAD_RUNS[kind]())
    line = the_one_line(command("report", "run"))
    assert "no finished run here (run.json: " in line
    assert line[:-1].isprintable()
    assert not (here / "run" / "report.html").exists()


@pytest.mark.parametrize("kind", BAD_PLACES)
def test_what_is_no_file_is_not_waited_for(kind: str, here: Path) -> None:
    (here / "run").mkdir()
    BAD_PLACES[kind](here / "run" / "run.json")
    assert "no finished run here (run.json: " in the_one_line(command("report", "run"))


def test_a_class_name_that_is_markup_is_shown_as_it_is(here: Path) -> None:
    from rich.console import Console

    from headstart.tables import show_results

    whole = content()
    whole["classes"]["b"] = ["[bold]", "[/red]"]
    (here / "run.json").write_text(json.dumps(whole))
    show_results(here, Console(file=(shown := io.StringIO()), width=200))
    assert "[bold] or [/red]" in shown.getvalue()


def test_names_that_are_html_or_paths_are_text_in_the_page(picture_run: FinishedRun, here: Path) -> None:
    shutil.copytree(picture_run.folder, here / "run")
    whole = json.loads((here / "run" / "run.json").read_text())
    whole["networks"]["../../../etc/passwd"] = whole["networks"]["a"]
    whole["classes"]["b"] = ["<img src=x onerror=alert(1)>", "../../../etc/passwd"]
    whole["conclusions"] = ["<img src=x onerror=alert(2)>"]
    (here / "run" / "run.json").write_text(json.dumps(whole))
    before = sorted(path.name for path in (here / "run").iterdir())
    assert command("report", "run").status == 0
    assert "<img src=x" not in (here / "run" / "report.html").read_text()
    assert sorted(path.name for path in (here / "run").iterdir()) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from([(key,) for key in RUN] + [("networks", "a"), ("recipe", "a"), ("audit", 0), ("classes", "b")])


@settings(max_examples=40)
@given(place=PLACES, value=JSON)
@example(place=("recipe", "a"), value={"k": "\ud800"})
def test_whatever_fits_can_be_shown_and_made_a_page_of(
    place: Any, value: Any, picture_run: FinishedRun, tmp_path_factory: Any
) -> None:
    from rich.console import Console

    from headstart.tables import show_results

    folder = tmp_path_factory.getbasetemp() / "whatever"
    if not folder.exists():
        shutil.copytree(picture_run.folder, folder)
    whole = holder = json.loads((picture_run.folder / "run.json").read_text())
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    (folder / "run.json").write_text(json.dumps(whole))
    try:
        read_json(folder / "run.json", RUN)
    except ValueError:
        return
    show_results(folder, Console(file=io.StringIO()))
    ended = command("report", folder)
    assert ended.status == 0 or the_one_line(ended)  # the other files do not fit to it


@given(data=st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    for read in (lambda: read_json(path, {"a": [int]}), lambda: read_arrays(path)):
        with suppress(ValueError):
            read()


@pytest.mark.parametrize(
    ("value", "shape", "right"),
    [
        (1, int, True),
        (True, int, False),
        (2**63, int, False),
        (1, float, True),
        (float("nan"), float, True),
        ("a", str, True),
        ("\u202e", str, False),
        (None, (str, None), True),
        (0, (str, None), False),
        ("b", ("a", "b"), True),
        ("c", ("a", "b"), False),
        ([], [int], True),
        ([1, "2"], [int], False),
        ([1, 2], [int, int], True),
        ([1], [int, int], False),
        ({"x": 1, "y": 2}, {"x": int}, True),
        ({"y": 2}, {"x": int}, False),
        ({"x": 1}, {str: int}, True),
        ({"\n": 1}, {str: int}, False),
        (1, bool, False),
        ({}, [int], False),
    ],
)
def test_a_value_has_a_shape_or_not(value: Any, shape: Any, right: bool) -> None:
    assert fits(value, shape) is right


@pytest.mark.parametrize(
    "torn",
    [json_with("comparison", "pairs", value=[]), json_with("comparison", "pairs", 2, "first", value="two_layers")],
    ids=["none", "one with itself"],
)
def test_a_run_that_does_not_compare_every_two_strategies_is_refused(torn: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(torn)
    with pytest.raises(BadRequest, match="does not compare every two strategies"):
        read_run(tmp_path)


# Arrays: checkpoints and sources


def npz(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(shape: object = (2,), dtype: str = "<f4", data: bytes = bytes(8), before: str = "") -> bytes:
    header = f"{before}{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def objects() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight_0=np.array([Calls(os.abort)], dtype=object))
    return file.getvalue()


def grown(content: bytes) -> bytes:
    """The archive, of whose only member the size is a lie."""
    where = content.rindex(b"PK\x01\x02")
    return content[: where + 24] + struct.pack("<I", 1 << 31) + content[where + 28 :]


BAD_ARRAYS = {
    "objects": objects,
    "a bomb": lambda: npz(zipfile.ZIP_DEFLATED, weight_0=npy((1 << 28,), data=bytes(1 << 24))),
    "a size that is a lie": lambda: grown(npz(weight_0=npy())),
    "a shape of terabytes": lambda: npz(weight_0=npy((1 << 40,))),
    "a shape beyond all": lambda: npz(weight_0=npy((1 << 80,))),
    "a shape below zero": lambda: npz(weight_0=npy((-1,))),
    "a shape that is code": lambda: npz(weight_0=npy("__import__('os').abort()")),
    "a kind of gigabytes": lambda: npz(weight_0=npy((1,), "V2000000000")),
    "no such kind": lambda: npz(weight_0=npy((1,), "Q<9")),
    "a deep header": lambda: npz(weight_0=npy(before="(" * 9_000)),
    "a torn member": lambda: npz(weight_0=npy()[:-3]),
    "a pickle in a member's place": lambda: npz(weight_0=pickle.dumps(Calls(os.abort))),
    "a pickle in the file's": lambda: pickle.dumps(Calls(os.abort)),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_arrays_are_refused_and_run_nothing(kind: str, tmp_path: Path) -> None:
    path = Rows(tmp_path).source_path("x")
    path.parent.mkdir()
    path.write_bytes(BAD_ARRAYS[kind]())
    with pytest.raises(ValueError, match="no arrays that can be read") as caught:
        read_arrays(path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", BAD_PLACES)
def test_arrays_that_are_no_file_are_refused(kind: str, tmp_path: Path) -> None:
    BAD_PLACES[kind](tmp_path / "file")
    with pytest.raises((ValueError, OSError)):
        read_arrays(tmp_path / "file")


# A study's rows

ROW = {"key": "x", "copied": 0, "frozen": 0, "train_images": 9, "test_images": 9, "test_accuracy": 0.5}
ROW |= {"test_loss": None, "train_accuracy": 0.5, "train_loss": 0.1, "seconds": 1.0, "curve": [0.5]}
BAD_ROWS = [("key", "../x"), ("copied", "5"), ("test_accuracy", "=cmd()"), ("test_accuracy", HUGE), ("curve", "0.5")]
BAD_ROWS += [("curve", [[0.5]]), ("test_loss", "<b>"), ("seconds", True), ("train_images", 0.5)]


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    Rows(tmp_path).write("x", {key: value for key, value in ROW.items() if key != "key"})
    assert Rows(tmp_path).read("x") == ROW


@pytest.mark.parametrize(("key", "value"), BAD_ROWS)
def test_a_row_of_other_values_is_refused_by_name(key: str, value: Any, tmp_path: Path) -> None:
    path = Rows(tmp_path).path("x")
    path.parent.mkdir()
    path.write_text(json.dumps(ROW | {key: value}))
    with pytest.raises(BadRequest, match=r"x\.json: it is not as .* remove it to train the network anew"):
        Rows(tmp_path).read("x")


# Archives


def tar(**member: Any) -> bytes:
    """An archive with one member, and five that are empty; gzip, as the real one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name in BATCHES[:-1]:
            archive.addfile(tarfile.TarInfo(f"cifar-10-batches-py/{name}"))
        info = tarfile.TarInfo(member.pop("name", f"cifar-10-batches-py/{BATCHES[-1]}"))
        data = member.pop("data", b"")
        for key, value in member.items():
            setattr(info, key, value)
        info.size = member.get("size", len(data))
        archive.fileobj.write(info.tobuf(format=tarfile.GNU_FORMAT) + data)  # type: ignore[union-attr]
    return file.getvalue()


BAD_ARCHIVES = {
    "no archive": lambda: b"not an archive",
    "empty": lambda: b"",
    "torn": lambda: tar()[:-9],
    "a path out of it": lambda: tar(name="../../../../tmp/headstart-was-here"),
    "an absolute path": lambda: tar(name="/tmp/headstart-was-here"),
    "a link to a file of ours": lambda: tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": lambda: tar(type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a link to itself": lambda: tar(type=tarfile.LNKTYPE, linkname=f"cifar-10-batches-py/{BATCHES[-1]}"),
    "a device": lambda: tar(type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "a batch of terabytes": lambda: tar(size=1 << 40),
    "a bomb": lambda: tar(data=bytes(60_000_000)),
    "a pickle that calls": lambda: tar(data=pickle.dumps(Calls(os.abort))),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_hostile_archive_is_refused_by_its_hash_and_by_its_reader(kind: str, here: Path) -> None:
    (here / "archive.tar.gz").write_bytes(BAD_ARCHIVES[kind]())
    assert "not the official archive" in the_one_line(command("data", "--data", "archive.tar.gz"))
    with pytest.raises(BadRequest, match=r"fetch cifar-10-python\.tar\.gz again"):
        read_archive(here / "archive.tar.gz")
    assert not Path("/tmp/headstart-was-here").exists()


# Networks: headstart itself opens none

LAMBDA = """
import json, resource, sys, zipfile
import keras
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
network = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: open('mark', 'w') and x)])
network.save('lambda.keras')
open('mark', 'w').close(); __import__('os').remove('mark')
try:
    keras.models.load_model('lambda.keras')
except Exception as error:
    print(type(error).__name__)
"""


def test_the_keras_we_ask_for_refuses_a_network_that_holds_code(here: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LAMBDA], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "ValueError"
    assert not (here / "mark").exists()


def test_a_pipe_in_a_networks_place_is_not_waited_for(picture_run: FinishedRun, here: Path) -> None:
    shutil.copytree(picture_run.folder, here / "run")
    (here / "run" / "models" / "a.keras").unlink()
    os.mkfifo(here / "run" / "models" / "a.keras")
    assert command("report", "run").status == 0
    assert "a.keras: not what a run leaves there (it is no file)" in (here / "run" / "report.html").read_text()
    picture = next(path for path in (picture_run.place / "pictures").rglob("*") if path.is_file())
    assert "a.keras: not what a run leaves there (it is no file)" in the_one_line(command("predict", "run", picture))


# How long, and how much memory

LIMITED = """
import time
from pathlib import Path
from headstart.errors import BadRequest
from headstart.finished import read_run
from headstart import batches, finished, reading
for path in sorted(Path().iterdir()):
    begun = time.monotonic()
    reader = {"json": lambda: reading.read_json(path, finished.RUN), "npz": lambda: reading.read_arrays(path)}
    reader |= {"gz": lambda: batches.read_archive(path), "batch": lambda: batches.read_batch(path.read_bytes(), path)}
    try:
        reader[path.suffix[1:]]()
    except (BadRequest, ValueError):
        print(path, time.monotonic() - begun, sep=":")
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("megabytes", int(peak.split()[1]) // 1024, sep=":")
"""


def test_all_of_them_are_refused_in_less_than_5_seconds_and_500_megabytes(here: Path) -> None:
    from test_batches import HOSTILE

    bad: dict[str, Callable[[], bytes]] = {f"{kind}.json": make for kind, make in BAD_RUNS.items()}
    bad |= {f"{kind}.npz": make for kind, make in BAD_ARRAYS.items()}
    bad |= {f"{kind}.gz": make for kind, make in BAD_ARCHIVES.items()}
    bad |= {f"{kind}.batch": lambda make=make: make(here / "mark") for kind, make in HOSTILE.items()}
    (here / "bad").mkdir()
    for name, make in bad.items():
        (here / "bad" / name).write_bytes(make())
    code = [sys.executable, "-c", LIMITED]
    ended = subprocess.run(code, cwd=here / "bad", capture_output=True, text=True, check=True)
    *times, (_, megabytes) = [line.rsplit(":", 1) for line in ended.stdout.splitlines()]
    assert sorted(name for name, _ in times) == sorted(bad)
    assert len(bad) >= 70
    assert max(float(seconds) for _, seconds in times) < 5, times
    assert int(megabytes) < 500
    assert not (here / "mark").exists()

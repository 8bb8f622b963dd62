from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import ResourceError
from headstart.storage.files import (
    USER_FIXABLE,
    check_writable,
    finite_or_none,
    remove_partial_files,
    user_fixable,
    visible_names,
    write_arrays,
    write_atomically,
    write_json,
    write_network,
    write_text,
)
from support.tiny import TinyRun


class Stop(BaseException):
    """What a kill looks like inside the process: only `except BaseException` catches it."""


def stop(*_: object, **__: object) -> Any:
    raise Stop


# Atomic writes

STAGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "write": lambda patch: None,
    "flush": lambda patch: patch.setattr(os, "fdopen", UnflushableFile),
    "fsync": lambda patch: patch.setattr(os, "fsync", stop),
    "chmod": lambda patch: patch.setattr(Path, "chmod", stop),
    "replace": lambda patch: patch.setattr(Path, "replace", stop),
}


class UnflushableFile(io.FileIO):
    def flush(self) -> None:
        if not self.closed:
            raise Stop


@given(old=st.none() | st.binary(max_size=50), new=st.binary(max_size=50))
def test_written_file_is_complete_and_the_only_one(old: bytes | None, new: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if old is not None:
            path.write_bytes(old)
        write_atomically(path, lambda file: file.write(new))
        assert {entry.name: entry.read_bytes() for entry in Path(folder).iterdir()} == {"file": new}


@given(old=st.none() | st.binary(max_size=50), new=st.binary(max_size=50), stage=st.sampled_from([*STAGES]))
def test_interrupted_write_leaves_only_the_old_file(old: bytes | None, new: bytes, stage: str) -> None:
    def write(file: Any) -> None:
        file.write(new)
        if stage == "write":
            raise Stop

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "file"
        if old is not None:
            path.write_bytes(old)
        STAGES[stage](patch)
        with pytest.raises(Stop):
            write_atomically(path, write)
        patch.undo()
        left = {entry.name: entry.read_bytes() for entry in Path(folder).iterdir()}
        assert left == ({} if old is None else {"file": old})


def test_file_is_renamed_only_after_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.read_bytes()), fsync(descriptor)))
    write_atomically(path, lambda file: file.write(b"new"))
    assert seen == [b"old", b"new"]  # the file's own, then its folder's


def test_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from headstart.storage.files import write_atomically\n"
        "def write(file): file.write(b'new' * 10_000); file.flush(); os.kill(os.getpid(), 9)\n"
        "write_atomically(pathlib.Path(sys.argv[1]), write)"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    assert path.read_bytes() == b"old"


def test_partial_files_of_a_killed_process_can_be_removed(tmp_path: Path) -> None:
    for partial in ("a/.x.json.1.part", "a/.y.npz.2.part", ".z.keras.3.part/z.keras"):
        (tmp_path / partial).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / partial).touch()
    (tmp_path / "a" / "x.part").touch()  # not hidden, so not ours
    remove_partial_files(tmp_path, "x.json")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".y.npz.2.part", "x.part"]
    remove_partial_files(tmp_path)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.part"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_failed_write_raises_and_leaves_nothing(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_text(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_created_and_others_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_text(path, "Grüße\n")
    assert path.read_bytes() == "Grüße\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644


# Formats

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(content=JSON.filter(lambda content: "\\ud" not in json.dumps(content)))  # UTF-8 has no lone surrogates
def test_json_is_read_as_it_was_written(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.json"
        write_json(path, content)
        assert json.loads(path.read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"loss": number})
    assert list(tmp_path.iterdir()) == []
    assert finite_or_none(number) is None


def test_finite_numbers_become_python_floats() -> None:
    assert finite_or_none(np.float32(0.5)) == 0.5
    assert type(finite_or_none(np.float32(0.5))) is float


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "labels": np.array([1, 0])}
    write_arrays(tmp_path / "file.npz", arrays)
    with np.load(tmp_path / "file.npz", allow_pickle=False) as read:
        assert read.files == list(arrays)
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            assert np.array_equal(read[name], array)


def test_network_is_written_completely_or_not_at_all(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.keras"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stop)
        with pytest.raises(Stop):
            write_network(path, tiny_run.source.network)
    assert list(tmp_path.iterdir()) == []
    write_network(path, tiny_run.source.network)
    assert list(tmp_path.iterdir()) == [path]


# Errors that the user can fix


@pytest.mark.parametrize("number", USER_FIXABLE)
def test_error_that_the_user_can_fix_becomes_a_line_with_its_file(number: int, tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught, user_fixable(tmp_path):
        raise OSError(number, os.strerror(number), "some/file")
    assert str(caught.value).startswith(f"some/file: {os.strerror(number)}; fix this")
    with pytest.raises(ResourceError) as caught, user_fixable(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{tmp_path}: {os.strerror(number)}; fix this")


def test_error_that_the_user_cannot_fix_stays_as_it_is(tmp_path: Path) -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught, user_fixable(tmp_path):
        raise error
    assert caught.value is error


def test_place_is_checked_for_writing_and_nothing_is_left(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "file")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "b").touch()
    with pytest.raises(ResourceError, match="b: File exists; fix this"):
        check_writable(tmp_path / "b" / "file")


def test_hidden_files_are_not_visible(tmp_path: Path) -> None:
    assert visible_names(tmp_path / "missing") == set()
    for name in (".lock", "run.json", "models"):
        (tmp_path / name).touch()
    assert visible_names(tmp_path) == {"run.json", "models"}

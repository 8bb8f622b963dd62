from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import InvalidRequest
from headstart.storage.schema import (
    MAX_FILE_BYTES,
    file_size,
    invalid_if_unreadable,
    matches_schema,
    read_arrays,
    read_bytes,
    read_json,
)
from support.hostile import BAD_ARRAYS, NOT_FILES


@pytest.mark.parametrize(
    ("value", "schema", "matches"),
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
        (True, bool, True),
        (1, bool, False),
        ({}, [int], False),
    ],
)
def test_value_matches_a_schema_or_not(value: Any, schema: Any, matches: bool) -> None:
    assert matches_schema(value, schema) is matches


@given(data=st.binary(max_size=200))
def test_readers_raise_nothing_but_value_errors_for_any_bytes(data: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    for read in (lambda: read_json(path, {"a": [int]}), lambda: read_arrays(path)):
        with suppress(ValueError):
            read()


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_arrays_are_refused_and_execute_nothing(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file.npz").write_bytes(BAD_ARRAYS[kind]())
    with pytest.raises(ValueError, match="its arrays cannot be read") as caught:
        read_arrays(tmp_path / "file.npz")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", NOT_FILES)
def test_arrays_are_read_from_regular_files_only(kind: str, tmp_path: Path) -> None:
    NOT_FILES[kind](tmp_path / "file")
    with pytest.raises((ValueError, OSError)):
        read_arrays(tmp_path / "file")


def test_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    assert file_size(tmp_path / "file", 5) == 5
    with pytest.raises(ValueError, match="it has 5 bytes, more than 4"):
        read_bytes(tmp_path / "file", 4)


def test_json_that_matches_no_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "file.json", {"a": int}) == {"a": 1}
    with pytest.raises(ValueError, match="does not have the structure"):
        read_json(tmp_path / "file.json", {"a": str})


@pytest.mark.parametrize("error", [OSError("a"), ValueError("a"), KeyError("a"), RecursionError("a")])
def test_error_while_reading_becomes_one_line_with_the_file(error: Exception, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InvalidRequest, match=r"file: not what a run writes there \('?a'?\); run it again") as caught,
        invalid_if_unreadable(tmp_path / "file", "a run", "run it again"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_missing_or_too_large_file_becomes_one_line(tmp_path: Path) -> None:
    for size in (None, MAX_FILE_BYTES + 1):
        if size:
            with (tmp_path / "file").open("wb") as file:
                file.truncate(size)
        with (
            pytest.raises(InvalidRequest, match="file: not what a run writes there"),
            invalid_if_unreadable(tmp_path / "file", "a run", "run it again"),
        ):
            raise AssertionError("this must not be reached")

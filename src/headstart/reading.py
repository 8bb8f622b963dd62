"""What is read back may have been torn, or have come from anybody: it is measured and checked before it is believed.

Whatever is not as we write it is a ValueError of one line; nothing that a file holds is ever run.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

MOST_TEXT, MOST_ARRAYS = 10_000_000, 400_000_000  # bytes; a run.json has 20,000, a checkpoint 25,000,000


def read_json(path: Path, shape: Any) -> Any:
    """The JSON in a file, which has this shape (see fits)."""
    try:
        content = json.loads(read_bytes(path, MOST_TEXT))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not fits(content, shape):
        raise ValueError("it is not as this version writes it")
    return content


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed .npz: all together they take no more memory than the file takes room."""
    room = measure(path, MOST_ARRAYS)
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                grown = sum(member.file_size for member in archive.infolist())
            if grown > room:
                raise ValueError(f"it would grow to {grown:,} bytes")
            file.seek(0)
            with np.load(file, allow_pickle=False) as saved:
                arrays = dict(saved)
            if strange := [name for name in arrays if not isinstance(arrays[name], np.ndarray)]:
                raise ValueError(f"{strange[0]} is none")
            return arrays
        except Exception as error:  # a hostile archive may fail in any way it likes
            raise ValueError(f"no arrays that can be read ({error!s:.200})") from error


def read_bytes(path: Path, most: int) -> bytes:
    """All of a file that is not too large."""
    measure(path, most)
    with path.open("rb") as file:
        return file.read(most)


def measure(path: Path, most: int) -> int:
    """The size of a file; a pipe would keep its reader waiting, and so would a device."""
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it is no file")
    if size > most:
        raise ValueError(f"it has {size:,} bytes, more than {most:,}")
    return size


def fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape.

    A shape is a type; a text, or None, for itself; a tuple of the shapes it may have; a list, of every item's shape or
    of each item's; a dictionary, of those keys that must be there or of `str` for whatever they are called.
    """
    if isinstance(shape, tuple):
        return any(fits(value, one) for one in shape)
    if isinstance(shape, list):
        shapes = shape * len(value) if isinstance(value, list) and len(shape) == 1 else shape
        return isinstance(value, list) and len(value) == len(shapes) and all(map(fits, value, shapes))
    if isinstance(shape, dict) and str in shape:
        return isinstance(value, dict) and all(fits(key, str) and fits(value[key], shape[str]) for key in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(key in value and fits(value[key], shape[key]) for key in shape)
    if shape is str:
        return isinstance(value, str) and value.isprintable()  # a terminal would obey control characters
    if shape is int:
        return type(value) is int and abs(value) < 2**63  # a longer one cannot be shown as a percentage
    if shape is float:
        return type(value) is float or fits(value, int)
    return value is shape or (isinstance(shape, str) and value == shape) or (shape is bool and isinstance(value, bool))

"""What takes so long that all processes of the tests share it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Make something in the process that needs it first. The others wait, and then read it.

    Args:
        temporary: The fixture for temporary folders.
        name: The thing's name, and its folder's.
        make: Makes it in the folder.

    Returns:
        What `make` returned, which can be pickled.
    """
    place = temporary.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # that of all processes
    folder, made = place / name, place / f"{name}.pickle"
    with FileLock(place / f"{name}.lock"):
        if not made.exists():
            folder.mkdir()
            made.write_bytes(pickle.dumps(make(folder)))
        thing: T = pickle.loads(made.read_bytes())
        return thing

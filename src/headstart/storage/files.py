"""Atomic writes: a reader, also after a kill, finds the old file or the new one, never a part of one.

A file is written next to its final path, flushed to the disk and then renamed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from headstart.errors import ResourceError

if TYPE_CHECKING:
    import keras

USER_FIXABLE = (
    *(errno.ENOSPC, errno.EDQUOT),  # the disk or the quota is full
    *(errno.EROFS, errno.EACCES, errno.EPERM),  # not writable
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),  # not a usable path
)


@contextmanager
def user_fixable(path: Path) -> Iterator[None]:
    """Report a full disk or a path that is not writable as a one-line ResourceError.

    Args:
        path: Named in the message if the error itself names no file.

    Raises:
        ResourceError: An OSError that the user can fix. Every other error passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in USER_FIXABLE:
            raise
        place = f"{error.filename or path}"
        raise ResourceError(
            f"{place:.200}: {error.strerror}; fix this or choose another place, and give the command again: "
            "everything that was saved is kept"
        ) from error


def visible_names(folder: Path) -> set[str]:
    """Return the names in a folder without hidden files; the empty set if the folder does not exist."""
    return {path.name for path in folder.iterdir() if path.name[0] != "."} if folder.is_dir() else set()


def check_writable(path: Path) -> None:
    """Create the folder of `path` and check that a file can be written there.

    Args:
        path: The file that will be written.

    Raises:
        ResourceError: The folder cannot be created or is not writable, or the disk is full.
    """
    with user_fixable(path):
        path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".part", dir=path.parent):
            pass


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that appears at `path` only when it is complete and on the disk.

    Args:
        path: The file; its folder is created.
        write: Writes the content into an open binary file.

    Raises:
        OSError: Writing failed (a full disk, for instance); `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)  # mkstemp gives read access to the owner only
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a rename in this folder to the disk, where the system can (Windows cannot open a folder)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partial_files(folder: Path, name: str = "*") -> None:
    """Remove the partial files that killed processes left in this folder and below.

    Args:
        folder: The folder; no other process may be writing these files in it.
        name: The name of the complete file; by default, partial files of all names.
    """
    for part in folder.rglob(f".{name}.*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8.

    Args:
        path: The file; its folder is created.
        text: The whole content.

    Raises:
        OSError: Writing failed. The old file is unchanged.
    """
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically.

    Args:
        path: The file; its folder is created.
        content: JSON's types.

    Raises:
        ValueError: There is a NaN or an infinite number, because JSON has no such numbers.
        OSError: Writing failed. The old file is unchanged.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite_or_none(number: float) -> float | None:
    """Return the number, or None (null in JSON) if it is not finite."""
    return float(number) if np.isfinite(number) else None


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an uncompressed .npz file atomically.

    Args:
        path: The file; its folder is created.
        arrays: Arrays by name.

    Raises:
        OSError: Writing failed. The old file is unchanged.
    """
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]  # no key is an option


def write_network(path: Path, network: keras.Model) -> None:
    """Write a .keras file atomically.

    Args:
        path: The file, whose folder exists.
        network: The network, with its weights.

    Raises:
        OSError: Writing failed. The old file is unchanged.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as folder:
        inside = Path(folder) / path.name
        network.save(inside)
        write_atomically(path, lambda file: file.write(inside.read_bytes()))

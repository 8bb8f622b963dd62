"""Folders that are whole or absent: one way to write a file, one checkpoint, one lock.

A file is written beside its place, forced to the disk and then renamed, so that a reader, or the same program
started again after a kill, finds the old file or the new one and never a part of one.
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

import filelock
import numpy as np

from headstart.errors import BadRequest
from headstart.reading import fits, read_arrays

if TYPE_CHECKING:
    import keras


USERS_TO_MEND = (
    *(errno.ENOSPC, errno.EDQUOT),  # a full disk, or one's share of it
    *(errno.EROFS, errno.EACCES, errno.EPERM),  # not to be written
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),  # no place for a file
)


@contextmanager
def mendable(path: Path) -> Iterator[None]:
    """A full disk or a place that cannot be written is the user's to mend; what was saved till then is whole."""
    try:
        yield
    except OSError as error:
        if error.errno not in USERS_TO_MEND:
            raise
        place = f"{error.filename or path}"
        raise BadRequest(
            f"{place:.200}: {error.strerror}; mend that or choose another place, and give the command again: what was "
            "saved is kept"
        ) from error


def names_in(folder: Path) -> set[str]:
    """What a folder holds, hidden files aside; nothing where there is no folder."""
    return {path.name for path in folder.iterdir() if path.name[0] != "."} if folder.is_dir() else set()


def check_writable(path: Path) -> None:
    """Raises BadRequest unless a file can be written at `path`, whose folder is made."""
    with mendable(path):
        path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".part", dir=path.parent):
            pass


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears at `path` only when it is complete and on the disk.

    Raises OSError, with `path` as it was before, if that fails (a full disk, for instance).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)  # mkstemp's files are their owner's alone
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force a rename in this folder to the disk, where the system can (Windows cannot open a folder)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left in this folder and below."""
    for part in folder.rglob(".*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, as UTF-8."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole. Not-a-number is refused: no other program could read it."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an uncompressed .npz whole."""
    write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]  # keys never name an option


def write_network(path: Path, network: keras.Model) -> None:
    """Write a .keras file whole."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as folder:
        inside = Path(folder) / path.name
        network.save(inside)
        write_whole(path, lambda file: file.write(inside.read_bytes()))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold this folder for one process at a time; the system lets go of it when the process ends, however it ends."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise BadRequest(
            f"{folder}: another run is at work in this folder; wait for it or choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_turn(lock: Path, say: Callable[[str], None], what: str) -> Iterator[None]:
    """One process at a time; who has to wait says what for. The lock's folder is made."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    turn = filelock.FileLock(lock)
    try:
        held = turn.acquire(timeout=0.5)
    except filelock.Timeout:
        say(f"another process is busy with {what}: waiting for it")
        held = turn.acquire()
    with held:
        yield


ROW = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")


class Checkpoint:
    """All that a training needs to go on from its last finished epoch, in one file, for it to be replaced at once.

    It holds the variables of the network and its optimizer, random states included, and the history's rows.
    (Keras' BackupAndRestore writes several files in place: killed between two, it repeats an epoch unseen.)
    """

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict[str, float]] = []

    def save(self, model: keras.Model, rows: list[dict[str, float]]) -> None:
        """Replace the file by the model's state after these rows."""
        arrays = {f"variable_{i}": np.asarray(variable) for i, variable in enumerate(training_state(model))}
        write_arrays(self.path, {**arrays, "rows": np.array(json.dumps(rows))})

    def callback(self) -> keras.callbacks.Callback:
        """Saves after every epoch; put it behind the callbacks that measure."""
        from keras.callbacks import LambdaCallback

        def save(epoch: int, logs: dict[str, float]) -> None:
            self.rows.append({key: logs[key] for key in ROW})
            self.save(callback.model, self.rows)

        callback = LambdaCallback(on_epoch_end=save)
        return callback

    def restore(self, model: keras.Model) -> list[dict[str, float]]:
        """Bring the compiled model back to the saved state and return its rows; none where nothing was saved.

        Raises BadRequest if the file is damaged or another network's; then nothing has been restored.
        """
        if not self.path.exists():
            return []
        model.optimizer.build(model.trainable_variables)
        state = training_state(model)
        try:
            saved = read_arrays(self.path)
            arrays = [saved[f"variable_{i}"] for i in range(len(state))]
            rows = json.loads(str(saved["rows"]))
            kinds = [(variable.dtype, tuple(variable.shape)) for variable in state]
            if kinds != [(array.dtype, array.shape) for array in arrays] or not fits(rows, [dict.fromkeys(ROW, float)]):
                raise ValueError("it is another network's")
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise BadRequest(
                f"{self.path}: not a whole checkpoint of this network ({error}); remove it to train the network anew"
            ) from error
        for variable, array in zip(state, arrays, strict=True):
            variable.assign(array)
        self.rows = rows
        return list(rows)


def training_state(model: keras.Model) -> list[Any]:
    """Every variable that the next step depends on: weights, random states, the optimizer's moments and counter."""
    return [*model.variables, *model.optimizer.variables]

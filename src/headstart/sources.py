"""What `--data` may name, made into a dataset: the careful face of the practical's loaders, which trust their input.

Nothing that is read is trusted, and whatever is wrong is a BadRequest of one line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headstart.batches import BATCHES, FETCH_AGAIN, read_archive, read_folder
from headstart.download import CIFAR10, Archive, DownloadFailed, archive_lock, download_cifar10, holds, to_stderr
from headstart.errors import BadRequest
from headstart.image_folder import read_images
from headstart.quiet import import_tensorflow

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

TAKES = (
    "give cifar10, digits, auto, or a path: cifar-10-python.tar.gz, the folder unpacked from it, "
    "or an image folder train/<class>/*, test/<class>/*"
)


class Opened(NamedTuple):
    """A dataset, and in words where its images came from (`run.json`: dataset.source)."""

    dataset: Dataset
    source: str


def load_dataset(data: str = "auto") -> Dataset:
    """The dataset alone that `open_dataset` gives, for use in Python."""
    return open_dataset(data).dataset


def open_dataset(data: str, say: Callable[[str], None] = to_stderr, archive: Archive = CIFAR10) -> Opened:
    """The dataset that `--data` names: "cifar10", "digits", "auto" or a path. `say` gets what a person should know.

    Raises:
        BadRequest: nothing of that name; or what is there is torn, foreign, hostile or empty.
        DownloadFailed: a BadRequest too; for "cifar10" only.
    """
    source = "embedded in scikit-learn"
    if data in ("cifar10", "auto"):
        try:
            return open_cifar10(say, archive)
        except DownloadFailed as failure:
            if data == "cifar10":
                raise
            source += "; NOT CIFAR-10, because that could not be downloaded"
            say(f"WARNING: these are scikit-learn's DIGITS, NOT CIFAR-10, because {failure}")
    if data in ("digits", "auto"):
        from headstart.practical import digits

        return Opened(digits.load_dataset(), source)
    try:
        dataset, source = open_path(Path(data).expanduser(), say, archive)
    except BadRequest as error:
        raise BadRequest(printable(str(error))) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: "~somebody" has no home
        raise BadRequest(printable(f"--data {data}: cannot be read ({error}): {TAKES}")) from error
    return Opened(dataset, printable(source))


def printable(line: str) -> str:
    """The line, safe to show: names of files and other people's messages can hold anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def settled(data: str, name: str) -> str:
    """What to ask for to get the dataset of this name again: where `auto` was asked for, what it found."""
    if data != "auto":
        return data
    return "digits" if name.startswith("scikit-learn digits") else "cifar10"


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 (hex) of all images, labels and class names: equal for equal data, wherever it was loaded from."""
    digest = hashlib.sha256(json.dumps(dataset.class_names).encode())
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def open_cifar10(say: Callable[[str], None], archive: Archive) -> Opened:
    """CIFAR-10 as Keras gives it, from its cache, which is filled first if need be."""
    file = download_cifar10(archive, say)
    import_tensorflow()
    from headstart.practical import cifar10  # TensorFlow comes with it: not before the network is known

    try:
        with archive_lock(say):  # Keras unpacks the archive for every load, each time over the same files
            dataset = cifar10.load_dataset()
    except OSError as error:
        problem = f"CIFAR-10 cannot be unpacked there ({error.strerror or error})"
        raise BadRequest(f"{file.parent}: {problem}: make room, set KERAS_HOME, or use --data digits") from error
    return Opened(dataset, f"keras.datasets.cifar10 ({file}, SHA-256 checked)")


def open_path(path: Path, say: Callable[[str], None], archive: Archive) -> Opened:
    """The official archive, CIFAR-10's unpacked batches (in this folder or the one inside it), or an image folder."""
    if path.is_file():
        if not holds(path, archive):
            problem = f"torn, or not the official archive of {archive.size:,} bytes ({path.stat().st_size:,} bytes)"
            raise BadRequest(f"{path}: {problem}: {FETCH_AGAIN}")
        return Opened(read_archive(path), f"{path} (the official archive, SHA-256 checked)")
    if batches := batches_in(path):
        return Opened(read_folder(batches), f"{batches} (unpacked batches of CIFAR-10)")
    if path.is_dir():
        return Opened(read_images(path.resolve(), say), f"image folder {path.resolve()}")
    raise BadRequest(f"--data {path}: no such name, file or folder: {TAKES}")


def batches_in(path: Path) -> Path | None:
    """The folder of CIFAR-10's unpacked batches: this one, or the one inside it."""
    places = (path, path / "cifar-10-batches-py")
    return next((place for place in places if any((place / name).is_file() for name in BATCHES)), None)

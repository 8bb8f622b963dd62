"""Load the dataset that `data` names. The practical's loaders trust their input, so this module checks it first."""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headstart.datasets.cifar10 import BATCHES, REMEDY, read_archive, read_folder
from headstart.datasets.download import (
    CIFAR10,
    Archive,
    DownloadFailed,
    archive_lock,
    download_cifar10,
    is_archive,
    keras_home,
)
from headstart.errors import InvalidRequest, ResourceError
from headstart.practical.data import Dataset
from headstart.runtime.startup import import_tensorflow

logger = logging.getLogger(__name__)

NAMES = ("cifar10", "digits", "auto")
ONLY_A_FOLDER = "leave it out: only an image folder without a test part needs it"
CHOICES = (
    "give cifar10, digits, auto, or a path: cifar-10-python.tar.gz, the folder unpacked from it, "
    "or an image folder train/<class>/*, test/<class>/*"
)


class Opened(NamedTuple):
    """A dataset, and where its images come from, in words (`run.json`: dataset.source)."""

    dataset: Dataset
    source: str


def load_dataset(data: str = "auto", test_share: float | None = None) -> Dataset:
    """Load images and labels.

    Args:
        data: "cifar10", "digits", "auto" or a path. "cifar10" is read from Keras' cache or downloaded. "digits" is
            scikit-learn's. "auto" is CIFAR-10 or, without a network, the digits with a warning. A path is CIFAR-10's
            archive, its folder, or an image folder.
        test_share: The share of each class that becomes the test part of an image folder without one, such as 0.2.

    Returns:
        Images uint8 (n, 32, 32, 3) with values 0 to 255, labels int64 (n,) from 0, and the names of the classes.

    Raises:
        InvalidRequest: Nothing has this name, or it is damaged, of another kind, or empty.
        ResourceError: CIFAR-10 cannot be downloaded or stored.
    """
    return open_dataset(data, test_share).dataset


def open_dataset(data: str, test_share: float | None = None, seed: int = 0, *, archive: Archive = CIFAR10) -> Opened:
    """Load a dataset like `load_dataset`, and describe its source.

    Args:
        data: As in `load_dataset`.
        test_share: As in `load_dataset`.
        seed: Determines which images become the test part.
        archive: CIFAR-10's archive.

    Returns:
        The dataset, and where its images come from.

    Raises:
        InvalidRequest: Nothing has this name, or it is damaged, of another kind, or empty.
        ResourceError: CIFAR-10 cannot be downloaded or stored.
    """
    if test_share is not None and not 0 < test_share < 1:
        raise InvalidRequest("give a share of the images, such as 0.2", option="test_share", value=test_share)
    if test_share is not None and data in NAMES:
        raise InvalidRequest(ONLY_A_FOLDER, option="test_share", value=test_share)
    source = "embedded in scikit-learn"
    if data in ("cifar10", "auto"):
        try:
            return open_cifar10(archive)
        except DownloadFailed as error:
            if data == "cifar10":
                raise
            source += "; NOT CIFAR-10, because that could not be downloaded"
            logger.warning("these are scikit-learn's DIGITS, NOT CIFAR-10, because %s", error)
    if data in ("digits", "auto"):
        from headstart.practical import digits  # imports scikit-learn

        return Opened(digits.load_dataset(), source)
    try:
        dataset, source = open_path(Path(data).expanduser(), archive, test_share or 0.0, seed)
    except InvalidRequest as error:
        raise InvalidRequest(printable(error.rule), option=error.option, value=error.value) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: "~somebody" has no home
        rule = f"cannot be read ({printable(str(error))}): {CHOICES}"
        raise InvalidRequest(rule, option="data", value=data) from error
    return Opened(dataset, printable(source))


def printable(line: str) -> str:
    """Escape unprintable characters, because file names and other programs' messages can contain them."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def resolve_auto(data: str, name: str) -> str:
    """Return the `data` value that gives the same dataset again: for "auto", what it found.

    Args:
        data: The value that was requested.
        name: The name of the dataset that was loaded for it.
    """
    if data != "auto":
        return data
    return "digits" if name.startswith("scikit-learn digits") else "cifar10"


def fingerprint(dataset: Dataset) -> str:
    """Hash all images, labels and class names.

    Returns:
        The SHA-256 (hex), which is the same for the same data from any source.
    """
    digest = hashlib.sha256(json.dumps(dataset.class_names).encode())
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def open_cifar10(archive: Archive) -> Opened:
    """Load CIFAR-10 with Keras from its cache, and download it first if necessary.

    Raises:
        DownloadFailed: It cannot be downloaded or stored.
        ResourceError: It cannot be unpacked.
    """
    try:
        file = download_cifar10(archive)
    except DownloadFailed:
        older = Path(keras_home(), "datasets")  # earlier versions of Keras unpacked the archive there
        if batches := find_batches(older):
            dataset = read_folder(batches)
            if dataset.name == "CIFAR-10":
                return Opened(dataset, f"{batches} (unpacked by an earlier Keras, MD5 checked)")
        raise
    import_tensorflow()
    from headstart.practical import cifar10  # imports Keras, which is slow, so only after the download

    try:
        with archive_lock():  # Keras unpacks the archive for every load, over the same files
            dataset = cifar10.load_dataset()
    except OSError as error:
        problem = f"CIFAR-10 cannot be unpacked there ({error.strerror or error})"
        raise ResourceError(f"{file.parent}: {problem}: free some space, set KERAS_HOME, or use the digits") from error
    return Opened(dataset, f"keras.datasets.cifar10 ({file}, SHA-256 checked)")


def open_path(path: Path, archive: Archive, test_share: float, seed: int) -> Opened:
    """Load the official archive, CIFAR-10's unpacked batches (here or one folder below), or an image folder.

    Args:
        path: A file or folder.
        archive: The size and hash of the official archive.
        test_share: Of an image folder's images, or 0.
        seed: Determines which images become the test part.

    Returns:
        The dataset, and where its images come from.

    Raises:
        InvalidRequest: There is nothing at this path, or it is damaged or of another kind.
    """
    batches = find_batches(path)
    if test_share and (path.is_file() or batches):
        raise InvalidRequest(ONLY_A_FOLDER, option="test_share", value=test_share)
    if path.is_file():
        if not path.name.endswith((".tar.gz", ".tgz", ".tar")) and not tarfile.is_tarfile(path):
            raise InvalidRequest(f"this file is not an archive: {CHOICES}", option="data", value=path)
        if not is_archive(path, archive):
            problem = f"damaged, or not the official archive of {archive.size:,} bytes ({path.stat().st_size:,} bytes)"
            raise InvalidRequest(f"{path}: {problem}: {REMEDY}")
        return Opened(read_archive(path), f"{path} (the official archive, SHA-256 checked)")
    if batches:
        return Opened(read_folder(batches), f"{batches} (unpacked batches of CIFAR-10)")
    if path.is_dir():
        from headstart.datasets.image_folder import read_images  # imports Pillow and scikit-learn

        share = f", {test_share:.0%} of each class as test images" if test_share else ""
        return Opened(read_images(path.resolve(), test_share, seed), f"image folder {path.resolve()}{share}")
    raise InvalidRequest(f"no such name, file or folder: {CHOICES}", option="data", value=path)


def find_batches(path: Path) -> Path | None:
    """Return the folder of CIFAR-10's unpacked batches: this one, the one inside it, or None."""
    places = (path, path / "cifar-10-batches-py")
    return next((place for place in places if any((place / name).is_file() for name in BATCHES)), None)

"""Read an image folder, train/<class>/*, test/<class>/*, with the notebook's own reader, and cache the images.

The notebook's reader decides what is a class, what is skipped and how a picture becomes pixels. This module adds a
cache, a message that names all files that cannot be read, and the check whether the files are CIFAR-10's.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL
from PIL import UnidentifiedImageError
from platformdirs import user_cache_path

from headstart.errors import InvalidRequest, ResourceError
from headstart.practical import image_folder as practical
from headstart.practical.data import CIFAR10_CLASSES, Dataset
from headstart.practical.image_folder import FORMATS, list_pictures, read_dataset, read_picture
from headstart.storage.files import write_arrays
from headstart.storage.locks import waiting_lock

MAX_CACHED = 3  # decoded folders; CIFAR-10's 60,000 images take 184 MB
MAX_NAMED = 10  # files in one message
COPIES = {  # of CIFAR-10, by the hash of their files (see `hash_files`)
    "600e8eb1a845c3f0f22743768a3f128bb4843f7525b11d2901e386c592d36cd3": "CIFAR-10 images (JPEG, quality 75)"
}

Entry: TypeAlias = os.DirEntry[str]  # not Path, because it reads the sizes of 60,000 files much more slowly

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFolder:
    """What is in an image folder: the pictures of each class, and what is skipped."""

    folder: Path
    train: dict[str, list[Entry]]
    test: dict[str, list[Entry]]  # empty if a share of the training images becomes the test part
    skipped: list[Entry]
    test_share: float = 0.0
    seed: int = 0

    @property
    def pictures(self) -> list[Entry]:
        """Return all pictures, the training images first, in the order in which they are read."""
        return [file for part in (self.train, self.test) for files in part.values() for file in files]

    @property
    def unused(self) -> dict[str, int]:
        """Count what is skipped, by name."""
        return dict(Counter(entry.name for entry in self.skipped))


def read_images(folder: Path, test_share: float = 0.0, seed: int = 0) -> Dataset:
    """Read an image folder, from the cache if the same files were decoded before.

    Args:
        folder: An absolute path.
        test_share: The share of each class that becomes the test part, above 0 and below 1, if the folder has none.
        seed: Determines which images these are.

    Returns:
        The dataset, with images of 32 x 32 pixels.

    Raises:
        InvalidRequest: The two parts have different classes, or there are fewer than two. Or a class is empty, or
            files are too large or are not readable pictures.
    """
    listed = list_images(folder, test_share, seed)
    count = f"{len(listed.pictures):,}"
    if listed.unused:
        names = [f"{name} ({count} times)" if count > 1 else name for name, count in listed.unused.items()]
        logger.info("skipped in %s: %s", folder.name, ", ".join(names[:MAX_NAMED]))
    cached = user_cache_path("headstart") / f"images-{cache_key(listed)}.npz"
    with cache_lock(cached.parent):
        with suppress(Exception):  # missing or damaged: the images can be decoded again
            dataset = read_cache(cached)
            logger.info("%s images of %s are read from the cache %s", count, folder.name, cached)
            return dataset
        logger.info("decoding the %s images of %s", count, folder.name)
        dataset = decode(listed)
        try:
            write_cache(dataset, cached)
            logger.info("the decoded images are cached in %s", cached)
        except OSError as error:
            logger.info(
                "the decoded images cannot be cached (%s): the next run decodes them again", error.strerror or error
            )
    return dataset


def list_images(folder: Path, test_share: float = 0.0, seed: int = 0) -> ImageFolder:
    """List what is in an image folder. No picture is opened.

    Args:
        folder: An image folder.
        test_share: As in `read_images`.
        seed: As in `read_images`.

    Raises:
        InvalidRequest: It does not have the structure of an image folder.
    """
    try:
        listed = ImageFolder(folder, *list_pictures(str(folder), test_share), test_share, seed)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    if len(listed.train) < 2:
        raise InvalidRequest(f"{folder}: {len(listed.train)} class(es): at least two are needed")
    for name in (folder.name, *listed.train):
        if not name.isprintable():
            raise InvalidRequest(f"{folder}: the name {name!r} has unprintable characters: rename the folder")
    return listed


@contextmanager
def cache_lock(cache: Path) -> Iterator[None]:
    """Let one process at a time decode, so that the others read its cache. Without write access, there is no lock."""
    with ExitStack() as held:
        with suppress(OSError, ResourceError):
            held.enter_context(waiting_lock(cache / ".images.lock", "decoded images"))
        yield


def cache_key(listed: ImageFolder) -> str:
    """Return a name that depends on everything that determines the decoded images.

    That is: paths, sizes and times of the files, the folder's name, and the code that decodes. The time of the last
    status change is included, because a copy may keep an older file's modification time.

    Args:
        listed: The image folder.

    Returns:
        32 hexadecimal digits.
    """
    how = [PIL.__version__, inspect.getsource(practical), listed.folder.name, str(listed.test_share), str(listed.seed)]
    digest = hashlib.sha256("\n".join(how).encode())
    for picture in listed.pictures:
        path, status = picture.path.removeprefix(str(listed.folder)), picture.stat()
        digest.update(os.fsencode(f"{path}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"))
    return digest.hexdigest()[:32]


def decode(listed: ImageFolder) -> Dataset:
    """Decode the dataset.

    Args:
        listed: The image folder.

    Returns:
        The dataset, with images of 32 x 32 pixels.

    Raises:
        InvalidRequest: Pictures cannot be read. The message names the first ten.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata and about sizes that are checked here
        try:
            dataset = read_dataset(listed.train, listed.test, listed.folder.name, listed.test_share, listed.seed)
        except ValueError as error:
            raise InvalidRequest(describe_unreadable(listed.pictures) or f"{listed.folder}: {error}") from error
    if dataset.class_names == CIFAR10_CLASSES and (copy := COPIES.get(hash_files(listed))):
        return replace(dataset, name=f"{copy} from the folder “{listed.folder.name}”")
    return dataset


def describe_unreadable(pictures: list[Entry]) -> str:
    """Name the pictures that cannot be read, the first ten of them; return "" if there are none."""
    problems = []
    for picture in pictures:
        try:
            read_picture(picture.path)
        except Exception as error:  # Pillow's formats fail in many ways
            problems.append(f"{picture.path} ({explain(error)})")
    if not problems:
        return ""
    more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    count = "1 image" if len(problems) == 1 else f"{len(problems):,} images"
    return f"{count} of {len(pictures):,} cannot be read, so repair or remove: {'; '.join(problems[:MAX_NAMED])}{more}"


def explain(error: Exception) -> str:
    """Return why a picture cannot be read, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return f"not a picture in one of the formats {', '.join(FORMATS)}"
    return f"{error!s:.200}"


def hash_files(listed: ImageFolder) -> str:
    """Hash the content of all files by part and class. The files' names do not matter.

    Args:
        listed: The image folder.

    Returns:
        The SHA-256 (hex).
    """
    digest = hashlib.sha256()
    for part, classes in (("train", listed.train), ("test", listed.test)):
        for name, files in classes.items():
            hashes = sorted(hashlib.sha256(Path(file.path).read_bytes()).digest() for file in files)
            digest.update(f"{part}/{name} {len(files)}".encode() + b"".join(hashes))
    return digest.hexdigest()


def read_cache(file: Path) -> Dataset:
    """Read a dataset that was decoded earlier. Raises any exception if the file is missing or damaged."""
    with file.open("rb") as content, np.load(content, allow_pickle=False) as saved:
        fields = dict(saved)
    return Dataset(**fields | {"class_names": tuple(fields["class_names"].tolist()), "name": str(fields["name"])})


def write_cache(dataset: Dataset, file: Path) -> None:
    """Write the decoded images, and remove all but the newest caches.

    Args:
        dataset: The decoded dataset.
        file: The cache to write.

    Raises:
        OSError: The folder is not writable, or the disk is full.
    """
    write_arrays(file, {name: np.asarray(value) for name, value in vars(dataset).items()})
    others = {*file.parent.glob("*images-*")} - {file}  # if a clock was set back, this file may seem to be the oldest
    copies = sorted(others, key=lambda copy: copy.stat().st_mtime_ns)
    for copy in copies[: 1 - MAX_CACHED]:  # partial files of killed runs are among them
        copy.unlink(missing_ok=True)

"""An image folder, train/<class>/* and test/<class>/*: checked, decoded as the notebook does, and cached.

No file is trusted: the size of every picture is checked before any is decoded.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
from platformdirs import user_cache_path

from headstart.errors import InvalidRequest
from headstart.practical.data import Dataset
from headstart.runtime.startup import import_tensorflow
from headstart.storage.files import write_arrays
from headstart.storage.locks import waiting_lock

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no EPS, which would start Ghostscript
MAX_PIXELS, MAX_BYTES = 50_000_000, 100_000_000  # of one picture, and of its file
MAX_CACHED = 3  # decoded folders; CIFAR-10's 60,000 images take 184 MB

Entry: TypeAlias = os.DirEntry[str]  # not Path, because it reads the sizes of 60,000 files much more slowly

logger = logging.getLogger(__name__)


def read_images(folder: Path) -> Dataset:
    """Read an image folder, from the cache if the same files were decoded before.

    Args:
        folder: An absolute path.

    Returns:
        The dataset, with images of 32 x 32 pixels.

    Raises:
        InvalidRequest: The two parts have different classes, or there are fewer than two. Or a class is empty, or a
            file is too large or is not a readable picture.
    """
    pictures = list_pictures(folder)
    import_tensorflow()
    cached = user_cache_path("headstart") / f"images-{cache_key(folder, pictures)}.npz"
    with cache_lock(cached.parent):
        with suppress(Exception):  # missing or damaged: the images can be decoded again
            dataset = read_cache(cached)
            logger.info("%s images of %s are read from the cache %s", f"{len(pictures):,}", folder.name, cached)
            return dataset
        logger.info("decoding the %s images of %s", f"{len(pictures):,}", folder.name)
        dataset = decode(folder, pictures)
        try:
            write_cache(dataset, cached)
            logger.info("the decoded images are cached in %s", cached)
        except OSError as error:
            logger.info(
                "the decoded images cannot be cached (%s): the next run decodes them again", error.strerror or error
            )
    return dataset


@contextmanager
def cache_lock(cache: Path) -> Iterator[None]:
    """Let one process at a time decode, so that the others read its cache. Without write access, there is no lock."""
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(waiting_lock(cache / ".images.lock", "decoded images"))
        yield


def list_pictures(folder: Path) -> list[Entry]:
    """List the files that the practical's loader will read, sorted by path.

    Args:
        folder: An image folder: train/<class>/*, test/<class>/*.

    Raises:
        InvalidRequest: The folder does not have the structure that the loader expects.
    """
    classes, pictures = [], []
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise InvalidRequest(
                f"{folder}: it has no folder {part!r}: an image folder has train/<class>/* and test/<class>/*"
            )
        folders = [entry for entry in os.scandir(folder / part) if entry.is_dir()]
        classes.append({entry.name for entry in folders})
        for one in folders:
            files = [entry for entry in os.scandir(one) if entry.name[0] != "."]
            if not files:
                raise InvalidRequest(f"{one.path}: the class has no image: add some, or remove the folder")
            pictures += files
    train, test = classes
    if train != test:
        raise InvalidRequest(f"{folder}: class {min(train ^ test)!r} must be in both train and test: add or remove it")
    if len(train) < 2:
        raise InvalidRequest(f"{folder}: {len(train)} class(es): at least two are needed")
    for name in (folder.name, *train):
        if not name.isprintable():
            raise InvalidRequest(f"{folder}: the name {name!r} has unprintable characters: rename the folder")
    return sorted(pictures, key=lambda entry: entry.path)


def cache_key(folder: Path, pictures: list[Entry]) -> str:
    """Return a name that depends on everything that determines the decoded images.

    That is: paths, sizes and times of the files, the folder's name, and the code that decodes. The time of the last
    status change is included, because a copy may keep an older file's modification time.

    Args:
        folder: The image folder.
        pictures: Its files, sorted.

    Returns:
        32 hexadecimal digits.
    """
    import keras  # TensorFlow is imported by now
    import PIL

    from headstart.practical import image_folder as practical

    readers = (practical.load_dataset, practical.class_order, practical.read_part, practical.read_image)
    code = [inspect.getsource(reader) for reader in readers]
    digest = hashlib.sha256("\n".join([PIL.__version__, keras.__version__, folder.name, *code]).encode())
    for picture in pictures:
        path, status = picture.path.removeprefix(str(folder)), picture.stat()
        digest.update(os.fsencode(f"{path}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"))
    return digest.hexdigest()[:32]


def decode(folder: Path, pictures: list[Entry]) -> Dataset:
    """Decode the dataset, after every picture's size was checked.

    Args:
        folder: The image folder.
        pictures: Its files.

    Returns:
        The dataset, with images of 32 x 32 pixels.

    Raises:
        InvalidRequest: A picture cannot be read or is too large. The message names the first one.
    """
    from headstart.practical.image_folder import load_dataset, read_image  # imports Keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata and about sizes that are checked here
        check_each(pictures, check_picture)
        try:
            return load_dataset(str(folder))
        except Exception:
            check_each(pictures, lambda picture: read_image(Path(picture)))
            raise


def check_each(pictures: list[Entry], check: Callable[[Entry], object]) -> None:
    """Check each picture. All errors are caught, because Pillow's formats fail in many ways.

    Args:
        pictures: The files.
        check: Raises any exception for a file that is not valid.

    Raises:
        InvalidRequest: A file is not valid. The message names the first one.
    """
    for picture in pictures:
        try:
            check(picture)
        except Exception as error:
            raise InvalidRequest(
                f"{picture.path}: the image cannot be read ({error!s:.200}): repair or remove it"
            ) from error


def check_picture(picture: Entry) -> None:
    """Raise ValueError if a file is not a picture or would need too much memory. Nothing is decoded."""
    from PIL import Image

    if not picture.is_file():
        raise ValueError("it is not a file")
    if picture.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    with Image.open(picture.path, formats=FORMATS) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would keep the lowest 8 bits: white or black squares
            raise ValueError("more than 8 bits per colour: save it with 8")
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels: more than {MAX_PIXELS:,}")


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

"""An image folder, train/<class>/* and test/<class>/*: looked over, decoded as the notebook does it, and kept decoded.

No file is trusted: every picture is measured before one is decoded.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from platformdirs import user_cache_path

from headstart.errors import BadRequest
from headstart.quiet import import_tensorflow
from headstart.store import in_turn, write_arrays

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no EPS: it would start Ghostscript
MOST_PIXELS, MOST_BYTES = 50_000_000, 100_000_000  # of one picture, and of its file
MOST_KEPT = 3  # decoded folders; CIFAR-10's 60,000 images take 184 MB

Entry: TypeAlias = os.DirEntry[str]  # not Path: to ask 60,000 paths for their sizes takes far longer


def read_images(folder: Path, say: Callable[[str], None]) -> Dataset:
    """The dataset in an image folder (an absolute path), from the cache if the same files were decoded before.

    Raises BadRequest unless both parts have the same classes, two at least and none of them empty, and every file in
    them is a picture that can be read and is not too large.
    """
    pictures = list_pictures(folder)
    import_tensorflow()
    kept = user_cache_path("headstart") / f"images-{content_key(folder, pictures)}.npz"
    with alone(kept.parent, say):
        with suppress(Exception):  # it is not there, or is damaged in any way: the images can be decoded again
            dataset = kept_dataset(kept)
            say(f"{len(pictures):,} images of {folder.name}, decoded earlier, are read from {kept}")
            return dataset
        say(f"decoding the {len(pictures):,} images of {folder.name}, once")
        dataset = decoded(folder, pictures)
        try:
            keep(dataset, kept)
            say(f"the decoded images are kept in {kept}")
        except OSError as error:
            say(f"the decoded images cannot be kept ({error.strerror or error}): the next run decodes them again")
    return dataset


@contextmanager
def alone(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One process at a time: of several that want the same images, the first decodes them for all.

    Where the cache cannot be written there is nothing to share, and no lock.
    """
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(in_turn(cache / ".images.lock", say, "decoded images"))
        yield


def list_pictures(folder: Path) -> list[Entry]:
    """What the practical's loader will take for pictures, by path, once the folder has the shape it expects."""
    classes, pictures = [], []
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise BadRequest(f"{folder}: it has no folder {part!r}: an image folder is train/<class>/*, test/<class>/*")
        folders = [entry for entry in os.scandir(folder / part) if entry.is_dir()]
        classes.append({entry.name for entry in folders})
        for one in folders:
            files = [entry for entry in os.scandir(one) if entry.name[0] != "."]
            if not files:
                raise BadRequest(f"{one.path}: the class has no image: add some, or remove the folder")
            pictures += files
    train, test = classes
    if train != test:
        raise BadRequest(f"{folder}: class {min(train ^ test)!r} is not in both train and test: it has to be")
    if len(train) < 2:
        raise BadRequest(f"{folder}: {len(train)} class(es), and nothing to tell apart: give two at least")
    for name in (folder.name, *train):
        if not name.isprintable():
            raise BadRequest(f"{folder}: the name {name!r} cannot be shown: rename the folder")
    return sorted(pictures, key=lambda entry: entry.path)


def content_key(folder: Path, pictures: list[Entry]) -> str:
    """A name for these files (paths in the folder, sizes, times), the folder's name, and what decodes it.

    The time of a file's last change of any kind is among them, for copies may be given an older file's other time.
    """
    import keras
    import PIL

    from headstart.practical import image_folder as practical

    readers = (practical.load_dataset, practical.class_order, practical.read_part, practical.read_image)
    code = [inspect.getsource(reader) for reader in readers]
    digest = hashlib.sha256("\n".join([PIL.__version__, keras.__version__, folder.name, *code]).encode())
    for picture in pictures:
        path, status = picture.path.removeprefix(str(folder)), picture.stat()
        digest.update(os.fsencode(f"{path}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"))
    return digest.hexdigest()[:32]


def decoded(folder: Path, pictures: list[Entry]) -> Dataset:
    """The dataset, once every picture has been measured; BadRequest names the first bad one."""
    from headstart.practical.image_folder import load_dataset, read_image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's: about odd metadata, and about sizes that are refused here
        try_each(pictures, measure)
        try:
            return load_dataset(str(folder))
        except Exception:
            try_each(pictures, lambda picture: read_image(Path(picture)))
            raise


def try_each(pictures: list[Entry], look: Callable[[Entry], object]) -> None:
    """Look at each picture, and name the one where that fails: each of Pillow's formats fails in its own ways."""
    for picture in pictures:
        try:
            look(picture)
        except Exception as error:
            problem = f"no image that can be read ({error!s:.200})"
            raise BadRequest(f"{picture.path}: {problem}: repair it or remove it") from error


def measure(picture: Entry) -> None:
    """ValueError if this is no picture, or would fill the memory; nothing of it is decoded."""
    from PIL import Image

    if not picture.is_file():
        raise ValueError("it is no file")
    if picture.stat().st_size > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    with Image.open(picture.path, formats=FORMATS) as image:
        if image.mode.startswith(("I", "F")):  # of which Pillow keeps the lowest 8: white or black squares
            raise ValueError("more than 8 bits a colour: save it with 8")
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels: more than {MOST_PIXELS:,}")


def kept_dataset(file: Path) -> Dataset:
    """The dataset as decoded at an earlier time."""
    from headstart.practical.data import Dataset

    with file.open("rb") as content, np.load(content, allow_pickle=False) as kept:
        fields = dict(kept)
    return Dataset(**fields | {"class_names": tuple(fields["class_names"].tolist()), "name": str(fields["name"])})


def keep(dataset: Dataset, file: Path) -> None:
    """Write the decoded images, and remove all but the newest; OSError if they cannot be kept."""
    write_arrays(file, {name: np.asarray(value) for name, value in vars(dataset).items()})
    others = {*file.parent.glob("*images-*")} - {file}  # where a clock was set back, this one may look the oldest
    copies = sorted(others, key=lambda copy: copy.stat().st_mtime_ns)
    for copy in copies[: 1 - MOST_KEPT]:  # among them a part-file that a killed run has left
        copy.unlink(missing_ok=True)

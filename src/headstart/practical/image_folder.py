"""
## The data

The images are in a folder, as `train/<class>/*` and `test/<class>/*`. Every picture is turned upright, put on white
where it is transparent, and resized to 32 × 32 pixels. The classes have numbers from 0, in natural order, so that “2”
comes before “10”. A digit of the registration number means the class with this number. But if the names of all
classes are numbers, it means the class with this name.
"""

from __future__ import annotations

import re
from os import scandir
from pathlib import Path
from unicodedata import normalize

import numpy as np
from PIL import Image, ImageOps
from sklearn.model_selection import train_test_split

from headstart.practical.data import CIFAR10_CLASSES, Dataset

FOLDER = "images"
TEST_SHARE = 0.0  # of the images; above 0 only if the folder has no test part
SPLIT_SEED = 0  # which images these are
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
IGNORED = ("@eadir", "__macosx", "lost+found", "thumbs.db", "desktop.ini")  # what systems leave in folders
MAX_BYTES = 100_000_000  # of one file
MAX_PIXELS = 80_000_000  # of its picture


# %%
def natural_order(name: str) -> tuple:
    """Return a key for sorting names, with which "2" comes before "10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", normalize("NFC", name))], name


def list_folder(folder: str | Path, skipped: list) -> tuple[list, list]:
    """List the folders and the files, without hidden entries and what systems leave: these are added to `skipped`."""
    folders, files = [], []
    for entry in sorted(scandir(folder), key=lambda entry: natural_order(entry.name)):
        ignored = entry.name[0] == "." or entry.name.lower() in IGNORED
        if not (ignored or entry.is_dir() or entry.is_file()):
            raise ValueError(f"{entry.path}: neither a file nor a folder, perhaps a broken link: repair or remove it")
        (skipped if ignored else folders if entry.is_dir() else files).append(entry)
    return folders, files


def list_classes(part: str | Path, skipped: list) -> dict[str, list]:
    """List the pictures of each class."""
    folders, files = list_folder(part, skipped)
    skipped += files
    classes: dict[str, list] = {}
    for folder in folders:
        inner, pictures = list_folder(folder.path, skipped)
        if inner or not pictures:
            problem = f"the class has a folder, {inner[0].name}" if inner else "the class has no image"
            raise ValueError(f"{folder.path}: {problem}: a class has pictures only")
        classes.setdefault(normalize("NFC", folder.name), []).extend(pictures)
    return classes


# %%
def list_pictures(folder: str | Path, test_share: float) -> tuple[dict, dict, list]:
    """List the training and the test pictures of each class, and what is skipped."""
    skipped: list = []
    folders, files = list_folder(folder, skipped)
    parts = {entry.name: entry for entry in folders}
    test_part = next((name for name in ("test", "val", "valid") if name in parts), "")
    if bool(test_part) == bool(test_share) or not (test_share or "train" in parts):
        found = ", ".join([*(f"{name}/" for name in parts), *(file.name for file in files)][:8]) or "nothing"
        rule = "give train/<class>/* and test/<class>/*, or a folder without a test part and a test share such as 0.2"
        raise ValueError(f"{folder}: it contains {found}; {rule}")
    if "train" not in parts:
        return list_classes(folder, skipped := []), {}, skipped
    train = list_classes(parts.pop("train"), skipped)
    test = list_classes(parts.pop(test_part), skipped) if test_part else {}
    if test_part and (different := train.keys() ^ test.keys()):
        raise ValueError(f"{folder}: the class {min(different)!r} must be in both train and {test_part}")
    return train, test, [*skipped, *files, *parts.values()]


# %%
def read_picture(file: str | Path, side: int = 32) -> np.ndarray:
    """Read a picture as uint8 (side, side, 3): upright, its first frame, and on white where it is transparent."""
    if Path(file).stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes: make it smaller")
    with Image.open(file, formats=FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS:  # nothing is decoded yet
            raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,}: make it smaller")
        if picture.mode in ("I", "F"):
            raise ValueError("values of 32 bits have no fixed range: save it with 8 or 16 bits per colour")
        image = ImageOps.exif_transpose(picture)
    if image.mode.startswith("I;16"):
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def read_part(classes: dict[str, list], class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Read the pictures of one part, class by class: images uint8 (n, 32, 32, 3) and labels."""
    images = []
    for file in (file for name in class_names for file in classes[name]):
        try:
            images.append(read_picture(file))
        except Exception as error:  # damaged pictures fail in many ways
            raise ValueError(f"{file.path}: not a readable image ({error}); use {', '.join(FORMATS)}") from error
    return np.stack(images), np.repeat(np.arange(len(class_names)), [len(classes[name]) for name in class_names])


# %%
def read_dataset(train: dict, test: dict, name: str, test_share: float, seed: int) -> Dataset:
    """Read the listed pictures; without a test part, a share of each class becomes the test images."""
    class_names = tuple(train)
    x_train, y_train = read_part(train, class_names)
    if test:
        x_test, y_test = read_part(test, class_names)
    else:
        split = {"test_size": test_share, "stratify": y_train, "random_state": seed}
        x_train, x_test, y_train, y_test = train_test_split(x_train, y_train, **split)
    known = " with CIFAR-10's class names" if class_names == CIFAR10_CLASSES else ""
    return Dataset(x_train, y_train, x_test, y_test, class_names, f"images{known} from the folder “{name}”")


def load_dataset(folder: str = FOLDER, test_share: float = TEST_SHARE, seed: int = SPLIT_SEED) -> Dataset:
    """Load all images of the folder, and print what is skipped."""
    train, test, skipped = list_pictures(folder, test_share)
    if skipped:
        print("Skipped:", *sorted({entry.name for entry in skipped}))
    return read_dataset(train, test, Path(folder).resolve().name, test_share, seed)


def class_numbers(digits: tuple[int, int], class_names: tuple[str, ...]) -> tuple[int, int]:
    """Return the numbers of the classes that two digits mean: those with these names, or with these numbers."""
    known = [int(name) for name in class_names if name.isdecimal()]
    if len(set(known)) < len(class_names):  # the names are not all numbers
        known = list(range(len(class_names)))
    if missing := [digit for digit in digits if digit not in known]:
        raise ValueError(f"there is no class {missing[0]}: the classes are {', '.join(class_names)}")
    return known.index(digits[0]), known.index(digits[1])

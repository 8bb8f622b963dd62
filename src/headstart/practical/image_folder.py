"""
## The data

The images are in a folder, as `train/<class>/*` and `test/<class>/*`, and are resized to 32 × 32 pixels. The classes
are numbered in the order of their names; those of CIFAR-10 keep CIFAR-10's numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from headstart.practical.data import CIFAR10_CLASSES, Dataset

FOLDER = "images"


# %%
def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their numbers."""
    return tuple(sorted(names, key=lambda name: (name not in CIFAR10_CLASSES, name)))


def read_image(file: Path) -> np.ndarray:
    """One picture as uint8 (32, 32, 3)."""
    return np.asarray(keras.utils.load_img(str(file), target_size=(32, 32), interpolation="lanczos"))


def read_part(folder: Path, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The images of one part, class by class and sorted by file name, and their labels."""
    files = [sorted(file for file in (folder / name).iterdir() if file.name[0] != ".") for name in class_names]
    images = np.stack([read_image(file) for one_class in files for file in one_class])
    return images, np.repeat(np.arange(len(files)), [len(one_class) for one_class in files])


def load_dataset(folder: str = FOLDER) -> Dataset:
    """All images of the folder."""
    train, test = Path(folder, "train"), Path(folder, "test")
    class_names = class_order(entry.name for entry in train.iterdir() if entry.is_dir())
    kind = "CIFAR-10 images" if class_names == CIFAR10_CLASSES else "images"
    name = f"{kind} from the folder “{Path(folder).resolve().name}”"
    return Dataset(*read_part(train, class_names), *read_part(test, class_names), class_names, name)

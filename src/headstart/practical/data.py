"""
## The data

CIFAR-10 ([Krizhevsky, 2009](https://www.cs.toronto.edu/~kriz/cifar.html)) holds 60,000 colour images of
32 × 32 pixels, 6,000 of each of ten classes: 50,000 to train on and 10,000 to test with. The last two different
digits of the registration number name the two classes that are **held out** as part B; the other eight are part A.
No image is in both parts, and none of part B is seen before the transfer begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGIT_CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Dataset:
    """Images to train on and to test with: images uint8 (N, H, W, 3) in 0..255, labels int64 (N,) in 0..k-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    name: str


def held_out_classes(registration: str) -> tuple[int, int]:
    """The last two digits (x, y) of the registration number; while they are equal, x goes back one digit.

    >>> held_out_classes("2020387499"), held_out_classes("2021032577"), held_out_classes("1000000")
    ((4, 9), (5, 7), (1, 0))
    """
    if not (isinstance(registration, str) and registration.isascii() and registration.isdigit()):
        raise ValueError(f"registration number {registration!r}: give digits 0 to 9 only, such as 2020387499")
    y = registration[-1:]
    for x in reversed(registration[:-1]):
        if x != y:
            return int(x), int(y)
    raise ValueError(f"registration number {registration!r}: it needs two different digits, such as 2020387499")


# %% [markdown]
# ### Loading


# %%
def load_dataset(source: str = "cifar10") -> Dataset:
    """CIFAR-10 from Keras ("cifar10"), scikit-learn's digits ("digits"), or an image folder (its path)."""
    if source == "cifar10":
        (x_train, y_train), (x_test, y_test) = keras.datasets.cifar10.load_data()
        return Dataset(x_train, flat(y_train), x_test, flat(y_test), CIFAR10_CLASSES, "CIFAR-10")
    if source == "digits":
        return load_digit_images()
    return load_image_folder(Path(source))


def flat(labels: np.ndarray) -> np.ndarray:
    """Labels as int64 (N,): Keras gives CIFAR-10's as (N, 1), which would broadcast wrongly in a comparison."""
    return np.asarray(labels, dtype=np.int64).reshape(-1)


def load_digit_images() -> Dataset:
    """scikit-learn's 1,797 real hand-written digits, 8 x 8 and grey, made 32 x 32 x 3; 797 of them for the test."""
    grey, labels = load_digits(return_X_y=True)
    large = np.kron(grey.reshape(-1, 8, 8) * (255 / 16), np.ones((4, 4)))
    images = np.repeat(np.rint(large).astype(np.uint8)[..., None], 3, axis=3)
    x_train, x_test, y_train, y_test = train_test_split(
        images, flat(labels), test_size=797, stratify=labels, random_state=0
    )
    return Dataset(x_train, y_train, x_test, y_test, DIGIT_CLASSES, "scikit-learn digits, not CIFAR-10")


# %% [markdown]
# ### Loading a folder of images


# %%
def load_image_folder(folder: Path) -> Dataset:
    """An image folder, train/<class>/* and test/<class>/*; images of another size than 32 x 32 are resized."""
    if not (folder / "train").is_dir():
        raise FileNotFoundError(f'no {folder / "train"} here: put the images there, or set DATA = "cifar10"')
    class_names = class_order(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    x_train, y_train = read_part(folder / "train", class_names)
    x_test, y_test = read_part(folder / "test", class_names)
    kind = "CIFAR-10 images" if class_names == CIFAR10_CLASSES else "images"
    return Dataset(x_train, y_train, x_test, y_test, class_names, f"{kind} from the folder “{folder.resolve().name}”")


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their numbers: CIFAR-10's ten come first, as they do there, then others by name."""
    return tuple(sorted(names, key=lambda name: (name not in CIFAR10_CLASSES, name)))


def read_part(folder: Path, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images, class by class and sorted by file name, and labels of one part of an image folder."""
    files = [sorted(file for file in (folder / name).iterdir() if file.name[0] != ".") for name in class_names]
    images = np.stack([read_image(file) for one_class in files for file in one_class])
    return images, np.repeat(np.arange(len(files)), [len(one_class) for one_class in files])


def read_image(file: Path) -> np.ndarray:
    """One picture as uint8 (32, 32, 3)."""
    return np.asarray(keras.utils.load_img(str(file), target_size=(32, 32), interpolation="lanczos"))


# %% [markdown]
# ### Part A and part B


# %%
def split_classes(dataset: Dataset, held_out: tuple[int, int]) -> tuple[Dataset, Dataset]:
    """Part A (every class that is not held out) and part B (those that are), each with labels renumbered from 0."""
    classes = range(len(dataset.class_names))
    part_a = [number for number in classes if number not in held_out]
    part_b = [number for number in classes if number in held_out]
    return select_classes(dataset, part_a), select_classes(dataset, part_b)


def select_classes(dataset: Dataset, numbers: list[int]) -> Dataset:
    """The images of these classes only, in their old order; the i-th of the numbers becomes label i."""
    new_label = np.full(len(dataset.class_names), -1)
    new_label[numbers] = np.arange(len(numbers))
    train, test = new_label[dataset.y_train], new_label[dataset.y_test]
    return Dataset(
        dataset.x_train[train >= 0],
        train[train >= 0],
        dataset.x_test[test >= 0],
        test[test >= 0],
        tuple(dataset.class_names[number] for number in numbers),
        dataset.name,
    )


def table_of_parts(part_a: Dataset, part_b: Dataset) -> pd.DataFrame:
    """A row a part: its classes and how many images it has."""
    return pd.DataFrame(
        {
            "part": ["A", "B"],
            "classes": [", ".join(part.class_names) for part in (part_a, part_b)],
            "training images": [len(part.x_train) for part in (part_a, part_b)],
            "test images": [len(part.x_test) for part in (part_a, part_b)],
        }
    )


# %% [markdown]
# ### A look at the images


# %%
def plot_examples(part_a: Dataset, part_b: Dataset, rows: int = 4) -> Figure:
    """A column of training images for every class, part A's first."""
    columns = [(part, label) for part in (part_a, part_b) for label in range(len(part.class_names))]
    figure, axes = plt.subplots(rows, len(columns), figsize=(1.05 * len(columns), 1.05 * rows + 0.8), squeeze=False)
    for column, (part, label) in zip(axes.T, columns, strict=True):
        for ax, index in zip(column, np.flatnonzero(part.y_train == label), strict=False):
            ax.imshow(part.x_train[index])
        held_out = part is part_b
        column[0].set_title(
            f"{part.class_names[label]}\n{'part B' if held_out else 'part A'}",
            fontsize=9,
            fontweight="bold" if held_out else "normal",
            parse_math=False,
        )
    for ax in axes.flat:
        ax.axis("off")
    figure.suptitle(f"Training images of every class\nData: {part_a.name}", fontsize=11, parse_math=False)
    figure.tight_layout()
    plt.close(figure)  # it is shown where it is displayed, not once more at the end of a cell
    return figure

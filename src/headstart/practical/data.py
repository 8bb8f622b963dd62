"""
## Part A and part B

The last two different digits of the registration number name the two classes of part B. They are *held out*: part A
has all other classes, and network A never sees an image of part B. Each part gets labels from 0 again, because a
network with two outputs needs the labels 0 and 1. The names of the classes move with the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (n, 32, 32, 3) with values 0 to 255; labels int64 (n,) from 0 to the number of classes - 1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    name: str


# %%
def held_out_classes(registration: str) -> tuple[int, int]:
    """Return the last two digits (x, y) of the registration number; while they are equal, x goes back one digit."""
    x = next(digit for digit in reversed(registration) if digit != registration[-1])
    return int(x), int(registration[-1])


def split_classes(dataset: Dataset, held_out: tuple[int, int]) -> list[Dataset]:
    """Split into part A (all other classes) and part B (the held-out classes); the labels of each count from 0."""
    others = [number for number in range(len(dataset.class_names)) if number not in held_out]
    return [select_classes(dataset, numbers) for numbers in (others, sorted(held_out))]


def select_classes(dataset: Dataset, numbers: list[int]) -> Dataset:
    """Select the images of these classes; the first of the numbers, which are sorted, becomes label 0."""
    train, test = np.isin(dataset.y_train, numbers), np.isin(dataset.y_test, numbers)
    y_train, y_test = (np.searchsorted(numbers, y) for y in (dataset.y_train[train], dataset.y_test[test]))
    class_names = tuple(dataset.class_names[number] for number in numbers)
    return Dataset(dataset.x_train[train], y_train, dataset.x_test[test], y_test, class_names, dataset.name)

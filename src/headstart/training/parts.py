"""Part A and part B: the practical's functions with checked arguments."""

from __future__ import annotations

import numpy as np

from headstart.errors import InvalidRequest
from headstart.practical import data as practical
from headstart.practical.data import Dataset


def held_out_classes(registration: str) -> tuple[int, int]:
    """Return the classes that a registration number holds out: its last two different digits.

    Args:
        registration: Digits 0 to 9, at least two of them different.

    Returns:
        (x, y): y is the last digit, x the last digit before it that differs from y.

    Raises:
        InvalidRequest: It is not a string of digits, or all its digits are equal.

    >>> held_out_classes("2020387499"), held_out_classes("2021032577"), held_out_classes("1000000")
    ((4, 9), (5, 7), (1, 0))
    """
    if isinstance(registration, int):
        rule = f'give it as text, in quotes ("{registration}"), because a number loses its leading zeros'
        raise InvalidRequest(f"registration number {registration}: {rule}")
    if not (isinstance(registration, str) and registration.isascii() and registration.isdigit()):
        raise InvalidRequest(f"registration number {registration!r}: give digits 0 to 9 only, such as 2020387499")
    if len(set(registration)) < 2:
        raise InvalidRequest(f"registration number {registration!r}: it needs two different digits, such as 2020387499")
    return practical.held_out_classes(registration)


def split_classes(dataset: Dataset, held_out: tuple[int, int]) -> tuple[Dataset, Dataset]:
    """Split a dataset by class.

    Args:
        dataset: Images and labels of at least three classes.
        held_out: The numbers of part B's two classes, from 0 to the number of classes - 1.

    Returns:
        Part A (all other classes) and part B (the two), each a dataset with labels from 0 and its classes' names.

    Raises:
        InvalidRequest: They are not the numbers of two different classes, or the dataset is not valid.
    """
    check_dataset(dataset)
    known = range(len(dataset.class_names))
    numbers = [number for number in held_out if isinstance(number, int | np.integer) and number in known]
    if len(held_out) != 2 or len(set(numbers)) != 2:
        rule = f"give two different class numbers from 0 to {len(known) - 1}"
        raise InvalidRequest(rule, option="held_out", value=held_out)
    part_a, part_b = practical.split_classes(dataset, held_out)
    return part_a, part_b


def check_dataset(dataset: Dataset) -> None:
    """Check images and labels: a wrong type or shape would give wrong numbers without any error.

    Args:
        dataset: The dataset, or a part of one.

    Raises:
        InvalidRequest: The images are not uint8 (n, 32, 32, 3), or the labels are not integers (n,) that number the
            classes from 0.
    """
    classes = len(dataset.class_names)
    for kind in ("train", "test"):
        images, labels = getattr(dataset, f"x_{kind}"), getattr(dataset, f"y_{kind}")
        if getattr(images, "dtype", None) != np.uint8 or images.shape[1:] != (32, 32, 3) or not len(images):
            rule = "give at least one image, uint8 (n, 32, 32, 3) with values 0 to 255"
            raise InvalidRequest(rule, option=f"x_{kind}", value=describe_array(images))
        integers = np.issubdtype(getattr(labels, "dtype", None), np.integer)
        if not integers or labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= classes:
            rule = f"give a label for each of the {len(images):,} images, integers (n,) from 0 to {classes - 1}"
            raise InvalidRequest(rule, option=f"y_{kind}", value=describe_array(labels))


def describe_array(array: object) -> str:
    """Return type, shape and range of an array, such as "float32 (100, 32, 32, 3) from 0 to 1"."""
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    span = f" from {array.min():g} to {array.max():g}" if array.size and np.issubdtype(array.dtype, np.number) else ""
    return f"{array.dtype} {array.shape}{span}"

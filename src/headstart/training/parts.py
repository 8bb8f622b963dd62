"""Part A and part B: the practical's functions with checked arguments."""

from __future__ import annotations

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
        InvalidRequest: They are not the numbers of two different classes.
    """
    known = range(len(dataset.class_names))
    if len(held_out) != 2 or len(set(held_out)) != 2 or any(number not in known for number in held_out):
        rule = f"give two different class numbers from 0 to {len(known) - 1}"
        raise InvalidRequest(rule, option="held_out", value=held_out)
    part_a, part_b = practical.split_classes(dataset, held_out)
    return part_a, part_b

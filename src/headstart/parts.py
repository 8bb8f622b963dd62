"""Part A and part B, for users of Python: the practical's functions with their arguments checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.errors import BadRequest

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


def held_out_classes(registration: str) -> tuple[int, int]:
    """The classes that a registration number holds out: its last two different digits.

    Args:
        registration: Digits 0 to 9, with at least two different ones.

    Returns:
        (x, y), where y is the last digit and x the last one before it that differs from y.

    Raises:
        BadRequest: It is not a text of digits, or all its digits are equal.

    >>> held_out_classes("2020387499"), held_out_classes("2021032577"), held_out_classes("1000000")
    ((4, 9), (5, 7), (1, 0))
    """
    from headstart.practical import data  # not before it is needed: the command line checks numbers without TensorFlow

    if not (isinstance(registration, str) and registration.isascii() and registration.isdigit()):
        raise BadRequest(f"registration number {registration!r}: give digits 0 to 9 only, such as 2020387499")
    if len(set(registration)) < 2:
        raise BadRequest(f"registration number {registration!r}: it needs two different digits, such as 2020387499")
    return data.held_out_classes(registration)


def split_classes(dataset: Dataset, held_out: tuple[int, int]) -> tuple[Dataset, Dataset]:
    """Split a dataset by class.

    Args:
        dataset: Images and labels of at least three classes.
        held_out: The numbers of part B's two classes, from 0 to the number of classes - 1.

    Returns:
        Part A (all other classes) and part B (the two), each a dataset with labels from 0 and its classes' names.

    Raises:
        BadRequest: They are not two different numbers of classes.
    """
    from headstart.practical import data

    known = range(len(dataset.class_names))
    if len(held_out) != 2 or len(set(held_out)) != 2 or any(number not in known for number in held_out):
        raise BadRequest(f"held_out={held_out!r}: give two different class numbers from 0 to {len(known) - 1}")
    part_a, part_b = data.split_classes(dataset, held_out)
    return part_a, part_b

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.practical.data import CIFAR10_CLASSES, Dataset, held_out_classes, select_classes, split_classes

# The registration number


@pytest.mark.parametrize(
    ("registration", "classes"),
    [
        ("2020387499", (4, 9)),
        ("2021032577", (5, 7)),
        ("1000000", (1, 0)),
        ("49", (4, 9)),
        ("94", (9, 4)),
        ("0123456788", (7, 8)),
        ("50000000000000000000000000000005550", (5, 0)),
    ],
)
def test_the_last_two_different_digits_are_held_out(registration: str, classes: tuple[int, int]) -> None:
    assert held_out_classes(registration) == classes


@given(st.text("0123456789", min_size=1, max_size=15), st.sampled_from("0123456789"))
def test_the_held_out_classes_agree_with_another_formulation(begin: str, y: str) -> None:
    before = begin.rstrip(y)  # without the last run of equal digits
    if before:
        assert held_out_classes(begin + y) == (int(before[-1]), int(y))


# Splitting


def numbered_dataset(y_train: list[int], y_test: list[int]) -> Dataset:
    """Images whose first pixel is their class and whose second is their number."""

    def images(labels: list[int]) -> np.ndarray:
        array = np.zeros((len(labels), 2, 2, 3), np.uint8)
        array[:, 0, 0, 0], array[:, 0, 1, 0] = labels, np.arange(len(labels))
        return array

    return Dataset(
        images(y_train), np.array(y_train, int), images(y_test), np.array(y_test, int), CIFAR10_CLASSES, "numbers"
    )


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.lists(st.integers(0, 9), max_size=40),
    st.lists(st.integers(0, 9), min_size=2, max_size=2, unique=True),
)
def test_a_split_keeps_all_images_and_the_names_of_their_labels(
    y_train: list[int], y_test: list[int], held_out: list[int]
) -> None:
    whole = numbered_dataset(y_train, y_test)
    part_a, part_b = split_classes(whole, (held_out[0], held_out[1]))
    assert part_a.y_train.dtype == part_b.y_test.dtype == np.int64
    assert set(part_b.class_names) == {CIFAR10_CLASSES[number] for number in held_out}
    assert sorted(part_a.class_names + part_b.class_names) == sorted(CIFAR10_CLASSES)
    for images, labels in (("x_train", "y_train"), ("x_test", "y_test")):
        numbers: list[int] = []
        for part in (part_a, part_b):
            x, y = getattr(part, images), getattr(part, labels)
            names = [part.class_names[label] for label in y]
            assert names == [CIFAR10_CLASSES[number] for number in x[:, 0, 0, 0]]
            assert x[:, 0, 1, 0].tolist() == sorted(x[:, 0, 1, 0])  # in the same order as before
            numbers += x[:, 0, 1, 0].tolist()
        assert sorted(numbers) == list(range(len(getattr(whole, labels))))


def test_part_b_of_the_specifications_example_is_deer_and_truck(digits: Dataset) -> None:
    part_a, part_b = split_classes(replace(digits, class_names=CIFAR10_CLASSES), held_out_classes("2020387499"))
    assert part_b.class_names == ("deer", "truck")
    assert part_a.class_names == ("airplane", "automobile", "bird", "cat", "dog", "frog", "horse", "ship")
    assert set(part_b.y_train) == set(part_b.y_test) == {0, 1}
    assert set(part_a.y_train) == set(part_a.y_test) == set(range(8))
    assert part_a.name == part_b.name == digits.name


def test_the_order_of_the_two_digits_does_not_matter_to_the_parts(digits: Dataset) -> None:
    one, other = split_classes(digits, (4, 9)), split_classes(digits, (9, 4))
    for part, same in zip(one, other, strict=True):
        assert part.class_names == same.class_names
        assert np.array_equal(part.x_train, same.x_train)
        assert np.array_equal(part.y_train, same.y_train)


def test_the_first_of_the_selected_classes_becomes_label_0() -> None:
    part = select_classes(numbered_dataset([7, 2, 5, 2], [5, 5, 9]), [2, 5])
    assert part.class_names == ("bird", "dog")
    assert part.y_train.tolist() == [0, 1, 0]
    assert part.y_test.tolist() == [1, 1]
    assert part.x_train[:, 0, 1, 0].tolist() == [1, 2, 3]

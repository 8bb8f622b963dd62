from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from headstart.practical.data import split_classes
from headstart.study.subsets import count_images, images_per_class, load_images, take_subset

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


def as_set(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_a_smaller_set_is_part_of_a_larger_one(digits: Dataset) -> None:
    _, part = split_classes(digits, (4, 9))
    small, large = take_subset(part, "5", 3), take_subset(part, "0.5", 3)
    assert np.bincount(small.y_train).tolist() == [5, 5]
    assert as_set(small.x_train) < as_set(large.x_train)
    assert np.array_equal(small.x_test, part.x_test)


def test_another_seed_takes_other_images(digits: Dataset) -> None:
    assert as_set(take_subset(digits, "5", 3).x_train) != as_set(take_subset(digits, "5", 4).x_train)


def test_the_whole_set_keeps_its_order(digits: Dataset) -> None:
    assert np.array_equal(take_subset(digits, "1.0", 0).x_train, digits.x_train)


@pytest.mark.parametrize(("size", "images"), [("1.0", 30), ("0.25", 8), ("0.01", 1), ("10", 10)])
def test_a_size_is_a_fraction_or_a_number_of_images_per_class(size: str, images: int) -> None:
    assert images_per_class(size, available=30) == images


@pytest.mark.parametrize("size", ["1.0", "0.3", "7"])
def test_images_are_counted_as_they_are_taken(size: str, digits: Dataset) -> None:
    _, part = split_classes(digits, (4, 9))
    assert count_images(size, (4, 9), digits) == len(take_subset(part, size, seed=0).x_train)


def test_a_part_of_the_images_has_its_share_of_every_class_and_says_so() -> None:
    whole, _ = load_images("digits", 1.0)
    part, _ = load_images("digits", 0.25)
    for label, available in enumerate(np.bincount(whole.y_train)):
        assert (part.y_train == label).sum() == round(0.25 * available)
    assert part.name == f"{whole.name}, 0.25 of its training images"
    assert np.array_equal(part.x_test, whole.x_test)

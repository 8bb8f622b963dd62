from __future__ import annotations

from itertools import combinations

import pytest

from headstart.practical.data import CIFAR10_CLASSES
from headstart.study.closeness import ABOVE, closeness, similarity


def test_every_class_of_cifar10_has_its_place() -> None:
    assert sorted(ABOVE) == sorted(CIFAR10_CLASSES)


def test_similarities_by_hand() -> None:
    """Car and truck have 11 of 12 levels in common, cat and dog 12 of 14, frog and truck 4 of 11 and of 12."""
    assert similarity("automobile", "truck") == pytest.approx(11 / 12)
    assert similarity("cat", "dog") == pytest.approx(12 / 14)
    assert similarity("frog", "truck") == pytest.approx(2 * 4 / (11 + 12))


def test_similarity_is_symmetric_and_at_most_1() -> None:
    for first, second in combinations(CIFAR10_CLASSES, 2):
        assert 0 < similarity(first, second) == similarity(second, first) < similarity(first, first) == 1


def test_a_class_whose_closest_is_held_out_with_it_is_further_from_part_a() -> None:
    """Cat without dog has the deer, 11 levels of 14 and of 15; truck has the car."""
    assert closeness(("cat", "dog")) < closeness(("cat", "truck"))
    assert closeness(("cat", "truck")) == pytest.approx((12 / 14 + 11 / 12) / 2)
    order = sorted(combinations(CIFAR10_CLASSES, 2), key=closeness)
    assert order[:2] == [("airplane", "ship"), ("automobile", "truck")]

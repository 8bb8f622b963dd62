from __future__ import annotations

from itertools import combinations

import pytest

from headstart.practical.data import CIFAR10_CLASSES
from headstart.study.closeness import HYPERNYMS, closeness, similarity


def test_every_class_of_cifar10_has_hypernyms() -> None:
    assert sorted(HYPERNYMS) == sorted(CIFAR10_CLASSES)


def test_similarities_by_hand() -> None:
    """Car and truck share 11 of 12 levels, cat and dog 12 of 14, frog and truck 4 of 11 and 12."""
    assert similarity("automobile", "truck") == pytest.approx(11 / 12)
    assert similarity("cat", "dog") == pytest.approx(12 / 14)
    assert similarity("frog", "truck") == pytest.approx(2 * 4 / (11 + 12))


def test_similarity_is_symmetric_and_at_most_1() -> None:
    for first, second in combinations(CIFAR10_CLASSES, 2):
        assert 0 < similarity(first, second) == similarity(second, first) < similarity(first, first) == 1


def test_a_class_is_further_from_part_a_without_its_closest_class() -> None:
    """Without the dog, the deer is closest to the cat, with 11 of 14 and 15 levels; the car is closest to the truck."""

    def close(*pair: str) -> float:
        return closeness(pair, CIFAR10_CLASSES)

    assert close("cat", "dog") < close("cat", "truck")
    assert close("cat", "truck") == pytest.approx((12 / 14 + 11 / 12) / 2)
    order = sorted(combinations(CIFAR10_CLASSES, 2), key=lambda pair: close(*pair))
    assert order[:2] == [("airplane", "ship"), ("automobile", "truck")]


def test_only_classes_of_part_a_are_compared() -> None:
    """Without the horse, the cat is closest to the deer; without the car, the ship is closest to the truck."""
    of_all = closeness(("deer", "truck"), CIFAR10_CLASSES)
    few = closeness(("deer", "truck"), ("cat", "deer", "ship", "truck"))
    assert few == pytest.approx((similarity("deer", "cat") + similarity("truck", "ship")) / 2)
    assert few < of_all

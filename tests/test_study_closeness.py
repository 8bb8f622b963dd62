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

    def close(*pair: str) -> float:
        return closeness(pair, CIFAR10_CLASSES)

    assert close("cat", "dog") < close("cat", "truck")
    assert close("cat", "truck") == pytest.approx((12 / 14 + 11 / 12) / 2)
    order = sorted(combinations(CIFAR10_CLASSES, 2), key=lambda pair: close(*pair))
    assert order[:2] == [("airplane", "ship"), ("automobile", "truck")]


def test_only_classes_that_part_a_has_are_close() -> None:
    """Without the horse a deer's closest is the cat; without the car a truck's is the ship."""
    of_all = closeness(("deer", "truck"), CIFAR10_CLASSES)
    few = closeness(("deer", "truck"), ("cat", "deer", "ship", "truck"))
    assert few == pytest.approx((similarity("deer", "cat") + similarity("truck", "ship")) / 2)
    assert few < of_all

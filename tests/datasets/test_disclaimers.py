from __future__ import annotations

import pytest

from headstart.datasets.disclaimers import disclaimers
from headstart.practical import digits


def test_digits_have_a_disclaimer_about_cifar10() -> None:
    [sentence] = disclaimers(digits.load_dataset().name)
    assert sentence == "These are scikit-learn digits, not CIFAR-10: the figures say nothing about CIFAR-10."


def test_a_verified_copy_of_cifar10_has_a_disclaimer_about_small_differences() -> None:
    [sentence] = disclaimers("CIFAR-10 images (JPEG, quality 75) from the folder “copies”")
    assert sentence.endswith("with CIFAR-10 as Keras loads it, the figures may be a little different.")


@pytest.mark.parametrize(
    "name", ["CIFAR-10", "images from the folder “birds”", "images with CIFAR-10's class names from the folder “x”"]
)
def test_cifar10_itself_and_other_images_have_no_disclaimer(name: str) -> None:
    assert disclaimers(name) == []

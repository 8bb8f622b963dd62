from __future__ import annotations

from pathlib import Path

import pytest

from headstart.datasets.disclaimers import disclaimers
from headstart.practical import digits, image_folder
from support.pictures import write_picture


def test_digits_have_a_disclaimer_about_cifar10() -> None:
    [sentence] = disclaimers(digits.load_dataset().name)
    assert sentence == "These are scikit-learn digits, not CIFAR-10: the figures say nothing about CIFAR-10."


def test_copies_of_cifar10_have_a_disclaimer_about_small_differences(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in image_folder.CIFAR10_CLASSES:
            write_picture(tmp_path / "copies" / part / name / "0.png")
    [sentence] = disclaimers(image_folder.load_dataset(str(tmp_path / "copies")).name)
    assert sentence.startswith("These are CIFAR-10 images from the folder “copies”: with CIFAR-10 as Keras loads it")
    assert sentence.endswith("may be a little different.")


@pytest.mark.parametrize("name", ["CIFAR-10", "images from the folder “birds”", "images from the folder “CIFAR-10”"])
def test_cifar10_itself_and_other_images_have_no_disclaimer(name: str) -> None:
    assert disclaimers(name) == []

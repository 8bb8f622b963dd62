from __future__ import annotations

import pytest

from headstart.cautions import cautions
from headstart.practical import digits, image_folder


def test_of_digits_it_is_said_that_they_are_no_photographs() -> None:
    [words] = cautions(digits.load_dataset().name)
    assert words == "These are scikit-learn digits, not CIFAR-10: the figures say nothing about CIFAR-10."


def test_of_copies_of_cifar10_it_is_said_that_they_may_differ_a_little() -> None:
    [words] = cautions("CIFAR-10 images from the folder “copies”")
    assert words.startswith("These are CIFAR-10 images from the folder “copies”: with CIFAR-10 as Keras loads it")
    assert words.endswith("may be a little different.")


@pytest.mark.parametrize("name", ["CIFAR-10", "images from the folder “birds”", "images from the folder “CIFAR-10”"])
def test_of_cifar10_itself_and_of_other_images_nothing_is_said(name: str) -> None:
    assert cautions(name) == []


def test_the_loader_of_a_folder_gives_the_names_that_are_expected_here(tmp_path) -> None:
    from PIL import Image

    for part in ("train", "test"):
        for name in image_folder.CIFAR10_CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / part / name / "0.png")
    assert len(cautions(image_folder.load_dataset(str(tmp_path)).name)) == 1

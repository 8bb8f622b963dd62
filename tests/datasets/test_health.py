from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.datasets.health import describe_dataset, draw_contact_sheet
from headstart.errors import ResourceError
from headstart.practical.data import Dataset


def dataset_of(train: list[int], test: list[int], names: tuple[str, ...] = ("ant", "bee", "cat", "dog")) -> Dataset:
    """Noise, with so many images of each class."""
    rng = np.random.default_rng(0)
    x_train, x_test = (rng.integers(0, 256, (sum(counts), 32, 32, 3), dtype=np.uint8) for counts in (train, test))
    labels = [np.repeat(np.arange(len(counts)), counts) for counts in (train, test)]
    return Dataset(x_train, labels[0], x_test, labels[1], names[: len(train)], "noise")


def test_the_images_of_each_class_are_counted() -> None:
    lines = list(describe_dataset(dataset_of([3, 4, 4, 3], [2, 2, 2, 2])))
    assert lines[:3] == [
        "14 training and 8 test images in 4 classes",
        "  0 ant: 3 training, 2 test",
        "  1 bee: 4 training, 2 test",
    ]
    assert lines[5:] == ["No test image is in the training images, and no picture is in two classes."]


def test_unequal_classes_and_too_few_classes_are_reported() -> None:
    lines = list(describe_dataset(dataset_of([4, 4, 4], [40, 1, 1])))
    assert "The classes are unequal: a network that always predicts ant is right for 95.2%." in lines
    assert lines[-1] == "A run needs at least four classes, because two are held out; here are 3."


def test_duplicates_are_reported() -> None:
    dataset = dataset_of([4, 4, 4, 4], [2, 2, 2, 2])
    assert "8 of 8 test images are equal to a training image." in describe_dataset(
        replace(dataset, x_test=dataset.x_train[:8])
    )


@pytest.mark.parametrize("names", [("ant", "$x$", "鹿と蝶", "\U0001f98c"), ("a" * 60, "b", "c", "d")])
def test_the_contact_sheet_has_an_image_of_each_class(names: tuple[str, ...], tmp_path: Path) -> None:
    draw_contact_sheet(dataset_of([30, 2, 4, 4], [1, 1, 1, 1], names), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert len(set(sheet.convert("RGB").tobytes())) > 200


def test_a_contact_sheet_that_cannot_be_written_takes_one_line(tmp_path: Path) -> None:
    (tmp_path / "sheet.png").touch()
    with pytest.raises(ResourceError):
        draw_contact_sheet(dataset_of([2] * 4, [1] * 4), tmp_path / "sheet.png" / "no.png")

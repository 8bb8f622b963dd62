from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.datasets.duplicates import Duplicates, count_shared, find_duplicates, near_duplicates
from headstart.practical.data import Dataset

NAMES = ("ant", "bee", "cat", "dog")


def photographs(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random images: noise would lose nearly everything when it is saved as JPEG."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        images.append(np.asarray(small.resize((32, 32), Image.Resampling.BICUBIC).filter(ImageFilter.DETAIL)))
    return np.stack(images)


def saved_again(images: np.ndarray, quality: int) -> np.ndarray:
    """The images after they were saved as JPEG."""
    again = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        again.append(np.asarray(Image.open(file)))
    return np.stack(again)


@pytest.fixture
def dataset() -> Dataset:
    """40 training and 20 test images in four classes, all different."""
    images = photographs(60)
    return Dataset(images[:40], np.arange(40) % 4, images[40:], np.arange(20) % 4, NAMES, "photographs")


def test_different_images_are_no_duplicates(dataset: Dataset) -> None:
    found = find_duplicates(dataset)
    assert found == Duplicates(test_images=20, test_in_train=0, test_near_train=0, two_labels=0)
    assert [*found.sentences()] == []


def test_equal_test_images_are_counted(dataset: Dataset) -> None:
    leaky = replace(dataset, x_test=np.concatenate([dataset.x_train[:3], dataset.x_test[3:]]))
    found = find_duplicates(leaky)
    assert (found.test_in_train, found.test_near_train, found.two_labels) == (3, 0, 0)
    assert [*found.sentences()] == ["3 of 20 test images are equal to a training image."]
    everything = find_duplicates(replace(dataset, x_test=dataset.x_train[:20]))
    assert everything.test_in_train == 20


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_pictures_that_were_saved_again_are_near_duplicates(quality: int, dataset: Dataset) -> None:
    again = saved_again(dataset.x_train[:4], quality)
    assert not any((one == other).all() for one, other in zip(again, dataset.x_train, strict=False))
    found = find_duplicates(replace(dataset, x_test=np.concatenate([again, dataset.x_test[4:]])))
    assert (found.test_in_train, found.test_near_train) == (0, 4)
    [sentence] = found.sentences()
    assert sentence.startswith("4 of 20 test images are near duplicates of a training image")


def test_pictures_in_two_classes_are_counted_once(dataset: Dataset) -> None:
    images = dataset.x_train.copy()
    images[1] = images[2] = images[0]  # in ant, bee and cat
    images[5] = images[4]  # in ant and bee
    images[11] = images[7]  # twice in dog
    found = find_duplicates(replace(dataset, x_train=images))
    assert found.two_labels == 2
    assert "2 pictures are in two classes." in found.sentences()
    moved = replace(
        dataset, x_test=np.concatenate([dataset.x_train[:1], dataset.x_test[1:]]), y_test=dataset.y_test + 1
    )
    assert find_duplicates(moved).two_labels == 1


def test_images_in_both_parts_are_counted(dataset: Dataset) -> None:
    part_b = replace(dataset, x_train=photographs(6, seed=1), y_train=np.arange(6) % 2, class_names=("emu", "fox"))
    assert count_shared(dataset, part_b) == (20, 0)  # the test images
    assert count_shared(dataset, replace(part_b, x_test=saved_again(dataset.x_test, 75))) == (0, 20)
    assert count_shared(dataset, replace(part_b, x_test=photographs(8, seed=2))) == (0, 0)


def test_many_equal_images_need_neither_time_nor_memory() -> None:
    blank = np.zeros((30_000, 32, 32, 3), dtype=np.uint8)
    assert near_duplicates(blank, blank).all()


@pytest.mark.parametrize("side", [32, 96, 20])
def test_images_may_have_any_size(side: int) -> None:
    images = np.stack([np.asarray(Image.fromarray(one).resize((side, side))) for one in photographs(4)])
    assert near_duplicates(images, images[::-1]).tolist() == [True] * 4
    assert not near_duplicates(images[:2], images[2:]).any()

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstart.practical import cifar10, image_folder
from headstart.practical import digits as digit_images
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
def test_the_rule_agrees_with_another_wording_of_it(begin: str, y: str) -> None:
    before = begin.rstrip(y)  # what stands before the last run of equal digits
    if before:
        assert held_out_classes(begin + y) == (int(before[-1]), int(y))


# Loading


def test_cifar10_labels_are_flattened_and_its_images_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(256, size=(20, 32, 32, 3), dtype=np.uint8), np.arange(20, dtype=np.uint8)[:, None] % 10
    test = rng.integers(256, size=(10, 32, 32, 3), dtype=np.uint8), np.arange(10, dtype=np.uint8)[:, None]
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: (train, test))
    dataset = cifar10.load_dataset()
    assert dataset.y_train.shape == (20,)
    assert dataset.y_test.shape == (10,)
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int64
    assert dataset.y_train.tolist() == [*range(10), *range(10)]
    assert np.array_equal(dataset.x_train, train[0])
    assert np.array_equal(dataset.x_test, test[0])
    assert dataset.class_names[4] == "deer"
    assert dataset.class_names[9] == "truck"
    assert dataset.name == "CIFAR-10"


def test_digits_are_images_like_cifar10_but_say_that_they_are_not() -> None:
    dataset = digit_images.load_dataset()
    assert dataset.x_train.shape == (1000, 32, 32, 3)
    assert dataset.x_test.shape == (797, 32, 32, 3)
    assert dataset.x_train.dtype == np.uint8
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0, 255)
    assert dataset.y_train.shape == (1000,)
    assert set(dataset.y_train) == set(dataset.y_test) == set(range(10))
    assert dataset.class_names[7] == "seven"
    assert "digits" in dataset.name
    assert "not CIFAR-10" in dataset.name


def test_digits_are_divided_the_same_way_every_time_and_no_test_image_is_trained_on() -> None:
    first, second = digit_images.load_dataset(), digit_images.load_dataset()
    assert np.array_equal(first.x_test, second.x_test)
    assert np.array_equal(first.y_train, second.y_train)
    known = {image.tobytes() for image in first.x_train}
    assert not any(image.tobytes() in known for image in first.x_test)


def save_images(folder: Path, shades: dict[str, list[int]], size: tuple[int, int] = (32, 32)) -> None:
    """One-coloured images, `folder/class/number.png`."""
    for name, values in shades.items():
        (folder / name).mkdir(parents=True)
        for number, value in enumerate(values):
            Image.new("RGB", size, (value, 0, 255 - value)).save(folder / name / f"{number}.png")


def test_an_image_folder_is_read_class_by_class(tmp_path: Path) -> None:
    save_images(tmp_path / "train", {"zebra": [10, 20], "ant": [30, 40, 50]})
    save_images(tmp_path / "test", {"zebra": [60], "ant": [70]})
    dataset = image_folder.load_dataset(str(tmp_path))
    assert dataset.class_names == ("ant", "zebra")
    assert dataset.x_train[:, 5, 5].tolist() == [[shade, 0, 255 - shade] for shade in (30, 40, 50, 10, 20)]
    assert dataset.y_train.tolist() == [0, 0, 0, 1, 1]
    assert dataset.x_test[:, 5, 5, 0].tolist() == [70, 60]
    assert dataset.y_test.tolist() == [0, 1]
    assert dataset.x_train.dtype == np.uint8
    assert dataset.y_train.dtype == np.int64
    assert tmp_path.name in dataset.name


def test_images_of_another_size_are_resized(tmp_path: Path) -> None:
    save_images(tmp_path / "train", {"ant": [30], "zebra": [40]}, size=(50, 20))
    save_images(tmp_path / "test", {"ant": [30], "zebra": [40]}, size=(7, 9))
    dataset = image_folder.load_dataset(str(tmp_path))
    assert dataset.x_train.shape == dataset.x_test.shape == (2, 32, 32, 3)
    assert dataset.x_test[1, 20, 20].tolist() == [40, 0, 215]


def test_cifar10s_ten_names_keep_their_numbers_in_an_image_folder(tmp_path: Path) -> None:
    names = ["aardvark", *reversed(CIFAR10_CLASSES)]
    save_images(tmp_path / "train", {name: [number] for number, name in enumerate(names)})
    save_images(tmp_path / "test", {name: [number] for number, name in enumerate(names)})
    dataset = image_folder.load_dataset(str(tmp_path))
    assert dataset.class_names == (*CIFAR10_CLASSES, "aardvark")
    assert dataset.x_train[:, 0, 0, 0].tolist() == [*range(10, 0, -1), 0]


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
def test_a_split_loses_no_image_and_renumbers_labels_without_changing_their_names(
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
            assert x[:, 0, 1, 0].tolist() == sorted(x[:, 0, 1, 0])  # the old order
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

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from headstart.practical.data import CIFAR10_CLASSES
from headstart.practical.image_folder import load_dataset


def save_images(folder: Path, shades: dict[str, list[int]], size: tuple[int, int] = (32, 32)) -> None:
    """One-coloured images, `folder/class/number.png`."""
    for name, values in shades.items():
        (folder / name).mkdir(parents=True)
        for number, value in enumerate(values):
            Image.new("RGB", size, (value, 0, 255 - value)).save(folder / name / f"{number}.png")


def test_images_are_read_class_by_class(tmp_path: Path) -> None:
    save_images(tmp_path / "train", {"zebra": [10, 20], "ant": [30, 40, 50]})
    save_images(tmp_path / "test", {"zebra": [60], "ant": [70]})
    dataset = load_dataset(str(tmp_path))
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
    dataset = load_dataset(str(tmp_path))
    assert dataset.x_train.shape == dataset.x_test.shape == (2, 32, 32, 3)
    assert dataset.x_test[1, 20, 20].tolist() == [40, 0, 215]


def test_cifar10s_ten_class_names_keep_their_numbers(tmp_path: Path) -> None:
    names = ["aardvark", *reversed(CIFAR10_CLASSES)]
    save_images(tmp_path / "train", {name: [number] for number, name in enumerate(names)})
    save_images(tmp_path / "test", {name: [number] for number, name in enumerate(names)})
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == (*CIFAR10_CLASSES, "aardvark")
    assert dataset.x_train[:, 0, 0, 0].tolist() == [*range(10, 0, -1), 0]

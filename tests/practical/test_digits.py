from __future__ import annotations

import numpy as np

from headstart.practical.digits import load_dataset


def test_digits_have_cifar10s_format_and_another_name() -> None:
    dataset = load_dataset()
    assert dataset.x_train.shape == (1000, 32, 32, 3)
    assert dataset.x_test.shape == (797, 32, 32, 3)
    assert dataset.x_train.dtype == np.uint8
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0, 255)
    assert dataset.y_train.shape == (1000,)
    assert set(dataset.y_train) == set(dataset.y_test) == set(range(10))
    assert dataset.class_names[7] == "seven"
    assert "digits" in dataset.name
    assert "not CIFAR-10" in dataset.name


def test_the_split_is_always_the_same_and_no_test_image_is_trained_on() -> None:
    first, second = load_dataset(), load_dataset()
    assert np.array_equal(first.x_test, second.x_test)
    assert np.array_equal(first.y_train, second.y_train)
    known = {image.tobytes() for image in first.x_train}
    assert not any(image.tobytes() in known for image in first.x_test)

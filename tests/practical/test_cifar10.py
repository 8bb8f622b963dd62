from __future__ import annotations

import keras
import numpy as np
import pytest

from headstart.practical.cifar10 import load_dataset


def test_labels_are_flattened_and_images_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(256, size=(20, 32, 32, 3), dtype=np.uint8), np.arange(20, dtype=np.uint8)[:, None] % 10
    test = rng.integers(256, size=(10, 32, 32, 3), dtype=np.uint8), np.arange(10, dtype=np.uint8)[:, None]
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: (train, test))
    dataset = load_dataset()
    assert dataset.y_train.shape == (20,)
    assert dataset.y_test.shape == (10,)
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int64
    assert dataset.y_train.tolist() == [*range(10), *range(10)]
    assert np.array_equal(dataset.x_train, train[0])
    assert np.array_equal(dataset.x_test, test[0])
    assert dataset.class_names[4] == "deer"
    assert dataset.class_names[9] == "truck"
    assert dataset.name == "CIFAR-10"

"""Fewer training images: which ones, and how many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.practical.data import Dataset


def few_images(part: Dataset, train_size: str, seed: int) -> Dataset:
    """The part with so many training images of each class; those of a smaller size are among those of a larger."""
    rng = np.random.default_rng([seed, 1])
    kept = []
    for label in range(len(part.class_names)):
        images = rng.permutation(np.flatnonzero(part.y_train == label))
        kept.append(images[: images_per_class(train_size, len(images))])
    chosen = np.sort(np.concatenate(kept))
    return replace(part, x_train=part.x_train[chosen], y_train=part.y_train[chosen])


def images_per_class(train_size: str, available: int) -> int:
    """How many training images of a class a size stands for."""
    return max(1, round(float(train_size) * available)) if "." in train_size else int(train_size)


def count_images(train_size: str, classes: tuple[int, int], dataset: Dataset) -> int:
    """How many training images of part B a size stands for."""
    return sum(images_per_class(train_size, int((dataset.y_train == number).sum())) for number in classes)

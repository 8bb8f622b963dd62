"""Smaller training sets: which images they contain, and how many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.datasets.sources import Opened, open_dataset
from headstart.practical.data import Dataset


def take_subset(part: Dataset, train_size: str, seed: int) -> Dataset:
    """Return the part with fewer training images. A smaller set is always contained in a larger one.

    Args:
        part: All images.
        train_size: A fraction ("0.25") or a number of images per class ("100").
        seed: Determines which images.
    """
    rng = np.random.default_rng([seed, 1])
    kept = []
    for label in range(len(part.class_names)):
        images = rng.permutation(np.flatnonzero(part.y_train == label))
        kept.append(images[: images_per_class(train_size, len(images))])
    chosen = np.sort(np.concatenate(kept))
    return replace(part, x_train=part.x_train[chosen], y_train=part.y_train[chosen])


def images_per_class(train_size: str, available: int) -> int:
    """Return the number of training images of one class.

    Args:
        train_size: A fraction ("0.25") or a number of images per class ("100").
        available: How many images the class has.
    """
    return max(1, round(float(train_size) * available)) if "." in train_size else int(train_size)


def count_images(train_size: str, classes: tuple[int, int], dataset: Dataset) -> int:
    """Return the number of training images of part B.

    Args:
        train_size: A fraction ("0.25") or a number of images per class ("100").
        classes: The numbers of part B's classes.
        dataset: All images.
    """
    return sum(images_per_class(train_size, int((dataset.y_train == number).sum())) for number in classes)


def load_images(data: str, images: float, test_share: float | None = None) -> Opened:
    """Load a dataset with a fraction of its training images, of all classes.

    Args:
        data: As in `load_dataset`.
        images: The fraction, above 0 and at most 1.
        test_share: As in `load_dataset`.

    Returns:
        The dataset, whose name includes the fraction, and where its images come from.

    Raises:
        InvalidRequest: The dataset does not exist or is damaged.
        ResourceError: It cannot be downloaded.
    """
    dataset, source = open_dataset(data, test_share)
    if images < 1:
        smaller = take_subset(dataset, f"{images:f}", seed=0)
        dataset = replace(smaller, name=f"{dataset.name}, {images:.3g} of its training images")
    return Opened(dataset, source)

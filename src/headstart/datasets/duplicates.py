"""Find images that are in two places: in training and test, in two classes, or in both parts.

*Equal* images have the same pixels. *Near* duplicates, such as a picture that was saved again as JPEG, have nearly the
same block means (a perceptual hash, Yang, Gu and Niu 2006) and nearly the same pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headstart.practical.data import Dataset

logger = logging.getLogger(__name__)

BLOCK = 8  # pixels: the hash is the mean grey of each square of this size
HASH_DISTANCE = 24.0  # of two near duplicates' hashes at most, in grey levels (Euclidean)
DIFFERENCE = 0.35  # root mean square difference of two near duplicates at most, in standard deviations of the pixels


@dataclass(frozen=True)
class Duplicates:
    """How many images of a dataset are in two places."""

    test_images: int
    test_in_train: int  # test images that are equal to a training image
    test_near_train: int  # test images that are near duplicates of a training image, without the equal ones
    two_labels: int  # different pictures that are in two or more classes

    def sentences(self) -> Iterator[str]:
        """Describe what was found, a sentence each; nothing if there are no duplicates."""
        if self.test_in_train:
            yield f"{self.test_in_train:,} of {self.test_images:,} test images are equal to a training image."
        if self.test_near_train:
            yield (
                f"{self.test_near_train:,} of {self.test_images:,} test images are near duplicates of a training image "
                "(such as the same picture saved again)."
            )
        if self.two_labels:
            yield f"{self.two_labels:,} picture{' is' if self.two_labels == 1 else 's are'} in two classes."


def find_duplicates(dataset: Dataset) -> Duplicates:
    """Count the duplicates in a dataset.

    Args:
        dataset: Images uint8 (n, H, W, 3) with values 0 to 255.
    """
    train, test = pixel_hashes(dataset.x_train), pixel_hashes(dataset.x_test)
    known = set(train)
    equal = np.array([one in known for one in test], dtype=bool)
    near = near_duplicates(dataset.x_test[~equal], dataset.x_train)
    labels: dict[int, set[int]] = {}
    for image, label in zip([*train, *test], [*dataset.y_train.tolist(), *dataset.y_test.tolist()], strict=True):
        labels.setdefault(image, set()).add(label)
    several = sum(len(classes) > 1 for classes in labels.values())
    return Duplicates(len(test), int(equal.sum()), int(near.sum()), several)


def warn_about_duplicates(dataset: Dataset) -> tuple[str, ...]:
    """Log a warning for each kind of duplicates in a dataset, and return the sentences."""
    sentences = tuple(find_duplicates(dataset).sentences())
    for sentence in sentences:
        logger.warning("%s", sentence)
    return sentences


def count_shared(part_a: Dataset, part_b: Dataset) -> tuple[int, int]:
    """Count the images of part B that are in part A, too.

    Args:
        part_a: Part A.
        part_b: Part B.

    Returns:
        How many are equal to an image of A, and how many others are near duplicates of one.
    """
    images_a, images_b = (np.concatenate([part.x_train, part.x_test]) for part in (part_a, part_b))
    known = set(pixel_hashes(images_a))
    equal = np.array([one in known for one in pixel_hashes(images_b)], dtype=bool)
    return int(equal.sum()), int(near_duplicates(images_b[~equal], images_a).sum())


def pixel_hashes(images: np.ndarray) -> list[int]:
    """Return a number for each image, which is the same for equal images only."""
    return [hash(image.tobytes()) for image in images]


def near_duplicates(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each image whether the most similar one of the others, by its hash, has nearly the same pixels.

    Args:
        images: uint8 (n, H, W, 3).
        others: uint8 (m, H, W, 3).

    Returns:
        bool (n,).
    """
    from scipy.spatial import KDTree  # slow to import

    near = np.zeros(len(images), dtype=bool)
    if not len(images):
        return near
    distances, nearest = KDTree(block_means(others)).query(block_means(images), distance_upper_bound=HASH_DISTANCE)
    for place in np.flatnonzero(np.isfinite(distances)):
        image = images[place].astype(np.float32)
        difference = np.sqrt(np.mean((image - others[nearest[place]]) ** 2))
        near[place] = difference <= DIFFERENCE * image.std()  # plain images differ in little, so little is allowed
    return near


def block_means(images: np.ndarray) -> np.ndarray:
    """Return the mean grey of each square of BLOCK x BLOCK pixels: float (n, squares)."""
    count, height, width, colours = images.shape
    squares = images[:, : height // BLOCK * BLOCK, : width // BLOCK * BLOCK].reshape(
        count, height // BLOCK, BLOCK, width // BLOCK, BLOCK * colours
    )
    means: np.ndarray = squares.mean(axis=(2, 4), dtype=np.float32)
    return means.reshape(count, -1)

"""What is in a dataset, what is wrong with it, and what it looks like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headstart.datasets.duplicates import find_duplicates
from headstart.practical.data import Dataset
from headstart.storage.files import user_fixable, write_atomically

UNEQUAL = 1.5  # the largest class has this many times the images of the smallest one
SHEET_COLUMNS, SHEET_CLASSES = 12, 50  # images of each class, and classes, that a contact sheet shows


def describe_dataset(dataset: Dataset) -> Iterator[str]:
    """Describe a dataset, and what may be wrong with it, a line each.

    Args:
        dataset: Images uint8 (n, H, W, 3), labels from 0.
    """
    names = dataset.class_names
    train, test = (np.bincount(labels, minlength=len(names)) for labels in (dataset.y_train, dataset.y_test))
    yield f"{train.sum():,} training and {test.sum():,} test images in {len(names)} classes"
    for number, name in enumerate(names):
        yield f"  {number} {name}: {train[number]:,} training, {test[number]:,} test"
    if test.max() > UNEQUAL * test.min() or train.max() > UNEQUAL * train.min():
        share = f"{test.max() / test.sum():.1%}"
        yield f"The classes are unequal: a network that always predicts {names[test.argmax()]} is right for {share}."
    duplicates = list(find_duplicates(dataset).sentences())
    yield from duplicates or ["No test image is in the training images, and no picture is in two classes."]
    if len(names) < 4:
        yield f"A run needs at least four classes, because two are held out; here are {len(names)}."


def draw_contact_sheet(dataset: Dataset, path: Path) -> None:
    """Draw the first training images of each class.

    Args:
        dataset: Images uint8 (n, H, W, 3), labels from 0.
        path: The PNG to write.

    Raises:
        ResourceError: The file cannot be written.
    """
    import matplotlib.pyplot as plt  # slow to import

    from headstart.style import add_heading, drawing, legible

    side = dataset.x_train.shape[1]
    with drawing([*dataset.class_names, dataset.name]):
        shown = legible(dataset.class_names)[:SHEET_CLASSES]
        sheet = np.full((side * len(shown), side * SHEET_COLUMNS, 3), 255, dtype=np.uint8)
        for number in range(len(shown)):
            images = dataset.x_train[dataset.y_train == number][:SHEET_COLUMNS]
            sheet[number * side : (number + 1) * side, : side * len(images)] = np.hstack(images)
        figure, ax = plt.subplots(figsize=(9, 1.2 + 0.6 * len(shown)))
        ax.imshow(sheet)
        ax.set(xticks=[], yticks=np.arange(len(shown)) * side + side / 2, yticklabels=shown)
        for text in ax.get_yticklabels():
            text.set_parse_math(False)
        add_heading(figure, "The first training images of each class", dataset.name)
        with user_fixable(path):
            write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100))

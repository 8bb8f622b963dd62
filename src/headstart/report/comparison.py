"""The page of a comparison: accuracies, every pair, and the items on which two classifiers differ."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.comparison.comparison import Comparison
from headstart.comparison.predictions import Predictions
from headstart.datasets.pictures import read_picture
from headstart.errors import InvalidRequest
from headstart.report import charts
from headstart.report.page import data_url, write_page

MAX_ITEMS = 300  # in the list of one cell
MAX_PICTURES = 1_000
SIDE = 64  # pixels of a picture
MAX_CLASSES = 30  # of a confusion table
CELLS = {"both": "both right", "first": "only the first right", "second": "only the second right", "none": "both wrong"}


def write_comparison_page(folder: Path, comparison: Comparison, content: dict[str, Any], images: Path | None) -> Path:
    """Write `report.html` of a comparison.

    Args:
        folder: Where.
        comparison: The classifiers and their pairs.
        content: That of `comparison.json`.
        images: A folder with pictures named by id, or None.

    Returns:
        The page.

    Raises:
        InvalidRequest: A picture cannot be read.
    """
    models = {model.name: model for model in comparison.models}
    pairs = [(pair["first"], pair["second"]) for pair in content["pairs"] if pair["metric"] == "accuracy"]
    details = [describe_items(models[first], models[second]) for first, second in pairs]
    rows = [(name, *values) for name, values in comparison.accuracies.items()]
    marks = [style[:2] for style, _ in zip(charts.styles(), rows, strict=False)]
    listed = {item[0] for detail in details for cell in ("first", "second") for item in detail["items"][cell]}
    return write_page(
        folder,
        "comparison.html",
        {
            "comparison": content,
            "several_seeds": any(model["seeds"] > 1 for model in content["models"].values()),
            "pairs": pairs,
            "details": details,
            "cells": CELLS,
            "max_items": MAX_ITEMS,
            "data": {"items": [detail["items"] for detail in details], "pictures": find_pictures(images, listed)},
            "figures": {"accuracies": charts.accuracies(rows, marks)},
        },
    )


def describe_items(first: Predictions, second: Predictions) -> dict[str, Any]:
    """Describe on which items two classifiers are right, and how often each two classes were predicted together.

    With several seeds, a classifier's prediction for an item is its most frequent one.

    Args:
        first: The first classifier.
        second: The second one, with the same items.

    Returns:
        `counts` and `items` by cell (see CELLS), and `table`, which is None if there are too many classes.
    """
    one, other = most_frequent(first.predictions), most_frequent(second.predictions)
    right, other_right = one == first.labels, other == second.labels
    masks = {"both": right & other_right, "first": right & ~other_right}
    masks |= {"second": ~right & other_right, "none": ~right & ~other_right}
    items = {
        cell: [[first.ids[i], first.labels[i], one[i], other[i]] for i in np.flatnonzero(mask)[:MAX_ITEMS].tolist()]
        for cell, mask in masks.items()
    }
    classes = np.unique(np.concatenate([one, other]))
    table = None
    if len(classes) <= MAX_CLASSES:
        places = np.searchsorted(classes, one), np.searchsorted(classes, other)
        counts = np.zeros((len(classes), len(classes)), dtype=int)
        np.add.at(counts, places, 1)
        table = {"classes": classes.tolist(), "counts": counts.tolist()}
    return {"counts": {cell: int(mask.sum()) for cell, mask in masks.items()}, "items": items, "table": table}


def most_frequent(predictions: np.ndarray) -> np.ndarray:
    """Return each item's most frequent prediction over the seeds. If several are, the first seed's is taken.

    Args:
        predictions: text (K, n).

    Returns:
        text (n,).
    """
    if len(predictions) == 1:
        return np.asarray(predictions[0])
    votes = (predictions[:, None] == predictions[None]).sum(axis=1)  # for each seed, how many seeds agree with it
    return np.asarray(np.take_along_axis(predictions, votes.argmax(axis=0)[None], axis=0)[0])


def find_pictures(folder: Path | None, ids: set[str]) -> dict[str, str]:
    """Read the pictures of items: FOLDER/<id>, or FOLDER/<id> with any ending.

    Args:
        folder: The folder, or None.
        ids: The items, of which the first MAX_PICTURES are read.

    Returns:
        Addresses inside the page, by id. Items without a picture are left out.

    Raises:
        InvalidRequest: The folder does not exist, or a picture cannot be read.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise InvalidRequest("there is no such folder", option="images", value=folder)
    pictures = {}
    for name in sorted(ids)[:MAX_PICTURES]:
        if "\0" in name:
            continue  # no file can have this name
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            continue  # the id must not name a file outside the folder
        if not path.is_file():
            path = next((file for file in sorted(path.parent.glob(f"{glob_escape(path.name)}.*"))), path)
        if path.is_file():
            file = io.BytesIO()
            Image.fromarray(read_picture(path, SIDE)).save(file, format="PNG", optimize=True)
            pictures[name] = data_url("image/png", file.getvalue())
    return pictures


def glob_escape(name: str) -> str:
    """Escape glob's special characters in a name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)

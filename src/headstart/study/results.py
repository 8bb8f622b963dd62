"""The files of a study: one for each trained network, written atomically. All others are made from these.

rows/<key>.json      a network's results; if it is missing, the network is not trained yet
sources/<key>.npz    the weights of a source, from which other networks start
results.csv          the rows of the plan, as a table
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from headstart.errors import ResourceError
from headstart.storage.files import write_arrays, write_json, write_text
from headstart.storage.schema import invalid_if_unreadable, read_arrays, read_json

if TYPE_CHECKING:
    from headstart.study.plan import Plan
    from headstart.training.recipes import Recipe

COLUMNS = [
    *("classes_b", "seed", "strategy", "copied", "frozen", "train_size", "train_images", "test_images"),
    *("test_accuracy", "test_loss", "train_accuracy", "train_loss", "seconds", "error", "key"),
]
ROW_SCHEMA = {
    **dict.fromkeys(("copied", "frozen", "train_images", "test_images"), int),
    **dict.fromkeys(("test_accuracy", "train_accuracy", "seconds"), float),
    **dict.fromkeys(("test_loss", "train_loss"), (float, None)),
    "curve": [float],
}
TEXTS = ["classes_b", "strategy", "train_size", "error", "key"]
NUMBERS = [column for column in COLUMNS if column not in TEXTS]

reading = partial(
    invalid_if_unreadable, what="a study", remedy="give the command of the study again, which continues from its rows"
)


@dataclass(frozen=True)
class Source:
    """A trained source network in the form that is stored and sent: the values that rebuild it, without TensorFlow."""

    classes: int
    recipe: Recipe
    statistics: tuple[list[float], list[float]]  # mean and variance of each colour
    weights: Sequence[np.ndarray]


class ResultStore:
    """The rows and sources in a study's folder.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the path of a network's row."""
        return self.folder / "rows" / f"{key}.json"

    def read(self, key: str) -> dict[str, Any] | None:
        """Return a network's row, or None if it is not trained yet or failed.

        Args:
            key: The network's key.

        Raises:
            ResourceError: The row is damaged.
        """
        path = self.path(key)
        if not path.exists():
            return None
        try:
            row: dict[str, Any] = read_json(path, {"key": key, **ROW_SCHEMA})
        except (OSError, ValueError) as error:
            raise ResourceError(f"{path}: {error}; remove it to train the network again") from error
        return row

    def write(self, key: str, row: dict[str, Any]) -> None:
        """Write a network's row."""
        write_json(self.path(key), {"key": key, **row})

    def source_path(self, key: str) -> Path:
        """Return the path of a source's weights."""
        return self.folder / "sources" / f"{key}.npz"

    def write_source(self, key: str, source: Source) -> None:
        """Write a source's weights."""
        arrays = {f"weight_{number}": array for number, array in enumerate(source.weights)}
        write_arrays(self.source_path(key), {**arrays, "statistics": np.array(source.statistics)})

    def read_source(self, key: str, classes: int, recipe: Recipe) -> Source | None:
        """Read a source's weights.

        Args:
            key: The source's key.
            classes: The number of its outputs.
            recipe: Its recipe.

        Returns:
            The source; None if it does not exist or is damaged, because it can be trained again.
        """
        try:
            saved = read_arrays(self.source_path(key))
            weights = [saved[f"weight_{number}"] for number in range(len(saved) - 1)]
            mean, variance = saved["statistics"].tolist()
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return Source(classes, recipe, (mean, variance), weights)


def collect_results(
    plan: Plan, store: ResultStore, failures: dict[str, str], class_names: tuple[str, ...]
) -> pd.DataFrame:
    """Return the results so far: a row for each condition whose network is trained or failed.

    Args:
        plan: The study's plan.
        store: Its folder.
        failures: Tracebacks by the network's key.
        class_names: All classes of the dataset.

    Returns:
        COLUMNS, and `curve`: the test accuracies by epoch.
    """
    rows = []
    for condition in plan.conditions:
        network = condition.network
        row = store.read(network.key)
        if row is None and network.key not in failures:
            continue
        rows.append(
            {
                **(row or {"key": network.key, "copied": None, "frozen": None}),
                "classes_b": ",".join(class_names[number] for number in sorted(network.classes)),
                "seed": network.seed,
                "strategy": condition.strategy,
                "train_size": network.train_size,
                "error": failures.get(network.key, "") if row is None else "",
            }
        )
    return pd.DataFrame(rows, columns=[*COLUMNS, "curve"])


def write_results(path: Path, results: pd.DataFrame) -> None:
    """Write `results.csv`.

    Args:
        path: The file.
        results: From `collect_results`.
    """
    integers = {
        column: "Int64" for column in COLUMNS if ROW_SCHEMA.get(column) is int
    }  # "Int64", because a number can be missing
    write_text(path, results.astype(integers).to_csv(columns=COLUMNS, index=False, lineterminator="\n"))


def read_results(path: Path, class_names: Collection[str]) -> pd.DataFrame:
    """Read `results.csv`, and check everything that the analysis relies on.

    Args:
        path: The file.
        class_names: All classes of the dataset. A class may be called "null": only a number can be missing.

    Returns:
        The columns COLUMNS, with numbers as float64.

    Raises:
        InvalidRequest: It is missing or damaged.
    """
    with reading(path):
        missing = {column: [""] for column in NUMBERS}
        types = dict.fromkeys(TEXTS, str)
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing)[COLUMNS]
        table[NUMBERS] = table[NUMBERS].astype(float)
        for pair in table["classes_b"].unique():
            names = pair.split(",")
            if len(names) != 2 or names[0] == names[1] or not {*names} <= {*class_names}:
                raise ValueError(f"{pair!r} is not a pair of two classes")
        for size in table["train_size"].unique():
            if not 0 < float(size) < float("inf"):
                raise ValueError(f"{size!r} is not a size")
        trained = table[table["error"] == ""]
        if not trained["test_accuracy"].between(0, 1).all():
            raise ValueError("an accuracy is not from 0 to 1")
        if np.isinf(table[NUMBERS]).any(axis=None):
            raise ValueError("a number is infinite")
        if table.duplicated(["classes_b", "seed", "strategy", "train_size"]).any():
            raise ValueError("a row occurs twice")
        return table

"""What a study has on the disk: a file a trained network, each written whole, from which all else is made.

rows/<key>.json      a network's row; it is there, or the network is not trained yet
sources/<key>.npz    the weights of a source, from which this plan or a larger one starts others
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from headstart.errors import BadRequest
from headstart.reading import read_arrays, read_json
from headstart.store import write_arrays, write_json, write_text

if TYPE_CHECKING:
    from headstart.study.plan import Plan
    from headstart.study.work import Source

COLUMNS = [
    *("classes_b", "seed", "strategy", "copied", "frozen", "train_size", "train_images", "test_images"),
    *("test_accuracy", "test_loss", "train_accuracy", "train_loss", "seconds", "error", "key"),
]
NUMBERS = {
    **dict.fromkeys(("copied", "frozen", "train_images", "test_images"), int),
    **dict.fromkeys(("test_accuracy", "train_accuracy", "seconds"), float),
    **dict.fromkeys(("test_loss", "train_loss"), (float, None)),
    "curve": [float],
}


class Rows:
    """The rows of a study's folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the row of a network is."""
        return self.folder / "rows" / f"{key}.json"

    def read(self, key: str) -> dict[str, Any] | None:
        """A network's row; None where it is not trained yet, or failed. Raises BadRequest if it is not a row."""
        path = self.path(key)
        if not path.exists():
            return None
        try:
            row: dict[str, Any] = read_json(path, {"key": key, **NUMBERS})
        except (OSError, ValueError) as error:
            raise BadRequest(f"{path}: {error}; remove it to train the network anew") from error
        return row

    def write(self, key: str, row: dict[str, Any]) -> None:
        """Put a network's row on the disk."""
        write_json(self.path(key), {"key": key, **row})

    def source_path(self, key: str) -> Path:
        """Where a source's weights are."""
        return self.folder / "sources" / f"{key}.npz"

    def write_source(self, key: str, source: Source) -> None:
        """Put a source's weights on the disk."""
        arrays = {f"weight_{number}": array for number, array in enumerate(source.weights)}
        write_arrays(self.source_path(key), {**arrays, "statistics": np.array(source.statistics)})

    def read_source(self, key: str, classes: int, recipe: Any) -> Source | None:
        """A source from the disk; None where it is not there, whole."""
        from headstart.study.work import Source

        try:
            saved = read_arrays(self.source_path(key))
            weights = [saved[f"weight_{number}"] for number in range(len(saved) - 1)]
            mean, variance = saved["statistics"].tolist()
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return Source(classes, recipe, (mean, variance), weights)


def table(plan: Plan, rows: Rows, failures: dict[str, str], class_names: tuple[str, ...]) -> pd.DataFrame:
    """The results so far: a row a cell that was trained or has failed; see COLUMNS."""
    lines = []
    for cell in plan.cells:
        network = cell.network
        row = rows.read(network.key)
        if row is None and network.key not in failures:
            continue
        lines.append(
            {
                **(row or {"key": network.key, "copied": None, "frozen": None}),
                "classes_b": ",".join(class_names[number] for number in sorted(network.classes)),
                "seed": network.seed,
                "strategy": cell.strategy,
                "train_size": network.train_size,
                "error": failures.get(network.key, "") if row is None else "",
            }
        )
    return pd.DataFrame(lines, columns=[*COLUMNS, "curve"])


def write_results(path: Path, results: pd.DataFrame) -> None:
    """`results.csv`."""
    whole = {column: "Int64" for column in COLUMNS if NUMBERS.get(column) is int}  # also where one is missing
    write_text(path, results.astype(whole).to_csv(columns=COLUMNS, index=False, lineterminator="\n"))

"""Read predictions of any classifier from CSV, NPZ or Parquet files, and align those of several classifiers by id.

A file has the columns `id`, `label`, and `prediction` or a probability for each class (`p_<class>`). The columns `seed`
and `cluster` are optional. Ids, labels and classes are compared as text: "007" stays "007". Nothing is aligned by
order, and no item is dropped without an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headstart.errors import InvalidRequest
from headstart.storage.schema import file_size, read_arrays

MAX_BYTES = 1_000_000_000
PREFIX = "p_"  # of a probability's column
MAX_DEVIATION = 1e-3  # of a sum of probabilities from 1, which rounding to three decimals can cause
REQUIRED = ("id", "label")
FORMATS = "a .csv, .npz or .parquet file with the columns id, label, and prediction or p_<class> for each class"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions for the same items in the same order, for one seed or several."""

    name: str
    ids: np.ndarray  # text (n,), sorted
    labels: np.ndarray  # text (n,)
    seeds: tuple[str, ...] | None  # K names; None if they were not named
    predictions: np.ndarray  # text (K, n)
    classes: tuple[str, ...]  # of the probabilities; empty without them
    probabilities: np.ndarray | None  # float64 (K, n, classes)
    clusters: np.ndarray | None  # text (n,)

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is correct: bool (K, n)."""
        found: np.ndarray = self.predictions == self.labels
        return found

    @property
    def losses(self) -> np.ndarray | None:
        """The log loss of each item in nats: float64 (K, n); None without probabilities. 0 counts as 2.2e-16."""
        if self.probabilities is None:
            return None
        numbers = {name: number for number, name in enumerate(self.classes)}
        columns = np.array([numbers[label] for label in self.labels])
        of_label = self.probabilities[:, np.arange(len(self.labels)), columns]
        losses: np.ndarray = -np.log(np.clip(of_label, np.finfo(float).eps, 1.0))
        return losses


def read_models(files: Sequence[tuple[str, str | Path]]) -> list[Predictions]:
    """Read the files of several classifiers, and check that they contain the same items.

    Args:
        files: (name, file); several files of one name are several seeds of one classifier.

    Returns:
        One for each name, in the order in which the names occur first. All have the same ids, labels and clusters.

    Raises:
        InvalidRequest: A file cannot be read, or the files contradict each other. The message has the first case and
            the number of cases.
    """
    names = list(dict.fromkeys(name for name, _ in files))
    models = [read_model(name, [Path(file) for other, file in files if other == name]) for name in names]
    first = models[0]
    for model in models[1:]:
        check_same_items(first, model)
    with_classes = [model for model in models if model.classes]
    for model in with_classes[1:]:
        if {*model.classes} != {*with_classes[0].classes}:
            (other, *_) = sorted({*model.classes} ^ {*with_classes[0].classes})
            raise InvalidRequest(
                f"{model.name} and {with_classes[0].name} have probabilities for different classes: only one of "
                f"them has {other!r}; give all classes in both"
            )
    check_known_classes(models)
    return models


def read_model(name: str, files: Sequence[Path]) -> Predictions:
    """Read the files of one classifier.

    Args:
        name: The classifier's name.
        files: One file with all seeds, or several.

    Returns:
        Its predictions for all seeds.

    Raises:
        InvalidRequest: A file cannot be read, or the files contradict each other.
    """
    tables = [(file, read_table(file)) for file in files]
    runs: list[tuple[Path, str | None, pd.DataFrame]] = []
    for file, table in tables:
        if "seed" in table:
            runs += [(file, str(seed), part) for seed, part in table.groupby("seed", sort=False)]
        else:
            runs.append((file, None, table))
    seeds = [seed for _, seed, _ in runs]
    named = [seed for seed in seeds if seed is not None]
    if named and len(named) < len(runs):
        raise InvalidRequest(f"{name}: some of its files have a column seed and some do not; give it in all or in none")
    if doubled := first_doubled(named):
        raise InvalidRequest(
            f"{name}: seed {doubled!r} occurs twice, first in {runs[seeds.index(doubled)][0]}; give each once"
        )
    parts = [parse_run(file, table) for file, _, table in runs]
    one = parts[0]
    for (file, _, _), part in zip(runs[1:], parts[1:], strict=True):
        check_same_items(one, part, f"{runs[0][0]} and {file}")
        if part.classes != one.classes:
            raise InvalidRequest(f"{runs[0][0]} and {file}: their columns of probabilities differ; give the same ones")
    return Predictions(
        name=name,
        ids=one.ids,
        labels=one.labels,
        seeds=tuple(named) if named else None,
        predictions=np.concatenate([part.predictions for part in parts]),
        classes=one.classes,
        probabilities=None if one.probabilities is None else np.concatenate([p.probabilities for p in parts]),
        clusters=one.clusters,
    )


def read_table(file: Path) -> pd.DataFrame:
    """Read a file as a table of text. Probabilities of binary formats stay numbers.

    Args:
        file: A .csv, .npz or .parquet file of at most 1 GB.

    Returns:
        At least the required columns, and at least one row.

    Raises:
        InvalidRequest: The file cannot be read, or a column is missing.
    """
    try:
        file_size(file, MAX_BYTES)
        if file.suffix == ".csv":
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        elif file.suffix == ".npz":
            table = pd.DataFrame({key: list(array) for key, array in read_arrays(file).items()})
        elif file.suffix == ".parquet":
            table = read_parquet(file)
        else:
            raise ValueError(f"{file.suffix or 'no ending'} is not a known format")
    except ModuleNotFoundError:
        raise
    except Exception as error:  # a damaged or hostile file can fail in any way
        raise InvalidRequest(f"{file}: it cannot be read ({error!s:.200}); give {FORMATS}") from error
    probabilities = [column for column in table if str(column).startswith(PREFIX)]
    if missing := [column for column in REQUIRED if column not in table]:
        raise InvalidRequest(f"{file}: there is no column {missing[0]!r}; give {FORMATS}")
    if "prediction" not in table and not probabilities:
        raise InvalidRequest(f"{file}: there is neither a column 'prediction' nor any {PREFIX}<class>; give {FORMATS}")
    if table.empty:
        raise InvalidRequest(f"{file}: there is no item in it; give {FORMATS}")
    for column in table:
        if column not in probabilities and not pd.api.types.is_string_dtype(table[column]):
            table[column] = table[column].map(str)
    return table


def read_parquet(file: Path) -> pd.DataFrame:
    """Read a Parquet file. This needs the extra `compare`."""
    import pyarrow.parquet  # optional

    table: pd.DataFrame = pyarrow.parquet.read_table(file).to_pandas()
    return table


def parse_run(file: Path, table: pd.DataFrame) -> Predictions:
    """Check the predictions of one seed, and sort them by id.

    Args:
        file: The file, for messages.
        table: From `read_table`, the rows of one seed.

    Returns:
        The predictions, without a name and seeds.

    Raises:
        InvalidRequest: An item is not valid. The message has the first case and the number of cases.
    """
    ids = table["id"].to_numpy(dtype=str)
    doubled = table["id"].duplicated().to_numpy()
    report(file, ids, doubled, "the id occurs twice", "give each item once (for each seed)")
    order = np.argsort(ids)
    table, ids = table.iloc[order], ids[order]
    labels = table["label"].to_numpy(dtype=str)
    report(file, ids, (labels == "") | (labels == "nan"), "the label is missing", "give one for each item")
    columns = sorted(str(column) for column in table if str(column).startswith(PREFIX))
    classes = tuple(column.removeprefix(PREFIX) for column in columns)
    probabilities = None
    if columns:
        numbers = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        report(
            file, ids, ~np.isfinite(numbers).all(axis=1), "a probability is not a number", "give numbers from 0 to 1"
        )
        outside = ((numbers < 0) | (numbers > 1)).any(axis=1)
        report(file, ids, outside, "a probability is not from 0 to 1", "give probabilities, not scores")
        wrong = np.abs(numbers.sum(axis=1) - 1) > MAX_DEVIATION
        report(file, ids, wrong, "the probabilities do not sum to 1", "give a probability for each class")
        unknown = ~np.isin(labels, classes)
        report(file, ids, unknown, "the label has no column of probabilities", "give one for each class")
        probabilities = numbers[None]
    if "prediction" in table:
        predictions = table["prediction"].to_numpy(dtype=str)
        report(
            file, ids, (predictions == "") | (predictions == "nan"), "the prediction is missing", "give one for each"
        )
    else:
        assert probabilities is not None
        predictions = np.array(classes)[probabilities[0].argmax(axis=1)]
    clusters = table["cluster"].to_numpy(dtype=str) if "cluster" in table else None
    return Predictions("", ids, labels, None, predictions[None], classes, probabilities, clusters)


def report(file: Path, ids: np.ndarray, wrong: np.ndarray, problem: str, remedy: str) -> None:
    """Raise InvalidRequest if an item is wrong, with the first one and their number.

    Args:
        file: The file.
        ids: text (n,).
        wrong: bool (n,), whether each item is wrong.
        problem: What is wrong.
        remedy: What the user can do.
    """
    if wrong.any():
        raise InvalidRequest(f"{file}: id {str(ids[wrong][0])!r}: {problem} ({wrong.sum():,} case(s)); {remedy}")


def check_same_items(first: Predictions, second: Predictions, which: str = "") -> None:
    """Raise InvalidRequest unless two predictions have the same ids, labels and clusters.

    Args:
        first: The first one.
        second: The second one.
        which: Their names for the message; by default, those of the classifiers.
    """
    which = which or f"{first.name} and {second.name}"
    if not np.array_equal(first.ids, second.ids):
        only = np.setxor1d(first.ids, second.ids)
        raise InvalidRequest(
            f"{which}: id {str(only[0])!r} is in one of them only ({len(only):,} case(s)); give the same items in both"
        )
    for what in ("labels", "clusters"):
        one, other = getattr(first, what), getattr(second, what)
        if (one is None) != (other is None):
            raise InvalidRequest(f"{which}: only one of them has {what}; give them in both or in none")
        if one is not None and (one != other).any():
            wrong = one != other
            name, here, there = (str(values[wrong][0]) for values in (first.ids, one, other))
            raise InvalidRequest(
                f"{which}: id {name!r} has the {what[:-1]} {here!r} in one and {there!r} in the other "
                f"({wrong.sum():,} case(s)); correct it"
            )


def check_known_classes(models: Sequence[Predictions]) -> None:
    """Warn of predictions that are not a label of any item.

    Args:
        models: All classifiers, with the same items.

    Raises:
        InvalidRequest: All predictions of a classifier are such predictions.
    """
    known = {*np.unique(models[0].labels)}.union(*(model.classes for model in models))
    for model in models:
        found, counts = np.unique(model.predictions, return_counts=True)
        unknown = [(name, count) for name, count in zip(found, counts, strict=True) if name not in known]
        if len(unknown) == len(found):
            raise InvalidRequest(
                f"{model.name}: no prediction is a label: it predicts {str(found[0])!r}, the labels are "
                f"{', '.join(sorted(known)[:5])}; use the same names for classes"
            )
        if unknown:
            count = sum(count for _, count in unknown)
            logger.warning(
                "%s: %s predictions such as %r are no label of any item", model.name, f"{count:,}", str(unknown[0][0])
            )


def first_doubled(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None

"""Rows and sources on the disk, and the table that is made from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from headstart.errors import InvalidRequest, ResourceError
from headstart.study.plan import Plan
from headstart.study.results import COLUMNS, ResultStore, Source, collect_results, read_results, write_results
from support.clusters import TINY

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

CLASSES = ("cat", "dog", "frog", "ship")
ROW = {
    **{"copied": 0, "frozen": 0, "train_images": 16, "test_images": 29, "seconds": 1.5, "curve": [0.5, 0.75]},
    **{"test_accuracy": 0.75, "test_loss": None, "train_accuracy": 1.0, "train_loss": 0.25},
}
LINE = {
    **{key: value for key, value in ROW.items() if key != "curve"},
    **{"classes_b": "cat,dog", "seed": 0, "strategy": "scratch", "train_size": "1.0", "error": "", "key": "k"},
}


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    assert store.read("x") is None
    store.write("x", ROW)
    assert store.read("x") == {"key": "x", **ROW}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"key": "y"}', "\x00"])
def test_a_damaged_row_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.path("x").parent.mkdir()
    store.path("x").write_text(text)
    with pytest.raises(ResourceError, match=r"x\.json: .*; remove it to train the network again"):
        store.read("x")


def test_a_row_of_another_network_is_refused(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write("x", ROW)
    store.path("x").rename(store.path("y"))
    with pytest.raises(ResourceError, match=r"y\.json"):
        store.read("y")


def test_a_source_is_read_as_it_was_written(tmp_path: Path) -> None:
    store, weights = ResultStore(tmp_path), [np.arange(6.0).reshape(2, 3), np.arange(3.0)]
    store.write_source("x", Source(8, TINY, ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), weights))
    source = store.read_source("x", 8, TINY)
    assert source is not None
    assert (source.classes, source.recipe, source.statistics) == (8, TINY, ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))
    assert [array.tolist() for array in source.weights] == [array.tolist() for array in weights]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"no archive at all", None])
def test_a_damaged_or_missing_source_is_none(content: bytes | None, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    if content is not None:
        store.source_path("x").parent.mkdir()
        store.source_path("x").write_bytes(content)
    assert store.read_source("x", 8, TINY) is None


def test_the_table_has_rows_and_failures_but_nothing_untrained(
    tiny: Callable[..., Plan], digits: Dataset, tmp_path: Path
) -> None:
    plan, store = tiny(strategies="last_layer,A5B"), ResultStore(tmp_path)
    keys = {condition.strategy: condition.network.key for condition in plan.conditions}
    store.write(keys["scratch"], ROW)
    results = collect_results(plan, store, {keys["A5B"]: "Traceback"}, digits.class_names)
    assert results["strategy"].tolist() == ["scratch", "last_layer", "A5B"]  # the last two are one network
    assert results["error"].tolist() == ["", "Traceback", "Traceback"]
    assert results["test_accuracy"].isna().tolist() == [False, True, True]
    write_results(tmp_path / "results.csv", results)
    text = pd.read_csv(tmp_path / "results.csv", keep_default_na=False)
    assert text["frozen"].tolist() == ["0", "", ""]  # whole numbers, although some are missing


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    null = {**LINE, "classes_b": "cat,null", "error": "Traceback", "test_accuracy": None}  # a class may be called null
    write_results(tmp_path / "results.csv", pd.DataFrame([LINE, null]))
    table = read_results(tmp_path / "results.csv", (*CLASSES, "null"))
    assert list(table) == COLUMNS
    assert table["classes_b"].tolist() == ["cat,dog", "cat,null"]
    assert table["train_size"].tolist() == ["1.0", "1.0"]
    assert table["test_accuracy"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classes_b": "cat"}, "'cat' is not a pair of two classes"),
        ({"classes_b": "cat,cat"}, "'cat,cat' is not a pair of two classes"),
        ({"classes_b": "cat,cow"}, "'cat,cow' is not a pair of two classes"),
        ({"train_size": "0"}, "'0' is not a size"),
        ({"train_size": "inf"}, "'inf' is not a size"),
        ({"test_accuracy": 1.5}, "an accuracy is not from 0 to 1"),
        ({"test_accuracy": None}, "an accuracy is not from 0 to 1"),
        ({"train_loss": float("inf")}, "a number is infinite"),
        ({"seed": 1}, "a row occurs twice"),
    ],
)
def test_a_damaged_table_is_refused(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    lines = [LINE, {**LINE, "seed": 1}, {**LINE, **changes}]
    write_results(tmp_path / "results.csv", pd.DataFrame(lines[1:] if "seed" not in changes else lines))
    with pytest.raises(InvalidRequest, match=r"results\.csv") as refused:
        read_results(tmp_path / "results.csv", CLASSES)
    assert reason in str(refused.value)

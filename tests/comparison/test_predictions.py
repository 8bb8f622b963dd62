"""Predictions are read as text, aligned by id, and refused in one line that names the first case and a count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstart.comparison.predictions import read_models
from headstart.errors import InvalidRequest

TABLE = pd.DataFrame(
    {"id": ["007", "8", "a b"], "label": ["cat", "dog", "cat"], "p_cat": [0.9, 0.3, 0.4], "p_dog": [0.1, 0.7, 0.6]}
)


def write(folder: Path, name: str, table: pd.DataFrame) -> tuple[str, Path]:
    path = folder / f"{name}.csv"
    table.to_csv(path, index=False)
    return name, path


def refused(*files: tuple[str, Path]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_models(files)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_ids_and_labels_stay_text(tmp_path: Path) -> None:
    (model,) = read_models([write(tmp_path, "a", TABLE)])
    assert model.ids.tolist() == ["007", "8", "a b"]
    assert model.predictions.tolist() == [["cat", "dog", "dog"]]
    assert model.correct.tolist() == [[True, True, False]]
    assert model.losses is not None
    assert np.allclose(model.losses, -np.log([0.9, 0.7, 0.4]))


def test_rows_are_aligned_by_id_not_by_order(tmp_path: Path) -> None:
    files = [write(tmp_path, "a", TABLE), write(tmp_path, "b", TABLE.iloc[::-1])]
    first, second = read_models(files)
    assert first.ids.tolist() == second.ids.tolist()
    assert first.correct.tolist() == second.correct.tolist()


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_other_formats_give_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(path, **{column: TABLE[column].to_numpy(dtype=None).astype(str) for column in ("id", "label")},
                 **{column: TABLE[column].to_numpy() for column in ("p_cat", "p_dog")})  # fmt: skip
    else:
        pytest.importorskip("pyarrow")
        TABLE.to_parquet(path)
    (model,), (expected,) = read_models([("a", path)]), read_models([write(tmp_path, "b", TABLE)])
    assert model.ids.tolist() == expected.ids.tolist()
    assert model.classes == expected.classes
    assert np.array_equal(model.probabilities, expected.probabilities)


def test_seeds_come_from_a_column_or_from_several_files(tmp_path: Path) -> None:
    seeds = pd.concat([TABLE.assign(seed=seed) for seed in (3, 1)])
    (column,) = read_models([write(tmp_path, "a", seeds)])
    assert (column.seeds, column.predictions.shape) == (("3", "1"), (2, 3))
    (files,) = read_models([("b", write(tmp_path, "b1", TABLE)[1]), ("b", write(tmp_path, "b2", TABLE)[1])])
    assert (files.seeds, files.predictions.shape) == (None, (2, 3))


def change(column: str, row: int, value: object) -> pd.DataFrame:
    table = TABLE.astype(object)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (change("id", 1, "007"), "a.csv: id '007': the id occurs twice (1 case(s))"),
        (change("label", 1, ""), "id '8': the label is missing (1 case(s))"),
        (change("p_cat", 1, "x"), "id '8': a probability is not a number (1 case(s))"),
        (change("p_cat", 1, "nan"), "id '8': a probability is not a number (1 case(s))"),
        (change("p_cat", 1, 1.3), "id '8': a probability is not from 0 to 1 (1 case(s))"),
        (change("p_cat", 1, 0.31), "id '8': the probabilities do not sum to 1 (1 case(s))"),
        (change("label", 2, "cow"), "id 'a b': the label has no column of probabilities (1 case(s))"),
        (TABLE.drop(columns="label"), "there is no column 'label'"),
        (TABLE[["id", "label"]].assign(prediction=""), "id '007': the prediction is missing (3 case(s))"),
        (TABLE[["id", "label"]], "there is neither a column 'prediction' nor any p_<class>"),
        (TABLE[:0], "there is no item in it"),
    ],
)
def test_a_wrong_file_is_refused(table: pd.DataFrame, message: str, tmp_path: Path) -> None:
    assert message in refused(write(tmp_path, "a", table))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE[:2], "a and b: id 'a b' is in one of them only (1 case(s))"),
        (change("label", 0, "dog"), "a and b: id '007' has the label 'cat' in one and 'dog' in the other (1 case(s))"),
        (TABLE.assign(cluster=1), "a and b: only one of them has clusters"),
        (TABLE.assign(p_cow=0.0), "only one of them has 'cow'"),
    ],
)
def test_files_that_contradict_each_other_are_refused(table: pd.DataFrame, message: str, tmp_path: Path) -> None:
    assert message in refused(write(tmp_path, "a", TABLE), write(tmp_path, "b", table))


def test_other_names_for_classes_are_refused(tmp_path: Path) -> None:
    table = TABLE[["id", "label"]].assign(prediction=["0", "1", "0"])
    message = refused(write(tmp_path, "a", TABLE), write(tmp_path, "b", table))
    assert "b: no prediction is a label: it predicts '0', the labels are cat, dog" in message


def test_a_prediction_that_is_no_label_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = TABLE[["id", "label"]].assign(prediction=["cat", "cow", "cat"])
    (model,) = read_models([write(tmp_path, "a", table)])
    assert model.correct.tolist() == [[True, False, True]]
    assert "a: 1 predictions such as 'cow' are no label of any item" in caplog.text


def test_one_seed_twice_is_refused(tmp_path: Path) -> None:
    table = TABLE.assign(seed=1)
    files = [("a", write(tmp_path, "a1", table)[1]), ("a", write(tmp_path, "a2", table)[1])]
    assert "a: seed '1' occurs twice" in refused(*files)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b"\xff\x00"), ("a.npz", b"PK\x03\x04"), ("a.txt", b"id"), ("a", b"")]
)
def test_damaged_and_foreign_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert f"{tmp_path / name}: " in refused(("a", tmp_path / name))
    assert "give a .csv, .npz or .parquet file" in refused(("a", tmp_path / name))


def test_a_pickle_in_an_archive_is_not_loaded(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", id=np.array([print], dtype=object), label=np.array(["cat"]), prediction=np.array(["cat"])
    )
    assert "it cannot be read" in refused(("a", tmp_path / "a.npz"))

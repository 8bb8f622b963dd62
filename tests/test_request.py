"""Requests made of anything: they are right, or refused in one line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures_runs import at, command
from headstart.errors import BadRequest, Failed
from headstart.request import check_folder, check_options, check_request, held_out_in, split_names, stored_request
from headstart.sources import Opened
from headstart.store import write_json

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

COMMANDS = ("run", "notebook", "study", "tune", "data", "report")
OPTIONS = ("--data", "--classes", "--epochs", "--seed", "--out", "--precision", "--pairs", "--seeds", "--strategies")
OPTIONS += ("--train-sizes", "--workers", "--timeout", "--trials", "--images", "--part", "--execute", "--dry-run")
OPTIONS += ("--recipe", "--")
VALUES = ("49", "2020387499", "٤٩", "digits", "four,nine", "1", "-1", "0.25", "1e9", "nan", "4,9", "float32", "a.ipynb")
VALUES += ("", "\x1b[2J", "\udcff", "a\nb", "[/red]", "<b>", "../..", "-", "a,b,c", "9" * 5_000)


def ended(*_: Any, **__: Any) -> None:
    raise Failed("nothing is done here")


@given(
    name=st.sampled_from(COMMANDS) | st.text(max_size=4),
    arguments=st.lists(st.sampled_from(OPTIONS) | st.sampled_from(VALUES) | st.text(max_size=6), max_size=7),
)
def test_no_arguments_end_in_a_traceback(name: str, arguments: list[str], tmp_path_factory: Any) -> None:
    from headstart.practical.digits import load_dataset

    def opened(data: str, *_: Any) -> Opened:
        if data not in ("digits", "auto", "cifar10"):
            raise BadRequest(f"--data {data}")
        return Opened(load_dataset(), "here")

    with at(tmp_path_factory.getbasetemp()) as patch:
        for module in ("sources", "study"):  # which has it by name
            patch.setattr(f"headstart.{module}.open_dataset", opened)
        patch.setattr("headstart.study.reckon.measure", lambda dataset, precision: (1.0, 1.0))
        patch.setattr("headstart.store.check_writable", lambda path: None)
        for work in ("runs.run_request", "execution.execute_notebook", "notebook.write_notebook", "study.run_study"):
            patch.setattr(f"headstart.{work}", ended)
        patch.setattr("headstart.tuning.tune", ended)
        patch.setattr("headstart.precision.measure_apart", lambda: 1.0)
        status, _, errors = command(name, *arguments)
    assert status in (0, 1, 2)
    assert (errors.count("\n") == 1) is (status != 0)


@given(classes=st.text(max_size=12) | st.lists(st.sampled_from(["four", " nine", "x", ""])).map(",".join))
def test_class_names_are_two_that_are_there_or_refused(classes: str, digits: Dataset) -> None:
    with suppress(BadRequest):
        first, second = held_out_in(digits, None, classes)
        assert {digits.class_names[first], digits.class_names[second]} == set(split_names(classes))
        assert first != second


@given(
    registration=st.none() | st.text(max_size=5) | st.from_regex(r"[0-9]{2,12}", fullmatch=True),
    classes=st.none() | st.text(max_size=5),
    seed=st.integers(-2, 2**31 + 1),
    epochs=st.integers(-2, 30),
    precision=st.sampled_from(["auto", "float32", "half"]),
)
def test_options_are_right_or_refused(registration, classes, seed: int, epochs: int, precision: str) -> None:
    try:
        check_options(registration, classes, seed, epochs, precision)
    except BadRequest:
        return
    assert (registration is None) is not (classes is None)
    assert epochs >= 1
    assert 0 <= seed < 2**31
    assert precision != "half"


@pytest.mark.parametrize("digits_of", ["٤٩", "४९", "４９", "𝟒𝟗", "4٩"])
def test_other_alphabets_digits_are_refused(digits_of: str) -> None:
    with pytest.raises(BadRequest, match="digits 0 to 9 only"):
        check_options(digits_of, None, 0, 1, "auto")


def test_a_users_own_checkpoints_are_not_taken_for_a_runs(tmp_path: Path) -> None:
    """A run removes its folder of that name when it is done."""
    (tmp_path / "checkpoints").mkdir()
    check_folder(tmp_path)
    (tmp_path / "checkpoints" / ".request.json.killed.part").touch()
    check_folder(tmp_path)
    (tmp_path / "checkpoints" / "epoch-99.ckpt").touch()
    with pytest.raises(BadRequest, match="holds other files"):
        check_folder(tmp_path)


@pytest.mark.parametrize("folder", ["wide\u3000space", "no\u00a0break", "caf\udce9"])
def test_a_path_that_cannot_be_shown_is_stored_as_it_is_read_back(
    folder: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.sources.open_dataset", lambda data, say: Opened(digits, "here"))
    request = check_request("2020387499", data=f"{folder}/images", precision="float32", out=tmp_path)
    write_json(tmp_path / "run.json", {"request": request.stored})
    assert stored_request(tmp_path) == request.stored
    assert request.stored["data"].isprintable()

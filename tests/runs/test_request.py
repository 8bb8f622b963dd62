from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headstart.datasets.sources import Opened
from headstart.errors import InvalidRequest
from headstart.options import check_folder
from headstart.runs.request import check_request, contains_run, default_folder, stored_request
from headstart.storage.files import write_json

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


def test_a_users_own_checkpoints_are_not_part_of_a_run(tmp_path: Path) -> None:
    """A completed run removes the folder of this name."""
    (tmp_path / "checkpoints").mkdir()
    check_folder(tmp_path, "this run", contains_run)
    (tmp_path / "checkpoints" / ".request.json.killed.part").touch()
    check_folder(tmp_path, "this run", contains_run)
    (tmp_path / "checkpoints" / "epoch-99.ckpt").touch()
    with pytest.raises(InvalidRequest, match="contains other files"):
        check_folder(tmp_path, "this run", contains_run)


@pytest.mark.parametrize("folder", ["wide\u3000space", "no\u00a0break", "caf\udce9"])
def test_an_unprintable_path_can_be_stored_and_read_again(
    folder: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runs.request.open_dataset", lambda *_: Opened(digits, "here"))
    request = check_request("2020387499", data=f"{folder}/images", precision="float32", out=tmp_path)
    write_json(tmp_path / "run.json", {"request": request.stored})
    assert stored_request(tmp_path) == request.stored
    assert request.stored["data"].isprintable()


def test_a_request_has_the_options_in_both_recipes(here: Path) -> None:
    request = check_request("2020387499", data="digits", seed=3, epochs=7, precision="bfloat16", out="run")
    assert request.held_out == (4, 9)
    for recipe in (request.recipe_a, request.recipe_b):
        assert (recipe.epochs, recipe.seed, recipe.precision) == (7, 3, "bfloat16")
    assert request.folder == Path("run")
    assert not list(here.iterdir())  # a check writes nothing


def test_auto_precision_is_that_of_the_run_in_the_folder(here: Path) -> None:
    first = check_request("49", data="digits", precision="bfloat16", out="run")
    write_json(Path("run/checkpoints/request.json"), {"request": first.stored})
    again = check_request("49", data="digits", out="run")
    assert (again.recipe_a.precision, again.precision_reason) == ("bfloat16", "bfloat16 was requested")
    assert again.identity == first.identity


def test_the_default_folder_is_named_after_the_request(digits: Dataset) -> None:
    assert default_folder(digits, "2020387499", (4, 9), 3) == Path("runs/2020387499-digits-seed3")
    assert default_folder(digits, None, (9, 4), 0) == Path("runs/nine-four-digits-seed0")


def test_without_out_a_run_gets_the_default_folder(here: Path) -> None:
    request = check_request(classes="nine,four", data="digits", precision="float32")
    assert request.folder == Path("runs/nine-four-digits-seed0")

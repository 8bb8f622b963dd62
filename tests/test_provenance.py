from __future__ import annotations

import re
from importlib import metadata

import pytest

from headstart.provenance import HERE, TRAINS, bare, provenance

CODE = 'def double(x):\n    """Twice."""\n    return 2 * x  # not 3\n'


@pytest.mark.parametrize(
    "same", ["def double(x):\n    return 2 * x\n", '"""A module."""\n\n' + CODE.replace("  #", " #")]
)
def test_comments_docstrings_and_layout_are_not_code(same: str) -> None:
    assert bare(same) == bare(CODE)


def test_a_changed_number_is_other_code() -> None:
    assert bare(CODE.replace("2 *", "3 *")) != bare(CODE)
    assert bare('def nothing():\n    """Only words."""\n') == bare("def nothing():\n    pass\n")


def test_it_names_the_libraries_that_decide_the_numbers() -> None:
    known = provenance()
    assert f"keras {metadata.version('keras')}" in known
    assert "tensorflow" in known


def test_it_reads_every_module_that_a_training_goes_through() -> None:
    """All that `transfer` and the study's `work` import; a recipe's numbers and a plan's are in the request."""
    found, todo = set(), [("practical", "transfer"), ("study", "work")]
    while todo:
        folder, name = todo.pop()
        found.add((folder, name))
        text = (HERE / folder / f"{name}.py").read_text(encoding="utf-8")
        todo += set(re.findall(r"from headstart\.(practical|study)\.(\w+) import", text)) - found
    decides_nothing = {("practical", "environment"), ("practical", "recipe"), ("study", "plan")}
    assert found - decides_nothing == {(folder, name) for folder, names in TRAINS.items() for name in names}


def test_a_change_of_what_trains_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.__wrapped__()  # not the answer that is kept
    monkeypatch.setattr("headstart.provenance.TRAINS", {"practical": ("data", "network", "course", "training")})
    assert provenance.__wrapped__() != before

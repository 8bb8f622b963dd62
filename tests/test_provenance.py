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
    """All that a study's `work` imports, and what that imports; a recipe's values and a plan are in the request."""
    found, todo = set(), {"study/work"}
    while todo:
        module = todo.pop()
        found.add(module)
        text = (HERE / f"{module}.py").read_text(encoding="utf-8")
        for place, names in re.findall(r"^from headstart(\.[\w.]+)? import (.+)", text, re.MULTILINE):
            folder = place.removeprefix(".").replace(".", "/")
            inside = [f"{folder}/{name.split()[0]}".removeprefix("/") for name in names.split(", ")]
            modules = inside if (HERE / folder).is_dir() else [folder]
            todo |= {name for name in modules if (HERE / f"{name}.py").exists()} - found
    in_the_request = {"recipes", "practical/recipe", "parts", "request", "study/plan"}
    decides_nothing = {"artefacts", "environment", "errors", "memory", "provenance", "reading", "store"}
    trains = {f"{folder}/{name}".removeprefix("./") for folder, names in TRAINS.items() for name in names}
    assert found - in_the_request - decides_nothing == trains
    assert {"practical/network", "practical/training", "practical/transfer", "strategies"} <= trains


def test_a_change_of_what_trains_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.__wrapped__()  # not the answer that is kept
    monkeypatch.setattr("headstart.provenance.TRAINS", {"practical": ("data", "network", "training")})
    assert provenance.__wrapped__() != before

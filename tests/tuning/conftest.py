"""Searches on few images, with small networks or without training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support.tuning import end_at_once

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.tuning.objective import Search


@pytest.fixture(scope="session")
def hidden(digits: Dataset) -> Dataset:
    """Digits with 32 validation images in place of the test images, and half of the others to train on."""
    from headstart.tuning.search import hide_test_images

    return hide_test_images(digits, images=0.5)


@pytest.fixture
def search_a(hidden: Dataset) -> Search:
    """A search on part A, with one pair and one epoch."""
    from headstart.tuning.objective import Search

    return Search("a", hidden, [(4, 9)], epochs=1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's networks, and those that are searched, train in part of a second."""
    from headstart.training.recipes import RECIPE_A, RECIPE_B

    monkeypatch.setattr("headstart.tuning.space.WIDTHS", {"4-4-8-8": (4, 4, 8, 8), "4-4-8-16": (4, 4, 8, 16)})
    for name, recipe in (("RECIPE_A", RECIPE_A), ("RECIPE_B", RECIPE_B)):
        for module in ("training.recipes", "tuning.objective", "tuning.space"):
            monkeypatch.setattr(f"headstart.{module}.{name}", replace(recipe, widths=(4, 4, 8, 8), shift=0))
    monkeypatch.setattr("headstart.tuning.search.RECIPE_A", replace(RECIPE_A, widths=(4, 4, 8, 8), shift=0))


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials end at once."""
    monkeypatch.setattr("headstart.tuning.search.try_recipe", end_at_once)


@pytest.fixture
def start_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the parameters with which a search on part A starts."""
    from headstart.tuning.space import current_recipe

    def change(**parameters: object) -> None:
        changed = current_recipe("a") | parameters
        monkeypatch.setattr("headstart.tuning.coordination.current_recipe", lambda part: changed)

    return change


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what the search has logged so far."""
    caplog.set_level(logging.INFO, "headstart.tuning")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("headstart.tuning")]

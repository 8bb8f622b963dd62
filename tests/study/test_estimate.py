"""How long a plan will take: the work of its networks, and what was measured on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headstart.study.estimate import describe_plan, estimate_duration, timing_sample, training_cost
from headstart.study.plan import Plan
from headstart.training.recipes import Recipe, as_file
from headstart.workflows import describe_study_plan
from support.clusters import QUICK, TINY
from support.runs import command, write_recipe

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

MakePlan = Callable[..., Plan]
COST = {"a": 721.33, "scratch": 77.0, "last_layer": 20.34, "two_layers": 21.23}
"""Images per epoch of the whole network, computed by hand; a forward pass is a third of an image.

Part A has 253 training and 131 test images. Part B has 16 of its training images, and 29 test images. All networks have
two epochs. The curve needs the test images and as many training images, after each epoch; a source has one point only.
After the last epoch come the test images again, and all training images.

    a           2 x 253 + (131 + 131 + 131 + 253) / 3
    scratch     2 x  16 + (2 x (29 + 16) + 29 + 16) / 3
    last_layer  fc2 has 16 of 177,168 multiplications: 77 x 16 / 177168, and the features of 2 x 16 + 29 images, / 3
    two_layers  fc1 and fc2 have 2,064:              77 x 2064 / 177168, and the same features
"""


@pytest.mark.parametrize("name", COST)
def test_the_cost_of_a_training_is_known(name: str, tiny: MakePlan, digits: Dataset) -> None:
    networks = {condition.strategy: condition.network for condition in tiny(train_sizes="8").conditions}
    assert training_cost(networks[name], digits) == pytest.approx(COST[name], abs=0.005)


@pytest.mark.parametrize(
    ("missing", "workers", "hours"),
    [
        (["scratch", "a", "last_layer"], 1, 77 + 721.33 + 20.34 + 3),
        (["scratch", "a", "last_layer"], 2, 721.33 + 20.34 + 2),  # last_layer waits for its source
        (["scratch", "a", "last_layer"], 3, 721.33 + 20.34 + 2),
        (["last_layer"], 1, 20.34 + 1),  # the source is there
        (["scratch"], 4, 77 + 1),
        ([], 1, 0),
    ],
)
def test_the_duration_is_that_of_the_missing_networks(
    missing: list[str], workers: int, hours: float, tiny: MakePlan, digits: Dataset
) -> None:
    """A training takes an hour to start, and an hour per image."""
    networks = {condition.strategy: condition.network for condition in tiny(train_sizes="8").conditions}
    plan, left = tiny(strategies="last_layer", train_sizes="8"), [networks[name] for name in missing]
    speed = (3600.0, 3600.0)
    assert estimate_duration(left, workers, speed, digits) / 3600 == pytest.approx(hours, abs=0.02)
    text = describe_plan(plan, left, workers, speed, digits)
    assert f"{len(missing)} are not trained yet: about {hours:,.1f} hours with {workers} worker(s)" in text


def test_the_measurement_has_few_images_of_part_a(digits: Dataset) -> None:
    sample = timing_sample(digits, 40)
    assert (len(sample.x_train), len(sample.x_test), len(sample.class_names)) == (40, 1, 8)
    assert len(sample.y_train) == 40


def test_the_plans_own_network_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[Recipe, int]] = []

    def note(dataset: Dataset, recipe: Recipe, workers: int) -> tuple[float, float]:
        measured.append((recipe, workers))
        return 1.0, 1.0

    monkeypatch.setattr("headstart.study.estimate.measure_speed", note)
    options = {"data": "digits", "pairs": "4,9", "seeds": 1, "precision": "bfloat16", "recipes": (TINY, TINY)}
    for place in ({"workers": 3}, {"scheduler": "tcp://elsewhere:8786"}):
        describe_study_plan(out=tmp_path / "study", **place, **options)
    assert measured == [(replace(TINY, precision="bfloat16"), workers) for workers in (3, 1)]


def test_a_dry_run_trains_nothing(here: Path) -> None:
    recipe = write_recipe(here / "tiny.json", as_file((TINY, TINY))["a"])
    options = ("study", *QUICK, "--strategies", "practical,A5B", "--recipe", recipe)
    ended = command(*options, "--dry-run", "--workers", "1")
    assert (ended.status, ended.errors) == (0, "")
    assert "4 networks for 5 rows (1 rows share a network): 1 sources" in ended.output
    assert "4 are not trained yet: about 0.0 hours with 1 worker(s)" in ended.output
    assert not Path("study").exists()

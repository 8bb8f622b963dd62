"""What a worker process holds: its dataset, or the reason why it has none."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from headstart.datasets.sources import fingerprint
from headstart.errors import InvalidRequest
from headstart.study.plan import Plan, make_plan
from headstart.study.results import ResultStore
from headstart.study.scheduler import execute_plan
from headstart.study.subsets import load_images
from headstart.study.worker import DatasetPlugin, load_own_copy
from support.clusters import QUICK, TINY, FakeTraining, expect_success, imports_tensorflow, results_of
from support.runs import command, make_pictures, the_one_line

if TYPE_CHECKING:
    from distributed import Client

    from headstart.practical.data import Dataset


def test_workers_with_their_own_copy_of_the_images_give_the_same_numbers(
    client: Client, fake: FakeTraining, tmp_path: Path
) -> None:
    part, _ = load_images("digits", 0.2)
    data = fingerprint(part)
    plan = make_plan(part, data, "4,9", 1, "scratch", epochs=1, recipes=(TINY, TINY))
    sent, loaded = ResultStore(tmp_path / "sent"), ResultStore(tmp_path / "loaded")
    load = partial(load_own_copy, data, "digits", 0.2)
    assert len(pickle.dumps(DatasetPlugin(data, load))) < 10_000  # it contains no images
    for store, own_copy in ((loaded, load), (sent, None)):
        execute_plan(plan, store, part, client, expect_success, own_copy, train=fake)
    pd.testing.assert_frame_equal(results_of(plan, loaded, part), results_of(plan, sent, part))
    assert not any(client.run(imports_tensorflow).values())


def test_a_copy_with_other_images_is_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidRequest, match="has other images there") as refused:
        load_own_copy(fingerprint(digits), "digits", 0.5)
    assert (refused.value.option, refused.value.value) == ("worker_data", "digits")


@pytest.mark.parametrize(("data", "reason"), [("/nowhere/at/all", "no such"), ("pictures", "has other images")])
def test_a_worker_whose_copy_is_missing_or_different_is_reported(
    data: str, reason: str, client: Client, here: Path
) -> None:
    if data == "pictures":
        data = str(make_pictures(here / data))
    options = ("--scheduler", client.scheduler.address, "--worker-data", data)
    assert reason in the_one_line(command("study", *QUICK, *options))


def test_a_worker_with_other_code_is_refused(
    client: Client, tiny: Callable[..., Plan], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.study.worker.provenance", lambda: "headstart of tomorrow")
    with pytest.raises(InvalidRequest, match=r"has other code \(headstart .*of tomorrow.*install the same versions"):
        execute_plan(tiny(), ResultStore(tmp_path), digits, client, expect_success)
    assert not (tmp_path / "rows").exists()

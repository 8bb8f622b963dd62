"""Two workers, tiny plans and a small finished study, which all tests of studies share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.clusters import TINY, FakeTraining, append_keys
from support.shared import once

if TYPE_CHECKING:
    from distributed import Client

    from headstart.practical.data import Dataset
    from headstart.study.plan import Plan
    from headstart.study.results import ResultStore


@pytest.fixture(scope="session", autouse=True)
def keep_log_handlers() -> Iterator[None]:
    """pytest attaches its handlers to Dask's loggers, too; Dask would silence them for all other loggers."""
    logger = logging.getLogger("distributed")
    before = logger.level
    with pytest.MonkeyPatch.context() as patch:
        for module in ("deploy.spec", "nanny"):
            patch.setattr(f"distributed.{module}.silence_logging_cmgr", lambda **options: nullcontext())
        logger.setLevel(logging.CRITICAL)
        yield
    logger.setLevel(before)


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Two workers that never import TensorFlow; tests that kill a worker, or train for real, start their own."""
    from headstart.study.scheduler import connect

    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # of the workers, for pictures
            client = stack.enter_context(connect(workers=2, scheduler=None))
            client.wait_for_workers(2)
        yield client


@pytest.fixture
def fake(tmp_path: Path) -> FakeTraining:
    """What replaces the training for tests of everything around it; with it, a worker never imports TensorFlow."""
    return FakeTraining(tmp_path / "trainings")


@pytest.fixture(scope="session")
def tiny(digits: Dataset) -> Callable[..., Plan]:
    """Make plans whose networks train in part of a second."""
    from headstart.study.plan import make_plan

    def plan(**options: Any) -> Plan:
        defaults = {"pairs": "4,9", "seeds": 1, "epochs": 2, "recipes": (TINY, TINY)}
        return make_plan(digits, "digits", **{**defaults, **options})

    return plan


@pytest.fixture(scope="session")
def finished(
    tiny: Callable[..., Plan], digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Plan, ResultStore]:
    """A study with sources on part A and on part B, really trained by two workers, which no test may change."""
    from headstart.study.results import ResultStore
    from headstart.study.scheduler import connect, execute_plan

    plan = tiny(strategies="last_layer,A5B,B2B+", train_sizes="1.0,8")

    def make(folder: Path) -> ResultStore:
        store, done = ResultStore(folder), list[str]()
        with connect(workers=2, scheduler=None) as client:
            client.wait_for_workers(2)
            execute_plan(plan, store, digits, client, append_keys(done))
        assert sorted(done) == sorted(plan.networks)
        return store

    return plan, once(tmp_path_factory, "finished-study", make)

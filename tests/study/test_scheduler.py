"""Plans executed on real worker processes; most of them train nothing, because only the coordination is tested."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest
from distributed import Client

from headstart.errors import InvalidRequest, TrainingFailed
from headstart.study.plan import NetworkSpec, Plan, make_plan
from headstart.study.results import ResultStore
from headstart.study.scheduler import connect, default_workers, execute_plan
from headstart.study.subsets import take_subset
from support.clusters import (
    QUICK,
    TINY,
    FakeTraining,
    append_keys,
    count_datasets,
    count_rejections,
    expect_success,
    intra_op_threads,
    load_unless,
    results_of,
    worker_processes,
)
from support.runs import command, the_one_line

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

Finished = tuple[Plan, ResultStore]
MakePlan = Callable[..., Plan]


class Alone(NamedTuple):
    """A study of one worker: its process after each network, its threads, and what is new in our environment."""

    plan: Plan
    store: ResultStore
    processes: list[int]
    threads: set[int]
    variables: set[str]


@pytest.fixture(scope="module")
def alone(finished: Finished, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """A part of the finished study, trained by one worker that restarts after two networks."""
    conditions = [c for c in finished[0].conditions if c.network.train_size == "8" or c.network.part == "a"]
    plan, store = Plan(tuple(conditions)), ResultStore(tmp_path_factory.mktemp("alone"))
    processes, before = list[int](), set(os.environ)
    with pytest.MonkeyPatch.context() as patch, connect(workers=1, scheduler=None) as client:
        patch.setattr("headstart.study.scheduler.TASKS_PER_WORKER", 1)  # so that some are not submitted yet

        def note(network: NetworkSpec, error: str) -> None:
            expect_success(network, error)
            processes.extend(worker_processes(client))

        execute_plan(plan, store, digits, client, note, restart_after=2)
        threads = client.run(intra_op_threads)
        return Alone(plan, store, processes, set(threads.values()), set(os.environ) - before)


def test_two_workers_give_the_same_numbers_as_one_that_restarts(
    alone: Alone, finished: Finished, digits: Dataset
) -> None:
    """A worker is restarted after a number of networks, because each leaves something in memory."""
    assert len(alone.processes) == len(alone.plan.networks) == 5
    assert len(set(alone.processes)) == 2
    expected = results_of(alone.plan, finished[1], digits)
    pd.testing.assert_frame_equal(results_of(alone.plan, alone.store, digits), expected)


def test_only_the_workers_have_a_single_thread(alone: Alone) -> None:
    """What this process trains, or starts, while there are workers uses all threads, as before."""
    assert alone.threads == {1}
    assert not [name for name in alone.variables if "NUM_THREADS" in name or name.startswith("TF_NUM_")]


# Nothing is lost or repeated


def test_a_larger_plan_trains_only_what_is_missing(
    client: Client, fake: FakeTraining, tiny: MakePlan, finished: Finished, digits: Dataset, tmp_path: Path
) -> None:
    small, stored = finished
    shutil.copytree(stored.folder, tmp_path / "study")
    store, done, larger = ResultStore(tmp_path / "study"), list[str](), tiny(strategies="A3B", seeds=2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "rows").iterdir()}
    execute_plan(larger, store, digits, client, append_keys(done), train=fake)
    assert sorted(done) == sorted(larger.networks.keys() - small.networks.keys())
    assert len(done) == 1 + 3  # a strategy of the first seed, and everything of the second
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_source_from_before_an_interruption_is_not_trained_again(
    client: Client, fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    plan, done = tiny(), list[str]()
    by_name = {condition.strategy: condition.network for condition in plan.conditions}
    stopped = ResultStore(tmp_path / "stopped")

    def stop(network: NetworkSpec, error: str) -> None:
        if network.strategy is None:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        execute_plan(plan, stopped, digits, client, stop, train=fake)
    assert stopped.source_path(by_name["a"].key).exists()
    execute_plan(plan, stopped, digits, client, append_keys(done), train=fake)
    assert by_name["a"].key not in done
    assert by_name["last_layer"].key in done
    uninterrupted = ResultStore(tmp_path / "uninterrupted")
    execute_plan(plan, uninterrupted, digits, client, expect_success, train=fake)
    pd.testing.assert_frame_equal(results_of(plan, stopped, digits), results_of(plan, uninterrupted, digits))


def test_killed_workers_lose_nothing_that_had_ended(
    fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    plan, done, before_the_kill = tiny(seeds=2), list[str](), list[str]()
    with connect(workers=2, scheduler=None) as client:

        def kill(network: NetworkSpec, error: str) -> None:
            expect_success(network, error)
            done.append(network.key)
            if network.strategy is None and not before_the_kill:  # others are about to start from this source
                before_the_kill.extend(done)
                for process in worker_processes(client):
                    os.kill(process, signal.SIGKILL)

        execute_plan(plan, ResultStore(tmp_path), digits, client, kill, train=fake)
    assert sorted(done) == sorted(plan.networks)
    assert [fake.started().count(key) for key in before_the_kill] == [1] * len(before_the_kill)


def test_a_network_that_fails_once_is_tried_again(
    client: Client, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    plan, fake = tiny(), FakeTraining(tmp_path / "trainings", first_fails=True)
    execute_plan(plan, ResultStore(tmp_path), digits, client, expect_success, train=fake)
    started = fake.started()
    assert set(started) == plan.networks.keys()
    assert len(started) == len(plan.networks) + 1


def test_a_lost_scheduler_is_reported_and_the_rows_are_kept(
    fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    plan, done = tiny(strategies="scratch", seeds=6), list[str]()
    with connect(workers=1, scheduler=None) as client:

        def close(network: NetworkSpec, error: str) -> None:
            done.append(network.key)
            if len(done) == 2:
                client.cluster.close()  # not in a thread, so that everything that follows finds no scheduler

        with pytest.raises(TrainingFailed, match="continues from the completed networks"):
            execute_plan(plan, ResultStore(tmp_path), digits, client, close, train=fake)
    assert sum(ResultStore(tmp_path).read(key) is not None for key in plan.networks) >= 2


# Workers that join late, and several studies


def test_a_study_waits_for_a_worker_and_continues_without_a_rejected_one(
    tiny: MakePlan, digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Dask only logs what the setup of a late worker raises, and would give it one task after the other.

    In the end, nothing of the study is left on the scheduler or in a worker.
    """
    plan, done, lost = tiny(seeds=2), list[str](), tmp_path / "lost"
    caplog.set_level(logging.WARNING, "headstart")
    fake = FakeTraining(tmp_path / "trainings", seconds=0.5)
    with connect(workers=0, scheduler=None) as client:

        class StartWorker(logging.Handler):
            """Starts the first worker when it is missed."""

            def emit(self, record: logging.LogRecord) -> None:
                if "no worker yet" in record.getMessage():
                    client.cluster.scale(1)

        def join(network: NetworkSpec, error: str) -> None:
            expect_success(network, error)
            done.append(network.key)
            if len(done) == 1:
                lost.touch()
                client.cluster.scale(2)
                while not sum(client.run(count_rejections).values()):  # until the second worker has started
                    time.sleep(0.1)

        starter, logger = StartWorker(), logging.getLogger("headstart.study.scheduler")
        logger.addHandler(starter)
        try:
            execute_plan(
                plan, ResultStore(tmp_path), digits, client, join, partial(load_unless, lost, digits), train=fake
            )
        finally:
            logger.removeHandler(starter)
        plugins = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
        assert not [name for name in plugins if "headstart" in name]
        assert set(client.run(count_datasets).values()) == {0}
    assert sorted(done) == sorted(plan.networks)
    first, rejected = (record.getMessage() for record in caplog.records if record.name == logger.name)
    assert first == "The scheduler has no worker yet; the networks wait for one."
    assert rejected.partition(" is not used: ")[2] == "the images have gone"


def test_the_study_ends_when_the_last_worker_is_rejected(
    fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    plan, lost = tiny(strategies="scratch", seeds=9), tmp_path / "lost"
    with connect(workers=1, scheduler=None) as client:

        def kill(network: NetworkSpec, error: str) -> None:
            expect_success(network, error)
            if not lost.exists():
                lost.touch()
                [process] = worker_processes(client)
                os.kill(process, signal.SIGKILL)

        message = "no worker is left: the images have gone; the same command continues"
        with pytest.raises(TrainingFailed, match=message):
            execute_plan(
                plan, ResultStore(tmp_path), digits, client, kill, partial(load_unless, lost, digits), train=fake
            )


def test_two_studies_on_one_scheduler_have_their_own_images(
    client: Client, fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    """The second starts while the first is running; its images must not replace the first's."""
    few, other_store = take_subset(digits, "8", seed=0), ResultStore(tmp_path / "second")
    first = tiny(strategies="last_layer", epochs=1)
    second = make_plan(few, "few digits", "4,9", 1, "last_layer", epochs=1, recipes=(TINY, TINY))
    with Client(client.scheduler.address) as another:

        def execute_second(network: NetworkSpec, error: str) -> None:
            expect_success(network, error)
            if not other_store.path(second.conditions[0].network.key).exists():
                execute_plan(second, other_store, few, another, expect_success, train=fake)

        execute_plan(first, ResultStore(tmp_path / "first"), digits, client, execute_second, train=fake)
    for plan, name, dataset in ((first, "first", digits), (second, "second", few)):
        images = results_of(plan, ResultStore(tmp_path / name), dataset).set_index("strategy")["train_images"]
        held_out = np.isin(dataset.y_train, (4, 9)).sum()
        assert images.to_dict() == {"a": len(dataset.y_train) - held_out, "last_layer": held_out, "scratch": held_out}


def test_what_a_killed_client_left_on_the_scheduler_is_replaced(
    client: Client, fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = tiny(strategies="scratch", seeds=2, epochs=1), ResultStore(tmp_path)

    def die(network: NetworkSpec, error: str) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(client, "unregister_worker_plugin", lambda name: None)  # a killed client does not call it
        with pytest.raises(InterruptedError):
            execute_plan(plan, store, digits, client, die, train=fake)
    assert set(client.run(count_datasets).values()) == {1}
    execute_plan(plan, store, digits, client, expect_success, train=fake)
    assert set(client.run(count_datasets).values()) == {0}


def test_workers_with_several_threads_get_a_warning(
    client: Client,
    fake: FakeTraining,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(client, "nthreads", lambda: {"tcp://one:1": 1, "tcp://another:1": 8})
    execute_plan(Plan(()), ResultStore(tmp_path), digits, client, expect_success, train=fake)
    messages = [record.getMessage() for record in caplog.records if record.name == "headstart.study.scheduler"]
    assert messages == ["1 worker(s) have several threads, but use one: start a worker per core."]


# Connections


@pytest.mark.parametrize(("cores", "memory", "workers"), [(8, 64e9, 8), (8, 8e9, 2), (1, 64e9, 1), (2, 1e9, 1)])
def test_there_is_a_worker_per_core_if_memory_allows(cores: int, memory: float, workers: int) -> None:
    assert default_workers(cores, int(memory)) == workers


def test_other_machines_cannot_reach_the_scheduler(client: Client) -> None:
    scheduler = client.cluster.scheduler
    assert scheduler.address.startswith("tcp://127.0.0.1:")
    assert scheduler.http_server.address == "127.0.0.1"


def test_a_server_that_accepts_and_stays_silent_is_no_scheduler() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InvalidRequest, match=r"silent for 0\.5 seconds") as refused, connect(1, address, 0.5):
            pass
    assert (refused.value.option, refused.value.value) == ("scheduler", address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_an_address_without_a_scheduler_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest, match="no scheduler answers there") as refused, connect(1, address, 0.5):
        pass
    assert (refused.value.option, refused.value.value) == ("scheduler", address)


UNGUARDED = """
import headstart as hs
hs.run_study(data="digits", pairs="4,9", seeds=1, epochs=1, precision="float32", images=0.1, workers=1, out="study")
"""


def test_a_script_without_a_guard_takes_one_line(tmp_path: Path) -> None:
    """Every worker imports the main script, and would start the study again."""
    (tmp_path / "script.py").write_text(UNGUARDED)
    ended = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [*_, last] = ended.stderr.splitlines()
    assert 'call the study below the line if __name__ == "__main__":' in last
    assert not (tmp_path / "study").exists()


def test_a_scheduler_that_does_not_answer_leaves_nothing(here: Path) -> None:
    options = ("study", *QUICK, "--images", "0.1", "--scheduler", "tcp://127.0.0.1:9")
    assert "no scheduler answers there" in the_one_line(command(*options))
    assert list(here.iterdir()) == []

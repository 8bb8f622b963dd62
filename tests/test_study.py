"""Studies on real worker processes, on a few digits and with a tiny network."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import psutil
import pytest
from distributed import Client, WorkerPlugin

from fixtures_runs import command, make_pictures, the_one_line
from headstart.cost import layer_work
from headstart.errors import BadRequest, Failed
from headstart.recipes import RECIPE_A, RECIPE_B, Recipe, as_file, as_json, read_recipes
from headstart.sources import fingerprint
from headstart.store import write_json
from headstart.study import Progress, Study, check_study, load_images, run_study
from headstart.study.cluster import connect, execute, usual_workers
from headstart.study.plan import Network, Plan, make_plan
from headstart.study.reckon import passes, reckon
from headstart.study.rows import Rows, table
from headstart.study.subsets import few_images
from headstart.study.worker import Data, own_copy

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

pytest_plugins = ["fixtures_runs"]

BEFORE = frozenset(os.environ)
TINY = Recipe(widths=(4, 4, 8, 8), units=16, batch_size=16, learning_rate=1e-2, shift=0)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # for decoded pictures
        with connect(workers=2, scheduler=None) as client:
            yield client


@pytest.fixture(scope="module")
def tiny(digits: Dataset) -> Callable[..., Plan]:
    """Makes plans for a network that trains in a second."""

    def plan(**asked: Any) -> Plan:
        defaults = {"pairs": "4,9", "seeds": 1, "epochs": 2, "recipes": (TINY, TINY)}
        return make_plan(digits, "digits", **{**defaults, **asked})

    return plan


def study_of(plan: Plan, dataset: Dataset, folder: Path) -> Study:
    asked = {"pairs": "4,9+3,5", "data": "digits", "precision": "float32", "precision_reason": "a test"}
    return Study(plan, dataset, "a test", asked, (TINY, TINY), folder)


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """A recipe file of that network."""
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(as_file((TINY, TINY))))
    return path


def results_of(plan: Plan, rows: Rows, dataset: Dataset) -> pd.DataFrame:
    return table(plan, rows, {}, dataset.class_names)


def well(network: Network, error: str) -> None:
    """Hears of each network's end."""
    assert not error, error


def heard(into: list[str]) -> Callable[[Network, str], None]:
    def hear(network: Network, error: str) -> None:
        well(network, error)
        into.append(network.key)

    return hear


@pytest.fixture(scope="module")
def finished(client: Client, tiny, digits: Dataset, tmp_path_factory) -> tuple[Plan, Rows]:
    """A study of both kinds of sources, done by two workers."""
    plan = tiny(strategies="practical,A5B,B2B+", train_sizes="1.0,8")
    rows = Rows(tmp_path_factory.mktemp("study"))
    done: list[str] = []
    execute(plan, rows, digits, client, heard(done))
    assert sorted(done) == sorted(plan.networks)
    return plan, rows


def test_every_cell_has_its_row(finished: tuple[Plan, Rows], digits: Dataset) -> None:
    plan, rows = finished
    results = results_of(plan, rows, digits)
    assert len(results) == len(plan.cells) == 1 + 2 * (5 + 1)
    assert results["error"].eq("").all()
    assert results["classes_b"].eq("four,nine").all()
    by_name = results.set_index(["strategy", "train_size", "seed"]).sort_index()
    assert by_name.loc[("last_layer", "1.0", 0), "key"] == by_name.loc[("A5B", "1.0", 0), "key"]
    assert by_name.loc[("a", "1.0", 0), "train_images"] == (digits.y_train != 4).sum() - (digits.y_train == 9).sum()
    assert (results[results["train_size"] == "8"]["train_images"] == 16).all()
    assert results["test_accuracy"].between(0, 1).all()


def test_a_source_is_measured_after_the_last_epoch_only_and_a_strategy_after_each(
    finished: tuple[Plan, Rows], digits: Dataset
) -> None:
    results = results_of(*finished, digits)
    sources = results["strategy"].isin(["a", "b"])
    assert results.loc[sources, "curve"].map(len).tolist() == [1] * 3
    assert set(results.loc[~sources, "curve"].map(len)) == {2}
    assert [curve[-1] for curve in results["curve"]] == results["test_accuracy"].tolist()


def test_a_row_is_what_the_same_functions_give_without_a_cluster(
    finished: tuple[Plan, Rows], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, rows = finished
    [network] = [
        cell.network
        for cell in plan.cells
        if (cell.strategy, cell.network.seed, cell.network.train_size) == ("two_layers", 0, "8")
    ]
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):  # more would add up in another order
        monkeypatch.setenv(name, "1")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        expected = pool.submit(train_without_a_cluster, network, digits).result()
    row = rows.read(network.key)
    assert (row["test_loss"], row["curve"]) == expected


def train_without_a_cluster(network: Network, dataset: Dataset) -> tuple[float, list[float]]:
    from headstart.parts import split_classes
    from headstart.practical.network import colour_statistics
    from headstart.strategies import TWO_LAYERS
    from headstart.training import build_network, train, transfer

    part_a, part_b = split_classes(dataset, (4, 9))
    recipe_a = network.source.recipe
    source = train(build_network(8, recipe_a, colour_statistics(part_a.x_train), recipe_a.seed), part_a, recipe_a)
    trained = transfer(source, TWO_LAYERS, few_images(part_b, "8", 0), network.recipe)
    return trained.test_loss, trained.history["test_accuracy"].tolist()


def test_the_workers_single_thread_is_theirs_alone(finished: tuple[Plan, Rows], client: Client) -> None:
    """What this process trains, or starts, while there are workers is computed with all threads, as before."""
    assert set(client.run(intra_op_threads).values()) == {1}
    new = os.environ.keys() - BEFORE
    assert not [name for name in new if "NUM_THREADS" in name or name.startswith("TF_NUM_")]


def intra_op_threads() -> int:
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads()


def test_one_worker_gives_the_same_numbers_as_two(
    finished: tuple[Plan, Rows], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its process is renewed, as it is for what each network leaves behind."""
    plan, rows = finished
    few = Plan(tuple(cell for cell in plan.cells if cell.network.train_size == "8" or cell.network.part == "a"))
    alone, processes = Rows(tmp_path), list[int]()
    for name, number in (("RENEW_AFTER", 2), ("IN_FLIGHT", 1)):
        monkeypatch.setattr(f"headstart.study.cluster.{name}", number)
    with connect(workers=1, scheduler=None) as client:

        def note(network: Network, error: str) -> None:
            well(network, error)
            processes.extend(client.run(os.getpid).values())

        execute(few, alone, digits, client, note)
    assert len(processes) == len(few.networks)
    assert len(set(processes)) > 1
    ours, theirs = results_of(few, alone, digits), results_of(few, rows, digits)
    pd.testing.assert_frame_equal(ours.drop(columns="seconds"), theirs.drop(columns="seconds"))


def test_networks_do_not_pile_up_in_a_worker(digits: Dataset) -> None:
    from headstart.study.work import train_network

    recipe = Recipe(widths=(4, 4, 8, 256), units=2048, epochs=1, batch_size=128, shift=0)
    planned, memory = Network((4, 9), 0, recipe, "digits", part="a"), []
    for _ in range(6):
        _, source = train_network(planned, digits, None)
        memory.append(psutil.Process().memory_info().rss)
    assert source is not None
    weights = sum(array.nbytes for array in source.weights)  # training takes four times as much
    assert memory[-1] - memory[1] < 4 * 0.8 * weights


def test_smaller_sets_are_parts_of_larger_ones_and_every_class_has_its_share(digits: Dataset) -> None:
    from headstart.parts import split_classes

    _, part = split_classes(digits, (4, 9))
    small, large = few_images(part, "5", 3), few_images(part, "0.5", 3)
    assert np.bincount(small.y_train).tolist() == [5, 5]
    images = {image.tobytes() for image in large.x_train}
    assert {image.tobytes() for image in small.x_train} < images
    assert {image.tobytes() for image in few_images(part, "5", 4).x_train} != {i.tobytes() for i in small.x_train}
    assert np.array_equal(small.x_test, part.x_test)
    whole = few_images(part, "1.0", 0)
    assert np.array_equal(whole.x_train, part.x_train)


# Never lose, never repeat


def test_what_is_there_is_not_trained_again_and_a_larger_plan_adds_to_it(
    client: Client, tiny, finished: tuple[Plan, Rows], digits: Dataset, tmp_path: Path
) -> None:
    small, there = finished
    shutil.copytree(there.folder, tmp_path / "study")
    rows, done, larger = Rows(tmp_path / "study"), [], tiny(strategies="A3B", seeds=2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "rows").iterdir()}
    execute(larger, rows, digits, client, heard(done))
    assert sorted(done) == sorted(larger.networks.keys() - small.networks.keys())
    assert len(done) == 1 + 3  # a strategy of the seed that was there, and all of another
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_source_from_before_an_interruption_is_not_trained_again(
    client: Client, tiny, finished: tuple[Plan, Rows], digits: Dataset, tmp_path: Path
) -> None:
    plan, done = tiny(), []
    undisturbed = results_of(plan, finished[1], digits)
    assert len(undisturbed) == len(plan.cells)
    [source] = [network for network in plan.networks.values() if network.strategy is None]
    [last] = [cell.network for cell in plan.cells if cell.strategy == "last_layer"]

    class StoppedError(Exception):
        pass

    def stop(network: Network, error: str) -> None:
        if network.strategy is None:
            raise StoppedError

    stopped = Rows(tmp_path / "stopped")
    with pytest.raises(StoppedError):
        execute(plan, stopped, digits, client, stop)
    assert stopped.source_path(source.key).exists()
    execute(plan, stopped, digits, client, heard(done))
    assert source.key not in done
    assert last.key in done
    resumed = results_of(plan, stopped, digits)
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), undisturbed.drop(columns="seconds"))


class Watched(WorkerPlugin):
    """Writes down every training that a worker begins; the first of all may fail."""

    def __init__(self, log: Path, *, first_fails: bool = False) -> None:
        self.log, self.first_fails = log, first_fails

    def setup(self, worker: Any) -> None:
        from headstart.study import work

        train = work.train_network

        def watched(planned: Network, *given: Any) -> Any:
            first = not self.log.exists()
            with self.log.open("a") as log:
                log.write(f"{planned.key}\n")
            if first and self.first_fails:
                raise RuntimeError("it failed once")
            return train(planned, *given)

        work.train_network = watched

    def begun(self) -> list[str]:
        return self.log.read_text().split()


def test_a_killed_worker_loses_nothing_and_nothing_that_had_ended_is_trained_again(
    tiny, digits: Dataset, tmp_path: Path
) -> None:
    plan, done = tiny(seeds=2), []
    watched = Watched(tmp_path / "log")
    ended_before_the_kill: list[str] = []
    with connect(workers=2, scheduler=None) as client:
        client.register_plugin(watched)

        def kill(network: Network, error: str) -> None:
            well(network, error)
            done.append(network.key)
            if network.strategy is None and not ended_before_the_kill:  # a source: others are about to start from it
                ended_before_the_kill.extend(done)
                for worker in client.run(os.getpid).values():
                    os.kill(worker, signal.SIGKILL)

        execute(plan, Rows(tmp_path), digits, client, kill)
    assert sorted(done) == sorted(plan.networks)
    assert [watched.begun().count(key) for key in ended_before_the_kill] == [1] * len(ended_before_the_kill)


def test_two_studies_on_one_scheduler_have_their_own_images(client: Client, tiny, digits: Dataset, tmp_path) -> None:
    """The second begins while the first is at work: its images must not become the first's."""
    few = few_images(digits, "8", seed=0)
    mine = tiny(strategies="last_layer")
    theirs = make_plan(few, "few digits", "4,9", 1, "last_layer", epochs=1, recipes=(TINY, TINY))
    with Client(client.scheduler.address) as another:

        def begin_the_other(network: Network, error: str) -> None:
            well(network, error)
            if not Rows(tmp_path / "theirs").path(theirs.cells[0].network.key).exists():
                execute(theirs, Rows(tmp_path / "theirs"), few, another, well)

        execute(mine, Rows(tmp_path / "mine"), digits, client, begin_the_other)
    for plan, rows, dataset in ((mine, "mine", digits), (theirs, "theirs", few)):
        images = results_of(plan, Rows(tmp_path / rows), dataset).set_index("strategy")["train_images"]
        held_out = np.isin(dataset.y_train, (4, 9)).sum()
        assert images.to_dict() == {"a": len(dataset.y_train) - held_out, "last_layer": held_out, "scratch": held_out}


def test_a_lost_scheduler_is_reported_and_the_rows_stay(tiny, digits: Dataset, tmp_path: Path) -> None:
    plan, done = tiny(seeds=4), []
    with connect(workers=1, scheduler=None) as client:

        def close(network: Network, error: str) -> None:
            done.append(network.key)
            if len(done) == 2:
                client.cluster.close()  # not in a thread: all that follows meets a scheduler that is gone

        with pytest.raises(Failed, match="goes on from the rows"):
            execute(plan, Rows(tmp_path), digits, client, close)
    assert sum(Rows(tmp_path).read(key) is not None for key in plan.networks) >= 2


def test_workers_may_load_a_copy_of_their_own(client: Client, tiny, tmp_path: Path) -> None:
    part, _ = load_images("digits", 0.3)
    data = fingerprint(part)
    plan = make_plan(part, data, "4,9", 1, "scratch", epochs=1, recipes=(TINY, TINY))
    sent, loaded = Rows(tmp_path / "sent"), Rows(tmp_path / "loaded")
    load = partial(own_copy, data, "digits", 0.3)
    assert len(pickle.dumps(Data(data, load))) < 10_000  # no image is in it
    for rows, how in ((loaded, load), (sent, None)):  # first what they load: they have no such data yet
        execute(plan, rows, part, client, well, how)
    ours, theirs = results_of(plan, loaded, part), results_of(plan, sent, part)
    pd.testing.assert_frame_equal(ours.drop(columns="seconds"), theirs.drop(columns="seconds"))


@pytest.mark.parametrize(("worker_data", "why"), [("/nowhere/at/all", "no such"), (None, "a worker has other images")])
def test_a_worker_whose_copy_is_another_or_missing_is_reported(
    worker_data: str | None, why: str, client: Client, here: Path
) -> None:
    if worker_data is None:
        make_pictures(here / "pictures")
    there = ("--scheduler", client.scheduler.address, "--worker-data", worker_data or here / "pictures")
    said = the_one_line(command("study", *SMALL, *there))
    assert why in said


def test_a_worker_with_other_code_is_refused(
    client: Client, tiny, digits: Dataset, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("headstart.study.worker.provenance", lambda: "headstart of tomorrow")
    with pytest.raises(BadRequest, match=r"has other code \(headstart .*of tomorrow.*install the same versions"):
        execute(tiny(), Rows(tmp_path), digits, client, well)
    assert not (tmp_path / "rows").exists()


def load_unless(spoilt: Path, dataset: Dataset) -> Dataset:
    """The images, until they are spoilt."""
    if spoilt.exists():
        raise BadRequest("the images have gone")
    return dataset


def test_a_worker_that_joins_late_and_cannot_work_is_set_aside(tiny, digits: Dataset, tmp_path: Path) -> None:
    """Dask only logs what its set-up raises, and would give it task after task."""
    plan, done, said, spoilt = tiny(seeds=2), [], [], tmp_path / "spoilt"
    with connect(workers=1, scheduler=None) as client:

        def join(network: Network, error: str) -> None:
            well(network, error)
            done.append(network.key)
            if len(done) == 1:
                spoilt.touch()
                client.cluster.scale(2)
                client.wait_for_workers(2)

        execute(plan, Rows(tmp_path), digits, client, join, partial(load_unless, spoilt, digits), said.append)
    assert sorted(done) == sorted(plan.networks)
    assert [line.partition(" is set aside: ")[2] for line in said] == ["the images have gone"]


def test_where_the_last_worker_cannot_work_any_more_the_study_ends(tiny, digits: Dataset, tmp_path: Path) -> None:
    plan, spoilt = tiny(seeds=2), tmp_path / "spoilt"
    with connect(workers=1, scheduler=None) as client:

        def kill(network: Network, error: str) -> None:
            well(network, error)
            if not spoilt.exists():
                spoilt.touch()
                [worker] = client.run(os.getpid).values()
                os.kill(worker, signal.SIGKILL)

        with pytest.raises(Failed, match="no worker is left: the images have gone; the same command goes on"):
            execute(plan, Rows(tmp_path), digits, client, kill, partial(load_unless, spoilt, digits))


def test_a_study_waits_for_its_first_worker_and_leaves_nothing_on_the_scheduler(
    tiny, digits: Dataset, tmp_path: Path
) -> None:
    plan, said = tiny(strategies="last_layer"), []
    with connect(workers=0, scheduler=None) as client:

        def start(line: str) -> None:
            said.append(line)
            client.cluster.scale(1)

        execute(plan, Rows(tmp_path), digits, client, well, None, start)
        plugins = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
        assert not [name for name in plugins if "headstart" in name]
        assert list(client.run(datasets_held).values()) == [0]
    assert len(said) == 1
    assert "no worker yet" in said[0]


def test_what_a_killed_client_has_left_on_the_scheduler_is_replaced(
    client: Client, tiny, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, rows = tiny(strategies="scratch", seeds=2), Rows(tmp_path)
    monkeypatch.setattr(client, "unregister_worker_plugin", lambda name: None)  # a killed client takes nothing back

    class KilledError(Exception):
        pass

    def die(network: Network, error: str) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        execute(plan, rows, digits, client, die)
    assert set(client.run(datasets_held).values()) == {1}
    monkeypatch.undo()
    execute(plan, rows, digits, client, well)
    assert set(client.run(datasets_held).values()) == {0}


def test_who_has_workers_of_several_threads_hears_of_it(
    client: Client, digits: Dataset, tmp_path: Path, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(client, "nthreads", lambda: {"tcp://one:1": 1, "tcp://another:1": 8})
    execute(Plan(()), Rows(tmp_path), digits, client, well, None, said.append)
    assert said == ["1 worker(s) have several threads and train in one: start a worker a core (docs/study.md)."]


def test_there_are_as_many_workers_as_cores_but_no_more_than_there_is_memory_for(monkeypatch) -> None:
    for cores, memory, workers in ((8, 64e9, 8), (8, 8e9, 2), (1, 64e9, 1), (2, 1e9, 1)):
        monkeypatch.setattr("headstart.study.cluster.CPU_COUNT", cores)
        monkeypatch.setattr("headstart.study.cluster.MEMORY_LIMIT", int(memory))
        assert usual_workers() == workers


def datasets_held() -> int:
    from headstart.study.worker import DATASETS

    return len(DATASETS)


def test_one_that_fails_once_is_tried_again(tiny, digits: Dataset, tmp_path: Path) -> None:
    plan, watched = tiny(), Watched(tmp_path / "log", first_fails=True)
    with connect(workers=1, scheduler=None) as client:
        client.register_plugin(watched)
        execute(plan, Rows(tmp_path), digits, client, well)
    assert sorted(watched.begun()) == sorted([watched.begun()[0], *plan.networks])


def test_one_that_fails_again_is_set_aside_and_the_rest_finish(
    client: Client, tiny, digits: Dataset, tmp_path: Path
) -> None:
    good, bad = tiny(seeds=1), tiny(seeds=1, pairs="3,5")
    broken = [replace(cell, network=spoil(cell.network)) for cell in bad.cells]
    study = study_of(Plan((*good.cells, *broken)), digits, tmp_path / "study")
    with pytest.raises(Failed, match="3 of 8 networks failed"):
        run_study(study, scheduler=client.scheduler.address)
    results = pd.read_csv(tmp_path / "study" / "results.csv", keep_default_na=False)
    assert set(results["frozen"]) == {"", "0", "4", "5"}  # whole numbers, also where one is missing
    failed = results[results["error"] != ""]
    assert failed["strategy"].tolist() == ["a", "last_layer", "two_layers"]
    assert failed["error"].str.contains("Traceback").all()
    assert failed["error"].str.contains("learning_rate").all()
    assert (results[results["classes_b"] == "four,nine"]["test_accuracy"] != "").all()
    assert (results[results["strategy"] == "scratch"]["test_accuracy"] != "").all()


def test_tracebacks_outlast_an_interruption(client: Client, tiny, digits: Dataset, tmp_path: Path) -> None:
    [good], bad = tiny(strategies="scratch").cells, tiny(pairs="3,5")
    broken = [replace(cell, network=spoil(cell.network)) for cell in bad.cells if cell.strategy != "scratch"]
    study = study_of(Plan((*broken, good)), digits, tmp_path / "study")
    ends: list[str] = []

    def interrupt(name: str, line: str) -> None:
        ends.append(line)
        if len(ends) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, scheduler=client.scheduler.address, show=interrupt)
    results = pd.read_csv(tmp_path / "study" / "results.csv", keep_default_na=False)
    assert results["error"].str.contains("Traceback").sum() == 3


def test_results_can_be_looked_at_before_the_end(
    client: Client, tiny, digits: Dataset, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("headstart.study.WRITE_EVERY", 0)
    study = study_of(tiny(strategies="last_layer"), digits, tmp_path / "study")
    there: list[int] = []

    def look(name: str, line: str) -> None:
        results = tmp_path / "study" / "results.csv"
        there.append(len(pd.read_csv(results)) if results.exists() else 0)

    run_study(study, scheduler=client.scheduler.address, show=look)
    assert there == [0, 1, 2]


def test_the_time_left_follows_from_the_work_that_is_left(tiny, digits: Dataset, tmp_path: Path) -> None:
    """A source takes many times as long as what starts from it."""
    plan, lines = tiny(strategies="last_layer", train_sizes="8", epochs=200), []
    progress = Progress(plan, digits, Rows(tmp_path), lambda name, line: lines.append(line))
    by_name = {cell.strategy: cell.network for cell in plan.cells}
    for strategy, seconds in (("a", 600), ("scratch", 60)):
        progress.start -= seconds  # as if they had passed
        progress.count(by_name[strategy], "")
    minutes = [int(line.rpartition("| ")[2].split()[0]) for line in lines]
    assert minutes[0] < 20  # two networks of three are left, which by their number would be twice ten minutes
    assert minutes[1] < minutes[0]


def test_a_source_whose_weights_are_gone_is_not_counted_as_left(tiny, digits: Dataset, tmp_path: Path) -> None:
    plan, rows, lines = tiny(), Rows(tmp_path), []
    [source] = [network for network in plan.networks.values() if network.strategy is None]
    first, *_ = [network for network in plan.networks.values() if network.source == source]
    rows.path(source.key).parent.mkdir()
    rows.path(source.key).touch()
    progress = Progress(plan, digits, rows, lambda name, line: lines.append(line))
    for network in (source, first):
        progress.count(network, "")
    assert [line.partition(" networks")[0] for line in lines] == ["1 of 4", "2 of 4"]
    assert progress.left == {key for key in plan.networks if key not in (source.key, first.key)}


def spoil(network: Network) -> Network:
    """Makes network A, and with it what starts from it, fail in the worker."""
    if network.part == "a":
        recipe = copy(network.recipe)
        object.__setattr__(recipe, "learning_rate", "learning_rate that is none")  # no recipe is made with it
        return replace(network, recipe=recipe)
    return replace(network, source=spoil(network.source)) if network.source else network


# The rows


def test_a_torn_or_foreign_row_is_refused_by_name(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    assert rows.read("x") is None
    for text in ("", "{", "[]", "{}", "null", '{"key": "y"}', "\x00"):
        rows.path("x").parent.mkdir(exist_ok=True)
        rows.path("x").write_text(text)
        with pytest.raises(BadRequest, match=r"x\.json"):
            rows.read("x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"no archive at all"])
def test_a_torn_source_counts_as_none(content: bytes, tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.source_path("x").parent.mkdir()
    rows.source_path("x").write_bytes(content)
    assert rows.read_source("x", 8, None) is None


# The command

SMALL = ("--data", "digits", "--pairs", "4,9", "--seeds", "1", "--epochs", "1", "--precision", "float32")


def test_the_command_leaves_its_files_and_does_nothing_the_second_time(
    tiny_file: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("study", *SMALL, "--strategies", "last_layer", "--train-sizes", "20,10", "--recipe", tiny_file)
    first = command(*asked, "--workers", "1")
    assert (first.status, first.errors) == (0, "")
    assert "Precision: float32" in first.output
    assert "To train: 5 of 5 networks, into study" in first.output
    assert "5 of 5 networks: " in first.output
    names = {path.name for path in Path("study").iterdir() if path.name[0] != "."}
    assert names == {
        "results.csv",
        "summary.csv",
        "pairs.csv",
        "conclusions.md",
        "report.html",
        "study.json",
        "recipe.json",
        "rows",
        "sources",
        "figures",
    }
    results = pd.read_csv("study/results.csv")
    assert list(results)[:6] == ["classes_b", "seed", "strategy", "copied", "frozen", "train_size"]
    assert len(results) == 5
    assert json.loads(Path("study/study.json").read_text())["networks"] == 5
    before = Path("study/results.csv").read_bytes()
    Path("study/rows/of-older-code.json").write_text("{}")
    Path("study/figures/of-another-plan.png").write_bytes(b"")

    def never(*_: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("headstart.study.cluster.connect", never)
    again = command(*asked)
    assert again.status == 0
    assert "Left alone, for they are of another plan, other data or other code: 1 rows in study" in again.output
    assert "To train: 0 of 5 networks, into study" in again.output
    assert "of 5 networks:" not in again.output
    assert Path("study/results.csv").read_bytes() == before
    assert not Path("study/figures/of-another-plan.png").exists()
    assert Path("study/figures/sizes.png").exists()


def test_the_command_trains_with_the_recipes_of_the_files_and_the_folder_holds_them(
    tiny_file: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.json").write_text('{"b": {"label_smoothing": 0.2}}')
    files = [tiny_file, Path("b.json")]
    asked = ("study", *SMALL, "--strategies", "last_layer", "--images", "0.3", "--workers", "1")
    ended = command(*asked, *(word for file in files for word in ("--recipe", file)))
    assert (ended.status, ended.errors) == (0, "")
    recipes = read_recipes(files)
    assert recipes == (TINY, replace(TINY, label_smoothing=0.2))
    part, _ = load_images("digits", 0.3)
    plan = make_plan(part, fingerprint(part), "4,9", 1, "last_layer", epochs=1, recipes=recipes)
    assert {path.stem for path in Path("study/rows").iterdir()} == plan.networks.keys()
    stored = json.loads(Path("study/recipe.json").read_text())
    assert json.loads(Path("study/study.json").read_text())["recipe"] == stored
    assert stored["b"] == {
        name: value for name, value in as_json(recipes[1]).items() if name not in ("epochs", "seed", "precision")
    }
    again = command(*asked, "--recipe", "study/recipe.json")
    assert "To train: 0 of 3 networks" in again.output
    other = check_study(data="digits", images=0.3, out="study", pairs="4,9", seeds=1, epochs=1, say=list)
    assert len(other.missing) == len(other.plan.networks) == 4  # the package's recipes are other ones


def test_a_study_in_python_may_have_recipes_and_those_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    asked = {"data": "digits", "out": tmp_path / "study", "precision": "float32", "say": list, "seeds": 1}
    study = check_study(**asked, recipes=(TINY, TINY))
    assert study.recipes == (TINY, TINY)
    assert {network.recipe.units for network in study.plan.networks.values()} == {16}
    with pytest.raises(BadRequest, match="they must be equal to copy weights"):
        check_study(**asked, recipes=(TINY, RECIPE_B))
    assert check_study(**asked).recipes == (RECIPE_A, RECIPE_B)


def test_a_kill_between_its_first_two_files_leaves_a_folder_of_a_study(
    tiny, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_die(path: Path, content: object) -> None:
        write_json(path, content)
        raise KeyboardInterrupt

    folder = tmp_path / "study"
    with monkeypatch.context() as patch:
        patch.setattr("headstart.study.write_json", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            run_study(study_of(tiny(), digits, folder))
    assert check_study(data="digits", out=folder, say=list, seeds=1).asked["precision_reason"] == "a test"


def test_a_part_of_the_images_is_another_dataset_and_says_so(tmp_path: Path) -> None:
    whole = check_study(data="digits", out=tmp_path, precision="float32", say=list, seeds=1)
    part = check_study(data="digits", images=0.25, out=tmp_path, precision="float32", say=list, seeds=1)
    for label, available in enumerate(np.bincount(whole.dataset.y_train)):
        assert (part.dataset.y_train == label).sum() == round(0.25 * available)
    assert part.dataset.name == f"{whole.dataset.name}, 0.25 of its training images"
    assert np.array_equal(part.dataset.x_test, whole.dataset.x_test)
    assert not part.plan.networks.keys() & whole.plan.networks.keys()


def test_workers_elsewhere_cannot_be_measured_and_get_what_is_slow_nowhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.precision.choose_precision", lambda asked: ("bfloat16", "measured here"))
    asked = {"data": "digits", "out": tmp_path, "say": list, "seeds": 1}
    precisions = {check_study(**asked).asked["precision"], check_study(**asked, elsewhere=True).asked["precision"]}
    assert precisions == {"bfloat16", "float32"}
    assert check_study(**asked, elsewhere=True, precision="bfloat16").asked["precision"] == "bfloat16"


def test_nobody_else_hears_the_studys_scheduler(client: Client) -> None:
    scheduler = client.cluster.scheduler
    assert scheduler.address.startswith("tcp://127.0.0.1:")
    assert scheduler.http_server.address == "127.0.0.1"


def test_the_command_takes_a_scheduler_that_runs(client: Client, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.precision.choose_precision", lambda asked: ("bfloat16", "measured on this machine"))
    monkeypatch.chdir(tmp_path)
    unmeasured = SMALL[: SMALL.index("--precision")]
    ended = command("study", *unmeasured, "--strategies", "scratch", "--scheduler", client.scheduler.address)
    assert (ended.status, ended.errors) == (0, "")
    assert len(list(Path("study/rows").glob("*.json"))) == 1
    assert json.loads(Path("study/study.json").read_text())["asked"]["precision"] == "float32"


def test_a_scheduler_that_takes_the_call_and_says_nothing_is_nobody(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.study.cluster.ANSWERS_WITHIN", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        said = the_one_line(command("study", *SMALL, "--scheduler", address, "--out", tmp_path))
    assert f"--scheduler {address}: nobody answers there (it takes the call and says nothing for 1 seconds" in said


def test_a_trainings_work_is_counted_in_images_shown_to_the_whole_network(digits: Dataset, tiny) -> None:
    """Forward a third, backward two thirds; two epochs, every epoch's curve, and at the end all images once more."""
    [*networks] = tiny(strategies="practical", train_sizes="8").networks.values()
    by_name = {network.strategy.name if network.strategy else "a": network for network in networks}
    test_b = int(np.isin(digits.y_test, (4, 9)).sum())
    train_a, test_a = int((~np.isin(digits.y_train, (4, 9))).sum()), len(digits.y_test) - test_b
    of_a = 2 * train_a + (test_a + test_a) / 3 + (test_a + train_a) / 3  # a source has one point of its curve
    assert passes(by_name["a"], digits) == pytest.approx(of_a)
    of_scratch = 2 * 16 + 2 * (test_b + 16) / 3 + (test_b + 16) / 3
    assert passes(by_name["scratch"], digits) == pytest.approx(of_scratch)
    work = layer_work(by_name["a"].recipe)
    for name, frozen in (("two_layers", 4), ("last_layer", 5)):
        head = work[frozen:].sum() / work.sum()
        assert passes(by_name[name], digits) == pytest.approx(head * of_scratch + (2 * 16 + test_b) / 3)


def test_the_dry_runs_time_follows_from_what_was_measured(digits: Dataset, tiny, monkeypatch) -> None:
    monkeypatch.setattr("headstart.study.reckon.measure", lambda dataset, recipe, workers: (36.0, 3600.0))
    plan = tiny(strategies="last_layer", train_sizes="8")
    networks = list(plan.networks.values())
    scratch, source, last_layer = ((3600 + 36 * passes(network, digits)) / 3600 for network in networks)
    assert scratch > 1.1
    one_after_the_other = source + last_layer
    for workers, hours in ((1, scratch + one_after_the_other), (2, one_after_the_other), (3, one_after_the_other)):
        expected = f"3 are not trained yet: {hours:,.1f} hours for {workers} worker(s)"
        assert expected in reckon(plan, networks, digits, workers)
    assert f"1 are not trained yet: {scratch:,.1f} hours" in reckon(plan, networks[:1], digits, 4)
    assert "0 are not trained yet: 0.0 hours" in reckon(plan, [], digits, 1)


def test_a_dry_run_measures_the_plans_own_network(digits: Dataset, tiny, monkeypatch) -> None:
    measured: list[Recipe] = []

    def note(dataset: Dataset, recipe: Recipe, workers: int) -> tuple[float, float]:
        measured.append(recipe)
        return 1.0, 1.0

    monkeypatch.setattr("headstart.study.reckon.measure", note)
    reckon(tiny(precision="bfloat16"), [], digits, 1)
    assert [(recipe.widths, recipe.units, recipe.precision) for recipe in measured] == [((4, 4, 8, 8), 16, "bfloat16")]


def test_a_dry_run_counts_and_estimates_and_trains_nothing(tiny_file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("study", *SMALL, "--strategies", "practical,A5B", "--recipe", tiny_file)
    dry = command(*asked, "--dry-run", "--workers", "2")
    assert dry.status == 0
    assert "4 networks for 5 rows (1 rows share a network): 1 sources" in dry.output
    assert "4 are not trained yet" in dry.output
    assert "hours for 2 worker(s)" in dry.output
    assert not Path("study").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "0"),
        ("--recipe", "nowhere.json"),
        ("--pairs", "4,4"),
        ("--images", "0"),
        ("--scheduler", "tcp://127.0.0.1:9"),
        ("--scheduler", "nonsense"),
        ("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"),
        ("--out", "x" * 300),
        ("--out", "/dev/null/study"),
    ],
    ids=" ".join,
)
def test_a_wrong_request_takes_one_line(arguments: tuple[str, ...], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.study.cluster.ANSWERS_WITHIN", 1)
    monkeypatch.chdir(tmp_path)
    ended = command("study", *SMALL, *arguments)
    assert ended.status == 2
    assert ended.errors.count("\n") == 1


def test_a_folder_of_something_else_is_not_written_to(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study").mkdir()
    Path("study/thesis.txt").write_text("mine")
    assert command("study", *SMALL).status == 2
    assert [path.name for path in Path("study").iterdir()] == ["thesis.txt"]

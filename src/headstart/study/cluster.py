"""Train a plan's networks on Dask's workers. The client alone writes; a worker needs only this package.

A source's weights come to the client, which puts them on the disk and only then hands out what starts from them: what
has ended is not trained again, whatever becomes of the worker. A network that fails is tried once more, then set aside
with its traceback, and with it all that would have started from it.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from dask import config
from distributed import CancelledError, Client, LocalCluster, WorkerPlugin, as_completed
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from headstart.errors import BadRequest, Failed
from headstart.provenance import provenance
from headstart.sources import fingerprint
from headstart.study.plan import Network, Plan
from headstart.study.rows import Rows

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.study.work import Source

DATASETS: dict[str, Dataset] = {}  # this worker's, by fingerprint: a running scheduler may have several studies
ONE_AT_A_TIME = Lock()  # in a worker of several threads: Keras' random state is one for all of them
ANY_PORT = "127.0.0.1:0"  # of this machine: without an address, Dask would listen on all
IN_FLIGHT = 3  # networks a worker that are handed out ahead

T = TypeVar("T")
Outcome = tuple[dict[str, Any], "Source | None"]


class Data(WorkerPlugin):
    """Gives every worker the dataset, also one that joins late or starts anew after a crash.

    It refuses a worker whose code is not this process's: rows are kept under what the client says has trained them.
    """

    def __init__(self, data: str, load: Callable[[], Dataset]):
        self.data, self.load, self.by = data, load, provenance()
        self.name = f"headstart-data-{data}"  # of plugins of one name, Dask keeps the last

    def setup(self, worker: Any) -> None:
        """Called when the worker starts."""
        from headstart.study.work import prepare

        if self.by != provenance():
            raise BadRequest(
                f"--scheduler: the worker {worker.address} has other code ({provenance()}) than this process "
                f"({self.by}), and would train other networks; install the same versions on both"
            )
        prepare()
        DATASETS[self.data] = self.load()


def own_copy(data: str, path: str, images: float) -> Dataset:
    """What a worker loads itself. Raises BadRequest if its fingerprint is not `data`."""
    from headstart.study import load_images

    dataset, source = load_images(path, images)
    if fingerprint(dataset) != data:
        raise BadRequest(f"--worker-data {path}: a worker has other images there ({source}) than --data names here")
    return dataset


def train_on_worker(planned: Network, source: Source | None) -> Outcome:
    """The task that a worker gets."""
    from headstart.study.work import train_network

    with ONE_AT_A_TIME:
        return train_network(planned, DATASETS[planned.data], source)


@contextmanager
def connect(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of a running scheduler, or of local worker processes of our own."""
    if scheduler:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise BadRequest(f"--scheduler {scheduler}: nobody answers there ({error})") from error
        with client:
            yield client
        return
    # What Dask sets before it starts a worker, OMP_NUM_THREADS=1, it sets in this process, for all that comes after.
    own_environment: dict[str, Any] = {"distributed.nanny.pre-spawn-environ": {}}
    with (
        config.set(own_environment),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=ANY_PORT, memory_limit=0, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def execute(
    plan: Plan,
    rows: Rows,
    dataset: Dataset,
    client: Client,
    done: Callable[[Network, str], object],
    load: Callable[[], Dataset] | None = None,
) -> None:
    """Train what has no row yet. `done(network, error)` hears of each end; the error is a traceback, or empty.

    `load` gives a worker the dataset; without it, this one is sent. Raises Failed if the scheduler is lost.
    """
    missing = {key: network for key, network in plan.networks.items() if rows.read(key) is None}
    for data in {network.data for network in missing.values()}:
        client.register_plugin(Data(data, load or partial(as_it_is, dataset)))
    waiting = deque(group_by_source(missing))
    followers: dict[str, list[Network]] = {}  # what waits for a source that is being trained
    futures: dict[Any, Network] = {}
    completed = as_completed()

    def hand_out() -> None:
        """Hand out the next source, or where it is there, all that starts from it."""
        source, dependents = waiting.popleft()
        stored = stored_source(rows, source, missing, dataset) if source else None
        if source and not stored:
            followers[source.key] = dependents
            submit(source, None)
        else:
            start(dependents, stored)

    def start(dependents: list[Network], source: Source | None) -> None:
        """What starts from a source goes before further sources: weights should not wait in memory."""
        weights = client.submit(as_it_is, source, pure=False, priority=1) if source and dependents else None
        for network in dependents:
            submit(network, weights)

    def submit(network: Network, source: Any) -> None:
        key, priority = f"train-{network.key}", 1 if source else 0
        future = client.submit(train_on_worker, network, source, key=key, retries=1, priority=priority)
        futures[future] = network
        completed.add(future)

    def take(future: Any) -> None:
        """Put what has come back on the disk, and hand out what waited for it."""
        network = futures.pop(future)
        dependents = followers.pop(network.key, [])
        if future.status == "error":
            trace = "".join(traceback.format_exception(future.exception()))
            for lost in (network, *dependents):
                done(lost, trace)
            return
        row, source = future.result()  # raises if the scheduler has forgotten it
        if source:
            rows.write_source(network.key, source)
        rows.write(network.key, row)
        start(dependents, source)
        done(network, "")

    def ahead() -> int:
        return IN_FLIGHT * max(1, client.scheduler_info(n_workers=0).get("n_workers", 0))  # none where it is gone

    weights_travel = {"distributed.admin.large-graph-warning-threshold": "1GB"}  # with a task, as Dask advises against
    try:
        with config.set(weights_travel):
            while waiting or futures:
                while waiting and len(futures) < ahead():
                    hand_out()
                take(next(completed))
    except (ClosedClientError, CommClosedError, CancelledError, asyncio.CancelledError, TimeoutError) as error:
        raise Failed(
            f"the scheduler is gone ({error!r}); the same command goes on from the rows that are there"
        ) from error


def as_it_is(value: T) -> T:
    """The identity: as a task's result a stored source can be computed again when its worker is lost."""
    return value


def stored_source(rows: Rows, source: Network, missing: dict[str, Network], dataset: Dataset) -> Source | None:
    """A source that an earlier sitting has trained."""
    if source.key in missing:
        return None
    classes = 2 if source.part == "b" else len(dataset.class_names) - 2
    return rows.read_source(source.key, classes, source.recipe)


def group_by_source(missing: dict[str, Network]) -> Iterator[tuple[Network | None, list[Network]]]:
    """(source, what starts from it), for everything that is missing; a source may be wanted for itself alone."""
    groups: dict[str, tuple[Network | None, list[Network]]] = {}
    for key, network in missing.items():
        if network.strategy is None:
            groups.setdefault(key, (network, []))
        elif network.source:
            groups.setdefault(network.source.key, (network.source, []))[1].append(network)
        else:
            groups[key] = (None, [network])
    yield from groups.values()

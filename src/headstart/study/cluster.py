"""Train a plan's networks on Dask's workers. The client alone writes; a worker needs only this package.

A source's weights travel from the worker that trained it to those that copy it, and once to the client, so that a study
that was stopped need not train it again. A network that fails is tried once more, then set aside with its traceback.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from dask import config
from distributed import CancelledError, Client, LocalCluster, WorkerPlugin, as_completed
from distributed.comm.core import CommClosedError

from headstart.errors import BadRequest, Failed
from headstart.study.plan import Network, Plan
from headstart.study.rows import Rows

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.study.work import Source

DATASET: list[Dataset] = []  # of this worker
ONE_AT_A_TIME = Lock()  # in a worker of several threads: Keras' random state is one for all of them
ANY_PORT = ":0"
IN_FLIGHT = 3  # source networks a worker for which work is handed out ahead

Outcome = tuple[dict[str, Any], "Source | None"]


class Data(WorkerPlugin):
    """Gives every worker the dataset, also one that joins late or starts anew after a crash."""

    name = "headstart-data"

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def setup(self, worker: Any) -> None:
        """Called when the worker starts: one thread a worker, so that results do not depend on how many there are."""
        import tensorflow as tf

        from headstart.practical.environment import set_up

        set_up()

        if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # a worker that has trained cannot set it again
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        DATASET[:] = [self.dataset]


def train_on_worker(planned: Network, source: Outcome | Source | None) -> Outcome:
    """The task that a worker gets."""
    from headstart.study.work import train_network

    with ONE_AT_A_TIME:
        return train_network(planned, DATASET[0], source[1] if isinstance(source, tuple) else source)


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
    plan: Plan, rows: Rows, dataset: Dataset, client: Client, done: Callable[[Network, str], object]
) -> dict[str, str]:
    """Train what has no row yet. Returns what failed: a traceback by key. `done(network, error)` hears of each end.

    Raises Failed if the scheduler is lost.
    """
    client.register_plugin(Data(dataset))
    missing = {key: network for key, network in plan.networks.items() if rows.read(key) is None}
    waiting = deque(group_by_source(missing))
    futures: dict[Any, Network] = {}
    failures: dict[str, str] = {}
    completed = as_completed()

    def hand_out() -> None:
        """Hand out the next source with all that starts from it."""
        source, dependents = waiting.popleft()
        begun: Any = None
        if source:
            stored = stored_source(rows, source, missing, dataset)
            begun = client.submit(as_it_is, stored, pure=False) if stored else submit(source, None)
        for network in dependents:
            submit(network, begun)

    def submit(network: Network, source: Any) -> Any:
        future = client.submit(train_on_worker, network, source, key=f"train-{network.key}", retries=1)
        futures[future] = network
        completed.add(future)
        return future

    def take(future: Any) -> None:
        """Put what has come back on the disk."""
        network = futures.pop(future)
        if future.status == "error":
            failures[network.key] = "".join(traceback.format_exception(future.exception()))
            return
        row, source = future.result()  # raises if the scheduler has forgotten it
        if source:
            rows.write_source(network.key, source)
        rows.write(network.key, row)

    def ahead() -> int:
        return IN_FLIGHT * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))

    try:
        while waiting or futures:
            while waiting and len({network.source or network for network in futures.values()}) < ahead():
                hand_out()
            future = next(completed)
            network = futures[future]
            take(future)
            done(network, failures.get(network.key, ""))
    except (CommClosedError, CancelledError, asyncio.CancelledError, TimeoutError) as error:
        raise Failed(
            f"the scheduler is gone ({error!r}); the same command goes on from the rows that are there"
        ) from error
    return failures


def as_it_is(source: Source) -> Source:
    """The identity: as a task's result a stored source can be computed again when its worker is lost."""
    return source


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

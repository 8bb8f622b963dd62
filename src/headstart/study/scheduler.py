"""Train a plan's networks on Dask's workers. Only the client writes files. A worker needs only this package.

A source's weights are sent to the client. It writes them to the disk before it submits the networks that start from
them. So a completed network is never trained again, whatever happens to the worker. A network that fails is tried once
more. Then it is recorded with its traceback, and so are all networks that would have started from it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, getnode, uuid4, uuid5

from dask import config
from dask.system import CPU_COUNT
from distributed import CancelledError, Client, LocalCluster, as_completed
from distributed.client import ClosedClientError
from distributed.comm import core as comm
from distributed.system import MEMORY_LIMIT
from distributed.utils import LoopRunner

from headstart.errors import InvalidRequest, TrainingFailed
from headstart.practical.data import Dataset
from headstart.study.plan import NetworkSpec, Plan
from headstart.study.results import ResultStore, Source
from headstart.study.worker import DatasetPlugin, Train, WorkerRejected, train_on_worker

LOCAL_ADDRESS = "127.0.0.1:0"  # without an address, Dask would listen on all network interfaces
CONNECT_TIMEOUT = 10  # seconds
TASKS_PER_WORKER = 3  # submitted in advance
RESTART_AFTER = 100  # networks per worker, because each leaves up to 13 MB in memory
WORKER_MEMORY = 3_000_000_000  # bytes that a worker may use before its restart
# The errors that mean that the scheduler is gone:
LOST = (ClosedClientError, comm.CommClosedError, CancelledError, asyncio.CancelledError, TimeoutError)

T = TypeVar("T")
OnDone = Callable[[NetworkSpec, str], object]

logger = logging.getLogger(__name__)


def default_workers(cores: int = CPU_COUNT, memory: int = MEMORY_LIMIT) -> int:
    """Return one worker per core, or fewer if they would not fit into memory.

    Args:
        cores: The number of cores.
        memory: Bytes of memory.
    """
    return max(1, min(cores, memory // WORKER_MEMORY))


@contextmanager
def connect(workers: int, scheduler: str | None, timeout: float = CONNECT_TIMEOUT) -> Iterator[Client]:
    """Connect to a running scheduler, or start local worker processes.

    Args:
        workers: How many local processes.
        scheduler: "tcp://HOST:PORT", or None for local processes.
        timeout: Seconds that a scheduler may take to answer.

    Returns:
        A context with the client.

    Raises:
        InvalidRequest: There is no scheduler at this address, or the main script has no guard.
    """
    if scheduler:
        try:
            LoopRunner().run_sync(check_reachable, scheduler, timeout)
            client = Client(scheduler, timeout=f"{timeout}s")
        except (OSError, ValueError) as error:
            rule = f"no scheduler answers there ({error})"
            raise InvalidRequest(rule, option="scheduler", value=scheduler) from error
        with client:
            yield client
        return
    check_main_guard()
    # Dask would set OMP_NUM_THREADS=1 in this process before it starts a worker, for everything that follows.
    own_environment: dict[str, Any] = {"distributed.nanny.pre-spawn-environ": {}}
    with (
        config.set(own_environment),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=LOCAL_ADDRESS, memory_limit=0, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def check_main_guard() -> None:
    """Refuse to start workers from a script that each of them would execute again.

    A worker process imports the main script. Without a guard, it would start the study a second time.

    Raises:
        InvalidRequest: The main script has no guard.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)  # there is none in a terminal or a notebook
    if script and Path(script).is_file() and "__main__" not in Path(script).read_text(errors="replace"):
        rule = 'each worker process imports this script: call the study below the line if __name__ == "__main__":'
        raise InvalidRequest(f"{script}: {rule}")


async def check_reachable(scheduler: str, timeout: float) -> None:
    """Raise OSError if nothing answers, because Client would wait forever for a server that stays silent.

    Args:
        scheduler: "tcp://HOST:PORT".
        timeout: Seconds.
    """
    try:
        connection = await asyncio.wait_for(comm.connect(scheduler, timeout=timeout), timeout)
    except TimeoutError:
        raise TimeoutError(f"it accepts connections, but is silent for {timeout:g} seconds") from None
    await connection.close()


def execute_plan(
    plan: Plan,
    store: ResultStore,
    dataset: Dataset,
    client: Client,
    on_done: OnDone,
    load: Callable[[], Dataset] | None = None,
    restart_after: int = RESTART_AFTER,
    train: Train | None = None,
) -> None:
    """Train every network that has no row yet.

    Args:
        plan: What to train.
        store: The folder for the rows.
        dataset: All images.
        client: Connected to the workers.
        on_done: Called with each network after it has ended, and its traceback, or "" if it succeeded.
        load: Returns a worker's own copy of the dataset; by default, the dataset is sent to the workers.
        restart_after: Local workers are restarted after this number of networks per worker.
        train: Trains a network in a worker; by default `train_network`, for which the workers import TensorFlow.

    Raises:
        InvalidRequest: A worker is rejected at the start.
        TrainingFailed: The last worker is rejected later, or the scheduler is lost.
    """
    executor = Executor(plan, store, dataset, client, on_done, restart_after)
    large_tasks = {"distributed.admin.large-graph-warning-threshold": "1GB"}  # weights are sent with a task on purpose
    try:
        client.register_plugin(DatasetPlugin(executor.name, load or partial(identity, dataset), train))
        if not count_workers(client):
            logger.warning("The scheduler has no worker yet; the networks wait for one.")
        if several := sum(threads > 1 for threads in client.nthreads().values()):
            logger.warning("%s worker(s) have several threads, but use one: start a worker per core.", several)
        with config.set(large_tasks):
            executor.run()
    except LOST as error:
        raise TrainingFailed(
            f"the scheduler is gone ({error!r}); the same command continues from the completed networks"
        ) from error
    finally:
        if client.status == "running":
            with suppress(*LOST, KeyError, ValueError):
                client.unregister_worker_plugin(executor.name)


class Executor:
    """Submits a plan's missing networks, and stores their results.

    Args:
        plan: What to train.
        store: The folder for the rows.
        dataset: All images.
        client: Connected to the workers.
        on_done: See `execute_plan`.
        restart_after: See `execute_plan`.
    """

    def __init__(
        self,
        plan: Plan,
        store: ResultStore,
        dataset: Dataset,
        client: Client,
        on_done: OnDone,
        restart_after: int = RESTART_AFTER,
    ):
        # Equal for an equal folder and images, so that it replaces the plugin that a killed client left there.
        place = [getnode(), gethostname(), str(store.folder.resolve())]
        which = f"{place} {sorted({network.fingerprint for network in plan.networks.values()})}"
        self.name = f"headstart-{uuid5(NAMESPACE_URL, which).hex}"
        self.id = uuid4().hex  # always new, because tasks that a killed client left must not be confused with ours
        self.store, self.dataset, self.client, self.on_done = store, dataset, client, on_done
        self.restart_after = restart_after
        self.missing = {key: network for key, network in plan.networks.items() if store.read(key) is None}
        self.waiting = deque(group_by_source(self.missing))
        self.dependents: dict[str, list[NetworkSpec]] = {}  # the networks that wait for a source, by its key
        self.futures: dict[Any, NetworkSpec] = {}
        self.completed = as_completed()
        self.rejected: set[str] = set()  # addresses of workers
        self.count = 0  # networks since the workers started

    def run(self) -> None:
        """Train everything that is missing."""
        while self.waiting or self.futures:
            workers = max(1, count_workers(self.client))
            restart = self.client.cluster is not None and self.count >= self.restart_after * workers
            if restart and not self.futures:
                with suppress(TimeoutError):  # the workers that have restarted continue
                    self.client.restart()
                restart, self.count = False, 0
            while self.waiting and not restart and len(self.futures) < TASKS_PER_WORKER * workers:
                self.submit_next()
            self.on_complete(next(self.completed))

    def submit_next(self) -> None:
        """Submit the next source or, if it is already trained, all networks that start from it."""
        source, dependents = self.waiting.popleft()
        stored = stored_source(self.store, source, self.missing, self.dataset) if source else None
        if source and not stored:
            self.dependents[source.key] = dependents
            self.submit(source, None)
        else:
            self.submit_dependents(dependents, stored)

    def submit_dependents(self, dependents: list[NetworkSpec], source: Source | None) -> None:
        """Submit the networks that start from a source before further sources, so that few weights are in memory.

        Args:
            dependents: The networks.
            source: Their source; None if they start from scratch.
        """
        weights = self.client.submit(identity, source, pure=False, priority=1) if source and dependents else None
        for network in dependents:
            self.submit(network, weights)

    def submit(self, network: NetworkSpec, source: Any) -> None:
        """Submit one network.

        Args:
            network: The network.
            source: The future of its source; None if it starts from random weights.
        """
        key, priority = f"{self.id}-{network.key}", 1 if source else 0
        task = (train_on_worker, network, source, self.name)
        future = self.client.submit(*task, key=key, retries=1, priority=priority)
        self.futures[future] = network
        self.completed.add(future)

    def on_complete(self, future: Any) -> None:
        """Store what a worker returned, and submit the networks that waited for it."""
        error: Exception | None = None
        outcome: Any = None
        try:
            outcome = future.result()  # the task is executed again if its worker was killed with the result
        except Exception as raised:
            if future.status != "error":  # not the task's own error, so the scheduler is gone
                raise
            error = raised
        if isinstance(error, WorkerRejected):
            self.remove_worker(error)
            future.retry()
            self.completed.add(future)
            return
        network = self.futures.pop(future)
        self.count += 1
        dependents = self.dependents.pop(network.key, [])
        if error:
            trace = "".join(traceback.format_exception(error))
            for failed in (network, *dependents):
                self.on_done(failed, trace)
            return
        row, source = outcome
        if source:
            self.store.write_source(network.key, source)
        self.store.write(network.key, row)
        self.submit_dependents(dependents, source)
        self.on_done(network, "")

    def remove_worker(self, rejection: WorkerRejected) -> None:
        """Retire a worker that joined late and cannot work, because it would fail one task after the other.

        Args:
            rejection: The worker and the reason.

        Raises:
            TrainingFailed: It was the last worker.
        """
        if rejection.address in self.rejected:
            return
        self.rejected.add(rejection.address)
        self.client.retire_workers([rejection.address])
        if not count_workers(self.client):
            raise TrainingFailed(
                f"no worker is left: {rejection.reason}; the same command continues from the completed networks"
            )
        logger.warning("The worker %s is not used: %s", rejection.address, rejection.reason)


def count_workers(client: Client) -> int:
    """Return how many workers the scheduler has; 0 if it is gone."""
    workers: int = client.scheduler_info(n_workers=0).get("n_workers", 0)
    return workers


def identity(value: T) -> T:
    """Return the value. As the result of this task, a stored source can be computed again if its worker is lost."""
    return value


def stored_source(
    store: ResultStore, source: NetworkSpec, missing: dict[str, NetworkSpec], dataset: Dataset
) -> Source | None:
    """Return a source that was trained earlier, or None.

    Args:
        store: The folder with the sources.
        source: The source.
        missing: The networks without a row, by key.
        dataset: All images.
    """
    if source.key in missing:
        return None
    classes = 2 if source.part == "b" else len(dataset.class_names) - 2
    return store.read_source(source.key, classes, source.recipe)


def group_by_source(missing: dict[str, NetworkSpec]) -> Iterator[tuple[NetworkSpec | None, list[NetworkSpec]]]:
    """Group the missing networks by their source.

    Args:
        missing: The networks without a row, by key.

    Returns:
        (source, the networks that start from it). A source without such networks, and a network without a source, are
        groups, too.
    """
    groups: dict[str, tuple[NetworkSpec | None, list[NetworkSpec]]] = {}
    for key, network in missing.items():
        if network.strategy is None:
            groups.setdefault(key, (network, []))
        elif network.source:
            groups.setdefault(network.source.key, (network.source, []))[1].append(network)
        else:
            groups[key] = (None, [network])
    yield from groups.values()

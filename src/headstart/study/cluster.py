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
from contextlib import contextmanager, suppress
from functools import partial
from socket import gethostname
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import NAMESPACE_URL, getnode, uuid4, uuid5

from dask import config
from dask.system import CPU_COUNT
from distributed import CancelledError, Client, LocalCluster, as_completed
from distributed.client import ClosedClientError
from distributed.comm import core as comm
from distributed.system import MEMORY_LIMIT
from distributed.utils import LoopRunner

from headstart.errors import BadRequest, Failed
from headstart.study.plan import Network, Plan
from headstart.study.rows import Rows
from headstart.study.worker import Data, Refused, train_on_worker

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.study.work import Source

ANY_PORT = "127.0.0.1:0"  # of this machine: without an address, Dask would listen on all
ANSWERS_WITHIN = 10  # seconds, a scheduler does
IN_FLIGHT = 3  # networks a worker that are handed out ahead
RENEW_AFTER = 100  # networks a worker, of which each leaves up to 13 MB behind
MEMORY = 3_000_000_000  # bytes that a worker may take by then
# What tells that the scheduler is gone:
LOST = (ClosedClientError, comm.CommClosedError, CancelledError, asyncio.CancelledError, TimeoutError)

T = TypeVar("T")


def usual_workers() -> int:
    """A worker a core, or as many as there is memory for."""
    return max(1, min(CPU_COUNT, MEMORY_LIMIT // MEMORY))


@contextmanager
def connect(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of a running scheduler, or of local worker processes of our own."""
    if scheduler:
        try:
            LoopRunner().run_sync(greet, scheduler)
            client = Client(scheduler, timeout=f"{ANSWERS_WITHIN}s")
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


async def greet(scheduler: str) -> None:
    """Raises OSError if nobody answers; Client would wait for ever for what takes the call and says nothing."""
    try:
        answered = await asyncio.wait_for(comm.connect(scheduler, timeout=ANSWERS_WITHIN), ANSWERS_WITHIN)
    except TimeoutError:
        raise TimeoutError(f"it takes the call and says nothing for {ANSWERS_WITHIN} seconds") from None
    await answered.close()


def execute(
    plan: Plan,
    rows: Rows,
    dataset: Dataset,
    client: Client,
    done: Callable[[Network, str], object],
    load: Callable[[], Dataset] | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> None:
    """Train what has no row yet. `done(network, error)` hears of each end; the error is a traceback, or empty.

    `load` gives a worker the dataset; without it, this one is sent. `say` hears of workers that are missing or refused.
    Raises BadRequest if a worker is refused at the start, Failed if later the last one is, or the scheduler is lost.
    """
    sitting = Sitting(plan, rows, dataset, client, done, say)
    weights_travel = {"distributed.admin.large-graph-warning-threshold": "1GB"}  # with a task, as Dask advises against
    try:
        client.register_plugin(Data(sitting.name, load or partial(as_it_is, dataset)))
        if not count_workers(client):
            say("The scheduler has no worker yet; what is to be trained waits for one.")
        if several := sum(threads > 1 for threads in client.nthreads().values()):
            say(f"{several} worker(s) have several threads and train in one: start a worker a core (docs/study.md).")
        with config.set(weights_travel):
            sitting.train_all()
    except LOST as error:
        raise Failed(
            f"the scheduler is gone ({error!r}); the same command goes on from the rows that are there"
        ) from error
    finally:
        if client.status == "running":
            with suppress(*LOST, KeyError, ValueError):  # what there is to take back is taken back
                client.unregister_worker_plugin(sitting.name)


class Sitting:
    """One command's work on a study: what waits, what is handed out, and what becomes of it."""

    def __init__(
        self,
        plan: Plan,
        rows: Rows,
        dataset: Dataset,
        client: Client,
        done: Callable[[Network, str], object],
        say: Callable[[str], object],
    ):
        # The folder's and its images' own: what a killed sitting has left on the scheduler is replaced, not added to.
        place = [getnode(), gethostname(), str(rows.folder.resolve())]
        which = f"{place} {sorted({network.data for network in plan.networks.values()})}"
        self.name = f"headstart-{uuid5(NAMESPACE_URL, which).hex}"
        self.id = uuid4().hex  # a new one: tasks that it has left are not this sitting's
        self.rows, self.dataset, self.client, self.done, self.say = rows, dataset, client, done, say
        self.missing = {key: network for key, network in plan.networks.items() if rows.read(key) is None}
        self.waiting = deque(group_by_source(self.missing))
        self.followers: dict[str, list[Network]] = {}  # what waits for a source that is being trained
        self.futures: dict[Any, Network] = {}
        self.completed = as_completed()
        self.aside: set[str] = set()  # the addresses of workers that cannot work
        self.taken = 0  # networks, since the workers' processes were started

    def train_all(self) -> None:
        """Until nothing is left."""
        while self.waiting or self.futures:
            workers = max(1, count_workers(self.client))
            tired = self.client.cluster is not None and self.taken >= RENEW_AFTER * workers
            if tired and not self.futures:
                with suppress(TimeoutError):  # those that are back go on
                    self.client.restart()
                tired, self.taken = False, 0
            while self.waiting and not tired and len(self.futures) < IN_FLIGHT * workers:
                self.hand_out()
            self.take(next(self.completed))

    def hand_out(self) -> None:
        """Hand out the next source, or where it is there, all that starts from it."""
        source, dependents = self.waiting.popleft()
        stored = stored_source(self.rows, source, self.missing, self.dataset) if source else None
        if source and not stored:
            self.followers[source.key] = dependents
            self.submit(source, None)
        else:
            self.start(dependents, stored)

    def start(self, dependents: list[Network], source: Source | None) -> None:
        """What starts from a source goes before further sources: weights should not wait in memory."""
        weights = self.client.submit(as_it_is, source, pure=False, priority=1) if source and dependents else None
        for network in dependents:
            self.submit(network, weights)

    def submit(self, network: Network, source: Any) -> None:
        """Hand out one network; `source` is the future of what it starts from."""
        key, priority = f"{self.id}-{network.key}", 1 if source else 0
        task = (train_on_worker, network, source, self.name)
        future = self.client.submit(*task, key=key, retries=1, priority=priority)
        self.futures[future] = network
        self.completed.add(future)

    def take(self, future: Any) -> None:
        """Put what has come back on the disk, and hand out what waited for it."""
        if future.status == "error" and isinstance(refused := future.exception(), Refused):
            self.set_aside(refused)
            future.retry()
            self.completed.add(future)
            return
        network = self.futures.pop(future)
        self.taken += 1
        dependents = self.followers.pop(network.key, [])
        if future.status == "error":
            trace = "".join(traceback.format_exception(future.exception()))
            for lost in (network, *dependents):
                self.done(lost, trace)
            return
        row, source = future.result()  # raises if the scheduler has forgotten it
        if source:
            self.rows.write_source(network.key, source)
        self.rows.write(network.key, row)
        self.start(dependents, source)
        self.done(network, "")

    def set_aside(self, refused: Refused) -> None:
        """A worker that joined late and cannot work would fail one task after the other."""
        if refused.address in self.aside:
            return
        self.aside.add(refused.address)
        self.client.retire_workers([refused.address])
        if not count_workers(self.client):
            raise Failed(f"no worker is left: {refused.why}; the same command goes on from the rows that are there")
        self.say(f"The worker {refused.address} is set aside: {refused.why}")


def count_workers(client: Client) -> int:
    """How many the scheduler has; none where it is gone."""
    workers: int = client.scheduler_info(n_workers=0).get("n_workers", 0)
    return workers


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

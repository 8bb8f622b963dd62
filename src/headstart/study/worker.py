"""What a worker has in it: a study's dataset, or why it has none, and the task that it gets."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from headstart.errors import BadRequest
from headstart.provenance import provenance
from headstart.quiet import import_tensorflow
from headstart.sources import fingerprint

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.study.plan import Network
    from headstart.study.work import Source

DATASETS: dict[str, Dataset] = {}  # this worker's, by the name of the plugin: a scheduler may have several studies
REFUSED: dict[str, Refused] = {}  # and why it has none, by the same
ONE_AT_A_TIME = Lock()  # in a worker of several threads: Keras' random state is one for all of them

Outcome = tuple[dict[str, Any], "Source | None"]


class Refused(Exception):
    """A worker that cannot do a study's tasks: its address and why."""

    def __init__(self, address: str, why: str):
        super().__init__(address, why)
        self.address, self.why = address, why


class Data(WorkerPlugin):
    """Gives every worker the dataset, also one that joins late or starts anew after a crash.

    It refuses a worker whose code is not this process's: rows are kept under what the client says has trained them.
    """

    def __init__(self, name: str, load: Callable[[], Dataset]):
        self.name, self.load, self.by = name, load, provenance()

    def setup(self, worker: Any) -> None:
        """Called when the worker starts. What it raises reaches the client, or of one that joins late, a log alone."""
        import_tensorflow()
        from headstart.study.work import prepare

        REFUSED.pop(self.name, None)
        try:
            if self.by != provenance():
                raise BadRequest(
                    f"--scheduler: the worker {worker.address} has other code ({provenance()}) than this process "
                    f"({self.by}), and would train other networks; install the same versions on both"
                )
            prepare()
            freeze_imports()
            DATASETS[self.name] = self.load()
        except Exception as error:
            REFUSED[self.name] = Refused(worker.address, str(error))
            raise

    def teardown(self, worker: Any) -> None:
        """Called when the study has ended: datasets do not pile up in somebody else's workers."""
        DATASETS.pop(self.name, None)
        REFUSED.pop(self.name, None)


@cache
def freeze_imports() -> None:
    """What imports have left is no garbage: no training need look through all of TensorFlow at its end."""
    gc.collect()
    gc.freeze()


def own_copy(data: str, path: str, images: float) -> Dataset:
    """What a worker loads itself. Raises BadRequest if its fingerprint is not `data`."""
    from headstart.study import load_images

    dataset, source = load_images(path, images)
    if fingerprint(dataset) != data:
        raise BadRequest(f"--worker-data {path}: a worker has other images there ({source}) than --data names here")
    return dataset


def train_on_worker(planned: Network, source: Source | None, study: str) -> Outcome:
    """The task that a worker gets; `study` is the name of its plugin. Raises Refused."""
    from headstart.study.work import train_network

    if study in REFUSED:
        raise REFUSED[study]
    with ONE_AT_A_TIME:
        return train_network(planned, DATASETS[study], source)

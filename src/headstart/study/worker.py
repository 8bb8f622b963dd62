"""The state of a worker process: a study's dataset and training, or why it has none, and the task that it executes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

from distributed import WorkerPlugin

from headstart.datasets.sources import fingerprint
from headstart.errors import InvalidRequest
from headstart.practical.data import Dataset
from headstart.runtime.provenance import provenance
from headstart.runtime.startup import import_tensorflow
from headstart.study.plan import NetworkSpec
from headstart.study.results import Source
from headstart.study.subsets import load_images

Outcome = tuple[dict[str, Any], Source | None]
Train = Callable[[NetworkSpec, Dataset, Source | None], Outcome]

STUDIES: dict[str, tuple[Dataset, Train]] = {}  # by the plugin's name, because a scheduler may have several studies
REJECTED: dict[str, WorkerRejected] = {}  # by the plugin's name: the reason why this worker has no dataset
ONE_AT_A_TIME = Lock()  # in a worker with several threads, because they share Keras' random state


class WorkerRejected(Exception):
    """A worker cannot execute a study's tasks: its address and the reason."""

    def __init__(self, address: str, reason: str):
        super().__init__(address, reason)
        self.address, self.reason = address, reason


class DatasetPlugin(WorkerPlugin):
    """Gives every worker the dataset and the training, also workers that join late or restart after a crash.

    It rejects a worker whose code differs from this process', because rows are stored under this code's hash.

    Args:
        name: The study's name on the scheduler.
        load: Returns the dataset.
        train: Trains a network; `train_network` by default.
    """

    def __init__(self, name: str, load: Callable[[], Dataset], train: Train | None = None):
        self.name, self.load, self.train, self.provenance = name, load, train, provenance()

    def setup(self, worker: Any) -> None:
        """Load the dataset, and import what trains, when the worker starts.

        Dask reports errors to the client. For a worker that joins late, it only logs them.

        Args:
            worker: Dask's worker.

        Raises:
            InvalidRequest: The worker has other code.
        """
        REJECTED.pop(self.name, None)
        try:
            if self.provenance != provenance():
                raise InvalidRequest(
                    f"the worker {worker.address} has other code ({provenance()}) than this process "
                    f"({self.provenance}), and would train other networks; install the same versions on both"
                )
            STUDIES[self.name] = (self.load(), self.train or import_training())
        except Exception as error:
            REJECTED[self.name] = WorkerRejected(worker.address, str(error))
            raise

    def teardown(self, worker: Any) -> None:
        """Remove the dataset when the study ends, so that datasets do not accumulate on a shared cluster."""
        STUDIES.pop(self.name, None)
        REJECTED.pop(self.name, None)


@cache
def import_training() -> Train:
    """Import TensorFlow, let it use one thread, and return the function that trains a network.

    All imported objects are exempted from garbage collection, because it would scan them after each training.
    """
    import_tensorflow()
    from headstart.study.task import train_network, use_one_thread

    use_one_thread()
    gc.collect()
    gc.freeze()
    return train_network


def load_own_copy(expected: str, data: str, images: float, test_share: float | None = None) -> Dataset:
    """Load a worker's own copy of the dataset.

    Args:
        expected: The fingerprint of the client's dataset.
        data: What the worker loads, as in `load_dataset`.
        images: The fraction of the training images.
        test_share: As in `load_dataset`.

    Returns:
        The dataset, equal to the client's.

    Raises:
        InvalidRequest: The worker's images are different.
    """
    dataset, source = load_images(data, images, test_share)
    if fingerprint(dataset) != expected:
        rule = f"a worker has other images there ({source}) than the client"
        raise InvalidRequest(rule, option="worker_data", value=data)
    return dataset


def train_on_worker(spec: NetworkSpec, source: Source | None, study: str) -> Outcome:
    """Execute a task.

    Args:
        spec: What to train.
        source: The source network, if the strategy copies layers.
        study: The name of the study's plugin.

    Returns:
        The network's row, and its weights if it is a source.

    Raises:
        WorkerRejected: This worker has no dataset.
    """
    if study in REJECTED:
        raise REJECTED[study]
    dataset, train = STUDIES[study]
    with ONE_AT_A_TIME:
        return train(spec, dataset, source)

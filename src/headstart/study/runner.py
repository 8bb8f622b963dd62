"""Execute a study: check the request, train what is missing, and write the results, also during the training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import headstart
from headstart.datasets.duplicates import warn_about_duplicates
from headstart.datasets.sources import fingerprint, printable
from headstart.errors import InvalidRequest, TrainingFailed
from headstart.options import check_count, check_folder, check_images, check_precision, resolve_precision
from headstart.practical.data import Dataset
from headstart.storage.files import remove_partial_files, user_fixable, visible_names, write_json
from headstart.storage.locks import exclusive_lock
from headstart.storage.schema import read_json
from headstart.study.cost import STARTUP_COST, training_cost
from headstart.study.outputs import write_outputs
from headstart.study.plan import NetworkSpec, Plan, make_plan
from headstart.study.results import ResultStore, collect_results
from headstart.study.scheduler import connect, default_workers, execute_plan
from headstart.study.subsets import load_images
from headstart.study.summary import Analysis, analyse
from headstart.study.worker import Train, load_own_copy
from headstart.training.recipes import PRECISIONS, RECIPE_A, RECIPE_B, RECIPE_FILE, Recipes, as_file

WRITE_INTERVAL = 600  # seconds between two writings of the results so far
OnResults = Callable[[Path, dict[str, Any], Analysis], object]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """A checked study with its dataset."""

    plan: Plan
    dataset: Dataset
    source: str
    options: dict[str, Any]  # what the plan was made from, and the precision with its reason
    recipes: Recipes
    folder: Path

    @property
    def missing(self) -> list[NetworkSpec]:
        """The networks that have no row in the folder yet."""
        store = ResultStore(self.folder)
        return [network for key, network in self.plan.networks.items() if store.read(key) is None]

    @property
    def unrelated(self) -> int:
        """How many rows of the folder belong to another plan, other data or other code."""
        return sum(path.stem not in self.plan.networks for path in (self.folder / "rows").glob("*.json"))

    @property
    def content(self) -> dict[str, Any]:
        """The content of `study.json`."""
        return {
            "headstart": headstart.__version__,
            "dataset": {
                "name": self.dataset.name,
                "source": self.source,
                "class_names": list(self.dataset.class_names),
            },
            "options": self.options,
            "recipe": as_file(self.recipes),
            "conditions": len(self.plan.conditions),
            "networks": len(self.plan.networks),
        }


def check_study(
    *,
    data: str = "auto",
    images: float = 1.0,
    test_share: float | None = None,
    out: str | Path = "study",
    precision: str = "auto",
    on_cluster: bool = False,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
    **plan_options: Any,
) -> Study:
    """Check a study and load its dataset.

    Args:
        data: As in `load_dataset`.
        images: The fraction of all training images, part A's and part B's, above 0 and at most 1.
        test_share: As in `load_dataset`.
        out: The folder for the results.
        precision: "auto", "float32" or "bfloat16".
        on_cluster: Whether other machines train. They cannot be measured, so "auto" means float32 there.
        recipes: Part A's and part B's.
        plan_options: pairs, seeds, strategies, train_sizes and epochs: see `make_plan`.

    Returns:
        The study, with its dataset and plan.

    Raises:
        InvalidRequest: An option is invalid.
        ResourceError: The dataset cannot be downloaded.
    """
    folder = Path(out)
    check_images(images)
    check_precision(precision)
    check_folder(folder, "a study", lambda folder: bool(visible_names(folder) & {"rows", "study.json"}))
    dataset, source = load_images(data, images, test_share)
    stored = stored_precision(folder)
    if precision == "auto" and on_cluster and not stored:
        stored = ("float32", "it is fast on every machine, and the workers were not measured")
    chosen, reason = resolve_precision(precision, stored)
    plan = make_plan(dataset, fingerprint(dataset), precision=chosen, recipes=recipes, **plan_options)
    logger.info("Data: %s (%s)", dataset.name, source)
    warn_about_duplicates(dataset)
    logger.info("Precision: %s (%s)", chosen, reason)
    options = plan_options | {"data": printable(data), "images": images, "test_share": test_share}
    options |= {"precision": chosen, "precision_reason": reason}
    return Study(plan, dataset, source, options, recipes, folder)


def stored_precision(folder: Path) -> tuple[str, str] | None:
    """Return the precision of a study in this folder and its reason, or None.

    Args:
        folder: The study's folder.

    Raises:
        InvalidRequest: `study.json` is damaged or from another version.
    """
    path = folder / "study.json"
    if not path.exists():
        return None
    try:
        options = read_json(path, {"options": {"precision": PRECISIONS, "precision_reason": str}})["options"]
        return options["precision"], options["precision_reason"]
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"{path}: not from this version ({error}); remove it to continue from the rows that are there"
        ) from None


def execute_study(
    study: Study,
    on_results: OnResults,
    workers: int | None = None,
    scheduler: str | None = None,
    worker_data: str | None = None,
    write_interval: float = WRITE_INTERVAL,
    train: Train | None = None,
) -> Path:
    """Train all missing networks, and write the tables and figures.

    Args:
        study: From `check_study`.
        on_results: Called with the folder, the content of `study.json` and the analysis, after each writing.
        workers: Processes on this machine; one per core by default.
        scheduler: "tcp://HOST:PORT" of a Dask cluster, instead.
        worker_data: What each worker loads, as in `load_dataset`; by default the images are sent to the workers.
        write_interval: Seconds between two writings of the results so far.
        train: As in `execute_plan`.

    Returns:
        The folder.

    Raises:
        InvalidRequest: A worker is rejected.
        ResourceError: The disk is full, or another process is working in the folder.
        TrainingFailed: Networks failed, or the scheduler was lost. All other results are written.
    """
    folder, load = study.folder, None
    if worker_data is not None:
        images, test_share = study.options["images"], study.options["test_share"]
        load = partial(load_own_copy, fingerprint(study.dataset), worker_data, images, test_share)
    with ExitStack() as stack, user_fixable(folder):
        # First, because a scheduler that is not there must leave no folder.
        client = stack.enter_context(connect(workers or default_workers(), scheduler)) if study.missing else None
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder):
            remove_partial_files(folder)
            store = ResultStore(folder)
            write_json(folder / "study.json", study.content)  # first, because it marks the folder as a study's
            write_json(folder / RECIPE_FILE, as_file(study.recipes))
            progress = StudyProgress(study.plan, study.dataset, store)
            written = time.monotonic()

            def write() -> None:
                """Write everything that is made from the rows."""
                class_names = study.dataset.class_names
                analysis = analyse(collect_results(study.plan, store, progress.failures, class_names))
                write_outputs(folder, study.content, analysis)
                on_results(folder, study.content, analysis)

            def on_done(network: NetworkSpec, error: str) -> None:
                """Count a network, and write the results from time to time."""
                nonlocal written
                progress.count(network, error)
                if progress.left and time.monotonic() - written > write_interval:
                    write()
                    written = time.monotonic()

            try:
                if client and progress.left:
                    execute_plan(study.plan, store, study.dataset, client, on_done, load, train=train)
            finally:
                write()
    if failures := progress.failures:
        last = next(iter(failures.values())).strip().splitlines()[-1]
        raise TrainingFailed(
            f"{len(failures)} of {len(study.plan.networks)} networks failed (the first: {last}); all others are "
            f"completed; the tracebacks are in {folder / 'results.csv'}"
        )
    return folder


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Check the options that determine where the networks are trained.

    Args:
        workers: The number of local processes, or None.
        scheduler: The address of a scheduler, or None.

    Raises:
        InvalidRequest: The number is below 1, or both are given.
    """
    if workers is not None:
        check_count("workers", workers)
        if scheduler:
            rule = f"the scheduler {scheduler} has its own workers; leave out one of the two"
            raise InvalidRequest(rule, option="workers", value=workers)


class StudyProgress:
    """Counts networks, keeps the tracebacks of those that failed, and estimates the remaining time.

    Args:
        plan: The study's plan.
        dataset: All images.
        store: The rows that are there.
        clock: Returns seconds.
    """

    def __init__(self, plan: Plan, dataset: Dataset, store: ResultStore, clock: Callable[[], float] = time.monotonic):
        self.total = len(plan.networks)
        self.cost = {key: STARTUP_COST + training_cost(network, dataset) for key, network in plan.networks.items()}
        self.left = {key for key in plan.networks if not store.path(key).exists()}
        self.clock, self.start, self.done = clock, clock(), 0.0  # done: the cost of the networks that ended
        self.failures: dict[str, str] = {}  # tracebacks by key

    def count(self, network: NetworkSpec, error: str) -> None:
        """Count a network that has ended, and log it with the estimated remaining time.

        Args:
            network: The network.
            error: Its traceback, or "" if it succeeded.
        """
        self.done += self.cost[network.key]
        self.left.discard(network.key)  # a source without stored weights is trained again, but is not in `left`
        if error:
            self.failures[network.key] = error
        remaining = sum(self.cost[key] for key in self.left) / self.done
        minutes, seconds = divmod(round((self.clock() - self.start) * remaining), 60)
        which = network.strategy.name if network.strategy else f"source {network.part}"
        logger.info(
            "%s of %s networks: %s, classes %s, size %s, seed %s: %s | %s min %02d s left",
            *(self.total - len(self.left), self.total, which, network.classes, network.train_size, network.seed),
            *("FAILED" if error else "completed", minutes, seconds),
            extra={"topic": "study"},
        )

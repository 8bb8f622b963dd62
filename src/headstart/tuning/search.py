"""Search a recipe on validation images. The test images are replaced before anything is trained.

A trial trains the practical's networks with one recipe. A trial that is worse than the median of the others at the same
step is stopped early. The search is Optuna's TPE. Its journal file can be shared by several processes, and a killed
process continues from it. A recipe that ends with an error, or whose process is killed, is tried once more.

Part A: the accuracy of network A on a tenth of its training images, which it is not trained on. The first pair's
network may be stopped after half of its epochs.

Part B: the mean over all pairs and the practical's three strategies, so that none has an advantage. A trial may be
stopped between networks, after all three strategies of the first pair.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.trial import TrialState
from sklearn.model_selection import train_test_split

from headstart.datasets.sources import fingerprint
from headstart.errors import HeadstartError, InvalidRequest, TrainingFailed
from headstart.options import check_folder, resolve_precision
from headstart.practical.data import Dataset
from headstart.storage.files import remove_partial_files
from headstart.study.plan import NetworkSpec
from headstart.study.results import ResultStore
from headstart.study.task import build_source, train_network
from headstart.training.recipes import RECIPE_A
from headstart.tuning.coordination import attach, claim_trial, open_search, record_failure
from headstart.tuning.objective import Search, choose_recipe, try_recipe
from headstart.tuning.results import FILES, completed, ended, write_results
from headstart.tuning.space import change_recipe

JOURNAL_START = b'{"op_code":'  # of every line of Optuna's journal

logger = logging.getLogger(__name__)


def check_search_folder(folder: Path) -> None:
    """Raise InvalidRequest unless the folder is new, empty, or contains a search."""
    check_folder(folder, "a search", contains_search)


def contains_search(folder: Path) -> bool:
    """Check whether a folder has one of Optuna's journals, which may still be empty."""
    journal = folder / "journal.log"
    return journal.is_file() and JOURNAL_START.startswith(journal.read_bytes()[: len(JOURNAL_START)])


def hide_test_images(dataset: Dataset, share: float = 0.1, images: float = 1.0) -> Dataset:
    """Replace the test images by training images, on which no network is trained.

    Args:
        dataset: All images.
        share: The fraction of each class' training images that becomes validation images, above 0 and below 1.
        images: The fraction of the other training images that is trained on, above 0 and at most 1.

    Returns:
        A dataset whose "test" images are the validation images.

    Raises:
        InvalidRequest: No image of a class would be left.
    """
    numbers, counts = np.arange(len(dataset.y_train)), np.bincount(dataset.y_train)
    try:
        rest, validation = train_test_split(numbers, test_size=share, stratify=dataset.y_train, random_state=0)
        if images < 1:
            rest, _ = train_test_split(rest, train_size=images, stratify=dataset.y_train[rest], random_state=0)
        if any(len(np.unique(dataset.y_train[index])) < len(counts) for index in (rest, validation)):
            raise ValueError("a class has none")
    except ValueError as error:
        rule = (
            f"of {len(dataset.y_train):,} training images, {share:.0%} are for validation and this fraction of the "
            f"others for training. Both need an image of each class, but the smallest class has {counts.min()}: give "
            "a larger fraction, or more images"
        )
        raise InvalidRequest(rule, option="images", value=images) from error
    train, held_back = (np.sort(index) for index in (rest, validation))
    return replace(
        dataset,
        x_train=dataset.x_train[train],
        y_train=dataset.y_train[train],
        x_test=dataset.x_train[held_back],
        y_test=dataset.y_train[held_back],
    )


def search_recipe(search: Search, folder: Path, trials: int, candidates: Sequence[str] = ()) -> Path:
    """Try recipes until the search has enough trials.

    Args:
        search: What is searched.
        folder: For `journal.log`, `trials.csv`, `best.json`, `search.json` and `tuning.png`.
        trials: How many recipes to try, including earlier ones.
        candidates: Changes of the current recipe in JSON. The current recipe and these are tried first, once each.

    Returns:
        The folder.

    Raises:
        InvalidRequest: A candidate is not in the space that is searched, or the folder has another search.
        TrainingFailed: No recipe was trained to its end.
    """
    parameters_first = [change_recipe(changes, search.part) for changes in candidates]
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, lock = open_search(folder, search.part, search.epochs), FileLock(folder / ".search.lock")
    with lock:
        for name in FILES:  # only a process with this lock writes them
            remove_partial_files(folder, name)
        stored = study.user_attrs.get("search", {}).get("precision")
        precision, reason = resolve_precision(search.precision, (stored, "as in this search") if stored else None)
        logger.info("Precision: %s (%s)", precision, reason)
        search = replace(search, precision=precision)
        settings = search.settings()
        attach(study, settings, folder)
        for parameters in parameters_first:
            study.enqueue_trial(parameters, skip_if_exists=True)
    sources = train_sources(search, folder) if search.part == "b" else []
    while (claimed := claim_trial(study, trials, folder, lock)) is not None:
        trial, at_work, number = claimed
        with at_work:
            state, accuracy = TrialState.COMPLETE, None
            try:
                recipe = choose_recipe(trial, search)
                work = trial.user_attrs["work"]
                logger.info("trial %s, %s of %s: %.2f times the work", trial.number, number, trials, work)
                accuracy = try_recipe(trial, search, recipe, sources)
                outcome = f"{trial.user_attrs['seconds']:.0f} s, {accuracy:.2%}"
            except optuna.TrialPruned as reason_to_stop:
                state, outcome = TrialState.PRUNED, str(reason_to_stop)
            except (HeadstartError, OSError, KeyboardInterrupt):  # Ctrl-C or a full disk, not caused by the recipe
                with suppress(OSError), lock:
                    record_failure(study, trial.number, caused_by_recipe=False)
                raise
            except Exception as error:  # after any error, other recipes can still be tried
                state = TrialState.FAIL
                outcome = " ".join(f"failed ({type(error).__name__}: {error!s:.300})".split())
            # Still under the trial's lock, because a running trial without one counts as that of a killed process.
            with lock:
                if state == TrialState.FAIL:
                    again = record_failure(study, trial.number)
                    outcome += ", will be tried once more" if again else ", not tried again"
                else:
                    study.tell(trial, accuracy, state)
                write_results(study, settings, search.dataset.name, folder)
            logger.info("trial %s: %s", trial.number, outcome)
    with lock:  # again, because a process may have been killed between recording the last trial and writing it
        write_results(study, settings, search.dataset.name, folder)
    if not completed(study):
        raise TrainingFailed(
            f"none of {len(ended(study))} recipes was trained to its end ({folder / 'trials.csv'}): try more"
        )
    return folder


def train_sources(search: Search, folder: Path) -> list[Any]:
    """Return network A of every pair, with part A's current recipe. One process trains each network, for all others.

    Args:
        search: The search on part B.
        folder: The search's folder, which stores the networks.

    Returns:
        Keras networks, one for each pair.
    """
    store, images = ResultStore(folder), fingerprint(search.dataset)
    recipe = search.with_settings(RECIPE_A)
    specs = [NetworkSpec(pair, search.seed, recipe, images, part="a") for pair in search.pairs]
    classes = len(search.dataset.class_names) - 2
    found: dict[str, Any] = {}
    for wait in (0, -1):  # first the networks that no other process is training, then wait for the others
        for spec in specs:
            with suppress(Timeout), FileLock(folder / f".{spec.key}.lock", timeout=wait):
                remove_partial_files(folder, store.source_path(spec.key).name)
                found[spec.key] = store.read_source(spec.key, classes, recipe)
                if found[spec.key] is None:
                    row, found[spec.key] = train_network(spec, search.dataset, None)
                    store.write_source(spec.key, found[spec.key])
                    accuracy = row["test_accuracy"]
                    logger.info("network A without %s: %.2f%% validation accuracy", spec.classes, 100 * accuracy)
    return [build_source(found[spec.key]) for spec in specs]

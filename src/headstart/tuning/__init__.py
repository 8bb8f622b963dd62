"""Search the recipe, on validation images alone: the test images are replaced before anything is trained.

A trial is what the practical's own functions make of a recipe. One that is worse than half of the others were by then
is stopped early; the search is Optuna's TPE, kept in a journal file that several processes may share and a killed one
goes on from. A recipe that ends in an error, or with its process, is tried once more.

- Part A: the accuracy of network A on a tenth of its training images, which it is not trained on. The first pair's
  network may be stopped, from half of its epochs on.
- Part B: the mean over all pairs and over the practical's three strategies, so that none is favoured. A trial may be
  stopped between networks, from when all three strategies of the first pair are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.trial import TrialState
from sklearn.model_selection import train_test_split

from headstart.errors import BadRequest, Failed
from headstart.practical.data import Dataset
from headstart.precision import choose_precision
from headstart.provenance import provenance
from headstart.recipes import RECIPE_A, RECIPE_B, Recipe, as_json
from headstart.sources import fingerprint
from headstart.store import mendable, names_in
from headstart.study.plan import Network
from headstart.study.rows import Rows
from headstart.study.work import train_network
from headstart.tuning.results import completed, ended, write_results
from headstart.tuning.space import change_recipe
from headstart.tuning.trial import choose_recipe, try_recipe
from headstart.tuning.turns import claim, fail, join, open_study

JOURNAL = b'{"op_code":'  # so begins every line of a journal of Optuna's


@dataclass(frozen=True)
class Search:
    """What is searched, and on what."""

    part: str  # "a" or "b"
    dataset: Dataset  # with validation images in place of the test images
    pairs: Sequence[tuple[int, int]]
    epochs: int
    seed: int = 0
    precision: str = "float32"  # or "bfloat16"; "auto": that of the folder's search, or what is faster here

    def describe(self) -> dict[str, Any]:
        """All that decides what a recipe's accuracy is, in the types of JSON; of the images their fingerprint."""
        asked: dict[str, Any] = {"part": self.part, "pairs": [list(pair) for pair in self.pairs]}
        asked |= {"epochs": self.epochs, "seed": self.seed, "precision": self.precision}
        if self.part == "b":  # whose sources are A's, and whose networks are what its recipe says
            asked["recipes"] = [as_json(self.fix(recipe)) for recipe in (RECIPE_A, RECIPE_B)]
        return {**asked, "data": fingerprint(self.dataset), "by": provenance()}

    def fix(self, recipe: Recipe) -> Recipe:
        """The recipe with what is not searched."""
        return replace(recipe, epochs=self.epochs, seed=self.seed, precision=self.precision)


def check_folder(folder: Path) -> None:
    """Raises BadRequest unless the folder is new, empty, or holds a search."""
    journal = folder / "journal.log"
    with mendable(folder):
        beginning = journal.read_bytes()[: len(JOURNAL)] if journal.is_file() else b""
        foreign = names_in(folder) and not journal.is_file()
        if folder.is_file() or foreign or not JOURNAL.startswith(beginning):
            raise BadRequest(
                f"--out {folder}: it holds something else; name a folder that is new, empty or holds a search"
            )


def hide_test_images(dataset: Dataset, share: float = 0.1, images: float = 1.0) -> Dataset:
    """The dataset with `share` of its training images, class by class, in place of its test images.

    `images` is the part of the others that is trained on: a search may make do with fewer. Raises BadRequest where that
    leaves none of a class.
    """
    everything, counts = np.arange(len(dataset.y_train)), np.bincount(dataset.y_train)
    try:
        rest, validation = train_test_split(everything, test_size=share, stratify=dataset.y_train, random_state=0)
        if images < 1:
            rest, _ = train_test_split(rest, train_size=images, stratify=dataset.y_train[rest], random_state=0)
        if any(len(np.unique(dataset.y_train[index])) < len(counts) for index in (rest, validation)):
            raise ValueError("a class has none")
    except ValueError as error:
        raise BadRequest(
            f"--images {images}: {share:.0%} of the {len(dataset.y_train):,} training images are for validation, this "
            f"part of the others to train on, and both need one of each class (the smallest has {counts.min()}): "
            "give a larger part, or --data with more images"
        ) from error
    seen, held_back = (np.sort(index) for index in (rest, validation))
    return replace(
        dataset,
        x_train=dataset.x_train[seen],
        y_train=dataset.y_train[seen],
        x_test=dataset.x_train[held_back],
        y_test=dataset.y_train[held_back],
    )


def tune(
    search: Search, folder: Path, trials: int, say: Callable[[str], object], candidates: Sequence[str] = ()
) -> Path:
    """Do trials until the journal has so many; leave `trials.csv`, `best.json`, `search.json` and `tuning.png`.

    The first ones are the recipe that stands and the candidates, changes of it in JSON: each is tried once. Raises
    BadRequest if a candidate is not in the space that is searched, Failed if no recipe was trained to its end.
    """
    chosen = [change_recipe(changes, search.part) for changes in candidates]
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, turn = open_study(folder, search.part, search.epochs), FileLock(folder / ".turn.lock")
    with turn:
        search = settle_precision(study, search, say)
        asked = search.describe()
        join(study, asked, folder)
        for parameters in chosen:
            study.enqueue_trial(parameters, skip_if_exists=True)
    sources = train_sources(search, folder, say) if search.part == "b" else []
    while (claimed := claim(study, trials, folder, turn, say)) is not None:
        trial, at_work, place = claimed
        with at_work:
            state, accuracy = TrialState.COMPLETE, None
            try:
                recipe = choose_recipe(trial, search)
                say(f"trial {trial.number}, {place} of {trials}: {trial.user_attrs['work']:.2f} times the work")
                accuracy = try_recipe(trial, search, recipe, sources)
                told = f"{trial.user_attrs['seconds']:.0f} s, {accuracy:.2%}"
            except optuna.TrialPruned as reason:
                state, told = TrialState.PRUNED, str(reason)
            except (BadRequest, OSError, KeyboardInterrupt):  # Ctrl-C, a full disk: not the recipe's fault
                with suppress(OSError), turn:
                    fail(study, trial.number, blamed=False)
                raise
            except Exception as error:  # whatever it is, other recipes are still to be tried
                state, told = TrialState.FAIL, " ".join(f"failed ({type(error).__name__}: {error!s:.300})".split())
            # Still at the trial: one that nobody is at and that is not told of is taken for a killed process's.
            with turn:
                if state == TrialState.FAIL:
                    told += ", to be tried once more" if fail(study, trial.number) else ", given up"
                else:
                    study.tell(trial, accuracy, state)
                write_results(study, asked, search.dataset.name, folder)
            say(f"trial {trial.number}: {told}")
    with turn:  # once more: one that was killed may have ended the last trial without writing it down
        write_results(study, asked, search.dataset.name, folder)
    if not completed(study):
        raise Failed(f"none of {len(ended(study))} recipes was trained to its end ({folder / 'trials.csv'}): try more")
    return folder


def settle_precision(study: optuna.Study, search: Search, say: Callable[[str], object]) -> Search:
    """The search in a precision of its own: a second probe might choose another than those did that it joins."""
    held = study.user_attrs.get("search", {}).get("precision")
    if search.precision == "auto" and held:
        return replace(search, precision=held)
    precision, reason = choose_precision(search.precision)
    say(f"Precision: {precision} ({reason})")
    return replace(search, precision=precision)


def train_sources(search: Search, folder: Path, say: Callable[[str], object]) -> list[Any]:
    """Network A of every pair, with the recipe that stands for A; what one process has trained, all use."""
    rows, data = Rows(folder), fingerprint(search.dataset)
    recipe = search.fix(RECIPE_A)
    planned = [Network(pair, search.seed, recipe, data, part="a") for pair in search.pairs]
    classes = len(search.dataset.class_names) - 2
    found: dict[str, Any] = {}
    for wait in (0, -1):  # first those that no other process is at, then, waiting for it, the others
        for network in planned:
            with suppress(Timeout), FileLock(folder / f".{network.key}.lock", timeout=wait):
                found[network.key] = rows.read_source(network.key, classes, recipe)
                if found[network.key] is None:
                    row, found[network.key] = train_network(network, search.dataset, None)
                    rows.write_source(network.key, found[network.key])
                    say(f"network A without {network.classes}: {row['test_accuracy']:.2%} of the validation images")
    return [found[network.key].build() for network in planned]

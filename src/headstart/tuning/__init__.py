"""Search the recipe, on validation images alone: the test images are replaced before anything is trained.

Each trial is one training by the practical's own functions. From half of its epochs on, one that is worse than half of
the others were by then is stopped; the search is Optuna's TPE, kept in a journal file that several processes may share
and a killed one goes on from.

- Part A: the accuracy of network A on a tenth of its training images, which it is not trained on.
- Part B: the mean over all pairs and over the practical's three strategies, so that none is favoured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from keras.callbacks import LambdaCallback
from optuna.storages.journal import JournalFileBackend
from sklearn.model_selection import train_test_split

from headstart.artefacts import describe_recipe
from headstart.errors import BadRequest
from headstart.practical.data import Dataset, split_classes
from headstart.practical.environment import set_up
from headstart.practical.network import build_network, colour_statistics
from headstart.practical.recipe import RECIPE_A, Recipe
from headstart.practical.training import Trained, train
from headstart.practical.transfer import STRATEGIES, transfer
from headstart.precision import choose_precision
from headstart.sources import fingerprint
from headstart.study.plan import Network
from headstart.study.rows import Rows
from headstart.study.work import train_network
from headstart.tuning.results import ended, write_results
from headstart.tuning.space import MOST_WORK, first_guess, relative_work, suggest


@dataclass(frozen=True)
class Search:
    """What is searched, and on what."""

    part: str  # "a" or "b"
    dataset: Dataset  # with validation images in place of the test images
    pairs: Sequence[tuple[int, int]]
    epochs: int
    seed: int = 0
    precision: str = (
        "float32"  # or "bfloat16"; "auto": that of the search that the folder holds, or what is faster here
    )

    def describe(self) -> dict[str, Any]:
        """All of it, in the types of JSON; of the images their fingerprint."""
        pairs = [list(pair) for pair in self.pairs]
        data = fingerprint(self.dataset)
        asked = {"part": self.part, "pairs": pairs, "epochs": self.epochs, "seed": self.seed}
        return {**asked, "precision": self.precision, "data": data}

    def fix(self, recipe: Recipe) -> Recipe:
        """The recipe with what is not searched."""
        return replace(recipe, epochs=self.epochs, seed=self.seed, precision=self.precision)


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


def try_recipe(trial: optuna.Trial, search: Search, sources: Sequence[Any]) -> float:
    """The validation accuracy of the trial's recipe."""
    recipe = search.fix(suggest(trial, search.part))
    trial.set_user_attr("recipe", describe_recipe(recipe))
    trial.set_user_attr("work", relative_work(recipe))
    if trial.user_attrs["work"] > MOST_WORK:
        raise optuna.TrialPruned(f"{trial.user_attrs['work']:.2f} times the work")
    networks: list[Trained] = []
    for number, pair in enumerate(search.pairs):
        part_a, part_b = split_classes(search.dataset, pair)
        if search.part == "a":
            network = build_network(len(part_a.class_names), recipe, colour_statistics(part_a.x_train), recipe.seed)
            networks.append(train(network, part_a, recipe, callbacks=[report_to(trial, first=number == 0)]))
        else:
            networks += [transfer(sources[number], strategy, part_b, recipe) for strategy in STRATEGIES]
    trial.set_user_attr("seconds", sum(trained.seconds for trained in networks))
    gaps = [trained.history["train_accuracy"].iloc[-1] - trained.test_accuracy for trained in networks]
    trial.set_user_attr("gap", float(np.mean(gaps)))
    return float(np.mean([trained.test_accuracy for trained in networks]))


def report_to(trial: optuna.Trial, first: bool) -> LambdaCallback:
    """Tells the trial each epoch's validation accuracy, and stops it where others were better by then."""

    def report(epoch: int, logs: dict[str, float]) -> None:
        if first:
            trial.report(logs["test_accuracy"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"behind the others after epoch {epoch + 1}")

    return LambdaCallback(on_epoch_end=report)


def tune(search: Search, folder: Path, trials: int, say: Callable[[str], object]) -> Path:
    """Do trials until the folder's journal has so many, and leave `trials.csv`, `best.json` and `tuning.png`."""
    set_up()
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = JournalFileBackend(str(folder / "journal.log"))
    study = optuna.create_study(
        study_name=f"part-{search.part}",
        storage=optuna.storages.JournalStorage(backend),
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=12),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=max(0, search.epochs // 2 - 1)),
    )
    turn = FileLock(folder / ".turn.lock")
    with turn:
        search = settle_precision(study, search, say)
        asked = search.describe()
        join(study, asked, folder)
    sources = train_sources(search, folder, say) if search.part == "b" else []
    while (claimed := claim(study, trials, folder, turn)) is not None:
        trial, at_work = claimed
        with at_work:
            try:
                accuracy = try_recipe(trial, search, sources)
            except optuna.TrialPruned as reason:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                say(f"trial {trial.number}: {reason}")
            else:
                study.tell(trial, accuracy)
                say(f"trial {trial.number}: {trial.user_attrs['seconds']:.0f} s, {accuracy:.2%}")
        with turn:
            write_results(study, asked, search.dataset.name, folder)
    with turn:  # once more: one that was killed may have ended the last trial without writing it down
        write_results(study, asked, search.dataset.name, folder)
    return folder


def settle_precision(study: optuna.Study, search: Search, say: Callable[[str], object]) -> Search:
    """The search in a precision of its own: a second probe might choose another than those did that it joins."""
    held = study.user_attrs.get("search", {}).get("precision")
    if search.precision == "auto" and held:
        return replace(search, precision=held)
    precision, reason = choose_precision(search.precision)
    say(f"Precision: {precision} ({reason})")
    return replace(search, precision=precision)


def join(study: optuna.Study, asked: dict[str, Any], folder: Path) -> None:
    """Begin the search, or make sure that the folder's is the same. Raises BadRequest if it is another."""
    held = study.user_attrs.get("search")
    if held is None:
        study.set_user_attr("search", asked)
        study.enqueue_trial(first_guess(asked["part"]))
    elif held != asked:
        others = ", ".join(f"{name} {held.get(name)}" for name in asked if held.get(name) != asked[name])
        raise BadRequest(f"--out {folder}: it holds another search ({others}); ask for that, or name another folder")


def claim(
    study: optuna.Study, trials: int, folder: Path, turn: FileLock
) -> tuple[optuna.Trial, AbstractContextManager[Any]] | None:
    """The next trial and the lock that says somebody is at it; None when the search has all its trials.

    Where others are at the last ones it waits for them: what a killed process leaves falls to those who wait.
    """
    while True:
        with turn:
            at_work = take_up(study, folder)
            done = len(ended(study))
            if done >= trials:
                return None
            if done + at_work < trials:
                trial = study.ask()
                return trial, trial_lock(folder, trial.number).acquire()
        time.sleep(1)


def take_up(study: optuna.Study, folder: Path) -> int:
    """What killed processes were trying waits to be tried again. How many trials somebody is at."""
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        with suppress(Timeout), trial_lock(folder, trial.number).acquire(timeout=0):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return len(study.get_trials(states=(optuna.trial.TrialState.RUNNING,)))


def trial_lock(folder: Path, number: int) -> FileLock:
    """Held as long as somebody is at the trial: the system frees it with the process, however that ends."""
    return FileLock(folder / f".trial-{number}.lock")


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
    return [SimpleNamespace(network=found[network.key].build()) for network in planned]

"""Search the recipe, on validation images alone: the test images are replaced before anything is trained.

Each trial is one training by the practical's own functions. From half of its epochs on, one that is worse than half of
the others were by then is stopped; the search is Optuna's TPE, kept in a journal file that several processes may share
and a killed one goes on from.

- Part A: the accuracy of network A on a tenth of its training images, which it is not trained on.
- Part B: the mean over all pairs and over the practical's three strategies, so that none is favoured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from keras.callbacks import LambdaCallback
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
from headstart.tuning.results import write_results
from headstart.tuning.space import MOST_WORK, relative_work, suggest
from headstart.tuning.turns import claim, join, open_study


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
    study = open_study(folder, search.epochs)
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

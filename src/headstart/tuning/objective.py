"""One trial: train the practical's networks with a recipe, and return their validation accuracy."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import optuna

from headstart.datasets.sources import fingerprint
from headstart.practical.data import Dataset, split_classes
from headstart.practical.network import colour_statistics
from headstart.runtime.memory import FreeOptimizer, free_variables
from headstart.runtime.provenance import provenance
from headstart.training.recipes import RECIPE_A, RECIPE_B, Recipe, as_json
from headstart.training.strategies import STRATEGIES
from headstart.training.trainer import Trained, build_network, train, transfer
from headstart.tuning.space import MAX_WORK, relative_work, suggest


@dataclass(frozen=True)
class Search:
    """The part, data and settings of a search."""

    part: str  # "a" or "b"
    dataset: Dataset  # with validation images in place of the test images
    pairs: Sequence[tuple[int, int]]
    epochs: int
    seed: int = 0
    precision: str = "float32"  # or "bfloat16"; "auto": that of the folder's search, or the faster one here

    def settings(self) -> dict[str, Any]:
        """Return everything that determines a recipe's accuracy, in JSON's types."""
        settings: dict[str, Any] = {"part": self.part, "pairs": [list(pair) for pair in self.pairs]}
        settings |= {"epochs": self.epochs, "seed": self.seed, "precision": self.precision}
        if self.part == "b":  # its sources have A's recipe, and its networks the sizes of B's
            settings["recipes"] = [as_json(self.with_settings(recipe)) for recipe in (RECIPE_A, RECIPE_B)]
        return {**settings, "fingerprint": fingerprint(self.dataset), "by": provenance()}

    def with_settings(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the values that are not searched."""
        return replace(recipe, epochs=self.epochs, seed=self.seed, precision=self.precision)


def choose_recipe(trial: optuna.Trial, search: Search) -> Recipe:
    """Suggest the trial's recipe, and store it in the trial.

    Args:
        trial: Optuna's trial.
        search: The part and the values that are not searched.
    """
    recipe = search.with_settings(suggest(trial, search.part))
    trial.set_user_attr("recipe", as_json(recipe))
    trial.set_user_attr("work", relative_work(recipe))
    return recipe


def try_recipe(trial: optuna.Trial, search: Search, recipe: Recipe, sources: Sequence[Any]) -> float:
    """Train the practical's networks with a recipe.

    Args:
        trial: Optuna's trial, from `choose_recipe`.
        search: The part, data and settings.
        recipe: The trial's recipe.
        sources: For part B, a source network for each pair.

    Returns:
        The mean validation accuracy, from 0 to 1.

    Raises:
        optuna.TrialPruned: The trial is too slow to be trained, or was stopped early.
    """
    if trial.user_attrs["work"] > MAX_WORK:
        raise optuna.TrialPruned(f"not trained, because it is more than {MAX_WORK} times the work")
    networks = train_a(trial, search, recipe) if search.part == "a" else train_b(trial, search, recipe, sources)
    measured = []
    try:
        for trained in networks:
            measured.append((trained.test_accuracy, trained.train_accuracy - trained.test_accuracy, trained.seconds))
            free_variables(trained.network.variables)  # otherwise the networks of all trials would stay in memory
    finally:
        keras.backend.clear_session()
        gc.collect()
    accuracies, gaps, seconds = zip(*measured, strict=True)
    trial.set_user_attr("seconds", sum(seconds))
    trial.set_user_attr("gap", float(np.mean(gaps)))
    return float(np.mean(accuracies))


def train_a(trial: optuna.Trial, search: Search, recipe: Recipe) -> Iterator[Trained]:
    """Train network A of every pair, one after the other.

    Args:
        trial: Optuna's trial.
        search: The data and the pairs.
        recipe: The trial's recipe.

    Raises:
        optuna.TrialPruned: The first network was stopped, because other trials were better.
    """
    for number, pair in enumerate(search.pairs):
        part, _ = split_classes(search.dataset, pair)
        watching = [report_to(trial)] if number == 0 else []
        network = build_network(len(part.class_names), recipe, colour_statistics(part.x_train), recipe.seed)
        trained = train(network, part, recipe, callbacks=[*watching, FreeOptimizer()])
        epochs = len(trained.history)
        yield trained
        if epochs < recipe.epochs:
            raise optuna.TrialPruned(f"worse than the others after epoch {epochs}")


def report_to(trial: optuna.Trial) -> keras.callbacks.Callback:
    """Return a callback that reports validation accuracies, and stops a training that is worse than others."""

    def report(epoch: int, logs: dict[str, float]) -> None:
        trial.report(logs["test_accuracy"], epoch)
        callback.model.stop_training = trial.should_prune()  # unlike an exception, this frees the optimizer

    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    return callback


def train_b(trial: optuna.Trial, search: Search, recipe: Recipe, sources: Sequence[Any]) -> Iterator[Trained]:
    """Train the strategies on every pair, one network after the other.

    Args:
        trial: Optuna's trial.
        search: The data and the pairs.
        recipe: The trial's recipe.
        sources: A source network for each pair.

    Raises:
        optuna.TrialPruned: Other trials were better after the same number of networks.
    """
    accuracies: list[float] = []
    for pair, source in zip(search.pairs, sources, strict=True):
        _, part = split_classes(search.dataset, pair)
        for strategy in STRATEGIES:
            trained = transfer(source, strategy, part, recipe, callbacks=[FreeOptimizer()])
            accuracies.append(trained.test_accuracy)
            yield trained
            # Not earlier, because the pruner compares the best reported value, which could be that of one strategy.
            if len(accuracies) >= len(STRATEGIES):
                trial.report(float(np.mean(accuracies)), len(accuracies))
                if len(accuracies) < len(STRATEGIES) * len(sources) and trial.should_prune():
                    raise optuna.TrialPruned(f"worse than the others after {len(accuracies)} networks")

"""One trial: what the practical's own functions make of a recipe."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna

from headstart.memory import EmptyOptimizer, empty
from headstart.practical.data import split_classes
from headstart.practical.network import colour_statistics
from headstart.recipes import Recipe, as_json
from headstart.strategies import STRATEGIES
from headstart.training import Trained, build_network, train, transfer
from headstart.tuning.space import MOST_WORK, relative_work, suggest

if TYPE_CHECKING:
    from headstart.tuning import Search


def choose_recipe(trial: optuna.Trial, search: Search) -> Recipe:
    """The trial's recipe, which is written into the trial."""
    recipe = search.fix(suggest(trial, search.part))
    trial.set_user_attr("recipe", as_json(recipe))
    trial.set_user_attr("work", relative_work(recipe))
    return recipe


def try_recipe(trial: optuna.Trial, search: Search, recipe: Recipe, sources: Sequence[Any]) -> float:
    """The recipe's validation accuracy."""
    if trial.user_attrs["work"] > MOST_WORK:
        raise optuna.TrialPruned(f"not trained, for it is more than {MOST_WORK} times the work")
    networks = train_a(trial, search, recipe) if search.part == "a" else train_b(trial, search, recipe, sources)
    measured = []
    try:
        for trained in networks:
            measured.append((trained.test_accuracy, trained.train_accuracy - trained.test_accuracy, trained.seconds))
            empty(trained.network.variables)  # or the networks of all trials would pile up
    finally:
        keras.backend.clear_session()
        gc.collect()
    accuracies, gaps, seconds = zip(*measured, strict=True)
    trial.set_user_attr("seconds", sum(seconds))
    trial.set_user_attr("gap", float(np.mean(gaps)))
    return float(np.mean(accuracies))


def train_a(trial: optuna.Trial, search: Search, recipe: Recipe) -> Iterator[Trained]:
    """Network A of every pair. Raises TrialPruned if the first one is stopped."""
    for number, pair in enumerate(search.pairs):
        part, _ = split_classes(search.dataset, pair)
        watching = [report_to(trial)] if number == 0 else []
        network = build_network(len(part.class_names), recipe, colour_statistics(part.x_train), recipe.seed)
        trained = train(network, part, recipe, callbacks=[*watching, EmptyOptimizer()])
        epochs = len(trained.history)
        yield trained
        if epochs < recipe.epochs:
            raise optuna.TrialPruned(f"behind the others after epoch {epochs}")


def report_to(trial: optuna.Trial) -> keras.callbacks.Callback:
    """Tells the trial each epoch's validation accuracy, and stops the training where others were better by then."""

    def report(epoch: int, logs: dict[str, float]) -> None:
        trial.report(logs["test_accuracy"], epoch)
        callback.model.stop_training = trial.should_prune()  # an end that frees the optimizer, unlike an exception

    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    return callback


def train_b(trial: optuna.Trial, search: Search, recipe: Recipe, sources: Sequence[Any]) -> Iterator[Trained]:
    """The strategies on every pair. Raises TrialPruned where others were better by then."""
    accuracies: list[float] = []
    for pair, source in zip(search.pairs, sources, strict=True):
        _, part = split_classes(search.dataset, pair)
        for strategy in STRATEGIES:
            trained = transfer(source, strategy, part, recipe, callbacks=[EmptyOptimizer()])
            accuracies.append(trained.test_accuracy)
            yield trained
            # Not before: the pruner takes the best that was reported, which one strategy alone would be.
            if len(accuracies) >= len(STRATEGIES):
                trial.report(float(np.mean(accuracies)), len(accuracies))
                if len(accuracies) < len(STRATEGIES) * len(sources) and trial.should_prune():
                    raise optuna.TrialPruned(f"behind the others after {len(accuracies)} networks")

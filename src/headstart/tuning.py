"""Search the recipe, on validation images alone: the test images are replaced before anything is trained.

Each trial is one training by the practical's own functions. From half of its epochs on, one that is worse than half of
the others were by then is stopped; the search is Optuna's TPE, kept in a journal file that several processes may share
and a killed one goes on from.

- Part A: the accuracy of network A on a tenth of its training images, which it is not trained on.
- Part B: the mean over all pairs and over the practical's three strategies, so that none is favoured.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
from keras.callbacks import LambdaCallback
from optuna.storages.journal import JournalFileBackend
from sklearn.model_selection import train_test_split

from headstart.artefacts import describe_recipe
from headstart.practical.data import Dataset, split_classes
from headstart.practical.environment import set_up
from headstart.practical.network import build_network, colour_statistics
from headstart.practical.recipe import RECIPE_A, RECIPE_B, Recipe
from headstart.practical.training import Trained, train
from headstart.practical.transfer import STRATEGIES, transfer
from headstart.store import write_json, write_text, write_whole
from headstart.study.reckon import layer_work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WORK = 1.4  # times the multiplications of the 32-32-64-64 network: a slower one has to be refused
WIDTHS = {
    "-".join(map(str, widths)): widths
    for widths in [
        (32, 32, 64, 64),
        (32, 64, 64, 128),
        (32, 64, 96, 128),
        (32, 64, 128, 192),
        (32, 96, 128, 128),
        (48, 96, 128, 192),
        (64, 64, 128, 128),
    ]
}
POOLS = {f"{first} and {second}": (first, second) for first, second in [(2, 4), (1, 3), (1, 2), (2, 3)]}


@dataclass(frozen=True)
class Search:
    """What is searched, and on what."""

    part: str  # "a" or "b"
    dataset: Dataset  # with validation images in place of the test images
    pairs: Sequence[tuple[int, int]]
    epochs: int
    seed: int = 0


def hide_test_images(dataset: Dataset, share: float = 0.1, images: float = 1.0) -> Dataset:
    """The dataset with `share` of its training images, class by class, in place of its test images.

    `images` is the part of the others that is trained on: a search may make do with fewer.
    """
    everything = np.arange(len(dataset.y_train))
    rest, validation = train_test_split(everything, test_size=share, stratify=dataset.y_train, random_state=0)
    if images < 1:
        rest, _ = train_test_split(rest, train_size=images, stratify=dataset.y_train[rest], random_state=0)
    seen, held_back = (np.sort(index) for index in (rest, validation))
    return replace(
        dataset,
        x_train=dataset.x_train[seen],
        y_train=dataset.y_train[seen],
        x_test=dataset.x_train[held_back],
        y_test=dataset.y_train[held_back],
    )


def suggest(trial: optuna.Trial, part: str) -> Recipe:
    """A recipe from the space that is searched. B has A's network: only its training is open."""
    training: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 6e-3, log=True),
        "warmup": trial.suggest_float("warmup", 0.05, 0.4),
        "decay": trial.suggest_categorical("decay", ["cosine", "linear"]),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256]),
        "label_smoothing": trial.suggest_categorical("label_smoothing", [0.0, 0.05, 0.1]),
        "weight_decay": trial.suggest_categorical("weight_decay", [0.0, 0.01, 0.1]),
        "dropout": tuple(
            trial.suggest_float(f"dropout_{place}", 0.0, most, step=0.05)
            for place, most in (("pool1", 0.2), ("fc1", 0.5), ("fc2", 0.6))
        ),
        "mirror": trial.suggest_categorical("mirror", [True, False]),
    }
    if part == "b":
        return replace(RECIPE_B, **training)
    return replace(
        RECIPE_A,
        **training,
        shift=trial.suggest_int("shift", 0, 4, step=2),
        widths=WIDTHS[trial.suggest_categorical("widths", list(WIDTHS))],
        pools=POOLS[trial.suggest_categorical("pools", list(POOLS))],
        units=trial.suggest_categorical("units", [256, 512]),
        initialisation=trial.suggest_categorical("initialisation", ["glorot_uniform", "he_normal"]),
    )


def first_guess(part: str) -> dict[str, Any]:
    """The parameters of the recipe that stands, with which the search begins."""
    recipe = RECIPE_A if part == "a" else RECIPE_B
    pool1, fc1, fc2 = recipe.dropout
    guess: dict[str, Any] = {"dropout_pool1": pool1, "dropout_fc1": fc1, "dropout_fc2": fc2}
    names = ["learning_rate", "warmup", "decay", "batch_size", "label_smoothing", "weight_decay", "mirror"]
    if part == "a":
        names += ["shift", "units", "initialisation"]
        guess |= {"widths": name_of(WIDTHS, recipe.widths), "pools": name_of(POOLS, recipe.pools)}
    return guess | {name: getattr(recipe, name) for name in names}


def name_of(choices: dict[str, Any], value: Any) -> str:
    """The name of one of the choices."""
    return next(name for name, choice in choices.items() if choice == value)


def relative_work(recipe: Recipe) -> float:
    """Multiplications of a recipe's network, as a part of the default 32-32-64-64, 512 network's."""
    return float(layer_work(recipe).sum() / layer_work(Recipe()).sum())


def try_recipe(trial: optuna.Trial, search: Search, sources: dict[tuple[int, int], Trained]) -> float:
    """The validation accuracy of the trial's recipe."""
    recipe = replace(suggest(trial, search.part), epochs=search.epochs, seed=search.seed)
    trial.set_user_attr("recipe", describe_recipe(recipe))
    trial.set_user_attr("work", relative_work(recipe))
    if trial.user_attrs["work"] > MOST_WORK:
        raise optuna.TrialPruned(f"{trial.user_attrs['work']:.2f} times the work")
    networks: list[Trained] = []
    for pair in search.pairs:
        part_a, part_b = split_classes(search.dataset, pair)
        if search.part == "a":
            network = build_network(len(part_a.class_names), recipe, colour_statistics(part_a.x_train), recipe.seed)
            networks.append(train(network, part_a, recipe, callbacks=[report_to(trial, len(networks) == 0)]))
        else:
            networks += [transfer(sources[pair], strategy, part_b, recipe) for strategy in STRATEGIES]
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
    take_up(study)
    if not study.trials:
        study.enqueue_trial(first_guess(search.part))
    sources = train_sources(search, say) if search.part == "b" else {}
    while len(ended(study)) < trials:
        trial = study.ask()
        trial.set_user_attr("process", here())
        try:
            study.tell(trial, try_recipe(trial, search, sources))
        except optuna.TrialPruned as reason:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            say(f"trial {trial.number}: {reason}")
        else:
            say(f"trial {trial.number}: {trial.user_attrs['seconds']:.0f} s, {study.trials[trial.number].value:.2%}")
        write_results(study, search, folder)
    return folder


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to an end."""
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return study.get_trials(deepcopy=False, states=states)


def here() -> str:
    """This process, among all that may share the journal."""
    return f"{socket.gethostname()} {os.getpid()}"


def take_up(study: optuna.Study) -> None:
    """What killed processes of this machine were trying is tried again."""
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        host, _, pid = trial.user_attrs.get("process", "").rpartition(" ")
        if host == socket.gethostname() and not alive(int(pid)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)


def alive(pid: int) -> bool:
    """Whether a process of this machine is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def train_sources(search: Search, say: Callable[[str], object]) -> dict[tuple[int, int], Trained]:
    """Network A of every pair, with the recipe that stands for A."""
    recipe = replace(RECIPE_A, epochs=search.epochs, seed=search.seed)
    sources = {}
    for pair in search.pairs:
        part_a, _ = split_classes(search.dataset, pair)
        network = build_network(len(part_a.class_names), recipe, colour_statistics(part_a.x_train), recipe.seed)
        sources[pair] = train(network, part_a, recipe)
        say(f"network A without {pair}: {sources[pair].test_accuracy:.2%} of the validation images")
    return sources


# What came out


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """`trials.csv`: a row a trial that ended; accuracy is empty where it was stopped early."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "validation_accuracy": trial.value,
            "gap": trial.user_attrs.get("gap"),
            "work": trial.user_attrs.get("work"),
            "seconds": trial.user_attrs.get("seconds"),
            **trial.params,
        }
        for trial in ended(study)
    ]
    return pd.DataFrame(rows)


def write_results(study: optuna.Study, search: Search, folder: Path) -> None:
    """All files that are made from the journal."""
    write_text(folder / "trials.csv", trial_table(study).to_csv(index=False, lineterminator="\n"))
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        return
    best = study.best_trial
    asked = {**asdict(replace(search, dataset=None)), "dataset": search.dataset.name}  # type: ignore[arg-type]
    content = {
        "search": asked,
        "trial": best.number,
        "validation_accuracy": best.value,
        "recipe": best.user_attrs["recipe"],
    }
    write_json(folder / "best.json", content)
    if len(complete) >= 8:
        figure = plot_search(study, complete, search.dataset.name)
        write_whole(folder / "tuning.png", lambda file: figure.savefig(file, format="png", dpi=110))


def plot_search(study: optuna.Study, complete: list[optuna.trial.FrozenTrial], data: str) -> Figure:
    """What mattered, and accuracy against work."""
    import matplotlib.pyplot as plt

    from headstart.practical.figures import BLUE, ORANGE, finish

    importances = optuna.importance.get_param_importances(study)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    left.barh(list(importances)[::-1], list(importances.values())[::-1], color=BLUE)
    left.set_xlabel("share of the differences in accuracy that it explains")
    work = [trial.user_attrs["work"] for trial in complete]
    right.scatter(work, [100 * float(trial.value or 0) for trial in complete], color=BLUE, label="a trial")
    first = complete[0]
    right.scatter(
        first.user_attrs["work"], 100 * float(first.value or 0), color=ORANGE, marker="s", label="the first guess"
    )
    right.set(xlabel="work of a training step (32-32-64-64 and 512: 1)", ylabel="validation accuracy (%)")
    right.legend()
    right.grid(alpha=0.3)
    return finish(figure, f"{len(complete)} recipes", data)


def read_best(folder: Path) -> dict[str, Any]:
    """What `best.json` holds."""
    content: dict[str, Any] = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    return content

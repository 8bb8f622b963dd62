"""The files that a run leaves: numbers, predictions, figures, networks. Each is written whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from headstart.store import write_arrays, write_network, write_text, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from headstart.practical.data import Dataset
    from headstart.training import Trained

CURVES = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
MOST_DISAGREEMENTS = 120  # images that the report shows


def write_history(path: Path, networks: Sequence[Trained]) -> None:
    """`history.csv`: a row an epoch of every network. (No times: equal runs have equal files.)"""
    history = pd.concat([trained.history[CURVES].assign(network=trained.name) for trained in networks])
    write_text(path, history.to_csv(columns=["network", *CURVES], index=False, lineterminator="\n"))


def write_predictions(path: Path, source: Trained, strategies: Sequence[Trained]) -> None:
    """`predictions.npz`: a probability array (n_test, classes) a network, and both parts' test labels."""
    arrays = {trained.name: trained.probabilities for trained in (source, *strategies)}
    write_arrays(path, {**arrays, "labels_a": source.labels, "labels_b": strategies[0].labels})


def write_disagreements(path: Path, part_b: Dataset, strategies: Sequence[Trained]) -> None:
    """`disagreements.npz`: the test images that the strategies do not agree on, those that divide them most first.

    `indices` (k,) among part B's test images and `images` uint8 (k, 32, 32, 3); k is 120 at most.
    """
    told = np.stack([trained.probabilities.argmax(axis=1) for trained in strategies])
    right = np.stack([trained.probabilities[np.arange(len(part_b.y_test)), part_b.y_test] for trained in strategies])
    divided = np.flatnonzero((told != told[0]).any(axis=0))
    most_first = divided[np.argsort(-np.ptp(right[:, divided], axis=0), kind="stable")][:MOST_DISAGREEMENTS]
    write_arrays(path, {"indices": most_first, "images": part_b.x_test[most_first]})


def write_figures(folder: Path, source: Trained, strategies: Sequence[Trained], data: str) -> None:
    """`figures/<network>.png` for each network, and `figures/comparison.png`; `data` names the images."""
    from headstart.plots import finish
    from headstart.practical.figures import plot_comparison, plot_network

    def save(figure: Figure, name: str) -> None:
        write_whole(folder / f"{name}.png", lambda file: figure.savefig(file, format="png", dpi=120))

    for trained in (source, *strategies):
        save(finish(plot_network(trained), trained.title, data), trained.name)
    heading = f"{len(strategies)} ways to learn “{' or '.join(strategies[0].class_names)}?”"
    save(finish(plot_comparison(list(strategies)), heading, data), "comparison")


def write_networks(folder: Path, networks: Sequence[Trained]) -> None:
    """`models/<network>.keras`: each takes raw images (n, 32, 32, 3) of values 0 to 255."""
    folder.mkdir(parents=True, exist_ok=True)
    for trained in networks:
        write_network(folder / f"{trained.name}.keras", trained.network)


def describe_networks(networks: Sequence[Trained]) -> dict[str, dict[str, Any]]:
    """`run.json`: networks; accuracies are shares from 0 to 1, losses in nats, null where not finite."""
    from headstart.practical.conclusions import describe_network
    from headstart.practical.evaluation import accuracy_interval
    from headstart.training import input_statistics

    def normalisation(trained: Trained) -> dict[str, list[float]]:
        return dict(zip(("mean", "variance"), input_statistics(trained.network), strict=True))

    return {
        trained.name: {
            "copied": trained.copied,
            "frozen": trained.frozen,
            "epochs": len(trained.history),
            "trainable_parameters": trained.trainable_parameters,
            "train_accuracy": trained.train_accuracy,
            "test_accuracy": trained.test_accuracy,
            "test_accuracy_ci95": list(accuracy_interval(trained)),
            "train_loss": finite(trained.train_loss),
            "test_loss": finite(trained.test_loss),
            "seconds": round(trained.seconds, 3),
            "feature_seconds": round(trained.feature_seconds, 3),
            "features": trained.features,
            "words": describe_network(trained).replace("**", ""),
            "normalisation": normalisation(trained),
        }
        for trained in networks
    }


def describe_comparison(strategies: Sequence[Trained], pairs: pd.DataFrame) -> dict[str, Any]:
    """`run.json`: comparison; a difference is the first one's test accuracy minus the second one's."""
    columns = ["first", "second", "difference", "ci95", "p_value", "p_uncorrected", "significant"]
    rows = [{**row, "ci95": [row["low"], row["high"]]} for row in pairs.to_dict(orient="records")]
    best = max(strategies, key=lambda trained: trained.test_accuracy).name
    return {"best": best, "pairs": [{column: row[column] for column in columns} for row in rows]}


def finite(number: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return float(number) if np.isfinite(number) else None

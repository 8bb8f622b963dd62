"""Write the files of a run: numbers, predictions, figures and networks, each atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import balanced_accuracy_score

from headstart.practical.conclusions import describe_network
from headstart.practical.data import Dataset
from headstart.practical.figures import plot_comparison, plot_network
from headstart.practical.inference import accuracy_interval
from headstart.storage.files import finite_or_none, write_arrays, write_atomically, write_network, write_text
from headstart.style import add_heading, drawing, legible
from headstart.training.trainer import Trained, input_statistics

CURVES = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
MAX_DISAGREEMENTS = 120  # images that the page shows


def write_history(path: Path, networks: Sequence[Trained]) -> None:
    """Write `history.csv`: a row for each epoch of every network. It has no times, so that equal runs have equal files.

    Args:
        path: The file.
        networks: Network A and the strategies.
    """
    history = pd.concat([trained.history[CURVES].assign(network=trained.name) for trained in networks])
    write_text(path, history.to_csv(columns=["network", *CURVES], index=False, lineterminator="\n"))


def write_predictions(path: Path, source: Trained, strategies: Sequence[Trained]) -> None:
    """Write `predictions.npz`: probabilities (n_test, classes) by network, and both parts' test labels.

    Args:
        path: The file.
        source: Network A.
        strategies: The networks on part B.
    """
    arrays = {trained.name: trained.probabilities for trained in (source, *strategies)}
    write_arrays(path, {**arrays, "labels_a": source.labels, "labels_b": strategies[0].labels})


def write_disagreements(path: Path, part_b: Dataset, strategies: Sequence[Trained]) -> None:
    """Write `disagreements.npz`: the test images for which the strategies predict different classes.

    It has `indices` (k,) into part B's test images and `images` uint8 (k, 32, 32, 3), with k at most 120. The images
    for which the probabilities of the true class differ most come first.

    Args:
        path: The file.
        part_b: Part B, with the test images.
        strategies: The networks on part B.
    """
    predicted = np.stack([trained.probabilities.argmax(axis=1) for trained in strategies])
    places = np.arange(len(part_b.y_test)), part_b.y_test
    of_true_class = np.stack([trained.probabilities[places] for trained in strategies])
    divided = np.flatnonzero((predicted != predicted[0]).any(axis=0))
    most_first = divided[np.argsort(-np.ptp(of_true_class[:, divided], axis=0), kind="stable")][:MAX_DISAGREEMENTS]
    write_arrays(path, {"indices": most_first, "images": part_b.x_test[most_first]})


def write_figures(folder: Path, networks: Sequence[Any], data_name: str) -> None:
    """Write `figures/<network>.png` for each network, and `figures/comparison.png`.

    Args:
        folder: The folder for the figures, which is created.
        networks: Network A and the strategies, as they were trained or as `read_results` reads them.
        data_name: The dataset's name, which every figure shows.
    """
    strategies = networks[1:]

    def save(figure: Figure, name: str) -> None:
        write_atomically(folder / f"{name}.png", lambda file: figure.savefig(file, format="png", dpi=120))

    names = strategies[0].class_names
    with drawing([*names, data_name]):
        for trained in networks:
            save(add_heading(plot_network(trained), trained.title, data_name), trained.name)
        heading = f"{len(strategies)} ways to learn “{' or '.join(legible(names))}?”"
        save(add_heading(plot_comparison(list(strategies)), heading, data_name), "comparison")


def write_networks(folder: Path, networks: Sequence[Trained]) -> None:
    """Write `models/<network>.keras`; each network takes images (n, 32, 32, 3) with values 0 to 255."""
    folder.mkdir(parents=True, exist_ok=True)
    for trained in networks:
        write_network(folder / f"{trained.name}.keras", trained.network)


def describe_networks(networks: Sequence[Trained]) -> dict[str, dict[str, Any]]:
    """Return `networks` of `run.json`: accuracies from 0 to 1, and losses in nats, or null if not finite."""

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
            "balanced_accuracy": float(balanced_accuracy_score(trained.labels, trained.probabilities.argmax(axis=1))),
            "largest_class": float(np.bincount(trained.labels).max() / len(trained.labels)),
            "train_loss": finite_or_none(trained.train_loss),
            "test_loss": finite_or_none(trained.test_loss),
            "seconds": round(trained.seconds, 3),
            "feature_seconds": round(trained.feature_seconds, 3),
            "features": trained.features,
            "words": describe_network(trained).replace("**", ""),
            "normalisation": normalisation(trained),
        }
        for trained in networks
    }


def describe_comparison(strategies: Sequence[Trained], pairs: pd.DataFrame) -> dict[str, Any]:
    """Return `comparison` of `run.json`. A difference is the first strategy's test accuracy minus the second's.

    Args:
        strategies: The networks on part B.
        pairs: From `practical.evaluation.compare`.
    """
    columns = ["first", "second", "difference", "ci95", "p_value", "p_uncorrected", "significant"]
    rows = [{**row, "ci95": [row["low"], row["high"]]} for row in pairs.to_dict(orient="records")]
    best = max(trained.test_accuracy for trained in strategies)
    tied = [trained.name for trained in strategies if trained.test_accuracy == best]
    return {"best": tied[0], "best_tied": tied, "pairs": [{column: row[column] for column in columns} for row in rows]}

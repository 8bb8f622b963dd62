"""A finished run, read back from its folder. Whoever sent the folder, nothing in it is trusted.

Weights are put into networks that our own code builds from the recipe: what a `.keras` file says of itself is not read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headstart.errors import BadRequest
from headstart.reading import measure, read_arrays, read_json
from headstart.request import STORED

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from headstart.recipes import Recipe

NETWORKS = ("a", "scratch", "last_layer", "two_layers")
MOST_BYTES = 200_000_000  # of a network's file, whose weights take 9 million

NETWORK: dict[Any, Any] = {
    **dict.fromkeys(("copied", "frozen", "epochs", "trainable_parameters"), int),
    **dict.fromkeys(("train_accuracy", "test_accuracy", "seconds"), float),
    **dict.fromkeys(("train_loss", "test_loss"), (float, None)),
    "test_accuracy_ci95": [float, float],
    "feature_seconds": float,
    **dict.fromkeys(("features", "words"), str),
    "normalisation": {"mean": [float, float, float], "variance": [float, float, float]},
}
PAIR = {
    **{"first": str, "second": str, "difference": float, "ci95": [float, float]},
    **{"p_value": float, "p_uncorrected": float, "significant": bool},
}
RECIPE = {str: (str, bool, float, [float])}
RUN = {
    "registration": (str, None),
    "seed": int,
    "dataset": {"name": str, "source": str, "class_names": [str]},
    "classes": {"a": [str], "b": [str]},
    "recipe": {"a": RECIPE, "b": RECIPE},
    "networks": dict.fromkeys(NETWORKS, NETWORK),
    "comparison": {"best": str, "pairs": [PAIR]},
    "audit": [{"rule": str, "holds": bool, "evidence": str}],
    "cautions": [str],
    "conclusions": [str],
    "environment": {str: str},
    "request": STORED,
}
"""What a finished run has in its `run.json`, in the words of reading.fits."""


@dataclass(frozen=True)
class Result:
    """What a run has kept of one of its networks, without the network itself."""

    name: str
    copied: int
    frozen: int
    class_names: tuple[str, ...]
    labels: np.ndarray  # of the test images: int64 (n,)
    probabilities: np.ndarray  # for the test images, after the last epoch: (n, classes)
    history: pd.DataFrame  # a row for each epoch: epoch, train_loss, train_accuracy, test_loss, test_accuracy
    interval: tuple[float, float]  # the 95% confidence interval of the test accuracy

    @property
    def title(self) -> str:
        """The name in words."""
        from headstart.practical.training import TITLES

        return TITLES.get(self.name, self.name)

    @property
    def test_accuracy(self) -> float:
        """The share of the test images that are classified correctly."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())


class Disagreements(NamedTuple):
    """Test images of part B that the strategies do not agree on."""

    indices: np.ndarray  # among part B's test images: int64 (k,)
    images: np.ndarray  # uint8 (k, 32, 32, 3)


def read_run(folder: Path) -> dict[str, Any]:
    """What a finished run has in its `run.json`. Raises BadRequest."""
    try:
        content: dict[str, Any] = read_json(folder / "run.json", RUN)
        compared = [{pair["first"], pair["second"]} for pair in content["comparison"]["pairs"]]
        if not all(set(two) in compared for two in combinations(NETWORKS[1:], 2)):
            raise ValueError("it does not compare every two strategies")
    except (OSError, ValueError) as error:
        raise BadRequest(f"{folder}: no finished run here (run.json: {error}); give one's folder") from None
    return {**content, "networks": {name: content["networks"][name] for name in NETWORKS}}  # no other is looked for


def read_results(folder: Path, content: dict[str, Any]) -> list[Result]:
    """Network A and the three strategies as they were measured.

    Raises BadRequest if `history.csv` or `predictions.npz` is missing, torn, or not of the run that `content` tells of.
    """
    import pandas as pd

    from headstart.artefacts import CURVES

    with readable(folder / "history.csv") as path:
        history = pd.read_csv(path, dtype={"network": str})
        curves = history[CURVES].astype(float).astype({"epoch": int}).groupby(history["network"])
        histories = {name: curves.get_group(name).reset_index(drop=True) for name in NETWORKS}
    results = []
    with readable(folder / "predictions.npz") as path:
        arrays = read_arrays(path)
        for name in NETWORKS:
            described, part = content["networks"][name], "a" if name == "a" else "b"
            class_names, labels, probabilities = content["classes"][part], arrays[f"labels_{part}"], arrays[name]
            if probabilities.dtype.kind != "f" or probabilities.shape != (labels.size, len(class_names)):
                raise ValueError(f"{name}: not a probability for each of {len(class_names)} classes")
            if labels.dtype.kind != "i" or labels.ndim != 1 or not {*labels.tolist()} <= {*range(len(class_names))}:
                raise ValueError(f"labels_{part}: not a number of a class for each test image")
            if not labels.size:
                raise ValueError(f"labels_{part}: no test image")
            low, high = described["test_accuracy_ci95"]
            what = (name, described["copied"], described["frozen"], tuple(class_names), labels, probabilities)
            results.append(Result(*what, histories[name], (low, high)))
    return results


def read_disagreements(folder: Path) -> Disagreements | None:
    """The images that the strategies disagree on; None where the run, an older one, has not kept them."""
    path = folder / "disagreements.npz"
    if not path.exists():
        return None
    with readable(path):
        arrays = read_arrays(path)
        found = Disagreements(arrays["indices"], arrays["images"])
        if found.indices.dtype.kind != "i" or found.indices.ndim != 1:
            raise ValueError("no numbers of images")
        if found.images.dtype != np.uint8 or found.images.shape != (*found.indices.shape, 32, 32, 3):
            raise ValueError("no images of 32 x 32 pixels")
    return found


def load_network(folder: Path, content: dict[str, Any], name: str) -> keras.Sequential:
    """A trained network, built by our own code from the recipe, with the weights of `models/<name>.keras`.

    It takes images (n, 32, 32, 3) of values 0 to 255. Raises BadRequest.
    """
    from headstart.training import build_network

    part = "a" if name == "a" else "b"
    statistics = content["networks"][name]["normalisation"]
    with readable(folder / "run.json"):
        both = statistics["mean"], statistics["variance"]
        try:
            network = build_network(len(content["classes"][part]), recipe_of(content, part), both, seed=0)
        except BadRequest as error:  # which does not know of the file
            raise ValueError(str(error)) from error
    with readable(folder / "models" / f"{name}.keras") as path:
        check_weights(path)
        network.load_weights(path)
    return network


def recipe_of(content: dict[str, Any], part: str) -> Recipe:
    """The recipe of part "a" or "b"; ValueError or TypeError unless it is one that a network can be built from."""
    from headstart.recipes import Recipe, from_json

    stored: dict[str, Any] = content["recipe"][part]
    return Recipe(**from_json(stored))


def check_weights(path: Path) -> None:
    """ValueError if the arrays of a `.keras` file would take more memory than it does. (Keras checks the rest.)"""
    import h5py

    def declare(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            declared.append(item.size * item.dtype.itemsize)

    declared: list[int] = []
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("model.weights.h5").file_size
        if size > MOST_BYTES:
            raise ValueError(f"{size:,} bytes of weights: more than {MOST_BYTES:,}")
        with archive.open("model.weights.h5") as file, h5py.File(file) as weights:
            weights.visititems(declare)
    if sum(declared) > size:
        raise ValueError(f"its arrays declare {sum(declared):,} bytes and have {size:,}")


@contextmanager
def readable(path: Path, what: str = "a run", remedy: str = "do the run anew") -> Iterator[Path]:
    """Whatever a file does wrong is a BadRequest that names it: torn and hostile files fail in any way they like."""
    try:
        if path.exists():  # run.json is written last, and its page before it
            measure(path, MOST_BYTES)
        yield path
    except BadRequest:
        raise
    except Exception as error:
        raise BadRequest(f"{path}: not what {what} leaves there ({error!s:.200}); {remedy}") from error

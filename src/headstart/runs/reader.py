"""Read a finished run from its folder. Nothing in the folder is trusted, because it may come from somebody else.

Weights are loaded into networks that our own code builds from the recipe. The description of the layers in a `.keras`
file is not read.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headstart.errors import InvalidRequest
from headstart.runs.request import REQUEST_SCHEMA
from headstart.storage.schema import MAX_FILE_BYTES, invalid_if_unreadable, read_arrays, read_json
from headstart.training.recipes import RECIPE_SCHEMA, Recipe, from_json

if TYPE_CHECKING:
    import keras
    import pandas as pd

NETWORKS = ("a", "scratch", "last_layer", "two_layers")

NETWORK_SCHEMA: dict[Any, Any] = {
    **dict.fromkeys(("copied", "frozen", "epochs", "trainable_parameters"), int),
    **dict.fromkeys(("train_accuracy", "test_accuracy", "balanced_accuracy", "largest_class", "seconds"), float),
    **dict.fromkeys(("train_loss", "test_loss"), (float, None)),
    "test_accuracy_ci95": [float, float],
    "feature_seconds": float,
    **dict.fromkeys(("features", "words"), str),
    "normalisation": {"mean": [float, float, float], "variance": [float, float, float]},
}
PAIR_SCHEMA = {
    **{"first": str, "second": str, "difference": float, "ci95": [float, float]},
    **{"p_value": float, "p_uncorrected": float, "significant": bool},
}
RUN_SCHEMA = {
    "version": str,
    "registration": (str, None),
    "seed": int,
    "dataset": {"name": str, "source": str, "class_names": [str]},
    "classes": {"a": [str], "b": [str]},
    "recipe": {"a": RECIPE_SCHEMA, "b": RECIPE_SCHEMA},
    "networks": dict.fromkeys(NETWORKS, NETWORK_SCHEMA),
    "comparison": {"best": str, "best_tied": [str], "pairs": [PAIR_SCHEMA]},
    "audit": [{"rule": str, "holds": bool, "evidence": str}],
    "cautions": [str],
    "conclusions": [str],
    "environment": {str: str},
    "request": REQUEST_SCHEMA,
}
"""The structure of a finished run's `run.json`, for `matches_schema`."""

reading = partial(invalid_if_unreadable, what="a run", remedy="execute the run again")


@dataclass(frozen=True)
class Result:
    """The stored results of one of a run's networks, without the network itself."""

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
        """Return the name in words."""
        from headstart.practical.training import TITLES  # imports Keras

        return TITLES.get(self.name, self.name)

    @property
    def test_accuracy(self) -> float:
        """Return the share of the test images that are classified correctly."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())


class Disagreements(NamedTuple):
    """Test images of part B for which the strategies predict different classes."""

    indices: np.ndarray  # into part B's test images: int64 (k,)
    images: np.ndarray  # uint8 (k, 32, 32, 3)


def read_run(folder: str | Path) -> dict[str, Any]:
    """Read a finished run's `run.json`.

    Args:
        folder: The run's folder.

    Returns:
        Its content: see RUN_SCHEMA and docs/run.md.

    Raises:
        InvalidRequest: There is no finished run, or the file is damaged.
    """
    try:
        content: dict[str, Any] = read_json(Path(folder) / "run.json", RUN_SCHEMA)
        compared = [{pair["first"], pair["second"]} for pair in content["comparison"]["pairs"]]
        if not all(set(two) in compared for two in combinations(NETWORKS[1:], 2)):
            raise ValueError("it does not compare every two strategies")
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"{folder}: no finished run here (run.json: {error}); give the folder of a finished run"
        ) from None
    return {**content, "networks": {name: content["networks"][name] for name in NETWORKS}}  # no other is used


def read_results(folder: Path, content: dict[str, Any]) -> list[Result]:
    """Read the measurements of network A and of the three strategies.

    Args:
        folder: The run's folder.
        content: From `read_run`.

    Returns:
        A result for each name in NETWORKS, in this order.

    Raises:
        InvalidRequest: `history.csv` or `predictions.npz` is missing, damaged, or does not match `content`.
    """
    import pandas as pd  # not needed for `run --help`

    from headstart.runs.artefacts import CURVES  # imports TensorFlow

    with reading(folder / "history.csv") as path:
        history = pd.read_csv(path, dtype={"network": str})
        curves = history[CURVES].astype(float).astype({"epoch": int}).groupby(history["network"])
        histories = {name: curves.get_group(name).reset_index(drop=True) for name in NETWORKS}
    results = []
    with reading(folder / "predictions.npz") as path:
        arrays = read_arrays(path)
        for name in NETWORKS:
            described, part = content["networks"][name], "a" if name == "a" else "b"
            class_names, labels, probabilities = content["classes"][part], arrays[f"labels_{part}"], arrays[name]
            if probabilities.dtype.kind != "f" or probabilities.shape != (labels.size, len(class_names)):
                raise ValueError(f"{name}: no probability for each of {len(class_names)} classes")
            if labels.dtype.kind != "i" or labels.ndim != 1 or not {*labels.tolist()} <= {*range(len(class_names))}:
                raise ValueError(f"labels_{part}: no class number for each test image")
            if not labels.size:
                raise ValueError(f"labels_{part}: no test image")
            low, high = described["test_accuracy_ci95"]
            fields = (name, described["copied"], described["frozen"], tuple(class_names), labels, probabilities)
            results.append(Result(*fields, histories[name], (low, high)))
    return results


def read_disagreements(folder: Path, test_images: int) -> Disagreements | None:
    """Read the images for which the strategies predict different classes.

    Args:
        folder: The run's folder.
        test_images: How many test images part B has.

    Returns:
        The images; None if the run did not store them.

    Raises:
        InvalidRequest: The file is damaged or belongs to another run.
    """
    path = folder / "disagreements.npz"
    if not path.exists():
        return None
    with reading(path):
        arrays = read_arrays(path)
        found = Disagreements(arrays["indices"], arrays["images"])
        if found.indices.dtype.kind != "i" or found.indices.ndim != 1:
            raise ValueError("no image numbers")
        if not {*found.indices.tolist()} <= {*range(test_images)}:
            raise ValueError("it belongs to another run")
        if found.images.dtype != np.uint8 or found.images.shape != (*found.indices.shape, 32, 32, 3):
            raise ValueError("no images of 32 x 32 pixels")
    return found


def has_unequal_classes(content: dict[str, Any]) -> bool:
    """Check whether the largest class of a part is clearly larger than its share, so that accuracies can mislead.

    Args:
        content: From `read_run`.
    """
    largest = {"a": content["networks"]["a"], "b": content["networks"]["scratch"]}
    return any(network["largest_class"] * len(content["classes"][part]) > 1.2 for part, network in largest.items())


def load_network(folder: Path, content: dict[str, Any], name: str) -> keras.Sequential:
    """Build a trained network with our own code, and load the weights of `models/<name>.keras`.

    Args:
        folder: The run's folder.
        content: From `read_run`.
        name: One of NETWORKS.

    Returns:
        A network that takes images (n, 32, 32, 3) with values 0 to 255.

    Raises:
        InvalidRequest: The recipe or the weights are damaged.
    """
    from headstart.training.trainer import build_network  # imports TensorFlow

    part = "a" if name == "a" else "b"
    normalisation = content["networks"][name]["normalisation"]
    with reading(folder / "run.json"):
        recipe = read_recipe(content, part)
        if len(content["classes"][part]) < 2:
            raise ValueError(f"part {part} has fewer than two classes")
    statistics = normalisation["mean"], normalisation["variance"]
    network = build_network(len(content["classes"][part]), recipe, statistics, seed=0)
    with reading(folder / "models" / f"{name}.keras") as path:
        check_weights(path)
        network.load_weights(path)
    return network


def read_recipe(content: dict[str, Any], part: str) -> Recipe:
    """Return one part's recipe in `run.json`.

    Args:
        content: From `read_run`.
        part: "a" or "b".

    Raises:
        ValueError, TypeError: It is not a valid recipe.
    """
    stored: dict[str, Any] = content["recipe"][part]
    try:
        return Recipe(**from_json(stored))
    except InvalidRequest as error:
        raise ValueError(str(error)) from error


def check_weights(path: Path) -> None:
    """Raise ValueError if the arrays of a `.keras` file would take more memory than the file. Keras checks the rest."""
    import h5py  # only where networks are loaded

    def note_size(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(item.size * item.dtype.itemsize)

    sizes: list[int] = []
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("model.weights.h5").file_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"{size:,} bytes of weights: more than {MAX_FILE_BYTES:,}")
        with archive.open("model.weights.h5") as file, h5py.File(file) as weights:
            weights.visititems(note_size)
    if sum(sizes) > size:
        raise ValueError(f"its arrays claim {sum(sizes):,} bytes, the file has {size:,}")

"""The page of a run, made from the run's files only."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.datasets.sources import resolve_auto
from headstart.errors import InvalidRequest
from headstart.practical.network import WEIGHT_LAYERS
from headstart.report import charts
from headstart.report.page import data_url, write_page
from headstart.runs.reader import Result, has_unequal_classes, load_network, read_disagreements, read_results
from headstart.training.recipes import recipe_option


def write_run_page(folder: Path, content: dict[str, Any]) -> Path:
    """Write `report.html` of a run.

    Args:
        folder: The run's folder.
        content: From `read_run`.

    Returns:
        The page.

    Raises:
        InvalidRequest: A file of the run is missing or damaged.
    """
    return write_page(folder, "run.html", describe_run(folder, content))


def describe_run(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return everything that the template `run.html` uses.

    Args:
        folder: The run's folder.
        content: From `read_run`.

    Raises:
        InvalidRequest: A file of the run is missing or damaged.
    """
    networks = read_results(folder, content)
    strategies = networks[1:]
    confusions = {trained.name: charts.confusion(trained) for trained in networks}
    figures = {
        "final": charts.final_accuracies(strategies),
        "accuracy": charts.curves(networks, "accuracy"),
        "loss": charts.curves(networks, "loss"),
        **{f"confusion-{name}": figure for name, (figure, _) in confusions.items()},
    }
    return {
        "run": content,
        "networks": networks,
        "unequal": has_unequal_classes(content),
        "titles": {trained.name: trained.title for trained in networks},
        "colours": charts.COLOURS,
        "words": {trained.name: content["networks"][trained.name]["words"] for trained in networks},
        "confusions": {name: counts for name, (_, counts) in confusions.items()},
        "flows": {trained.name: list(flow(trained)) for trained in networks},
        "history": data_url("text/csv", (folder / "history.csv").read_bytes()),
        "command": command(content),
        "figures": figures,
        **describe_disagreements(folder, strategies),
        **describe_source(folder, content),
    }


def flow(trained: Result) -> Any:
    """Return (layer, "copied" or "new", "frozen" or "trained") for each weight layer, from the first to the last."""
    for number, layer in enumerate(WEIGHT_LAYERS):
        yield layer, "copied" if number < trained.copied else "new", "frozen" if number < trained.frozen else "trained"


def describe_disagreements(folder: Path, strategies: list[Result]) -> dict[str, Any]:
    """Describe the test images for which the strategies predict different classes.

    Args:
        folder: The run's folder.
        strategies: The three networks on part B.

    Returns:
        How many such images there are, and cards for the stored ones.

    Raises:
        InvalidRequest: The stored images are damaged.
    """
    predicted = np.stack([trained.probabilities.argmax(axis=1) for trained in strategies])
    count = int((predicted != predicted[0]).any(axis=0).sum())
    labels, names = strategies[0].labels, strategies[0].class_names
    stored = read_disagreements(folder, len(labels))
    if stored is None:
        return {"disagreements": [], "disagreement_count": count, "disagreements_stored": False}
    cards = []
    for index, pixels in zip(*stored, strict=True):
        answers = [
            {
                "name": trained.name,
                "title": trained.title,
                "class": names[answer],
                "probability": float(trained.probabilities[index, answer]),
                "right": bool(answer == labels[index]),
            }
            for trained, answer in zip(strategies, predicted[:, index], strict=True)
        ]
        card = {"picture": picture(pixels), "number": int(index), "class": names[labels[index]], "answers": answers}
        cards.append(card)
    return {"disagreements": cards, "disagreement_count": count, "disagreements_stored": True}


def describe_source(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return network A's first filters as pictures, and its layers; or the reason why they cannot be shown.

    Args:
        folder: The run's folder.
        content: From `read_run`.
    """
    try:
        network = load_network(folder, content, "a")
    except InvalidRequest as error:
        return {"filters": [], "layers": [], "filter_problem": str(error)}
    kernels = network.get_layer("conv1").get_weights()[0].transpose(3, 0, 1, 2)  # (filters, 3, 3, colours)
    largest = np.maximum(np.abs(kernels).max(axis=(1, 2, 3), keepdims=True), 1e-12)
    pixels = np.rint(127.5 * (1 + kernels / largest)).astype(np.uint8)
    return {"filters": [picture(one) for one in pixels], "layers": layer_table(network)}


def layer_table(network: Any) -> list[dict[str, Any]]:
    """Return a row for each layer: its kind, activation, output shape and number of parameters."""
    return [
        {
            "layer": re.sub(r"_\d+$", "", layer.name),  # Keras numbers unnamed layers across a whole process
            "kind": type(layer).__name__,
            "activation": layer.activation.__name__ if hasattr(layer, "activation") else "",
            "output": " × ".join(map(str, layer.output.shape[1:])),
            "parameters": sum(weight.size for weight in layer.get_weights()),
        }
        for layer in network.layers
    ]


def picture(pixels: np.ndarray) -> str:
    """Return uint8 (height, width, 3) as the address of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return data_url("image/png", file.getvalue())


def command(content: dict[str, Any]) -> str:
    """Return the command that executes this run again."""
    request = content["request"]
    data = resolve_auto(request["data"], content["dataset"]["name"])
    names, known = content["classes"]["b"], content["dataset"]["class_names"]
    if any("," in name or name != name.strip() for name in names):
        names = [str(known.index(name)) for name in names]
    held_out = [content["registration"]] if content["registration"] else ["--classes", ",".join(names)]
    epochs, seed = content["networks"]["a"]["epochs"], content["seed"]
    options = ["--seed", str(seed), "--epochs", str(epochs), "--precision", request["precision"]]
    options += ["--test-share", str(request["test_share"])] if request["test_share"] else []
    options += recipe_option(content["recipe"])
    return shlex.join(["headstart", "run", *held_out, "--data", data, *options])

"""What the page of a run shows, from the files of the run alone."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.errors import BadRequest
from headstart.finished import Result, load_network, read_disagreements, read_results
from headstart.practical.network import WEIGHT_LAYERS
from headstart.recipes import recipe_option
from headstart.report import charts, data_url
from headstart.sources import settled


def describe_run(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """All that the template `run.html` names. Raises BadRequest if a file is missing or torn."""
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
    """(layer, where its weights came from, what became of them), from the image to the answer."""
    for number, layer in enumerate(WEIGHT_LAYERS):
        yield layer, "copied" if number < trained.copied else "new", "frozen" if number < trained.frozen else "trained"


def describe_disagreements(folder: Path, strategies: list[Result]) -> dict[str, Any]:
    """How many test images the strategies do not agree on, and, where the run has kept them, the images."""
    told = np.stack([trained.probabilities.argmax(axis=1) for trained in strategies])
    count = int((told != told[0]).any(axis=0).sum())
    kept = read_disagreements(folder)
    if kept is None:
        return {"disagreements": [], "disagreement_count": count, "disagreements_kept": False}
    labels, names = strategies[0].labels, strategies[0].class_names
    if not set(kept.indices) <= {*range(len(labels))}:
        raise BadRequest(f"{folder / 'disagreements.npz'}: not of this run; do the run anew")
    cards = []
    for index, pixels in zip(*kept, strict=True):
        answers = [
            {
                "name": trained.name,
                "title": trained.title,
                "says": names[answer],
                "sure": float(trained.probabilities[index, answer]),
                "right": bool(answer == labels[index]),
            }
            for trained, answer in zip(strategies, told[:, index], strict=True)
        ]
        card = {"picture": picture(pixels), "number": int(index), "is": names[labels[index]], "answers": answers}
        cards.append(card)
    return {"disagreements": cards, "disagreement_count": count, "disagreements_kept": True}


def describe_source(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Network A's first filters as pictures and its layers; or why they cannot be shown."""
    try:
        network = load_network(folder, content, "a")
    except BadRequest as error:
        return {"filters": [], "layers": [], "filter_problem": str(error)}
    kernels = network.get_layer("conv1").get_weights()[0].transpose(3, 0, 1, 2)  # (filters, 3, 3, colours)
    largest = np.maximum(np.abs(kernels).max(axis=(1, 2, 3), keepdims=True), 1e-12)
    pixels = np.rint(127.5 * (1 + kernels / largest)).astype(np.uint8)
    return {"filters": [picture(one) for one in pixels], "layers": layer_table(network)}


def layer_table(network: Any) -> list[dict[str, Any]]:
    """A row for each layer: its kind, activation, output shape and number of parameters."""
    return [
        {
            "layer": re.sub(r"_\d+$", "", layer.name),  # Keras numbers unnamed layers throughout a process
            "kind": type(layer).__name__,
            "activation": layer.activation.__name__ if hasattr(layer, "activation") else "",
            "output": " × ".join(map(str, layer.output.shape[1:])),
            "parameters": sum(weight.size for weight in layer.get_weights()),
        }
        for layer in network.layers
    ]


def picture(pixels: np.ndarray) -> str:
    """uint8 (H, W, 3) as the address of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return data_url("image/png", file.getvalue())


def command(content: dict[str, Any]) -> str:
    """What does this run again."""
    asked = content["request"]
    data = settled(asked["data"], content["dataset"]["name"])
    who = [content["registration"]] if content["registration"] else ["--classes", ",".join(content["classes"]["b"])]
    epochs, seed = content["networks"]["a"]["epochs"], content["seed"]
    options = ["--seed", str(seed), "--epochs", str(epochs), "--precision", asked["precision"]]
    options += recipe_option(content["recipe"])
    return shlex.join(["headstart", "run", *who, "--data", data, *options])

"""Execute a run: train four networks, compare them, and write a folder with all results.

A killed run resumes with the same command, after the last completed epoch of the network that was being trained. Each
network has a checkpoint, from which a completed network is restored, too. `run.json` is written last. So a folder with
`run.json` is complete, except for the page, which can be written from the folder at any time.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import headstart
from headstart.datasets.disclaimers import disclaimers
from headstart.errors import InvalidRequest
from headstart.practical.conclusions import conclude
from headstart.practical.data import Dataset, split_classes
from headstart.practical.evaluation import compare
from headstart.practical.network import colour_statistics
from headstart.runs import artefacts
from headstart.runs.audit import audit
from headstart.runs.request import Request, stored_request
from headstart.runtime.environment import describe_environment
from headstart.runtime.memory import FreeOptimizer
from headstart.runtime.progress import Progress
from headstart.storage.checkpoint import Checkpoint
from headstart.storage.files import remove_partial_files, user_fixable, write_json
from headstart.storage.locks import exclusive_lock
from headstart.training.recipes import RECIPE_FILE, as_file, as_json
from headstart.training.strategies import STRATEGIES
from headstart.training.trainer import Trained, build_network, train, transfer


def execute_run(request: Request) -> Path:
    """Train what is not yet trained, and complete the folder.

    Args:
        request: From `check_request`.

    Returns:
        The folder.

    Raises:
        InvalidRequest: The folder contains another run.
        ResourceError: The disk is full, another process is working in the folder, or a checkpoint is damaged.
    """
    folder = request.folder
    with user_fixable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder):
            stored = stored_request(folder)
            if stored and stored["identity"] != request.identity:
                raise InvalidRequest(
                    "the folder contains another run (other data, classes, recipe, seed, epochs, precision, version or "
                    "code); name another folder or remove it",
                    option="out",
                    value=folder,
                )
            remove_partial_files(folder)
            if not (folder / "run.json").exists():
                write_json(folder / "checkpoints" / "request.json", {"request": request.stored})
                train_and_write(request)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return folder


def train_and_write(request: Request) -> None:
    """Do the practical, from splitting the dataset to the files, with the notebook's functions in their order."""
    folder, dataset = request.folder, request.dataset
    part_a, part_b = split_classes(dataset, request.held_out)
    source, strategies = train_networks(request, part_a, part_b)
    networks = [source, *strategies]
    pairs = compare(strategies)
    artefacts.write_history(folder / "history.csv", networks)
    artefacts.write_predictions(folder / "predictions.npz", source, strategies)
    artefacts.write_disagreements(folder / "disagreements.npz", part_b, strategies)
    artefacts.write_networks(folder / "models", networks)
    write_json(folder / RECIPE_FILE, as_file((request.recipe_a, request.recipe_b)))
    content = {
        "version": headstart.__version__,
        "registration": request.registration,
        "seed": request.recipe_a.seed,
        "dataset": {"name": dataset.name, "source": request.source, "class_names": list(dataset.class_names)},
        "classes": {"a": list(part_a.class_names), "b": list(part_b.class_names)},
        "recipe": {"a": as_json(request.recipe_a), "b": as_json(request.recipe_b)},
        "networks": artefacts.describe_networks(networks),
        "comparison": artefacts.describe_comparison(strategies, pairs),
        "audit": audit(part_a, part_b, source, strategies).to_dict(orient="records"),
        "cautions": [*disclaimers(dataset.name), *request.duplicates],
        "conclusions": [paragraph.replace("**", "") for paragraph in conclude(strategies, pairs)],
        "environment": describe_environment(),
        "request": request.stored,
    }
    write_json(folder / "run.json", content)


def train_networks(request: Request, part_a: Dataset, part_b: Dataset) -> tuple[Trained, list[Trained]]:
    """Train network A, then each strategy on B. Each network has a checkpoint, from which it resumes.

    Args:
        request: The recipes and the folder.
        part_a: The dataset of network A.
        part_b: The dataset of the strategies.

    Returns:
        Network A, and a network for each strategy.

    Raises:
        ResourceError: A checkpoint is damaged.
    """

    def hooks(name: str) -> dict[str, Any]:
        checkpoint = Checkpoint(request.folder / "checkpoints" / f"{name}.npz")
        return {"callbacks": [checkpoint.callback(), Progress(name), FreeOptimizer()], "resume": checkpoint.restore}

    statistics = colour_statistics(part_a.x_train)
    network = build_network(len(part_a.class_names), request.recipe_a, statistics, request.recipe_a.seed)
    source = train(network, part_a, request.recipe_a, **hooks("a"))
    strategies = [
        transfer(source, strategy, part_b, request.recipe_b, **hooks(strategy.name)) for strategy in STRATEGIES
    ]
    return source, strategies

"""One run: a registration number and a seed become four networks, their comparison and a folder that holds it all.

A killed run goes on with the same command from the last finished epoch of the network it was at: each network has a
checkpoint, from which a finished one is taken too. `run.json` is written last: a folder that has it is complete.
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import BadRequest
from headstart.quiet import import_tensorflow
from headstart.recipes import RECIPE_FILE, as_file, as_json
from headstart.request import Request, check_request, stored_request
from headstart.store import Checkpoint, locked, mendable, sweep, write_json

if TYPE_CHECKING:
    from headstart.practical.data import Dataset
    from headstart.training import Trained


def run(registration: str | None = None, **options: Any) -> Path:
    """Do the whole practical for a registration number, or for `classes="cat,dog"`, and return the run's folder.

    Options: data, classes, seed, epochs, precision, out, recipes (see check_request). Raises BadRequest.
    """
    return run_request(check_request(registration, **options))


def run_request(request: Request, display: AbstractContextManager[Any] | None = None) -> Path:
    """Train what is not yet trained, and leave the folder complete.

    `display`, where given, is a context with `progress(name)`, which gives a Keras callback for a network.
    """
    folder, asked = request.folder, request.stored
    with mendable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            stored = stored_request(folder)
            if stored and stored["identity"] != asked["identity"]:
                raise BadRequest(
                    f"--out {folder}: it holds another run (other data, classes, recipe, seed, epochs, precision, "
                    "version or code); name another folder or remove it"
                )
            sweep(folder)
            if not (folder / "run.json").exists():
                write_json(folder / "checkpoints" / "request.json", {"request": asked})
                conduct(request, asked, display)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return folder


def conduct(request: Request, asked: dict[str, str], display: AbstractContextManager[Any] | None) -> None:
    """The practical from its split to its files: the same functions, in the same order, as the notebook's."""
    import_tensorflow()
    from headstart import artefacts
    from headstart.audit import audit
    from headstart.cautions import cautions
    from headstart.environment import describe_environment
    from headstart.practical.conclusions import conclude
    from headstart.practical.data import split_classes
    from headstart.practical.evaluation import compare
    from headstart.report import write_report

    folder, dataset = request.folder, request.dataset
    part_a, part_b = split_classes(dataset, request.held_out)
    with display or nullcontext() as shown:
        source, strategies = train_networks(request, part_a, part_b, shown)
    networks = [source, *strategies]
    pairs = compare(strategies)
    artefacts.write_history(folder / "history.csv", networks)
    artefacts.write_predictions(folder / "predictions.npz", source, strategies)
    artefacts.write_disagreements(folder / "disagreements.npz", part_b, strategies)
    artefacts.write_figures(folder / "figures", source, strategies, dataset.name)
    artefacts.write_networks(folder / "models", networks)
    content = {
        "registration": request.registration,
        "seed": request.recipe_a.seed,
        "dataset": {"name": dataset.name, "source": request.source, "class_names": list(dataset.class_names)},
        "classes": {"a": list(part_a.class_names), "b": list(part_b.class_names)},
        "recipe": {"a": as_json(request.recipe_a), "b": as_json(request.recipe_b)},
        "networks": artefacts.describe_networks(networks),
        "comparison": artefacts.describe_comparison(strategies, pairs),
        "audit": audit(part_a, part_b, source, strategies).to_dict(orient="records"),
        "cautions": cautions(dataset.name),
        "conclusions": [paragraph.replace("**", "") for paragraph in conclude(strategies, pairs)],
        "environment": describe_environment(),
        "request": asked,
    }
    write_json(folder / RECIPE_FILE, as_file((request.recipe_a, request.recipe_b)))
    write_report(folder, content)
    write_json(folder / "run.json", content)


def train_networks(request: Request, part_a: Dataset, part_b: Dataset, shown: Any) -> tuple[Trained, list[Trained]]:
    """Network A, then each strategy on B."""
    from headstart.memory import EmptyOptimizer
    from headstart.practical.network import colour_statistics
    from headstart.strategies import STRATEGIES
    from headstart.training import build_network, train, transfer

    def hooks(name: str) -> dict[str, Any]:
        checkpoint = Checkpoint(request.folder / "checkpoints" / f"{name}.npz")
        progress = [shown.progress(name)] if shown else []
        return {"callbacks": [checkpoint.callback(), *progress, EmptyOptimizer()], "resume": checkpoint.restore}

    statistics = colour_statistics(part_a.x_train)
    network = build_network(len(part_a.class_names), request.recipe_a, statistics, request.recipe_a.seed)
    source = train(network, part_a, request.recipe_a, **hooks("a"))
    strategies = [
        transfer(source, strategy, part_b, request.recipe_b, **hooks(strategy.name)) for strategy in STRATEGIES
    ]
    return source, strategies

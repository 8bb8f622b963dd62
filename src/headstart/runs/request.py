"""The request of a run. All its errors are found here, before anything is trained or written."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.datasets.duplicates import warn_about_duplicates
from headstart.datasets.sources import fingerprint, open_dataset, printable
from headstart.errors import InvalidRequest
from headstart.options import (
    check_folder,
    check_held_out,
    check_precision,
    check_training,
    describe_pair,
    held_out_in,
    resolve_precision,
)
from headstart.practical.data import Dataset
from headstart.runtime.provenance import provenance
from headstart.storage.files import visible_names
from headstart.storage.schema import read_json
from headstart.training.recipes import PRECISIONS, RECIPE_A, RECIPE_B, Recipe, Recipes, check_recipes

REQUEST_SCHEMA = {"identity": str, "data": str, "test_share": float, "precision": PRECISIONS, "precision_reason": str}
"""What a run's folder stores of its request, for `matches_schema`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A checked request with its dataset."""

    registration: str | None
    held_out: tuple[int, int]
    data: str  # as it was requested
    test_share: float | None
    duplicates: tuple[str, ...]  # sentences about images that are in two places
    dataset: Dataset
    source: str
    recipe_a: Recipe
    recipe_b: Recipe
    precision_reason: str
    folder: Path

    @cached_property
    def identity(self) -> str:
        """A hash of everything that determines the run's numbers: the same for equal requests, and for no others."""
        content = [
            provenance(),
            fingerprint(self.dataset),
            sorted(self.held_out),
            asdict(self.recipe_a),
            asdict(self.recipe_b),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def stored(self) -> dict[str, Any]:
        """The part of the request that the run's folder stores (see `stored_request`)."""
        precision = {"precision": self.recipe_a.precision, "precision_reason": self.precision_reason}
        data = {"data": printable(self.data), "test_share": float(self.test_share or 0)}
        return {"identity": self.identity, **data, **precision}


def check_request(
    registration: str | None = None,
    *,
    data: str = "auto",
    classes: str | None = None,
    seed: int = 0,
    epochs: int = 20,
    precision: str = "auto",
    out: str | Path | None = None,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
    test_share: float | None = None,
) -> Request:
    """Check a request and load its dataset.

    Args:
        registration: As in `headstart.run`, and so are the other arguments.
        data: See `load_dataset`.
        classes: Two classes by name or number, instead of a registration number.
        seed: From 0 to 2**31 - 1.
        epochs: At least 1.
        precision: "auto", "float32" or "bfloat16".
        out: The folder, or None for the default one.
        recipes: Part A's and part B's.
        test_share: As in `load_dataset`.

    Raises:
        InvalidRequest: An argument is invalid, or the folder contains something else.
        ResourceError: The dataset cannot be downloaded, or the folder cannot be read.
    """
    check_held_out(registration, classes)
    check_training(epochs, seed)
    check_precision(precision)
    check_recipes(*recipes)
    if out is not None:
        check_folder(Path(out), "this run", contains_run)
    dataset, source = open_dataset(data, test_share, seed)
    held_out = held_out_in(dataset, registration, classes)
    folder = Path(out) if out is not None else default_folder(dataset, registration, held_out, seed)
    check_folder(folder, "this run", contains_run)
    stored = stored_request(folder)
    earlier = (stored["precision"], stored["precision_reason"]) if stored else None
    chosen, reason = resolve_precision(precision, earlier)
    logger.info("Data: %s (%s)", dataset.name, source)
    logger.info("Held out: %s", describe_pair(held_out, dataset.class_names))
    duplicates = warn_about_duplicates(dataset)
    logger.info("Precision: %s (%s)", chosen, reason)
    logger.info("Folder: %s", folder)
    options: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": chosen}
    return Request(
        registration=registration,
        held_out=held_out,
        data=data,
        test_share=test_share,
        duplicates=duplicates,
        dataset=dataset,
        source=source,
        recipe_a=replace(recipes[0], **options),
        recipe_b=replace(recipes[1], **options),
        precision_reason=reason,
        folder=folder,
    )


def default_folder(dataset: Dataset, registration: str | None, held_out: tuple[int, int], seed: int) -> Path:
    """Return `runs/<registration or classes>-<kind of data>-seed<seed>`.

    Args:
        dataset: The dataset, whose name determines the kind of data.
        registration: The registration number, or None.
        held_out: The numbers of the held-out classes.
        seed: The run's seed.
    """
    names = registration or "-".join(dataset.class_names[number] for number in held_out)
    kinds = {"scikit-learn digits": "digits", "CIFAR-10": "cifar10"}
    kind = next((kind for start, kind in kinds.items() if dataset.name.startswith(start)), "images")
    return Path("runs") / f"{names}-{kind}-seed{seed}"


def contains_run(folder: Path) -> bool:
    """Check whether a folder contains a run, or nothing except an empty folder for its checkpoints."""
    if visible_names(folder) == {"checkpoints"} and not visible_names(folder / "checkpoints"):
        return True
    return stored_request(folder) is not None


def stored_request(folder: Path) -> dict[str, Any] | None:
    """Return what a folder stores of its run's request (see REQUEST_SCHEMA), or None if it contains no run.

    Raises:
        InvalidRequest: It is damaged, or from another version.
    """
    for path in (folder / "run.json", folder / "checkpoints" / "request.json"):
        if path.exists():
            try:
                request: dict[str, Any] = read_json(path, {"request": REQUEST_SCHEMA})["request"]
                return request
            except (OSError, ValueError) as error:
                raise InvalidRequest(
                    f"{path}: not a run of this version ({error}); remove the folder or name another one"
                ) from None
    return None

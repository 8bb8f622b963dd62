"""What a run is asked for. All that can be wrong with it is found here, before anything is trained or written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import BadRequest
from headstart.parts import held_out_classes
from headstart.provenance import provenance
from headstart.reading import read_json
from headstart.recipes import HIGHEST_SEED, PRECISIONS, RECIPE_A, RECIPE_B, Recipe, Recipes, check_recipes
from headstart.store import mendable, names_in

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

STORED = {"identity": str, "data": str, "precision": PRECISIONS, "precision_reason": str}
"""What a run's folder remembers of its request, in the words of reading.fits."""


@dataclass(frozen=True)
class Request:
    """A run that can be done: checked, with its dataset loaded."""

    registration: str | None
    held_out: tuple[int, int]
    data: str  # as it was asked for
    dataset: Dataset
    source: str
    recipe_a: Recipe
    recipe_b: Recipe
    precision_reason: str
    folder: Path

    @property
    def identity(self) -> str:
        """A hash of everything that decides the run's numbers: equal requests share it, others do not."""
        from headstart.sources import fingerprint

        decides = [
            provenance(),
            fingerprint(self.dataset),
            sorted(self.held_out),
            asdict(self.recipe_a),
            asdict(self.recipe_b),
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    @property
    def stored(self) -> dict[str, str]:
        """What the run's folder remembers of it (see stored_request)."""
        chosen = {"precision": self.recipe_a.precision, "precision_reason": self.precision_reason}
        from headstart.sources import printable

        # as it is read back: of a path that cannot be shown, what can be
        return {"identity": self.identity, "data": printable(self.data), **chosen}


def check_request(
    registration: str | None,
    *,
    data: str = "auto",
    classes: str | None = None,
    seed: int = 0,
    epochs: int = 20,
    precision: str = "auto",
    out: str | Path | None = None,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
    say: Callable[[str], None] = print,
) -> Request:
    """The request, or BadRequest. The recipes are part A's and part B's; epochs, seed and precision replace theirs."""
    from headstart.precision import choose_precision

    check_options(registration, classes, seed, epochs, precision)
    check_recipes(*recipes)
    if out is not None:
        check_folder(Path(out))

    from headstart.sources import open_dataset

    dataset, source = open_dataset(data, say)
    held_out = held_out_in(dataset, registration, classes)
    folder = Path(out) if out is not None else default_folder(dataset, registration, held_out, seed)
    check_folder(folder)
    stored = stored_request(folder)
    if precision == "auto" and stored:  # a second probe might choose otherwise
        chosen, reason = stored["precision"], stored["precision_reason"]
    else:
        chosen, reason = choose_precision(precision)
    choices: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": chosen}
    return Request(
        registration=registration,
        held_out=held_out,
        data=data,
        dataset=dataset,
        source=source,
        recipe_a=replace(recipes[0], **choices),
        recipe_b=replace(recipes[1], **choices),
        precision_reason=reason,
        folder=folder,
    )


def check_options(registration: str | None, classes: str | None, seed: int, epochs: int, precision: str) -> None:
    """All that can be refused before any data is read."""
    from headstart.precision import check_precision

    if (registration is None) == (classes is None):
        raise BadRequest(
            "give either a registration number or --classes NAME,NAME: one of them names the held-out pair"
        )
    check_training(epochs, seed)
    check_precision(precision)
    if classes is not None:
        split_names(classes)
    if registration is not None:
        held_out_classes(registration)


def check_training(epochs: int, seed: int = 0) -> None:
    """Raises BadRequest unless a network can be trained for so long and with this seed."""
    if epochs < 1:
        raise BadRequest(f"--epochs {epochs}: a training has at least 1 epoch; the practical asks for 20")
    if not 0 <= seed <= HIGHEST_SEED:
        raise BadRequest(f"--seed {seed}: give a whole number from 0 to {HIGHEST_SEED}")


def split_names(classes: str) -> tuple[str, str]:
    """The two class names of `--classes`."""
    names = [name.strip() for name in classes.split(",")]
    if len(names) != 2 or len(set(names)) != 2:
        raise BadRequest(f"--classes {classes}: give two different class names, such as --classes cat,dog")
    return names[0], names[1]


def held_out_in(dataset: Dataset, registration: str | None, classes: str | None) -> tuple[int, int]:
    """The numbers of the two held-out classes, which this dataset has, beside at least two others."""
    known = dataset.class_names
    if len(known) < 4:
        raise BadRequest(f"{dataset.name} has {len(known)} classes: two are held out and two or more must be left")
    if classes is not None:
        names = split_names(classes)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise BadRequest(f"--classes {classes}: no class is called {unknown[0]!r}; there are {', '.join(known)}")
        return known.index(names[0]), known.index(names[1])
    held_out = held_out_classes(str(registration))
    if max(held_out) >= len(known):
        raise BadRequest(
            f"registration number {registration} names class {max(held_out)}, but {dataset.name} has classes 0 to "
            f"{len(known) - 1}; use --classes NAME,NAME"
        )
    return held_out


def default_folder(dataset: Dataset, registration: str | None, held_out: tuple[int, int], seed: int) -> Path:
    """`runs/<registration or classes>-<first word of the dataset's name>-seed<seed>`."""
    names = registration or "-".join(dataset.class_names[number] for number in held_out)
    kinds = {"scikit-learn digits": "digits", "CIFAR-10": "cifar10"}
    kind = next((kind for name, kind in kinds.items() if dataset.name.startswith(name)), "images")
    return Path("runs") / f"{names}-{kind}-seed{seed}"


def check_folder(folder: Path) -> None:
    """The folder is new, empty, or holds a run."""
    with mendable(folder):
        if folder.exists() and not folder.is_dir():
            raise BadRequest(f"--out {folder}: this is a file; name a folder that is new or holds this run")
        held = names_in(folder) - {"checkpoints"} | names_in(folder / "checkpoints")
    if held and not stored_request(folder):
        raise BadRequest(f"--out {folder}: the folder holds other files; name one that is new, empty or holds this run")


def stored_request(folder: Path) -> dict[str, str] | None:
    """What the folder's run was asked for (see STORED); None where there is no run."""
    for path in (folder / "run.json", folder / "checkpoints" / "request.json"):
        if path.exists():
            try:
                request: dict[str, str] = read_json(path, {"request": STORED})["request"]
                return request
            except (OSError, ValueError) as error:
                raise BadRequest(
                    f"{path}: not a run of this version ({error}); remove the folder or choose another --out"
                ) from None
    return None

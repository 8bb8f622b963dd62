"""Check options before any data is read, trained or written. Messages are in Python's terms; `cli` translates them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headstart.errors import InvalidRequest
from headstart.practical.data import Dataset
from headstart.runtime.precision import CHOICES, choose_precision
from headstart.storage.files import user_fixable, visible_names
from headstart.training.parts import held_out_classes
from headstart.training.recipes import HIGHEST_SEED


def check_count(option: str, value: int, why: str = "") -> None:
    """Raise InvalidRequest if a number is below 1.

    Args:
        option: The option's name in Python.
        value: The number.
        why: Text that is added to the end of the message.
    """
    if value < 1:
        raise InvalidRequest(f"give at least 1{why}", option=option, value=value)


def check_training(epochs: int, seed: int = 0) -> None:
    """Check the options that every training has.

    Args:
        epochs: At least 1.
        seed: From 0 to HIGHEST_SEED.

    Raises:
        InvalidRequest: A number is out of its range.
    """
    check_count("epochs", epochs, "; the practical has 20")
    if not 0 <= seed <= HIGHEST_SEED:
        raise InvalidRequest(f"give a whole number from 0 to {HIGHEST_SEED}", option="seed", value=seed)


def check_precision(precision: str) -> None:
    """Raise InvalidRequest unless the precision is "auto", "float32" or "bfloat16"."""
    if precision not in CHOICES:
        raise InvalidRequest(f"give one of {', '.join(CHOICES)}", option="precision", value=precision)


def resolve_precision(precision: str, stored: tuple[str, str] | None = None) -> tuple[str, str]:
    """Choose the precision to train in.

    Args:
        precision: "auto", "float32" or "bfloat16".
        stored: The precision of earlier results in the same folder, and its reason. "auto" keeps it, because a second
            measurement could decide differently.

    Returns:
        "float32" or "bfloat16", and the reason in words.
    """
    return stored if precision == "auto" and stored else choose_precision(precision)


def check_images(images: float) -> None:
    """Raise InvalidRequest unless the fraction of the training images is above 0 and at most 1."""
    if not 0 < images <= 1:
        raise InvalidRequest("give a fraction of them, such as 0.25, or 1 for all", option="images", value=images)


def check_folder(folder: Path, kind: str, is_ours: Callable[[Path], bool]) -> None:
    """Check that a folder for results is new, empty, or has results of the same kind.

    Args:
        folder: The folder.
        kind: What it may contain, such as "a run".
        is_ours: Checks whether a folder that is not empty contains that.

    Raises:
        InvalidRequest: It is a file or contains something else.
        ResourceError: It cannot be read.
    """
    with user_fixable(folder):
        rule = f"name a folder that is new, empty or contains {kind}"
        if folder.exists() and not folder.is_dir():
            raise InvalidRequest(f"this is a file; {rule}", option="out", value=folder)
        if visible_names(folder) and not is_ours(folder):
            raise InvalidRequest(f"the folder contains other files; {rule}", option="out", value=folder)


def check_held_out(registration: str | None, classes: str | None) -> None:
    """Check that exactly one of the two ways to name the held-out classes is used, and that its form is valid.

    Args:
        registration: A registration number, or None.
        classes: Two class names such as "cat,dog", or None.

    Raises:
        InvalidRequest: Both or none are given, or the given one is not valid.
    """
    if (registration is None) == (classes is None):
        raise InvalidRequest(
            "give either a registration number or two class names (classes): one of them determines the held-out pair"
        )
    if classes is not None:
        split_names(classes)
    if registration is not None:
        held_out_classes(registration)


def split_names(classes: str) -> tuple[str, str]:
    """Split a string such as "cat,dog" into two class names.

    Args:
        classes: Two different names, joined by a comma.

    Raises:
        InvalidRequest: There are not two different names.
    """
    names = [name.strip() for name in classes.split(",")]
    if len(names) != 2 or len(set(names)) != 2:
        raise InvalidRequest("give two different class names, such as cat,dog", option="classes", value=classes)
    return names[0], names[1]


def held_out_in(dataset: Dataset, registration: str | None, classes: str | None) -> tuple[int, int]:
    """Return the numbers of the two held-out classes.

    Args:
        dataset: Must have these classes and at least two others.
        registration: The registration number, or None.
        classes: Two class names, joined by a comma, or None.

    Returns:
        Two different class numbers, from 0 to the number of classes - 1.

    Raises:
        InvalidRequest: The dataset has fewer than four classes, or does not have these two.
    """
    known = dataset.class_names
    if len(known) < 4:
        raise InvalidRequest(
            f"{dataset.name} has {len(known)} classes: at least four are needed, because two are held out"
        )
    if classes is not None:
        names = split_names(classes)
        if unknown := [name for name in names if name not in known]:
            rule = f"there is no class {unknown[0]!r}; give two of {', '.join(known)}"
            raise InvalidRequest(rule, option="classes", value=classes)
        return known.index(names[0]), known.index(names[1])
    held_out = held_out_classes(str(registration))
    if max(held_out) >= len(known):
        raise InvalidRequest(
            f"registration number {registration} holds out class {max(held_out)}, but {dataset.name} has classes 0 to "
            f"{len(known) - 1}; give two class names instead (classes)"
        )
    return held_out

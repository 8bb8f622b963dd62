"""Check options before any data is read, trained or written. Messages are in Python's terms; `cli` translates them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
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


def check_replaceable(path: Path, contents: Collection[str], force: bool) -> None:
    """Check that writing a file does not destroy what someone edited or executed.

    Args:
        path: The file.
        contents: What may be replaced, because it can be made again.
        force: Whether any file may be replaced.

    Raises:
        InvalidRequest: The file exists and has another content.
        ResourceError: It cannot be read.
    """
    with user_fixable(path):
        if force or not path.exists() or path.read_bytes() in {content.encode() for content in contents}:
            return
    rule = "this file exists, and may have been edited or executed: name another file, or replace it with force"
    raise InvalidRequest(rule, option="out", value=path)


def check_held_out(registration: str | None, classes: str | None) -> None:
    """Check that exactly one of the two ways to name the held-out classes is used, and that its form is valid.

    Args:
        registration: A registration number, or None.
        classes: Two classes such as "cat,dog" or "3,5", or None.

    Raises:
        InvalidRequest: Both or none are given, or the given one is not valid.
    """
    if (registration is None) == (classes is None):
        raise InvalidRequest(
            "give either a registration number or two class names (classes): one of them determines the held-out pair"
        )
    if classes is not None:
        split_pair(classes, "classes")
    if registration is not None:
        held_out_classes(registration)


def split_pair(pair: str, option: str) -> tuple[str, str]:
    """Split a string such as "cat,dog" or "3,5" into two classes.

    Args:
        pair: Two different names or numbers, joined by a comma.
        option: The option's name in Python.

    Raises:
        InvalidRequest: There are not two different ones.
    """
    names = [name.strip() for name in pair.split(",")]
    if len(names) != 2 or len(set(names)) != 2:
        rule = "give two different classes by name or by number, such as cat,dog or 3,5"
        raise InvalidRequest(rule, option=option, value=pair)
    return names[0], names[1]


def find_pair(pair: str, class_names: tuple[str, ...], option: str) -> tuple[int, int]:
    """Return the numbers of two classes that are given by name or by number.

    A number means the same as a digit of a registration number: the class with this name if the names of all classes
    are numbers, otherwise the class in this place.

    Args:
        pair: Two different names or numbers, joined by a comma.
        class_names: All classes of the dataset.
        option: The option's name in Python.

    Returns:
        Two different class numbers, from 0 to the number of classes - 1.

    Raises:
        InvalidRequest: There are no such classes, or a number could mean two of them.
    """
    found: list[int] = []
    for text in split_pair(pair, option):
        places = find_class(text, class_names)
        if len(places) != 1:
            numbered = [f"{number} {name}" for number, name in enumerate(class_names)]
            known = ", ".join(class_names if all(name.isdecimal() for name in class_names) else numbered)
            problem = f"{text!r} could mean two classes" if places else f"there is no class {text!r}"
            raise InvalidRequest(f"{problem}; give two of {known}", option=option, value=pair)
        found += places
    if found[0] == found[1]:
        raise InvalidRequest(f"both are the class {class_names[found[0]]}; give two", option=option, value=pair)
    return found[0], found[1]


def find_class(text: str, class_names: tuple[str, ...]) -> set[int]:
    """Return the places of all classes that a text could mean: the one with this name, and the one with this number."""
    from headstart.practical.image_folder import class_numbers  # imports scikit-learn

    places = {class_names.index(text)} if text in class_names else set()
    if text.isdecimal():
        with suppress(ValueError):
            places.add(class_numbers((int(text), int(text)), class_names)[0])
    return places


def digits_of(pair: tuple[int, int], class_names: tuple[str, ...]) -> str:
    """Return the two digits of a registration number that hold out this pair.

    Args:
        pair: Two class numbers.
        class_names: All classes of the dataset.

    Raises:
        InvalidRequest: No digit means one of the classes.
    """
    places = {digit: find_class(str(digit), class_names) for digit in range(10)}
    digits = [next((digit for digit in places if places[digit] == {number}), None) for number in pair]
    if None in digits:
        name = class_names[pair[digits.index(None)]]
        rule = "no digit of a registration number means this class, so a notebook cannot hold it out; a run can"
        raise InvalidRequest(rule, option="classes", value=name)
    return "".join(map(str, digits))


def describe_pair(pair: tuple[int, int], class_names: tuple[str, ...]) -> str:
    """Return two classes by name and number, such as "cat (3) and truck (9)"."""
    return " and ".join(f"{class_names[number]} ({number})" for number in pair)


def held_out_in(dataset: Dataset, registration: str | None, classes: str | None) -> tuple[int, int]:
    """Return the numbers of the two held-out classes.

    Args:
        dataset: Must have these classes and at least two others.
        registration: The registration number, or None.
        classes: Two classes by name or number (see `find_pair`), or None.

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
        return find_pair(classes, known, "classes")
    from headstart.practical.image_folder import class_numbers  # imports scikit-learn

    try:
        return class_numbers(held_out_classes(str(registration)), known)
    except InvalidRequest:
        raise
    except ValueError as error:
        rule = f"registration number {registration}: {error}; give two class names instead (classes)"
        raise InvalidRequest(rule) from error

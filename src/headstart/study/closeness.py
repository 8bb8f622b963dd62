"""The closeness in meaning of two of CIFAR-10's classes, by their positions in WordNet 3.0."""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile

WHOLE = "entity, physical entity, object, whole"
VEHICLE = f"{WHOLE}, artifact, instrumentality, conveyance, vehicle"
MOTOR_VEHICLE = f"{VEHICLE}, wheeled vehicle, self-propelled vehicle, motor vehicle"
VERTEBRATE = f"{WHOLE}, living thing, organism, animal, chordate, vertebrate"
PLACENTAL = f"{VERTEBRATE}, mammal, placental"
HYPERNYMS = {  # all more general terms of each class, the most general first
    "airplane": f"{VEHICLE}, craft, aircraft, heavier-than-air craft",
    "automobile": MOTOR_VEHICLE,
    "bird": VERTEBRATE,
    "cat": f"{PLACENTAL}, carnivore, feline",
    "deer": f"{PLACENTAL}, ungulate, even-toed ungulate, ruminant",
    "dog": f"{PLACENTAL}, carnivore, canine",
    "frog": f"{VERTEBRATE}, amphibian",
    "horse": f"{PLACENTAL}, ungulate, odd-toed ungulate, equine",
    "ship": f"{VEHICLE}, craft, vessel",
    "truck": MOTOR_VEHICLE,
}


def has_places(class_names: Collection[str]) -> bool:
    """Check whether all of them are classes of CIFAR-10, whose closeness is known."""
    return set(class_names) <= HYPERNYMS.keys()


def similarity(first: str, second: str) -> float:
    """Return Wu and Palmer's (1994) similarity of two classes, which is the shared part of their hypernyms.

    Args:
        first: A class of CIFAR-10.
        second: Another one.

    Returns:
        From 0 to 1.
    """
    paths = [[*HYPERNYMS[name].split(", "), name] for name in (first, second)]
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*paths, strict=False)))
    return 2 * common / sum(map(len, paths))


def closeness(held_out: Collection[str], class_names: Collection[str]) -> float:
    """Return the closeness of the held-out classes to part A: each one's similarity to its closest class, on average.

    Args:
        held_out: Names of the held-out classes, which are CIFAR-10's.
        class_names: All classes; part A has the others.

    Returns:
        From 0 to 1.
    """
    others = set(class_names) - set(held_out)
    return sum(max(similarity(name, other) for other in others) for name in held_out) / len(held_out)

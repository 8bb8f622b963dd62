"""How close in meaning two of CIFAR-10's classes are, by their places in WordNet 3.0."""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile

WHOLE = "entity, physical entity, object, whole"
VEHICLE = f"{WHOLE}, artifact, instrumentality, conveyance, vehicle"
MOTOR_VEHICLE = f"{VEHICLE}, wheeled vehicle, self-propelled vehicle, motor vehicle"
VERTEBRATE = f"{WHOLE}, living thing, organism, animal, chordate, vertebrate"
PLACENTAL = f"{VERTEBRATE}, mammal, placental"
ABOVE = {  # all that a class is a kind of, the most general first
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
    """Whether all of them are classes of CIFAR-10, so that their closeness is known."""
    return set(class_names) <= ABOVE.keys()


def similarity(first: str, second: str) -> float:
    """Wu and Palmer's (1994), from 0 to 1: what two classes have in common, as a part of all that they are."""
    paths = [[*ABOVE[name].split(", "), name] for name in (first, second)]
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*paths, strict=False)))
    return 2 * common / sum(map(len, paths))


def closeness(held_out: Collection[str], class_names: Collection[str]) -> float:
    """How close the held-out classes are to part A, all others of `class_names`: each to the closest, on average."""
    others = set(class_names) - set(held_out)
    return sum(max(similarity(name, other) for other in others) for name in held_out) / len(held_out)

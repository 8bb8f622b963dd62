"""The plan of a study: which networks are trained, each only once, and what each needs before it.

A **cell** of the study is a pair of held-out classes, a seed, a strategy and a number of training images. Cells share
networks: all strategies of a pair and seed start from the same source network, and two names for one strategy
(`last_layer` is `A5B`) are one network.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from headstart.errors import BadRequest
from headstart.provenance import provenance
from headstart.recipes import RECIPE_A, RECIPE_B, Recipe, Recipes, check_recipes
from headstart.request import check_training
from headstart.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

DEPTHS = range(1, 6)
CONTROL_SEED = 20_000  # BnB's source is trained on B with the recipe's seed plus this


def named_strategies() -> dict[str, tuple[Strategy, str]]:
    """Every strategy by its name, with the part its source is trained on: "a", "b", or "" where nothing is copied.

    AnB and BnB copy n layers and freeze them, AnB+ and BnB+ train them on (Yosinski et al. 2014).
    """
    named = {strategy.name: (strategy, "a" if strategy.copied else "") for strategy in STRATEGIES}
    for n, part in product(DEPTHS, "AB"):
        named[f"{part}{n}B"] = (Strategy(f"{part}{n}B", n, n), part.lower())
        named[f"{part}{n}B+"] = (Strategy(f"{part}{n}B+", n, 0), part.lower())
    return named


GROUPS = {
    "practical": [strategy.name for strategy in STRATEGIES],
    "depth": ["scratch", *(f"{part}{n}B{plus}" for part in "AB" for plus in ("", "+") for n in DEPTHS)],
}


@dataclass(frozen=True)
class Network:
    """A network to be trained: on part A of a pair, or on so many training images of part B as a strategy says."""

    classes: tuple[int, int]
    seed: int  # the study's: it also chooses the images of a smaller training set
    recipe: Recipe
    data: str  # the dataset's fingerprint
    strategy: Strategy | None = None  # None for a source: trained from random weights, to be copied from
    train_size: str = "1.0"
    source: Network | None = None
    part: str = "b"

    @cached_property
    def key(self) -> str:
        """A hash of everything that decides the trained weights, names aside."""
        decides = {
            "by": provenance(),
            "data": self.data,
            "classes": sorted(self.classes),
            "part": self.part,
            "train_size": [self.train_size, self.seed],
            "recipe": asdict(self.recipe),
            "copied": self.strategy.copied if self.strategy else 0,
            "frozen": self.strategy.frozen if self.strategy else 0,
            "fresh": self.strategy is None,  # a source draws other random weights than a strategy does
            "source": self.source.key if self.source else None,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Cell:
    """A row of the study's results: a trained network under the name that was asked for."""

    strategy: str  # its name; "a" and "b" are the sources
    network: Network


@dataclass(frozen=True)
class Plan:
    """All cells, in the order in which they are reported."""

    cells: tuple[Cell, ...]

    @cached_property
    def networks(self) -> dict[str, Network]:
        """Every network by its key, each once, and each behind its source."""
        return {cell.network.key: cell.network for cell in self.cells}


def make_plan(
    dataset: Dataset,
    data: str,
    pairs: str = "all",
    seeds: int = 5,
    strategies: str = "practical",
    train_sizes: str = "1.0",
    epochs: int = 20,
    precision: str = "float32",
    recipes: Recipes = (RECIPE_A, RECIPE_B),
) -> Plan:
    """The plan; `data` is the dataset's fingerprint, the recipes are part A's and part B's. Raises BadRequest."""
    if seeds < 1:
        raise BadRequest(f"--seeds {seeds}: give at least 1; 5 tell something about chance")
    check_training(epochs)
    check_recipes(*recipes)
    if joined := [name for name in dataset.class_names if "," in name]:
        raise BadRequest(f"{dataset.name}: the class {joined[0]!r} has a comma, which parts two classes: rename it")
    names = parse_strategies(strategies)
    sizes = parse_sizes(train_sizes, dataset)
    named = named_strategies()
    cells: dict[tuple[str, str], Cell] = {}

    def add(name: str, *network: Any) -> Network:
        cell = Cell(name, Network(*network))
        return cells.setdefault((cell.network.key, name), cell).network

    for classes, seed, size in product(parse_pairs(pairs, dataset.class_names), range(seeds), sizes):
        given: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": precision}
        recipe_a, recipe_b = (replace(recipe, **given) for recipe in recipes)
        for name in names:
            strategy, part = named[name]
            source = None
            if part == "a":
                source = add("a", classes, seed, recipe_a, data, None, "1.0", None, "a")
            elif part == "b":
                source = add("b", classes, seed, replace(recipe_b, seed=seed + CONTROL_SEED), data, None, size)
            add(name, classes, seed, recipe_b, data, strategy, size, source)
    return Plan(tuple(cells.values()))


def check_images(images: float) -> None:
    """Raises BadRequest unless it is a part of all training images."""
    if not 0 < images <= 1:
        raise BadRequest(f"--images {images}: give a part of them, such as 0.25, or 1 for all")


def parse_pairs(pairs: str, class_names: Sequence[str]) -> list[tuple[int, int]]:
    """`all`, `N-random`, or pairs of class numbers or names joined by +: `4,9+cat,dog`."""
    everything = list(combinations(range(len(class_names)), 2))
    if len(class_names) < 4:
        raise BadRequest(
            f"--pairs {pairs}: there are {len(class_names)} classes; two are held out, two or more are left"
        )
    if pairs == "all":
        return everything
    if match := re.fullmatch(r"(\d{1,6})-random", pairs):
        return list(pick(everything, int(match[1]), pairs))
    numbers = {str(number): number for number in range(len(class_names))}
    known = {**numbers, **{name: number for number, name in enumerate(class_names)}}
    found = []
    for pair in pairs.split("+"):
        names = [name.strip() for name in pair.split(",")]
        if len(names) != 2 or any(name not in known for name in names) or known[names[0]] == known[names[1]]:
            raise BadRequest(
                f"--pairs {pairs}: {pair!r} is no pair of two classes; give all, 10-random, or pairs such as 4,9+3,5 "
                f"of {', '.join(f'{number} {name}' for number, name in enumerate(class_names))}"
            )
        first, second = sorted(known[name] for name in names)
        found.append((first, second))
    return list(dict.fromkeys(found))


def pick(everything: list[tuple[int, int]], count: int, asked: str) -> Iterator[tuple[int, int]]:
    """So many pairs at random, always the same ones; more of them begin with the fewer."""
    import numpy as np

    if not 1 <= count <= len(everything):
        raise BadRequest(f"--pairs {asked}: there are {len(everything)} pairs")
    for index in np.random.default_rng(0).permutation(len(everything))[:count]:
        yield everything[index]


def parse_strategies(strategies: str) -> list[str]:
    """Names of strategies and groups of them, joined by commas; scratch, which all are compared with, always comes."""
    known = named_strategies()
    found = ["scratch"]
    for name in strategies.split(","):
        members = GROUPS.get(name.strip(), [name.strip()])
        if unknown := [member for member in members if member not in known]:
            groups = ", ".join(GROUPS)
            raise BadRequest(f"--strategies {strategies}: {unknown[0]!r} is none of {groups}, {', '.join(known)}")
        found += members
    return list(dict.fromkeys(found))


def parse_sizes(train_sizes: str, dataset: Dataset) -> list[str]:
    """Fractions (with a point: 0.25) or images per class (without: 100) of part B's training images."""
    import numpy as np

    from headstart.study.subsets import images_per_class

    available = np.bincount(dataset.y_train).tolist()
    fewest = min(available)
    found: dict[tuple[int, ...], str] = {}  # by images of each class: one size under two names would be trained twice
    for text in (size.strip() for size in train_sizes.split(",")):
        fraction = re.fullmatch(r"0?\.\d{1,6}|1\.0*", text)
        count = re.fullmatch(r"[1-9]\d{0,8}", text)
        if not (fraction and float(text) * fewest >= 1) and not (count and int(text) <= fewest):
            raise BadRequest(
                f"--train-sizes {train_sizes}: {text!r} is neither a fraction such as 0.25 or 1.0 nor a number of "
                f"images per class from 1 to {fewest}"
            )
        name = str(float(text)) if fraction else text
        kept = tuple(images_per_class(name, images) for images in available)
        found.setdefault(kept, "1.0" if kept == tuple(available) else name)
    return list(found.values())

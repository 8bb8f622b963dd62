"""The plan of a study: which networks are trained, each only once, and from which source each starts.

A *condition* is a pair of held-out classes, a seed, a strategy and a number of training images. Conditions share
networks. All strategies of a pair and seed start from the same source network. Two names for one strategy, such as
`last_layer` and `A5B`, are one network.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np

from headstart.errors import InvalidRequest
from headstart.options import check_count, check_training, find_pair
from headstart.practical.data import Dataset
from headstart.runtime.provenance import provenance
from headstart.study.subsets import images_per_class
from headstart.training.recipes import RECIPE_A, RECIPE_B, Recipe, Recipes, check_recipes
from headstart.training.strategies import STRATEGIES, Strategy

DEPTHS = range(1, 6)
CONTROL_SEED = 20_000  # BnB's source is trained on B with the recipe's seed plus this


def named_strategies() -> dict[str, tuple[Strategy, str]]:
    """Return every strategy by its name, with the part that its source is trained on.

    The part is "a", "b", or "" if nothing is copied. AnB and BnB copy n layers and freeze them. AnB+ and BnB+ train
    them further (Yosinski et al. 2014).
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
class NetworkSpec:
    """A network to train: on part A of a pair, or on training images of part B with a strategy."""

    classes: tuple[int, int]
    seed: int  # of the condition; it also determines the images of a smaller training set
    recipe: Recipe
    fingerprint: str  # the dataset's
    strategy: Strategy | None = None  # None for a source, which is trained from random weights
    train_size: str = "1.0"
    source: NetworkSpec | None = None
    part: str = "b"

    @cached_property
    def key(self) -> str:
        """A hash of everything that determines the trained weights; names do not."""
        content = {
            "by": provenance(),
            "data": self.fingerprint,
            "classes": sorted(self.classes),
            "part": self.part,
            "train_size": [self.train_size, self.seed],
            "recipe": asdict(self.recipe),
            "copied": self.strategy.copied if self.strategy else 0,
            "frozen": self.strategy.frozen if self.strategy else 0,
            "fresh": self.strategy is None,  # a source has other random weights than a strategy
            "source": self.source.key if self.source else None,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Condition:
    """A row of the study's results: a network under the name that was requested."""

    strategy: str  # the strategy's name; "a" and "b" are sources
    network: NetworkSpec


@dataclass(frozen=True)
class Plan:
    """All conditions, in the order in which they are reported."""

    conditions: tuple[Condition, ...]

    @cached_property
    def networks(self) -> dict[str, NetworkSpec]:
        """Every network by its key, once, and after its source."""
        return {condition.network.key: condition.network for condition in self.conditions}


def make_plan(
    dataset: Dataset,
    fingerprint: str,
    pairs: str = "all",
    seeds: int = 5,
    strategies: str = "practical",
    train_sizes: str = "1.0",
    epochs: int = 20,
    precision: str = "float32",
    recipes: Recipes = (RECIPE_A, RECIPE_B),
) -> Plan:
    """Plan a study.

    Args:
        dataset: Images and labels of at least four classes.
        fingerprint: The dataset's, from `fingerprint`.
        pairs: "all", "N-random", or pairs of class numbers or names such as "4,9+cat,dog".
        seeds: The number of seeds, at least 1; 3 means seeds 0, 1 and 2.
        strategies: "practical", "depth", or names joined by commas.
        train_sizes: Fractions of part B ("0.25") or images per class ("100"), joined by commas.
        epochs: At least 1.
        precision: "float32" or "bfloat16".
        recipes: Part A's and part B's.

    Returns:
        All conditions; a network that several of them share is planned once.

    Raises:
        InvalidRequest: A value is invalid.
    """
    check_count("seeds", seeds, "; seed variance can be estimated from several, such as 5")
    check_training(epochs)
    check_recipes(*recipes)
    if joined := [name for name in dataset.class_names if "," in name]:
        raise InvalidRequest(
            f"{dataset.name}: the class {joined[0]!r} contains a comma, which separates two classes: rename it"
        )
    names = parse_strategies(strategies)
    sizes = parse_sizes(train_sizes, dataset)
    named = named_strategies()
    conditions: dict[tuple[str, str], Condition] = {}

    def add(name: str, *network: Any) -> NetworkSpec:
        condition = Condition(name, NetworkSpec(*network))
        return conditions.setdefault((condition.network.key, name), condition).network

    for classes, seed, size in product(parse_pairs(pairs, dataset.class_names), range(seeds), sizes):
        given: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": precision}
        recipe_a, recipe_b = (replace(recipe, **given) for recipe in recipes)
        for name in names:
            strategy, part = named[name]
            source = None
            if part == "a":
                source = add("a", classes, seed, recipe_a, fingerprint, None, "1.0", None, "a")
            elif part == "b":
                source = add("b", classes, seed, replace(recipe_b, seed=seed + CONTROL_SEED), fingerprint, None, size)
            add(name, classes, seed, recipe_b, fingerprint, strategy, size, source)
    return Plan(tuple(conditions.values()))


def parse_pairs(pairs: str, class_names: Sequence[str]) -> list[tuple[int, int]]:
    """Parse the option `pairs`.

    Args:
        pairs: "all", "N-random", or pairs of class numbers or names such as "4,9+cat,dog" (see `find_pair`).
        class_names: All classes of the dataset.

    Returns:
        Different pairs of class numbers.

    Raises:
        InvalidRequest: There are fewer than four classes, or the option is not valid.
    """
    every_pair = list(combinations(range(len(class_names)), 2))
    if len(class_names) < 4:
        rule = f"there are {len(class_names)} classes: at least four are needed, because two are held out"
        raise InvalidRequest(rule, option="pairs", value=pairs)
    if pairs == "all":
        return every_pair
    if match := re.fullmatch(r"(\d{1,6})-random", pairs):
        return list(random_pairs(every_pair, int(match[1]), pairs))
    try:
        found = [sorted(find_pair(pair, tuple(class_names), "pairs")) for pair in pairs.split("+")]
    except InvalidRequest as error:
        rule = f"{error.value!r} is not a pair: {error.rule}; or give all, 10-random, or pairs such as 4,9+3,5"
        raise InvalidRequest(rule, option="pairs", value=pairs) from error
    return list(dict.fromkeys((first, second) for first, second in found))


def random_pairs(every_pair: list[tuple[int, int]], count: int, pairs: str) -> Iterator[tuple[int, int]]:
    """Choose pairs at random, always the same ones. A larger choice starts with the pairs of a smaller one.

    Args:
        every_pair: All pairs.
        count: How many pairs to choose.
        pairs: The option, for the message.

    Raises:
        InvalidRequest: There are not so many pairs, or the number is 0.
    """
    if not 1 <= count <= len(every_pair):
        rule = f"there are {len(every_pair)} pairs; give 1 to {len(every_pair)} of them"
        raise InvalidRequest(rule, option="pairs", value=pairs)
    for index in np.random.default_rng(0).permutation(len(every_pair))[:count]:
        yield every_pair[index]


def parse_strategies(strategies: str) -> list[str]:
    """Parse the option `strategies`. Scratch is always included, because all others are compared with it.

    Args:
        strategies: Names of strategies and groups, joined by commas.

    Returns:
        Different names of strategies.

    Raises:
        InvalidRequest: A name is unknown.
    """
    known = named_strategies()
    found = ["scratch"]
    for name in strategies.split(","):
        members = GROUPS.get(name.strip(), [name.strip()])
        if unknown := [member for member in members if member not in known]:
            rule = f"{unknown[0]!r} is not one of {', '.join([*GROUPS, *known])}"
            raise InvalidRequest(rule, option="strategies", value=strategies)
        found += members
    return list(dict.fromkeys(found))


def parse_sizes(train_sizes: str, dataset: Dataset) -> list[str]:
    """Parse the option `train_sizes`. Two names for one size are one size.

    Args:
        train_sizes: Fractions ("0.25") or images per class ("100") of part B's training images, joined by commas.
        dataset: All images.

    Returns:
        Names of different sizes; "1.0" means all images.

    Raises:
        InvalidRequest: A size is not valid, or there are not so many images.
    """
    available = np.bincount(dataset.y_train).tolist()
    fewest = min(available)
    found: dict[tuple[int, ...], str] = {}  # by images per class, because one size can have two names
    for text in (size.strip() for size in train_sizes.split(",")):
        fraction = re.fullmatch(r"0?\.\d{1,6}|1\.0*", text)
        count = re.fullmatch(r"[1-9]\d{0,8}", text)
        if not (fraction and float(text) * fewest >= 1) and not (count and int(text) <= fewest):
            rule = f"{text!r} is neither a fraction such as 0.25 nor a number of images per class from 1 to {fewest}"
            raise InvalidRequest(rule, option="train_sizes", value=train_sizes)
        name = str(float(text)) if fraction else text
        kept = tuple(images_per_class(name, images) for images in available)
        found.setdefault(kept, "1.0" if kept == tuple(available) else name)
    return list(found.values())

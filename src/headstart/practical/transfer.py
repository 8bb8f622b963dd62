"""
## The strategies

A strategy says how many of the six weight layers start from network A (`copied`) and how many of those stay as they
are (`frozen`). The last layer is always new, for A tells eight classes apart and B two. The practical's three
strategies are three points of this plane, which [Yosinski et al. (2014)](https://arxiv.org/abs/1411.1792) explored
for a larger network; `scratch` starts from random weights, as A did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS, build_network, colour_statistics, input_statistics
from headstart.practical.recipe import Recipe
from headstart.practical.training import Trained, train


@dataclass(frozen=True)
class Strategy:
    """The first `copied` weight layers start from the source network, the first `frozen` of those stay fixed."""

    name: str
    copied: int
    frozen: int

    def __post_init__(self) -> None:
        if not 0 <= self.frozen <= self.copied < len(WEIGHT_LAYERS):
            raise ValueError(f"strategy {self}: 0 <= frozen <= copied <= 5 must hold; fc2 is always new")


SCRATCH = Strategy("scratch", copied=0, frozen=0)
LAST_LAYER = Strategy("last_layer", copied=5, frozen=5)
TWO_LAYERS = Strategy("two_layers", copied=5, frozen=4)
STRATEGIES = (SCRATCH, LAST_LAYER, TWO_LAYERS)


def transfer(source: Trained, strategy: Strategy, part: Dataset, recipe: Recipe, **options: Any) -> Trained:
    """A new network for `part`, begun and trained as the strategy says; the source is only read.

    `options` go to `train`: callbacks, resume, feature_bytes.
    """
    normalise_like_source = strategy.copied > 0  # copied weights expect the input they were trained on
    network = build_network(
        len(part.class_names),
        recipe,
        input_statistics(source.network) if normalise_like_source else colour_statistics(part.x_train),
        seed=recipe.seed + 10_000,  # other random weights than network A began with, the same for all strategies
    )
    for layer in WEIGHT_LAYERS[: strategy.copied]:
        network.get_layer(layer).set_weights(source.network.get_layer(layer).get_weights())
    for layer in WEIGHT_LAYERS[: strategy.frozen]:
        network.get_layer(layer).trainable = False
    return train(network, part, recipe, **vars(strategy), **options)

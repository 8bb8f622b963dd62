"""The type of the one tiny run that many tests share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from headstart.practical.data import Dataset
    from headstart.training.recipes import Recipe
    from headstart.training.trainer import Trained


@dataclass(frozen=True, repr=False)
class TinyRun:
    """Network A and the practical's three strategies, trained for four epochs on a few hundred digits."""

    part_a: Dataset
    part_b: Dataset
    recipe_a: Recipe
    recipe_b: Recipe
    source: Trained
    strategies: tuple[Trained, Trained, Trained]
    source_weights: list[list[np.ndarray]]  # of network A, after each epoch

    @property
    def networks(self) -> tuple[Trained, ...]:
        return (self.source, *self.strategies)

    @property
    def scratch(self) -> Trained:
        return self.strategies[0]

    @property
    def last_layer(self) -> Trained:
        return self.strategies[1]

    @property
    def two_layers(self) -> Trained:
        return self.strategies[2]

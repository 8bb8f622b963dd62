"""The cost of a network on any machine, in multiplications."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from headstart.practical.recipe import Recipe

STRIDES, POOLS = (1, 1, 1, 2), (1, 1, 0, 0)  # of conv1 to conv4; whether a pooling layer follows


def layer_work(recipe: Recipe) -> np.ndarray:
    """Count the multiplications for one image in each weight layer.

    Args:
        recipe: The network's sizes.

    Returns:
        float64 (6,), for conv1 to conv4, fc1 and fc2. fc2 is counted for one class, because its share is negligible.
    """
    side, work = 32, []
    for (channels, width), stride, pooled in zip(pairwise((3, *recipe.widths)), STRIDES, POOLS, strict=True):
        side = -(-side // stride)
        work.append(side**2 * 9 * channels * width)
        side //= 1 + pooled
    return np.array([*work, side**2 * recipe.widths[-1] * recipe.units, recipe.units], dtype=float)

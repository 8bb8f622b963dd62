"""What a network costs, whatever the machine: multiplications."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from headstart.practical.recipe import Recipe

STRIDES, POOLS = (1, 1, 1, 2), (1, 1, 0, 0)  # of conv1 to conv4; whether a pooling layer follows


def layer_work(recipe: Recipe) -> np.ndarray:
    """Multiplications for an image in each of the six weight layers, (6,); fc2's are next to none."""
    side, work = 32, []
    for (channels, width), stride, pooled in zip(pairwise((3, *recipe.widths)), STRIDES, POOLS, strict=True):
        side = -(-side // stride)
        work.append(side**2 * 9 * channels * width)
        side //= 1 + pooled
    return np.array([*work, side**2 * recipe.widths[-1] * recipe.units, recipe.units], dtype=float)

"""What a network costs, whatever the machine: multiplications."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from headstart.practical.recipe import Recipe


def layer_work(recipe: Recipe) -> np.ndarray:
    """Multiplications for an image in each of the six weight layers, (6,); fc2's are next to none."""
    side, work = 32, []
    for number, (channels, width) in enumerate(pairwise((3, *recipe.widths)), start=1):
        side = -(-side // recipe.strides[number - 1])
        work.append(side**2 * 9 * channels * width)
        side //= 2 if number in recipe.pools else 1
    return np.array([*work, side**2 * recipe.widths[-1] * recipe.units, recipe.units], dtype=float)

"""Strategies: how many layers of a new network are copied from the source network, and how many of those are frozen."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.errors import InvalidRequest

LAYER_COUNT = 6  # conv1 to conv4, fc1, fc2


@dataclass(frozen=True)
class Strategy:
    """The first `copied` weight layers start from the source network, and the first `frozen` of those stay fixed.

    Args:
        name: A name for tables and figures.
        copied: From 0 to 5, because fc2 is always new.
        frozen: From 0 to `copied`.

    Raises:
        InvalidRequest: The numbers are out of these ranges.
    """

    name: str
    copied: int
    frozen: int

    def __post_init__(self) -> None:
        if not 0 <= self.frozen <= self.copied < LAYER_COUNT:
            raise InvalidRequest(f"{self}: 0 <= frozen <= copied <= 5 must hold; fc2 is always new")


SCRATCH = Strategy("scratch", copied=0, frozen=0)
LAST_LAYER = Strategy("last_layer", copied=5, frozen=5)
TWO_LAYERS = Strategy("two_layers", copied=5, frozen=4)
STRATEGIES = (SCRATCH, LAST_LAYER, TWO_LAYERS)

from __future__ import annotations

from itertools import product

import pytest

from headstart.errors import InvalidRequest
from headstart.training.strategies import STRATEGIES, Strategy

LEGAL = [(copied, frozen) for copied in range(6) for frozen in range(copied + 1)]


def test_the_practicals_strategies_have_their_numbers() -> None:
    points = {strategy.name: (strategy.copied, strategy.frozen) for strategy in STRATEGIES}
    assert points == {"scratch": (0, 0), "last_layer": (5, 5), "two_layers": (5, 4)}


def test_frozen_layers_are_copied_and_the_last_layer_is_neither() -> None:
    for copied, frozen in product(range(-2, 9), repeat=2):
        if (copied, frozen) in LEGAL:
            assert Strategy("any", copied, frozen).copied == copied
        else:
            with pytest.raises(InvalidRequest, match="0 <= frozen <= copied <= 5") as caught:
                Strategy("any", copied, frozen)
            assert f"copied={copied}, frozen={frozen}" in str(caught.value)

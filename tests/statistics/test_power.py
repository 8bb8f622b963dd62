"""How many seeds or items would settle a comparison."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.statistics.power import items_for_any_seeds, items_needed, power_of, seeds_needed


@pytest.mark.parametrize(("effect", "items"), [(0.02, 1_568), (0.01, 6_277)])
def test_items_by_hand(effect: float, items: int) -> None:
    """Connor's (1987) formula with 8% discordant items."""
    assert items_needed(effect, 0.08) == items


def test_items_reach_the_power_that_they_promise() -> None:
    rng, items = np.random.default_rng(0), items_needed(0.04, 0.10)
    draws = rng.multinomial(items, [0.07, 0.03, 0.90], size=4_000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(draws[:, 0] + draws[:, 1])
    assert 0.78 <= np.mean(np.abs(z) > 1.96) <= 0.83


@pytest.mark.parametrize(("effect", "deviation"), [(0.01, 0.02), (0.01, 0.01), (0.02, 0.012)])
def test_seeds_reach_the_power_that_they_promise(effect: float, deviation: float) -> None:
    seeds = seeds_needed(effect, deviation)
    assert seeds is not None
    values = np.random.default_rng(0).normal(effect, deviation, (4_000, seeds))
    t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / np.sqrt(seeds))
    from scipy import stats

    rejected = np.mean(np.abs(t) > stats.t.ppf(0.975, seeds - 1))
    assert rejected >= 0.78
    assert power_of(effect, deviation / np.sqrt(seeds - 1), seeds - 2, 0.05) < 0.8  # one seed fewer is not enough


def test_at_least_three_seeds_are_needed() -> None:
    assert seeds_needed(1.0, 0.0) == 3
    assert seeds_needed(1.0, 1e-6) == 3


def test_no_number_of_seeds_is_enough_where_items_vary_too_much() -> None:
    omega, items = 0.4, 2_000
    effect = 2.80 * omega / np.sqrt(items)
    assert seeds_needed(0.9 * effect, 0.01, items_variance=omega**2 / items) is None
    assert seeds_needed(1.2 * effect, 0.01, items_variance=omega**2 / items) is not None
    assert items_for_any_seeds(effect, omega) == pytest.approx(items, rel=0.01)


@settings(max_examples=25)
@given(st.floats(0.005, 0.1), st.floats(0.001, 0.05), st.integers(1, 20))
def test_more_comparisons_and_smaller_effects_need_more(effect: float, deviation: float, comparisons: int) -> None:
    one, several = seeds_needed(effect, deviation), seeds_needed(effect, deviation, comparisons)
    smaller = seeds_needed(effect / 2, deviation)
    assert one is not None
    assert several is None or several >= one
    assert smaller is None or smaller >= one
    assert items_needed(effect, 0.2, comparisons) >= items_needed(effect, 0.2)

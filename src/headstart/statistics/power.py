"""The number of seeds or items that would settle an undecided comparison, or that no number of seeds would.

Sources: the noncentral t distribution for seeds; Connor (1987) for items of one pair of networks.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from scipy import stats

POWER, ALPHA = 0.8, 0.05
MIN_SEEDS, MAX_SEEDS = 3, 10_000
QUANTILES = 2_000


def seeds_needed(effect: float, deviation: float, comparisons: int = 1, items_variance: float = 0.0) -> int | None:
    """Return the smallest number of seeds, from 3, that finds an effect with power 0.8.

    Args:
        effect: The smallest difference that matters, above 0.
        deviation: The standard deviation of the difference between seeds.
        comparisons: How many comparisons are made; alpha is divided by this number.
        items_variance: The part of the variance that more seeds do not reduce.

    Returns:
        The number; None if no number up to 10,000 is enough.
    """
    alpha = ALPHA / comparisons
    if items_variance and power_of(effect, np.sqrt(items_variance), np.inf, alpha) < POWER:
        return None
    if deviation == 0:
        return MIN_SEEDS

    def is_enough(seeds: int) -> bool:
        se = float(np.sqrt(deviation**2 / seeds + items_variance))
        share = (deviation**2 / seeds) / se**2
        return power_of(effect, se, (seeds - 1) / share**2, alpha) >= POWER

    found = bisect_left(range(MAX_SEEDS + 1), True, lo=MIN_SEEDS, key=is_enough)  # power grows with seeds
    return found if found <= MAX_SEEDS else None


def power_of(effect: float, se: float, df: float, alpha: float) -> float:
    """Return the power of a two-sided t test; that of a normal test if df is infinite.

    Args:
        effect: The true difference.
        se: The standard error of the difference, above 0.
        df: Degrees of freedom, above 0.
        alpha: The significance level.
    """
    if np.isinf(df):
        critical = stats.norm.ppf(1 - alpha / 2)
        return float(stats.norm.sf(critical - effect / se) + stats.norm.cdf(-critical - effect / se))
    critical = stats.t.ppf(1 - alpha / 2, df)
    # The mean over quantiles of the estimated standard error: SciPy's noncentral t is NaN for large effects.
    ratio = np.sqrt(stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, df) / df)
    power = stats.norm.sf(critical * ratio - effect / se) + stats.norm.cdf(-critical * ratio - effect / se)
    return float(power.mean())


def items_needed(effect: float, discordant: float, comparisons: int = 1) -> int:
    """Return the number of items on which McNemar's test finds an effect with power 0.8 (Connor 1987).

    Args:
        effect: The difference of the two accuracies, from 0 (excluded) to `discordant`.
        discordant: The share of items on which exactly one of the two is right.
        comparisons: How many comparisons are made; alpha is divided by this number.

    >>> items_needed(0.02, 0.08), items_needed(0.01, 0.08)
    (1568, 6277)
    """
    z_alpha, z_power = stats.norm.ppf(1 - ALPHA / comparisons / 2), stats.norm.ppf(POWER)
    root = z_alpha * np.sqrt(discordant) + z_power * np.sqrt(max(discordant - effect**2, 0.0))
    return int(np.ceil((root / effect) ** 2))


def items_for_any_seeds(effect: float, omega: float, comparisons: int = 1) -> int:
    """Return the number of items without which no number of seeds is enough: (2.80 omega / effect) squared.

    Args:
        effect: The smallest difference that matters, above 0.
        omega: The standard deviation of the items' mean differences, without seed variance.
        comparisons: How many comparisons are made; alpha is divided by this number. The factor is 2.80 for one.
    """
    factor = stats.norm.ppf(1 - ALPHA / comparisons / 2) + stats.norm.ppf(POWER)
    return int(np.ceil((factor * omega / effect) ** 2))

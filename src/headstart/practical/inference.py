"""
## How certain are the results?

Other test images would give other accuracies. These tools say how much that matters:

- *95% confidence interval*: a range for the true value, made by a method that is right in 95 of 100 cases. Here:
  Wilson's (1927) for an accuracy, Agresti and Min's (2005) for the difference of two networks on the same images.
- *p-value*: the probability of a result at least as uneven as this one if both networks were equally good. The *mid-p
  McNemar test* counts the images on which only one of the two networks is right (Fagerland and others, 2013).
- *Holm's correction* (1979): three comparisons are three opportunities for a false alarm, so the p-values are
  increased.

A difference is called *significant* if its corrected p-value is below 0.05. That is a statement about **these two
networks** on other test images of the same kind. It is not about the two methods: another seed gives other networks,
and that can change an accuracy more than other test images do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom, binomtest, norm

if TYPE_CHECKING:
    from headstart.practical.training import Trained  # an import at run time would need Keras


def accuracy_interval(trained: Trained) -> tuple:
    """Return Wilson's 95% confidence interval of the test accuracy."""
    n = len(trained.labels)
    return tuple(binomtest(round(trained.test_accuracy * n), n).proportion_ci(method="wilson"))


def paired_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Return Agresti and Min's 95% confidence interval of the difference of two accuracies on the same n images."""
    b, c, m = only_first + 0.5, only_second + 0.5, n + 2
    centre, reach = (b - c) / m, norm.ppf(0.975) * np.sqrt(b + c - (b - c) ** 2 / m) / m
    return max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the mid-p value: could a fair coin divide the images on which one network is right so unevenly?"""
    fewer, n = min(only_first, only_second), only_first + only_second
    return float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5))


def holm(p_values: list[float]) -> list[float]:
    """Correct by Holm: the smallest of k p-values times k, the next times k - 1, and so on, never decreasing."""
    order = np.argsort(p_values, kind="stable")
    larger = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return np.minimum(1, larger)[np.argsort(order, kind="stable")].tolist()

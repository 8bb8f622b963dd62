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

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binom, binomtest, norm

from headstart.practical.training import TITLES, Trained


def accuracy_interval(trained: Trained) -> tuple:
    """Wilson's 95% confidence interval of the test accuracy."""
    n = len(trained.labels)
    return tuple(binomtest(round(trained.test_accuracy * n), n).proportion_ci(method="wilson"))


def paired_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Agresti and Min's 95% confidence interval of the difference of two accuracies on the same n images."""
    b, c, m = only_first + 0.5, only_second + 0.5, n + 2
    centre, reach = (b - c) / m, norm.ppf(0.975) * np.sqrt(b + c - (b - c) ** 2 / m) / m
    return max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))


def mcnemar(only_first: int, only_second: int) -> float:
    """The mid-p value: could a fair coin divide the images on which one network is right so unevenly?"""
    fewer, n = min(only_first, only_second), only_first + only_second
    return float(2 * binom.cdf(fewer, n, 0.5) - binom.pmf(fewer, n, 0.5))


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction: the smallest of k p-values times k, the next times k - 1, and so on, never decreasing."""
    order = np.argsort(p_values, kind="stable")
    larger = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return np.minimum(1, larger)[np.argsort(order, kind="stable")].tolist()


# %%
def compare(strategies: list) -> pd.DataFrame:
    """A row for each pair of strategies; `difference` is the first one's test accuracy minus the second one's."""
    rows = []
    for second, first in combinations(strategies, 2):
        right, other_right = (t.probabilities.argmax(axis=1) == t.labels for t in (first, second))
        n, b, c = len(right), int((right & ~other_right).sum()), int((other_right & ~right).sum())
        rows.append([first.name, second.name, (b - c) / n, *paired_interval(b, c, n), b, c, mcnemar(b, c)])
    names = ["first", "second", "difference", "low", "high", "only_first", "only_second", "p_uncorrected"]
    table = pd.DataFrame(rows, columns=names)
    table["p_value"] = holm(table["p_uncorrected"].tolist())
    return table.assign(significant=table["p_value"] < 0.05)


def summarise(networks: list) -> pd.DataFrame:
    """A row for each network: what was trained, and its accuracies (%) after the last epoch."""
    rows = []
    for trained in networks:
        interval = " to ".join(f"{100 * bound:.1f}" for bound in accuracy_interval(trained))
        accuracies = [100 * trained.train_accuracy, 100 * trained.test_accuracy, interval]
        weights = sum(np.prod(weight.shape) for weight in trained.network.trainable_weights)
        rows.append([TITLES[trained.name], weights, *accuracies, trained.history["seconds"].iloc[-1]])
    return pd.DataFrame(rows, columns=["network", "trained weights", "training %", "test %", "95% interval", "seconds"])

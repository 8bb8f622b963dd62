"""
## How sure is that?

Another 2,000 test images would give another accuracy: at 90%, its standard error is 0.7 points. So each accuracy
comes with its 95% interval (Wilson, 1927). Two strategies are compared on the *same* test images, where only those
count on which exactly one of the two is right: McNemar's exact test (1947) asks whether a fair coin would split them
so unevenly. Three comparisons give chance three tries, for which Holm's correction (1979) makes up. The interval of a
difference is Agresti and Min's (2005), for paired shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from headstart.practical.training import Trained


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share of which `right` out of `n` were seen."""
    interval = binomtest(right, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def correct(trained: Trained) -> np.ndarray:
    """Which test images the network classifies correctly, bool (n,)."""
    return trained.probabilities.argmax(axis=1) == trained.labels


def accuracy_interval(trained: Trained) -> tuple[float, float]:
    """The 95% interval of a network's test accuracy."""
    right = correct(trained)
    return wilson_interval(int(right.sum()), len(right))


def paired_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """The 95% interval of the difference of two accuracies on the same n images, from those one alone has right."""
    b, c, m = only_first + 0.5, only_second + 0.5, n + 2
    centre, reach = (b - c) / m, 1.959964 * np.sqrt(b + c - (b - c) ** 2 / m) / m
    return max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the smallest of k p-values times k, the next times k - 1, and so on, never decreasing."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(p) for p in corrected]


# %% [markdown]
# ### The tables


# %%
def compare(strategies: Sequence[Trained]) -> pd.DataFrame:
    """A row a pair of strategies; `difference` is the first one's test accuracy minus the second one's."""
    rows = []
    for second, first in combinations(strategies, 2):
        only_first = int((correct(first) & ~correct(second)).sum())
        only_second = int((correct(second) & ~correct(first)).sum())
        n = len(first.labels)
        low, high = paired_interval(only_first, only_second, n)
        p_value = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
        rows.append(
            (first.name, second.name, (only_first - only_second) / n, low, high, only_first, only_second, p_value)
        )
    table = pd.DataFrame(
        rows, columns=["first", "second", "difference", "low", "high", "only_first", "only_second", "p_value"]
    )
    table["p_value"] = holm(table["p_value"].tolist())
    table["significant"] = table["p_value"] < 0.05
    return table


def summarise(networks: Sequence[Trained]) -> pd.DataFrame:
    """A row a network: what was trained, and its figures after the last epoch."""
    rows = []
    for trained in networks:
        low, high = accuracy_interval(trained)
        last = trained.history.iloc[-1]
        rows.append(
            {
                "network": trained.title,
                "copied": trained.copied,
                "frozen": trained.frozen,
                "trained weights": trained.trainable_parameters,
                "train_accuracy": last["train_accuracy"],
                "test_accuracy": trained.test_accuracy,
                "low": low,
                "high": high,
                "train_loss": last["train_loss"],
                "test_loss": trained.test_loss,
                "seconds": trained.seconds,
            }
        )
    return pd.DataFrame(rows)

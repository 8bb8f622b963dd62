from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from headstart.practical.inference import accuracy_interval, holm, mcnemar, paired_interval
from headstart.practical.training import TITLES


# %%
def compare(strategies: list) -> pd.DataFrame:
    """Compare each pair of strategies; `difference` is the first one's test accuracy minus the second one's."""
    rows = []
    for second, first in combinations(strategies, 2):
        right, other_right = (t.probabilities.argmax(axis=1) == t.labels for t in (first, second))
        n, b, c = len(right), int((right & ~other_right).sum()), int((other_right & ~right).sum())
        rows.append([first.name, second.name, (b - c) / n, *paired_interval(b, c, n), b, c, mcnemar(b, c)])
    names = ["first", "second", "difference", "low", "high", "only_first", "only_second", "p_uncorrected"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(p_value=holm(table["p_uncorrected"].tolist()), significant=lambda t: t["p_value"] < 0.05)


def summarise(networks: list) -> pd.DataFrame:
    """Make a table of the networks: what was trained, and the accuracies (%) after the last epoch."""
    rows = []
    for trained in networks:
        interval = " to ".join(f"{100 * bound:.1f}" for bound in accuracy_interval(trained))
        accuracies = [100 * trained.train_accuracy, 100 * trained.test_accuracy, interval]
        weights = sum(np.prod(weight.shape) for weight in trained.network.trainable_weights)
        rows.append([TITLES[trained.name], weights, *accuracies, trained.history["seconds"].iloc[-1]])
    return pd.DataFrame(rows, columns=["network", "trained weights", "training %", "test %", "95% interval", "seconds"])

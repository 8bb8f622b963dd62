"""
## From numbers to words

The sentences below the results are computed from them, so that they are true of this run, whatever came out. If the
classes have different numbers of images, they include the *balanced accuracy*, the mean of the classes' accuracies.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

from headstart.practical.inference import accuracy_interval
from headstart.practical.training import TITLES, Trained


def describe_network(trained: Trained) -> str:
    """Describe how good the network is, how its losses changed, and how well it fits."""
    (low, high), n = accuracy_interval(trained), len(trained.labels)
    answers, counts = trained.probabilities.argmax(axis=1), np.bincount(trained.labels)
    largest = counts.max() / n
    train_loss, test_loss = trained.history["train_loss"].to_numpy(), trained.history["test_loss"].to_numpy()
    words = f"**{TITLES[trained.name]}** classifies {trained.test_accuracy:.1%} of {n:,} test images correctly "
    words += f"(95% confidence interval {low:.1%} to {high:.1%}; the largest class has {largest:.1%}). "
    if counts.max() > 1.5 * counts.min():
        words += f"Unequal classes: the balanced accuracy is {balanced_accuracy_score(trained.labels, answers):.1%}. "
    if low <= largest:
        words += "That is no better than guessing the largest class. "
    if len(set(answers)) == 1:
        words += f"It predicts one class only, “{trained.class_names[answers[0]]}”. "
    if not np.isfinite([train_loss, test_loss]).all():
        return words + "Its loss is not a finite number: the training failed."
    words += f"Its training loss was {train_loss[0]:.3f} after epoch 1 and {train_loss[-1]:.3f} after the last. "
    words += f"The test loss was lowest after epoch {test_loss.argmin() + 1} ({test_loss.min():.3f}; at the end "
    words += f"{test_loss[-1]:.3f}). The training accuracy is {trained.train_accuracy:.1%}: "
    return words + f"a gap of {100 * (trained.train_accuracy - trained.test_accuracy):z.1f} points."


def describe_pair(pair: pd.Series, n: int) -> str:
    """Say which of two strategies classifies more of the n test images correctly, and how certain that is."""
    names = [f"“{TITLES[name]}”" for name in (pair["first"], pair["second"])]
    if pair["difference"] == 0:
        return f"{' and '.join(names)} classify equally many test images correctly."
    better, worse = names if pair["difference"] > 0 else names[::-1]
    points, images = f"{100 * abs(pair['difference']):.1f}", abs(round(pair["difference"] * n))
    ahead = f"{images} of {n:,} images" if points == "0.0" else f"{points} points"
    verdict = "significant for these two networks" if pair["significant"] else "not significant, so undecided"
    return f"{better} is {ahead} ahead of {worse}: {verdict} (mid-p McNemar, Holm-corrected p = {pair['p_value']:.3g})."


# %%
def describe_transfer(trained: Trained, scratch: Trained) -> str:
    """Say what starting from network A changed: the beginning, the end and the time."""
    (begin, end), (begin_0, end_0) = (t.history["test_accuracy"].iloc[[0, -1]] for t in (trained, scratch))
    seconds, seconds_0 = (t.history["seconds"].iloc[-1] for t in (trained, scratch))
    alone = seconds + (len(trained.history) / 2 - 1) * trained.feature_seconds  # they are two epochs' worth
    words = f"**{TITLES[trained.name]}** was at {begin:.1%} after the first epoch and at {end:.1%} after the last; "
    words += f"from scratch: {begin_0:.1%}, {end_0:.1%}. Training took {seconds:.0f} s instead of {seconds_0:.0f} s. "
    return words + f"With the frozen layers' output computed in every epoch, it would take about {alone:.0f} s."


def conclude(strategies: list, pairs: pd.DataFrame) -> list[str]:
    """Write the conclusions, a paragraph each; the first of the strategies is the one from scratch."""
    best = max(trained.test_accuracy for trained in strategies)
    names = [f"“{TITLES[trained.name]}”" for trained in strategies if trained.test_accuracy == best]
    return [
        f"{' and '.join(names)} {'has' if len(names) == 1 else 'share'} the best test accuracy, {best:.1%}.",
        " ".join(describe_pair(pair, len(strategies[0].labels)) for _, pair in pairs.iterrows()),
        *(describe_transfer(trained, strategies[0]) for trained in strategies[1:]),
    ]

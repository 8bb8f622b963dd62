"""
## From numbers to words

The sentences below the results are computed from them, so that they are true of this run, whatever came out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from headstart.practical.evaluation import accuracy_interval
from headstart.practical.training import Trained


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    size = f"{100 * abs(difference):.1f}"
    return f"{size} point{'' if size == '1.0' else 's'}"


def describe_network(trained: Trained) -> str:
    """Whether the network converged and was regularised, and on what evidence."""
    return f"{trained.title}: {describe_accuracy(trained)} {describe_convergence(trained)} {describe_gap(trained)}"


def describe_accuracy(trained: Trained) -> str:
    low, high = accuracy_interval(trained)
    return (
        f"after epoch {len(trained.history)} it is right on {percent(trained.test_accuracy)} of "
        f"{len(trained.labels):,} test images (95% interval {percent(low)} to {percent(high)})."
    )


def describe_convergence(trained: Trained) -> str:
    """Converged: over the last fifth of the epochs the training loss fell by less than a tenth of its whole fall."""
    loss = trained.history["train_loss"].to_numpy()
    if not np.isfinite(loss).all():
        return "Its training did not converge: the loss is not a finite number."
    if len(loss) < 5:
        return f"Whether it converged cannot be told from {len(loss)} epoch{'' if len(loss) == 1 else 's'}."
    before_last_fifth = loss[-1 - len(loss) // 5]
    fall = f"its training loss went from {loss[0]:.3f} after the first epoch to {loss[-1]:.3f}"
    if loss[-1] >= loss[0]:
        return f"It did not converge: {fall}."
    share = (before_last_fifth - loss[-1]) / (loss[0] - loss[-1])
    late = f"{percent(max(share, 0.0))} of that fall in the last fifth of the epochs"
    return f"It {'converged' if share < 0.1 else 'was still improving'}: {fall}, {late}."


def describe_gap(trained: Trained) -> str:
    """Regularised: training accuracy less than 10 points above test accuracy, test loss near its lowest."""
    last, test_loss = trained.history.iloc[-1], trained.history["test_loss"].to_numpy()
    if not np.isfinite(test_loss).all():
        return "Nothing can be said of overfitting."
    gap = last["train_accuracy"] - last["test_accuracy"]
    against = f"{percent(last['train_accuracy'])} on training and {percent(last['test_accuracy'])} on test images"
    if gap >= 0.1:
        return f"It overfits: {against}."
    if test_loss[-1] > 1.1 * test_loss.min():
        best = int(test_loss.argmin()) + 1
        return f"Overfitting begins to show: {against}, and the test loss rose from {test_loss.min():.3f} (epoch {best}) to {test_loss[-1]:.3f}."
    return f"Overfitting is held down: {against}, and the test loss ends at or near its lowest."


def describe_best(strategies: Sequence[Trained], pairs: pd.DataFrame) -> str:
    """Which strategy has the best test accuracy, and whether the others are really behind."""
    ranked = sorted(strategies, key=lambda trained: trained.test_accuracy, reverse=True)
    top = [trained for trained in ranked if trained.test_accuracy == ranked[0].test_accuracy]
    if len(top) == len(ranked):
        return f"All strategies have the same test accuracy, {percent(top[0].test_accuracy)}: there is no best one."
    names = " and ".join(f"“{trained.title}”" for trained in top)
    verb = "has" if len(top) == 1 else "share"
    text = [f"{names} {verb} the best test accuracy, {percent(top[0].test_accuracy)}."]
    text += [describe_pair(top[0], other, pairs) for other in ranked[len(top) :]]
    return " ".join(text)


def describe_pair(first: Trained, second: Trained, pairs: pd.DataFrame) -> str:
    """The difference of two strategies with its interval and test, seen from the first one."""
    row = find_pair(first.name, second.name, pairs)
    difference, low, high = row["difference"], row["low"], row["high"]
    p_value = "p < 0.001" if row["p_value"] < 0.001 else f"p = {row['p_value']:.3f}"
    interval = f"95% interval {100 * low:+.1f} to {100 * high:+.1f}, {p_value}"
    if difference == 0:
        return f"“{first.title}” and “{second.title}” are equally often right ({interval})."
    position = "ahead of" if difference > 0 else "behind"
    verdict = "more than chance explains" if row["significant"] else "which chance may explain: no difference is shown"
    return f"It is {points(difference)} {position} “{second.title}” ({interval}), {verdict}."


def find_pair(first: str, second: str, pairs: pd.DataFrame) -> pd.Series:
    """The row of the two, turned round if it stands the other way."""
    for _, row in pairs.iterrows():
        if (row["first"], row["second"]) == (first, second):
            return row
        if (row["first"], row["second"]) == (second, first):
            return pd.Series({**row, "difference": -row["difference"], "low": -row["high"], "high": -row["low"]})
    raise KeyError(f"no pair of {first} and {second}")


def describe_transfer(strategy: Trained, scratch: Trained, pairs: pd.DataFrame) -> str:
    """What starting from network A changed: accuracy, speed of learning, time and gap."""
    row = find_pair(strategy.name, scratch.name, pairs)
    if not row["significant"]:
        effect = "made no difference that this test can tell from chance"
    else:
        effect = "helped" if row["difference"] > 0 else "hurt"
    target = min(strategy.test_accuracy, scratch.test_accuracy)
    gaps = [
        100 * (trained.history["train_accuracy"].iloc[-1] - trained.history["test_accuracy"].iloc[-1])
        for trained in (strategy, scratch)
    ]
    return (
        f"“{strategy.title}”: starting from network A {effect} ({100 * row['difference']:+.1f} points of test "
        f"accuracy against scratch). It first reached {percent(target)} after {epochs_to(strategy, target)}, from "
        f"scratch after {epochs_to(scratch, target)}. Its training took {strategy.seconds:.0f} s, from scratch "
        f"{scratch.seconds:.0f} s, not counting network A's. Training accuracy is {gaps[0]:+.1f} points above test "
        f"accuracy, from scratch {gaps[1]:+.1f}."
    )


def epochs_to(trained: Trained, target: float) -> str:
    """The first epoch whose test accuracy is at least the target."""
    reached = np.flatnonzero(trained.history["test_accuracy"].to_numpy() >= target)
    if not len(reached):
        return "no epoch"
    return f"{reached[0] + 1} epoch{'' if reached[0] == 0 else 's'}"


def conclude(source: Trained, strategies: Sequence[Trained], pairs: pd.DataFrame, data: str) -> list[str]:
    """The conclusions, a paragraph each; `strategies` begins with the one from scratch."""
    scratch, *transfers = strategies
    real = [] if "digits" not in data else [f"These are {data}: the figures say nothing about CIFAR-10."]
    return [
        *real,
        describe_best(strategies, pairs),
        *(describe_transfer(trained, scratch, pairs) for trained in transfers),
        *(describe_network(trained) for trained in (source, *strategies)),
        "Limits: this is one pair of classes and one seed. The intervals and tests answer for the choice of test "
        "images, not for another random start or another order of the training images, which can move an accuracy by a "
        "similar amount; a study over seeds and pairs of classes would show it.",
    ]

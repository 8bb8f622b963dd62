"""
## From numbers to words

The sentences below the results are computed from them, so that they are true of this run, whatever came out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from headstart.practical.evaluation import accuracy_interval
from headstart.practical.training import Trained


def describe_network(trained: Trained) -> str:
    """How good the network is, and whether it converged and was regularised."""
    low, high = accuracy_interval(trained)
    features = f" What its frozen layers make of the images was {trained.features}." if trained.features else ""
    return (
        f"{trained.title} is right on {trained.test_accuracy:.1%} of {len(trained.labels):,} test images after "
        f"epoch {len(trained.history)} (95% interval {low:.1%} to {high:.1%}). "
        f"{describe_convergence(trained)} {describe_gap(trained)}{features}"
    )


def describe_convergence(trained: Trained) -> str:
    """Converged: the last fifth of the epochs brought less than a tenth of the training loss's whole fall."""
    loss = trained.history["train_loss"].to_numpy()
    if not np.isfinite(loss).all():
        return "It did not converge: its training loss is not a finite number."
    if len(loss) < 5:
        return "Whether it converged cannot be told from so few epochs."
    course = f"its training loss went from {loss[0]:.3f} after the first epoch to {loss[-1]:.3f} after the last"
    if loss[-1] > 1.1 * loss[0]:
        return f"It did not converge: {course}."
    if loss[-1] >= loss[0]:
        return f"It learned nothing after its first epoch: {course}."
    late = (loss[-1 - len(loss) // 5] - loss[-1]) / (loss[0] - loss[-1])
    if late < -0.1:
        return f"It did not converge: {course}, but rose in the last fifth of the epochs."
    verdict = "converged" if late < 0.1 else "was still improving"
    return f"It {verdict}: {course}, {max(0.0, late):.0%} of it in the last fifth."


def describe_gap(trained: Trained) -> str:
    """Regularised: training accuracy less than 10 points above test accuracy, test loss within 10% of its lowest."""
    last, test_loss = trained.history.iloc[-1], trained.history["test_loss"].to_numpy()
    if not np.isfinite(test_loss).all():
        return "Nothing can be said of overfitting."
    gap = last["train_accuracy"] - last["test_accuracy"]
    against = f"{last['train_accuracy']:.1%} on training and {last['test_accuracy']:.1%} on test images"
    if gap >= 0.1:
        return f"It overfits: {against}."
    if test_loss[-1] > 1.1 * test_loss.min():
        rise = f"the test loss rose from {test_loss.min():.3f} (epoch {test_loss.argmin() + 1}) to {test_loss[-1]:.3f}"
        return f"Overfitting begins to show: {against}, and {rise}."
    return f"Overfitting is held down: {against}, and the test loss ends at or near its lowest."


# %% [markdown]
# ### The strategies, in words


# %%
def describe_best(strategies: Sequence[Trained], pairs: pd.DataFrame) -> str:
    """Which strategy has the best test accuracy, and whether the others are really behind."""
    ranked = sorted(strategies, key=lambda trained: -trained.test_accuracy)
    best = ranked[0].test_accuracy
    top = [trained for trained in ranked if trained.test_accuracy == best]
    if len(top) == len(ranked):
        return f"All strategies have the same test accuracy, {best:.1%}: there is no best one."
    names = " and ".join(f"“{trained.title}”" for trained in top)
    behind = " ".join(describe_pair(top[0], other, pairs) for other in ranked[len(top) :])
    return f"{names} {'has' if len(top) == 1 else 'share'} the best test accuracy, {best:.1%}. {behind}"


def describe_pair(better: Trained, other: Trained, pairs: pd.DataFrame) -> str:
    """By how much one strategy is ahead, and how sure that is."""
    row = find_pair(better, other, pairs)
    p_value = "p < 0.001" if row["p_value"] < 0.001 else f"p = {row['p_value']:.3f}"
    verdict = "more than chance explains" if row["significant"] else "which may be chance: no difference is shown"
    return (
        f"“{better.title}” is {100 * row['difference']:.1f} points ahead of “{other.title}” (95% interval "
        f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}, {p_value}), {verdict}."
    )


def find_pair(first: Trained, second: Trained, pairs: pd.DataFrame) -> Any:
    """The two's row, seen from the first."""
    rows = {(row["first"], row["second"]): row for row in pairs.to_dict("records")}
    if (first.name, second.name) in rows:
        return rows[first.name, second.name]
    row = rows[second.name, first.name]
    return {**row, "difference": -row["difference"], "low": -row["high"], "high": -row["low"]}


# %% [markdown]
# ### The conclusions


# %%
def describe_transfer(strategy: Trained, scratch: Trained, pairs: pd.DataFrame) -> str:
    """What starting from network A changed: accuracy, epochs needed, time and gap."""
    row = find_pair(strategy, scratch, pairs)
    effect = "helped" if row["difference"] > 0 else "hurt"
    effect = effect if row["significant"] else "made no difference that can be told from chance"
    target = min(strategy.test_accuracy, scratch.test_accuracy)
    epochs = [int((t.history["test_accuracy"] >= target).to_numpy().argmax()) + 1 for t in (strategy, scratch)]
    gaps = [100 * (t.history["train_accuracy"].iloc[-1] - t.test_accuracy) for t in (strategy, scratch)]
    return (
        f"“{strategy.title}”: starting from network A {effect} ({100 * row['difference']:+.1f} points of test "
        f"accuracy against scratch). {target:.1%}, the lower of the two final accuracies, was first reached in epoch "
        f"{epochs[0]}, from scratch in epoch {epochs[1]}. Training took {strategy.seconds:.0f} s, from scratch "
        f"{scratch.seconds:.0f} s, network A's not counted. In the end training accuracy is {gaps[0]:+.1f} points "
        f"from test accuracy, from scratch {gaps[1]:+.1f}."
    )


def conclude(source: Trained, strategies: Sequence[Trained], pairs: pd.DataFrame, data: str) -> list[str]:
    """The conclusions, a paragraph each; `strategies` begins with the one from scratch."""
    scratch, *transfers = strategies
    digits = (
        [f"These are {data}: the figures say nothing about CIFAR-10."] if data.startswith("scikit-learn digits") else []
    )
    return [
        *digits,
        describe_best(strategies, pairs),
        *(describe_transfer(trained, scratch, pairs) for trained in transfers),
        *(describe_network(trained) for trained in (source, *strategies)),
        "Limits: this is one pair of classes and one seed. Intervals and tests answer for the choice of test images, "
        "not for other random weights or another order of the training images, which can move an accuracy as much.",
    ]

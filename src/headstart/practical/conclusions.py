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
    features = f" Its frozen layers' output was {trained.features}." if trained.features else ""
    return (
        f"{trained.title} classifies {trained.test_accuracy:.1%} of {len(trained.labels):,} test images correctly "
        f"after epoch {len(trained.history)} (95% interval {low:.1%} to {high:.1%}). "
        f"{describe_convergence(trained)} {describe_gap(trained)}{features}"
    )


# %% [markdown]
# ### Convergence and overfitting, in words


# %%
def describe_convergence(trained: Trained) -> str:
    """Converged: the last fifth of the epochs brought less than a tenth of the training loss's whole fall.

    A loss below what label smoothing asks for counts as that: sinking further is no gain, returning no rise.
    """
    curve = trained.history["train_loss"].to_numpy()
    if not np.isfinite(curve).all():
        return "It did not converge: its training loss is not a finite number."
    if len(curve) < 5:
        return "Whether it converged cannot be told from so few epochs."
    course = f"its training loss went from {curve[0]:.3f} after the first epoch to {curve[-1]:.3f} after the last"
    lowest = lowest_asked(trained)
    loss = np.maximum(curve, lowest)
    if loss[0] == loss[-1] == lowest:
        return f"It converged in its first epoch: {course}, and label smoothing asks for {lowest:.3f}."
    if loss[-1] > 1.1 * loss[0]:
        return f"It did not converge: {course}."
    if loss[-1] >= loss[0]:
        return f"It learned nothing after its first epoch: {course}."
    late = (loss[-1 - len(loss) // 5] - loss[-1]) / (loss[0] - loss[-1])
    if late < -0.1:
        return f"It did not converge: {course}, but rose in the last fifth of the epochs."
    verdict = "converged" if late < 0.1 else "was still improving"
    share = f"{late:.0%}" if late > 0 else "nothing"
    return f"It {verdict}: {course}, {share} of that fall in the last fifth (less than 10% counts as converged)."


def lowest_asked(trained: Trained) -> float:
    """The loss of a network that is as certain of the right class as the smoothed labels are."""
    smoothing, classes = trained.recipe.label_smoothing, len(trained.class_names)
    return float(-np.log(1 - smoothing * (1 - 1 / classes)))


def describe_gap(trained: Trained) -> str:
    """Regularised: training accuracy less than 10 points above test accuracy, test loss within 10% of its lowest."""
    last, test_loss = trained.history.iloc[-1], trained.history["test_loss"].to_numpy()
    if not np.isfinite(test_loss).all():
        return "Nothing can be said of overfitting."
    gap = last["train_accuracy"] - last["test_accuracy"]
    against = f"{last['train_accuracy']:.1%} on training and {last['test_accuracy']:.1%} on test images"
    if gap >= 0.1:
        return f"It overfits: {against}, {100 * gap:.1f} points apart."
    if test_loss[-1] > 1.1 * test_loss.min():
        rise = f"the test loss rose from {test_loss.min():.3f} (epoch {test_loss.argmin() + 1}) to {test_loss[-1]:.3f}"
        return f"Overfitting begins to show: {against}, and {rise}."
    apart = f"{against}, a gap of {100 * gap:.1f} points"
    return f"Overfitting is held down: {apart}, and the test loss ends within 10% of its lowest."


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
    verdict = "significant" if row["significant"] else "not significant, no difference is shown"
    return (
        f"“{better.title}” is {100 * row['difference']:.1f} points ahead of “{other.title}” (95% interval "
        f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}, {p_value}: {verdict})."
    )


def find_pair(first: Trained, second: Trained, pairs: pd.DataFrame) -> Any:
    """The two's row, seen from the first."""
    rows = {(row["first"], row["second"]): row for row in pairs.to_dict("records")}
    if (first.name, second.name) in rows:
        return rows[first.name, second.name]
    row = rows[second.name, first.name]
    return {**row, "difference": -row["difference"], "low": -row["high"], "high": -row["low"]}


# %% [markdown]
# ### What transfer changed, in words


# %%
def describe_transfer(strategy: Trained, scratch: Trained, pairs: pd.DataFrame) -> str:
    """What starting from network A changed: the end, the beginning, the time, and how well it fits."""
    row = find_pair(strategy, scratch, pairs)
    ahead = 100 * row["difference"]
    place = "level with scratch in test accuracy"
    if ahead:
        verdict = "significant" if row["significant"] else "not significant"
        place = f"{abs(ahead):.1f} points {'above' if ahead > 0 else 'below'} scratch in test accuracy ({verdict})"
    first = [trained.history["test_accuracy"].iloc[0] for trained in (strategy, scratch)]
    fits = [trained.history["train_accuracy"].iloc[-1] for trained in (strategy, scratch)]
    words = (
        f"“{strategy.title}” ({strategy.copied} layers from network A, {strategy.frozen} of them frozen) ended "
        f"{place}. After the first epoch it was at {first[0]:.1%}, scratch at "
        f"{first[1]:.1%}; from epoch {settled(strategy)} on it stayed within a point of its final accuracy, scratch "
        f"from epoch {settled(scratch)} on. Training took {strategy.seconds:.0f} s, from scratch "
        f"{scratch.seconds:.0f} s, network A's not counted."
    )
    if strategy.frozen and fits[0] < fits[1] - 0.01:
        shares = f"{fits[0]:.1%}, from scratch {fits[1]:.1%}"
        words += (
            f" It fits even its training images less well ({shares}): because what is frozen was learned for other "
            "classes, or because so little is left to train. This run cannot tell which."
        )
    return words


def settled(trained: Trained) -> int:
    """The epoch from which on the test accuracy stayed within a point of its final value."""
    away = (trained.history["test_accuracy"] - trained.test_accuracy).abs() > 0.01
    return int(away.to_numpy().nonzero()[0].max(initial=-1)) + 2


# %% [markdown]
# ### The conclusions


# %%
def describe_effect(scratch: Trained, transfers: Sequence[Trained], pairs: pd.DataFrame) -> str:
    """Whether there was a head start (more than a point after the first epoch), and a better end."""
    to_beat = scratch.history["test_accuracy"].iloc[0] + 0.01
    ahead = [trained for trained in transfers if trained.history["test_accuracy"].iloc[0] > to_beat]
    gains = [(trained, find_pair(trained, scratch, pairs)) for trained in transfers]
    better = [trained for trained, row in gains if row["significant"] and row["difference"] > 0]
    worse = [trained for trained, row in gains if row["significant"] and row["difference"] < 0]
    start, end = "a head start" if ahead else "no head start", "a better end" if better else "no better end"
    return (
        f"The effect of transfer learning: {start}, {'and' if bool(ahead) == bool(better) else 'but'} {end}. After the "
        f"first epoch {name_all(ahead)} more than a point ahead of scratch; after the last {name_all(better)} "
        f"significantly better than scratch, and {name_all(worse)} significantly worse."
    )


def name_all(strategies: Sequence[Trained]) -> str:
    """The beginning of a sentence about these strategies, of which there may be none."""
    names = " and ".join(f"“{trained.title}”" for trained in strategies)
    return f"{names or 'none'} {'are' if len(strategies) > 1 else 'is'}"


def caution(data: str) -> list[str]:
    """What has to be said first where the images are not CIFAR-10 as Keras loads it."""
    copies = "with CIFAR-10 as Keras loads it, the figures may come out a little different"
    words = {"scikit": "the figures say nothing about CIFAR-10", "CIFAR-10 images": copies}
    return [f"These are {data}: {limit}." for kind, limit in words.items() if data.startswith(kind)]


def conclude(strategies: Sequence[Trained], pairs: pd.DataFrame, data: str) -> list[str]:
    """The conclusions, a paragraph each; `strategies` begins with the one from scratch."""
    scratch, *transfers = strategies
    return [
        *caution(data),
        describe_best(strategies, pairs),
        describe_effect(scratch, transfers, pairs),
        *(describe_transfer(trained, scratch, pairs) for trained in transfers),
        "Limits: this is one pair of classes and one seed. Intervals and tests cover only the choice of test images. "
        "Other random weights or another order of the training images would move the accuracies, too; by how much, one "
        "seed does not tell.",
    ]

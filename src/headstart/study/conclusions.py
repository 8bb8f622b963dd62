"""A study's conclusions in words, computed from its numbers. The sentences include what cannot be concluded."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from headstart.datasets.disclaimers import disclaimers
from headstart.statistics.intervals import Estimate
from headstart.study.summary import Analysis, Predictors, predict_gain


def conclude(analysis: Analysis, class_names: Collection[str], networks: int, data_name: str) -> list[str]:
    """Describe a study.

    Args:
        analysis: Its tables.
        class_names: All classes of the dataset.
        networks: How many networks were planned.
        data_name: The dataset's name.

    Returns:
        A paragraph each; the last one is about the limits.
    """
    results, summary, pairs = analysis.results, analysis.summary, analysis.pairs
    trained = results[results["test_accuracy"].notna()]
    paragraphs = disclaimers(data_name)
    if missing := networks - trained["key"].nunique():
        paragraphs.append(f"{missing:,} of {networks:,} networks are not trained. What follows is about the others.")
    if diverged := trained.loc[trained["test_loss"].isna(), "key"].nunique():
        paragraphs.append(f"The loss of {diverged:,} networks is not finite; their accuracy counts like any other.")
    if summary.empty:
        return [*paragraphs, "Nothing can be concluded: no strategy has a partner from scratch."]
    paragraphs += [describe_effect(row) for _, row in summary.iterrows()]
    uncorrected = 0
    for (strategy, size), group in pairs.groupby(["strategy", "train_size"], sort=False):
        if found := predict_gain(group, class_names):
            paragraphs.append(describe_predictors(f"“{strategy}” at size {size}", found))
            uncorrected += 1 + (found.closeness is not None) + len(found.kinds)
    names = pairs["classes_b"].unique()
    if single := int((pairs.groupby("classes_b")["seeds"].min() < 2).sum()):
        which = "any single pair of classes" if single == len(names) else f"{single} of the {len(names)} pairs"
        paragraphs.append(f"Nothing can be concluded about {which}: with one seed, seed variance cannot be estimated.")
    paragraphs += describe_shared_class(names)
    paragraphs.append(describe_limits(len(summary), len(names), uncorrected))
    return paragraphs


def describe_limits(means: int, pairs: int, uncorrected: int) -> str:
    """Describe what the intervals and tests do not cover.

    Args:
        means: How many mean differences were tested.
        pairs: How many pairs of classes there are.
        uncorrected: How many correlations and means by kind are reported without correction.
    """
    others = f" {uncorrected} correlations and kinds of pairs are not corrected." if uncorrected else ""
    reach = "Verdicts are about other seeds, the means' intervals about other classes."
    if pairs == 1:
        reach = "Verdicts and intervals are about other seeds, not about other pairs of classes."
    return (
        f"Limits: one network and one recipe were studied. The p-values of {means} mean differences are corrected for "
        f"their number (Holm).{others} Verdicts are corrected for the number of pairs, separately for each strategy "
        f"and size. All networks of a pair were measured on the same test images. {reach} Neither covers other images."
    )


def describe_shared_class(pairs: Collection[str]) -> list[str]:
    """Warn if one class is in most pairs, because the intervals over pairs then cover less.

    Args:
        pairs: The names of each pair's classes, joined by a comma.

    Returns:
        At most one sentence.
    """
    count = pd.Series([name for pair in pairs for name in pair.split(",")]).value_counts()
    name, most = count.index[0], count.iloc[0]
    if len(pairs) < 2 or most <= len(pairs) / 2:
        return []
    if most == len(pairs):
        return [f"All pairs include “{name}”: the means over pairs are for pairs with this class only."]
    return [f"“{name}” is in {most} of {len(pairs)} pairs: the intervals over pairs of classes may be too narrow."]


def describe_effect(row: pd.Series) -> str:
    """Describe the effect of one strategy at one size.

    Args:
        row: A row of `summary.csv`.
    """
    name = f"“{row['strategy']}” at size {row['train_size']} ({row['train_images']:,.0f} training images)"
    points = f"{100 * row['difference']:+.1f} points of test accuracy against scratch ({row['scratch_accuracy']:.1%})"
    if row["networks"] < 2:
        return f"{name}: {points}, from one network only, so the uncertainty is unknown."
    over = f"{row['pairs']} pairs of classes" if row["pairs"] > 1 else f"{row['networks']} seeds"
    if np.isnan(row["low"]):
        return f"{name}: {points}, the same over {over}, so the uncertainty is unknown."
    effect = "it helps on average" if row["difference"] > 0 else "it hurts on average"
    if row["p"] >= 0.05:
        effect = "on average, undecided"
    undecided = f"{row['cannot_be_told']} {'is' if row['cannot_be_told'] == 1 else 'are'} undecided"
    counts = f"It helped for {row['helped']}, hurt for {row['hurt']}, and {undecided}."
    method = ", leaving out each class in turn" if row["pairs"] > 1 else ""
    interval = f"95% interval {100 * row['low']:+.1f} to {100 * row['high']:+.1f} over {over}{method}"
    return f"{name}: {points} ({interval}); {effect} (p = {row['p']:.2g}). {counts}"


def describe_predictors(name: str, found: Predictors) -> str:
    """Describe what is related to the gain over the pairs of classes.

    Args:
        name: The strategy and size, in words.
        found: From `predict_gain`.
    """
    low, high = found.difficulty.low, found.difficulty.high
    relation = (
        "the harder a pair is from scratch, the less it gains"
        if high < 0
        else "harder pairs gain more, partly because the variance of the networks from scratch is in both"
        if low > 0
        else "whether harder pairs gain more or less is undecided"
    )
    sentences = [f"{name}, intervals without correction: {relation} ({describe_correlation(found.difficulty)})."]
    if found.closeness:
        low, high = found.closeness.low, found.closeness.high
        relation = (
            f"The closer in meaning a pair is to part A's classes, the {'more' if low > 0 else 'less'} it gains"
            if low > 0 or high < 0
            else "Whether pairs closer in meaning to part A's classes gain more or less is undecided"
        )
        sentences.append(f"{relation} ({describe_correlation(found.closeness)}).")
    kinds = "; ".join(
        f"{kind}: {100 * gain.value:+.1f} points"
        f"{'' if np.isnan(gain.low) else f' ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})'} over {pairs} pairs"
        for kind, (gain, pairs) in found.kinds.items()
    )
    return " ".join([*sentences, *([f"By kind: {kinds}."] if kinds else [])])


def describe_correlation(found: Estimate) -> str:
    """Write a rank correlation with its interval."""
    interval = "no interval" if np.isnan(found.low) else f"95% interval {found.low:+.2f} to {found.high:+.2f}"
    return f"rank correlation {found.value:+.2f}, {interval}"

"""A study in words, computed from its numbers; they say what cannot be concluded, too."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from headstart.cautions import cautions
from headstart.study.summary import Estimate, Predictors, differences, predict_gain, summarise, verdicts


def conclude(results: pd.DataFrame, class_names: Collection[str], networks: int, data: str) -> list[str]:
    """The study in words, a paragraph each; `class_names` and `data` are the dataset's, `networks` were planned."""
    summary, paired = summarise(results), differences(results)
    trained = results[results["test_accuracy"].notna()]
    paragraphs = cautions(data)
    if missing := networks - trained["key"].nunique():
        paragraphs.append(f"{missing:,} of {networks:,} networks are not trained: all that follows is of the others.")
    if diverged := trained.loc[trained["test_loss"].isna(), "key"].nunique():
        paragraphs.append(f"The loss of {diverged:,} networks is not finite; their accuracy counts like any other.")
    if summary.empty:
        return [*paragraphs, "Nothing can be concluded: no strategy has a partner from scratch."]
    judged = verdicts(paired)
    paragraphs += [describe(row) for _, row in summary.iterrows()]
    looked_at = 0
    for (strategy, size), group in judged.groupby(["strategy", "train_size"], sort=False):
        if found := predict_gain(group, class_names):
            paragraphs.append(describe_predictors(f"“{strategy}” at size {size}", found))
            looked_at += 1 + (found.nearness is not None) + len(found.kinds)
    pairs = judged["classes_b"].unique()
    if alone := int((judged.groupby("classes_b")["seeds"].min() < 2).sum()):
        of = "a single pair of classes" if alone == len(pairs) else f"{alone} of the {len(pairs)} pairs of classes"
        paragraphs.append(f"With one seed, nothing can be told of {of}: chance has no measure.")
    paragraphs += describe_shares(pairs)
    beside = f", and of {looked_at} correlations and kinds of pairs, which are not" if looked_at else ""
    reach = "verdicts say what other seeds would give, the means' intervals what other classes would"
    if len(pairs) == 1:
        reach = "verdicts and intervals say what other seeds would give, and nothing of other pairs of classes"
    paragraphs.append(
        f"Limits: one network and one recipe were studied. {len(summary)} mean differences were looked at, whose "
        f"p-values are corrected for their number (Holm){beside}; verdicts are corrected for the number of pairs, one "
        "strategy and size at a time. All networks of a pair were "
        f"measured on the same test images: {reach}; neither says what other images would."
    )
    return paragraphs


def describe_shares(pairs: Collection[str]) -> list[str]:
    """What it means for the intervals over pairs that one class is in most of them."""
    count = pd.Series([name for pair in pairs for name in pair.split(",")]).value_counts()
    name, most = count.index[0], count.iloc[0]
    if len(pairs) < 2 or most <= len(pairs) / 2:
        return []
    if most == len(pairs):
        return [f"All pairs have “{name}” in them: what is said over pairs of classes is for pairs with it alone."]
    return [f"“{name}” is in {most} of {len(pairs)} pairs: the intervals over pairs of classes may be too narrow."]


def describe(row: pd.Series) -> str:
    """One strategy at one size."""
    name = f"“{row['strategy']}” at size {row['train_size']} ({row['train_images']:,.0f} training images)"
    points = f"{100 * row['difference']:+.1f} points of test accuracy against scratch ({row['scratch_accuracy']:.1%})"
    if row["networks"] < 2:
        return f"{name}: {points}, from one network only: how sure that is cannot be said."
    over = f"{row['pairs']} pairs of classes" if row["pairs"] > 1 else f"{row['networks']} seeds"
    if np.isnan(row["low"]):
        return f"{name}: {points}, the same over {over}: how sure that is cannot be said."
    sure = "helps" if row["difference"] > 0 else "hurts"
    if row["p"] >= 0.05:
        sure = "makes no difference that can be told from chance"
    judged = (
        f"It helped for {row['helped']}, hurt for {row['hurt']}, and for {row['cannot_be_told']} it cannot be told."
    )
    left_out = ", leaving out each class in turn" if row["pairs"] > 1 else ""
    interval = f"95% interval {100 * row['low']:+.1f} to {100 * row['high']:+.1f} over {over}{left_out}"
    return f"{name}: {points} ({interval}); on average it {sure} (p = {row['p']:.2g}). {judged}"


def describe_predictors(name: str, found: Predictors) -> str:
    """What goes with the gain."""
    low, high = found.difficulty.low, found.difficulty.high
    told = (
        "the harder a pair is from scratch, the less transfer gains"
        if high < 0
        else "harder pairs gain more, some of it by the chance of the networks from scratch, which are in both"
        if low > 0
        else "that harder pairs gain more or less is not shown"
    )
    sentences = [f"{name}, each interval taken alone: {told} ({in_words(found.difficulty)})."]
    if found.nearness:
        low, high = found.nearness.low, found.nearness.high
        told = (
            f"The closer in meaning a pair is to part A's classes, the {'more' if low > 0 else 'less'} it gains"
            if low > 0 or high < 0
            else "That pairs closer in meaning to part A's classes gain more or less is not shown"
        )
        sentences.append(f"{told} ({in_words(found.nearness)}).")
    kinds = "; ".join(
        f"{kind}: {100 * gain.value:+.1f} points"
        f"{'' if np.isnan(gain.low) else f' ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})'} over {pairs} pairs"
        for kind, (gain, pairs) in found.kinds.items()
    )
    return " ".join([*sentences, *([f"By kind: {kinds}."] if kinds else [])])


def in_words(found: Estimate) -> str:
    """A rank correlation and its interval."""
    sure = "no interval" if np.isnan(found.low) else f"95% interval {found.low:+.2f} to {found.high:+.2f}"
    return f"rank correlation {found.value:+.2f}, {sure}"

"""A study in words, computed from its numbers; they say what cannot be concluded, too."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from headstart.study.summary import Predictors, differences, predict_gain, summarise, verdicts


def conclude(results: pd.DataFrame, class_names: Collection[str], networks: int) -> list[str]:
    """The study in words, a paragraph each; `class_names` are the dataset's, `networks` so many were planned."""
    summary, paired = summarise(results), differences(results)
    trained = results.loc[results["test_accuracy"].notna(), "key"].nunique()
    missing = f"{networks - trained:,} of {networks:,} networks are not trained: all that follows is of the others."
    paragraphs = [missing] if trained < networks else []
    if summary.empty:
        return [*paragraphs, "Nothing can be concluded: no strategy has a partner from scratch."]
    judged = verdicts(paired)
    paragraphs += [describe(row) for _, row in summary.iterrows()]
    looked_at = 0
    for (strategy, size), group in judged.groupby(["strategy", "train_size"], sort=False):
        if found := predict_gain(group, class_names):
            paragraphs.append(describe_predictors(f"“{strategy}” at size {size}", found))
            looked_at += 1 + (found.nearness is not None) + len(found.kinds)
    seeds = int(judged["seeds"].min())
    if seeds < 2:
        paragraphs.append("With one seed, nothing can be told of a single pair of classes: chance has no measure.")
    pairs = int(summary["pairs"].min())
    shared = set.intersection(*(set(classes.split(",")) for classes in judged["classes_b"]))
    if shared and pairs > 1:
        every = (
            f"All pairs have “{shared.pop()}” in them: what is said over pairs of classes is for pairs with it alone."
        )
        paragraphs.append(every)
    beside = f" and of {looked_at} correlations and kinds of pairs" if looked_at else ""
    paragraphs.append(
        f"Limits: one network and one recipe were studied, over {pairs} pair(s) and {seeds} seed(s) or more. The "
        f"intervals of {len(summary)} mean differences{beside} were looked at, with no correction for their number; "
        "verdicts are corrected for the number of pairs, one strategy and size at a time. All networks of a pair were "
        "measured on the same test images: verdicts and intervals say what other seeds and classes would give, not "
        "what other images would."
    )
    return paragraphs


def describe(row: pd.Series) -> str:
    """One strategy at one size."""
    name = f"“{row['strategy']}” at size {row['train_size']} ({row['train_images']:,.0f} training images)"
    points = f"{100 * row['difference']:+.1f} points of test accuracy against scratch ({row['scratch_accuracy']:.1%})"
    if row["networks"] < 2:
        return f"{name}: {points}, from one network only: how sure that is cannot be said."
    over = f"{row['pairs']} pairs of classes" if row["pairs"] > 1 else f"{row['networks']} seeds"
    if np.isnan(row["low"]):
        return f"{name}: {points}, the same over {over}: how sure that is cannot be said."
    sure = (
        "helps"
        if row["low"] > 0
        else "hurts"
        if row["high"] < 0
        else "makes no difference that can be told from chance"
    )
    judged = (
        f"It helped for {row['helped']}, hurt for {row['hurt']}, and for {row['cannot_be_told']} it cannot be told."
    )
    left_out = ", leaving out each class in turn" if row["pairs"] > 1 else ""
    interval = f"95% interval {100 * row['low']:+.1f} to {100 * row['high']:+.1f} over {over}{left_out}"
    return f"{name}: {points} ({interval}); on average it {sure}. {judged}"


def describe_predictors(name: str, found: Predictors) -> str:
    """What goes with the gain."""
    _, low, high = found.difficulty
    told = (
        "the harder a pair is from scratch, the less transfer gains"
        if high < 0
        else "harder pairs gain more, but both are measured with the same networks from scratch, whose chance does that"
        if low > 0
        else "that harder pairs gain more or less is not shown"
    )
    sentences = [f"{name}: {told} ({in_words(*found.difficulty)})."]
    if found.nearness:
        _, low, high = found.nearness
        told = (
            f"The closer in meaning a pair is to part A's classes, the {'more' if low > 0 else 'less'} it gains"
            if low > 0 or high < 0
            else "That pairs closer in meaning to part A's classes gain more or less is not shown"
        )
        sentences.append(f"{told} ({in_words(*found.nearness)}).")
    kinds = "; ".join(
        f"{kind}: {100 * mean:+.1f} points{'' if np.isnan(low) else f' ({100 * low:+.1f} to {100 * high:+.1f})'} "
        f"over {pairs} pairs"
        for kind, (mean, low, high, pairs) in found.kinds.items()
    )
    return " ".join([*sentences, *([f"By kind: {kinds}."] if kinds else [])])


def in_words(value: float, low: float, high: float) -> str:
    """A rank correlation and its interval."""
    sure = "no interval" if np.isnan(low) else f"95% interval {low:+.2f} to {high:+.2f}"
    return f"rank correlation {value:+.2f}, {sure}"

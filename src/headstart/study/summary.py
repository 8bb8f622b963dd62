"""The effects in a study's results, and their uncertainty.

Everything is paired: a strategy's test accuracy minus that from scratch, with the same classes, seed and training
images. The effect for one pair of classes is a t-test over its seeds, corrected for the number of pairs (Holm). The
mean over pairs has a jackknife interval over the classes, because pairs share classes. Its p-value is corrected for the
number of strategies and sizes. With one pair, the mean is over its seeds (Student's t).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from headstart.practical.inference import holm
from headstart.statistics.intervals import Estimate, jackknife_interval, rank_correlation, t_interval
from headstart.study.closeness import closeness, has_places

ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
KEYS = ["classes_b", "seed", "train_size"]
DEPTH = re.compile(r"^(?P<part>[AB])(?P<n>\d)B(?P<plus>\+?)$")
UNDECIDED = "undecided"
PAIRS = [
    *("strategy", "train_size", "classes_b", "seeds", "scratch_accuracy"),
    *("difference", "low", "high", "p", "verdict"),
]
VERDICTS = {"helped": "helped", "hurt": "hurt", "cannot_be_told": UNDECIDED}  # columns of `summary.csv`
SUMMARY = [
    *("strategy", "train_size", "train_images", "pairs", "networks", "test_accuracy", "scratch_accuracy"),
    *("difference", "low", "high", "p", *VERDICTS),
]


@dataclass(frozen=True)
class Analysis:
    """Everything that is computed from a study's results, each table once."""

    results: pd.DataFrame  # `results.csv`
    pairs: pd.DataFrame  # `pairs.csv`
    summary: pd.DataFrame  # `summary.csv`


def analyse(results: pd.DataFrame) -> Analysis:
    """Compute the effects for each pair and their means.

    Args:
        results: A row for each trained network, as in `results.csv`.
    """
    paired = differences(results)
    pairs = pair_effects(paired)
    return Analysis(results, pairs, summarise(paired, pairs))


def differences(results: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network of a strategy that has a partner from scratch.

    It adds `scratch_accuracy` and `difference`, both from 0 to 1.
    """
    trained = results[results["test_accuracy"].notna()]
    scratch = trained.loc[trained["strategy"] == "scratch", [*KEYS, "test_accuracy"]]
    others = trained[~trained["strategy"].isin(["scratch", "a", "b"])]
    paired = others.merge(scratch.rename(columns={"test_accuracy": "scratch_accuracy"}), on=KEYS)
    return paired.assign(difference=paired["test_accuracy"] - paired["scratch_accuracy"])


def pair_effects(paired: pd.DataFrame) -> pd.DataFrame:
    """Return `pairs.csv`: a row for each pair of classes, strategy and size, with its mean over the seeds.

    Differences are from -1 to 1 (0.01 is one point). `p` is corrected for the number of pairs.
    """
    rows = []
    for (strategy, size), group in paired.groupby(["strategy", "train_size"], sort=False):
        found: list[dict[str, Any]] = []
        for classes, of_pair in group.groupby("classes_b", sort=False):
            gain = t_interval(of_pair["difference"].to_numpy())
            names = {"strategy": strategy, "train_size": size, "classes_b": classes, "seeds": len(of_pair)}
            scratch = float(of_pair["scratch_accuracy"].mean())
            found.append({**names, "scratch_accuracy": scratch, "difference": gain.value, **gain._asdict()})
        for row, p_value in zip(found, holm([row["p"] for row in found]), strict=True):
            effect = "helped" if row["difference"] > 0 else "hurt"
            rows.append({**row, "p": p_value, "verdict": effect if p_value < 0.05 else UNDECIDED})
    return pd.DataFrame(rows, columns=PAIRS)


def summarise(paired: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return `summary.csv`: a row for each strategy and size.

    Differences from scratch are from -1 to 1 (0.01 is one point). `p` is corrected for the number of rows.

    Args:
        paired: From `differences`.
        pairs: From `pair_effects`.
    """
    rows: list[dict[str, Any]] = []
    for (strategy, size), effects in pairs.groupby(["strategy", "train_size"], sort=False):
        group = paired[(paired["strategy"] == strategy) & (paired["train_size"] == size)]
        several = len(effects) > 1
        gain = jackknife_interval(effects, mean_gain) if several else t_interval(group["difference"].to_numpy())
        counts = effects["verdict"].value_counts()
        rows.append(
            {
                "strategy": strategy,
                "train_size": size,
                "train_images": group["train_images"].mean(),
                "pairs": len(effects),
                "networks": len(group),
                "test_accuracy": group["test_accuracy"].mean(),
                "scratch_accuracy": group["scratch_accuracy"].mean(),
                "difference": gain.value,
                **gain._asdict(),
                **{key: int(counts.get(verdict, 0)) for key, verdict in VERDICTS.items()},
            }
        )
    table = pd.DataFrame(rows, columns=SUMMARY)
    return table.assign(p=holm(table["p"].tolist()))


def mean_gain(pairs: pd.DataFrame) -> float:
    """Return the mean difference over the pairs; NaN if there is none."""
    return float(pairs["difference"].mean())


def largest_by_depth(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of AnB, AnB+, BnB and BnB+ from the largest training set, with columns `part`, `n` and `plus`."""
    parsed = summary["strategy"].str.extract(DEPTH)
    table = pd.concat([summary, parsed.assign(n=pd.to_numeric(parsed["n"]))], axis=1).dropna(subset=["n"])
    # By the size's name, because in an incomplete study, strategies have means over different pairs and seeds.
    sizes = table.groupby("train_size")["train_images"].mean()
    return table[table["train_size"] == sizes.idxmax()] if len(sizes) else table


@dataclass(frozen=True)
class Predictors:
    """Relations with the gain over the pairs of classes: rank correlations, and means by kind of pair.

    Gain and difficulty share the network from scratch. Its variance alone makes harder pairs seem to gain more.
    """

    difficulty: Estimate  # rank correlation of gain and error from scratch
    closeness: Estimate | None  # of gain and closeness in meaning; None unless all classes are CIFAR-10's
    kinds: dict[str, tuple[Estimate, int]]  # mean gain, and the number of pairs of each kind


def predict_gain(pairs: pd.DataFrame, class_names: Collection[str]) -> Predictors | None:
    """Estimate what is related to the gain of one strategy at one size.

    Args:
        pairs: The rows of `pair_effects` for this strategy and size.
        class_names: All classes of the dataset.

    Returns:
        The relations; None if there are fewer than five pairs, or nothing varies.
    """
    if len(pairs) < 5:
        return None
    difficulty = correlation(pairs, difficulty_correlation)
    if difficulty is None:
        return None
    kinds, near = {}, None
    if has_places(class_names):
        near = correlation(pairs, partial(closeness_correlation, class_names=class_names))
        for kind, group in pairs.groupby(pairs["classes_b"].map(kind_of_pair)):
            kinds[str(kind)] = (jackknife_interval(group, mean_gain), len(group))
    return Predictors(difficulty, near, kinds)


def correlation(pairs: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Estimate | None:
    """Estimate a correlation over pairs of classes, with a jackknife interval from -1 to 1 at most.

    Args:
        pairs: Rows of `pairs.csv`.
        statistic: Takes such a table, and returns the correlation.

    Returns:
        The estimate; None if nothing varies.
    """
    found = Estimate(*np.clip(jackknife_interval(pairs, statistic), -1, 1).tolist())
    return None if np.isnan(found.value) else found


def difficulty_correlation(pairs: pd.DataFrame) -> float:
    """Return Spearman's rank correlation of gain and error from scratch; NaN if one of them does not vary."""
    return -rank_correlation(pairs["difference"], pairs["scratch_accuracy"])


def closeness_correlation(pairs: pd.DataFrame, class_names: Collection[str]) -> float:
    """Return Spearman's rank correlation of gain and the pair's closeness in meaning to part A's classes."""
    return rank_correlation(pairs["difference"], closeness_of_pairs(pairs, class_names))


def closeness_of_pairs(pairs: pd.DataFrame, class_names: Collection[str]) -> pd.Series:
    """Return each pair's closeness in meaning to part A's classes, from 0 to 1."""
    near: pd.Series = pairs["classes_b"].map(lambda pair: closeness(pair.split(","), class_names))
    return near


def predictor_values(pairs: pd.DataFrame, class_names: Collection[str]) -> dict[str, pd.Series]:
    """Return possible predictors of each pair's gain, by name: error from scratch and, for CIFAR-10, closeness.

    Args:
        pairs: `pairs.csv`.
        class_names: All classes of the dataset.
    """
    found = {"error from scratch (%)": 100 * (1 - pairs["scratch_accuracy"])}
    if has_places(class_names):
        found["closeness in meaning to part A's classes"] = closeness_of_pairs(pairs, class_names)
    return found


def kind_of_pair(classes: str) -> str:
    """Return whether a pair of CIFAR-10's classes is two animals, two vehicles, or one of each."""
    animals = sum(name in ANIMALS for name in classes.split(","))
    return {2: "two animals", 1: "an animal and a vehicle", 0: "two vehicles"}[animals]

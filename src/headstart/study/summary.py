"""What a study's rows say, and how sure that is.

Everything is paired: a strategy's test accuracy minus that from scratch, of the same classes, seed and training images.
Intervals over pairs of classes (each pair's mean over its seeds) are a jackknife over the classes, which pairs share;
over the seeds, where there is one pair, they are Student's t. Whether transfer helped for one pair is a t-test over
its seeds, corrected for the number of pairs (Holm).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from headstart.practical.evaluation import holm
from headstart.study.closeness import ABOVE, closeness

TIE = 1e-9  # differences that are closer are equal: shares of images, apart by their last bits alone
ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
KEYS = ["classes_b", "seed", "train_size"]
DEPTH = re.compile(r"^(?P<part>[AB])(?P<n>\d)B(?P<plus>\+?)$")


def differences(results: pd.DataFrame) -> pd.DataFrame:
    """A row a strategy's network that has a partner from scratch: `difference` and `scratch_accuracy` beside it."""
    trained = results[results["test_accuracy"].notna()]
    scratch = trained.loc[trained["strategy"] == "scratch", [*KEYS, "test_accuracy"]]
    others = trained[~trained["strategy"].isin(["scratch", "a", "b"])]
    paired = others.merge(scratch.rename(columns={"test_accuracy": "scratch_accuracy"}), on=KEYS)
    return paired.assign(difference=paired["test_accuracy"] - paired["scratch_accuracy"])


def is_chance_unknown(values: Sequence[float] | np.ndarray | pd.Series) -> bool:
    """Whether chance has no measure: there are fewer than two values, or they are equal.

    Two networks may be better by the same number of test images each: that is a coincidence, not certainty.
    """
    return len(values) < 2 or float(np.ptp(values)) < TIE


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95% interval (Student's t); not a number where chance has no measure."""
    mean = float(np.mean(values))
    if is_chance_unknown(values):
        return mean, float("nan"), float("nan")
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - reach, mean + reach


def over_pairs(judged: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> tuple[float, float, float]:
    """A statistic of a table with a row a pair of classes, and its 95% interval: each class is left out in turn.

    Classes that are in the same pairs count as one: of pairs that share none, the mean's interval is Student's t. A
    class that is in all pairs cannot be left out: the interval is then for pairs with it.

    Pairs share classes, and what a class does to one pair it does to the others. Student's t, which takes pairs for
    independent, holds the true mean in half the cases if what 45 pairs of ten classes differ by is their classes; the
    jackknife (Arvesen 1969, Jackknifing U-statistics) in 95%, and in 99% if classes have nothing to do with it: it
    errs on the wide side. A test simulates both.
    """
    classes = judged["classes_b"].str.split(",")
    others = {tuple(name not in pair for pair in classes) for name in classes.explode()}  # the pairs without each class
    left = np.array([statistic(judged[list(kept)]) for kept in sorted(others)])
    left = left[~np.isnan(left)]  # without a class that is in all pairs none is left
    value = statistic(judged)
    if len(left) < 2 or is_chance_unknown(judged["mean"]):
        return value, float("nan"), float("nan")
    reach = float(stats.t.ppf(0.975, len(left) - 1) * np.sqrt((len(left) - 1) * np.var(left)))
    return value, value - reach, value + reach


def mean_gain(judged: pd.DataFrame) -> float:
    """The mean over the pairs; not a number where there is none."""
    return float(judged["mean"].mean())


def difficulty(judged: pd.DataFrame) -> float:
    """Spearman's rank correlation of gain and error from scratch; not a number where either is always the same."""
    return -rank_correlation(judged["mean"], judged["scratch"])


def nearness(judged: pd.DataFrame, class_names: Collection[str]) -> float:
    """Spearman's rank correlation of gain and how close the pair is in meaning to part A's classes."""
    near = judged["classes_b"].map(lambda pair: closeness(pair.split(","), class_names))
    return rank_correlation(judged["mean"], near)


def rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's, by pandas, which does not warn where one of them is always the same; it is not a number then."""
    return float(pd.concat([first, second], axis=1).corr("spearman").to_numpy()[0, 1])


def verdicts(paired: pd.DataFrame) -> pd.DataFrame:
    """A row a pair of classes, strategy and size: mean difference, its interval, corrected p-value, and the verdict."""
    rows = []
    for (strategy, size), group in paired.groupby(["strategy", "train_size"], sort=False):
        found: list[dict[str, Any]] = []
        for classes, of_pair in group.groupby("classes_b", sort=False):
            values = of_pair["difference"].to_numpy()
            mean, low, high = mean_interval(values)
            names = {"strategy": strategy, "train_size": size, "classes_b": classes, "seeds": len(values)}
            scratch = float(of_pair["scratch_accuracy"].mean())
            found.append({**names, "scratch": scratch, "mean": mean, "low": low, "high": high, "p": t_test(values)})
        for row, p_value in zip(found, holm([row["p"] for row in found]), strict=True):
            effect = "helped" if row["mean"] > 0 else "hurt"
            rows.append({**row, "p": p_value, "verdict": effect if p_value < 0.05 else "cannot be told"})
    columns = ["strategy", "train_size", "classes_b", "seeds", "scratch", "mean", "low", "high", "p", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def t_test(differences: np.ndarray) -> float:
    """The p-value of Student's test that the mean is 0; 1 where there is too little to tell."""
    if is_chance_unknown(differences):
        return 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """`summary.csv`: a row a strategy and size; differences to scratch are shares (0.01 is one point)."""
    paired = differences(results)
    judged = verdicts(paired)
    rows: list[dict[str, Any]] = []
    for (strategy, size), pairs in judged.groupby(["strategy", "train_size"], sort=False):
        group = paired[(paired["strategy"] == strategy) & (paired["train_size"] == size)]
        mean, low, high = (
            over_pairs(pairs, mean_gain) if len(pairs) > 1 else mean_interval(group["difference"].to_numpy())
        )
        counts = pairs["verdict"].value_counts()
        rows.append(
            {
                "strategy": strategy,
                "train_size": size,
                "train_images": group["train_images"].mean(),
                "pairs": len(pairs),
                "networks": len(group),
                "test_accuracy": group["test_accuracy"].mean(),
                "scratch_accuracy": group["scratch_accuracy"].mean(),
                "difference": mean,
                "low": low,
                "high": high,
                **{key: int(counts.get(verdict, 0)) for key, verdict in VERDICTS.items()},
            }
        )
    return pd.DataFrame(rows, columns=SUMMARY)


def largest_by_depth(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of AnB, AnB+, BnB and BnB+ from the largest training set, with `part`, `n` and `plus` beside them."""
    parsed = summary["strategy"].str.extract(DEPTH)
    table = pd.concat([summary, parsed.assign(n=pd.to_numeric(parsed["n"]))], axis=1).dropna(subset=["n"])
    # By the size's name: in a study that is not complete, strategies have their means over other pairs and seeds.
    sizes = table.groupby("train_size")["train_images"].mean()
    return table[table["train_size"] == sizes.idxmax()] if len(sizes) else table


VERDICTS = {"helped": "helped", "hurt": "hurt", "cannot_be_told": "cannot be told"}
SUMMARY = [
    *("strategy", "train_size", "train_images", "pairs", "networks", "test_accuracy", "scratch_accuracy"),
    *("difference", "low", "high", *VERDICTS),
]


@dataclass(frozen=True)
class Predictors:
    """What goes with transfer's gain over the pairs of classes: rank correlations with their intervals, and kinds.

    Gain and difficulty share the network from scratch: its chance alone makes harder pairs gain more.
    """

    difficulty: tuple[float, float, float]  # of gain and error from scratch
    nearness: tuple[float, float, float] | None  # of gain and closeness in meaning; None unless all are CIFAR-10's
    kinds: dict[str, tuple[float, float, float, int]]  # mean gain, its interval and the number of pairs of each kind


def predict_gain(judged: pd.DataFrame, class_names: Collection[str]) -> Predictors | None:
    """For one strategy's and size's verdicts; None from fewer than five pairs. `class_names` are the dataset's."""
    if len(judged) < 5:
        return None
    hard = correlation(judged, difficulty)
    if hard is None:
        return None
    kinds, near = {}, None
    if set(class_names) <= ABOVE.keys():
        near = correlation(judged, partial(nearness, class_names=class_names))
        for kind, group in judged.groupby(judged["classes_b"].map(kind_of)):
            kinds[str(kind)] = (*over_pairs(group, mean_gain), len(group))
    return Predictors(hard, near, kinds)


def correlation(judged: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> tuple[float, float, float] | None:
    """A correlation over pairs and its interval, which ends where correlations do; None where nothing varies."""
    value, low, high = np.clip(over_pairs(judged, statistic), -1, 1).tolist()
    return None if np.isnan(value) else (value, low, high)


def kind_of(classes: str) -> str:
    """Two animals, two vehicles, or one of each: what is held out is closest to those of its kind left in A."""
    animals = sum(name in ANIMALS for name in classes.split(","))
    return {2: "two animals", 1: "an animal and a vehicle", 0: "two vehicles"}[animals]

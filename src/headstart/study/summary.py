"""What a study's rows say, and how sure that is.

Everything is paired: a strategy's test accuracy minus that from scratch, of the same classes, seed and training images.
Intervals over pairs of classes (each pair's mean over its seeds) are a jackknife over the classes, which pairs share;
over the seeds, where there is one pair, they are Student's t. Whether transfer helps on average is corrected for the
number of strategies and sizes (Holm); whether it helped for one pair is a t-test over its seeds, corrected for the
number of pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from headstart.practical.evaluation import holm
from headstart.study.closeness import closeness, has_places

TIE = 1e-9  # differences that are closer are equal: shares of images, apart by their last bits alone
ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
KEYS = ["classes_b", "seed", "train_size"]
DEPTH = re.compile(r"^(?P<part>[AB])(?P<n>\d)B(?P<plus>\+?)$")


class Estimate(NamedTuple):
    """A value, its 95% interval, and the p-value of its being 0; where chance has no measure, no interval, and 1."""

    value: float
    low: float
    high: float
    p: float


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


def estimate(value: float, error: float, parts: int) -> Estimate:
    """From a value and its standard error over so many parts, by Student's t."""
    if np.isnan(error):
        return Estimate(value, error, error, 1.0)
    reach = float(stats.t.ppf(0.975, parts - 1)) * error
    return Estimate(value, value - reach, value + reach, float(2 * stats.t.sf(abs(value) / error, parts - 1)))


def over_seeds(values: Sequence[float] | np.ndarray) -> Estimate:
    """The mean of one pair's values, one a seed."""
    error = np.nan if is_chance_unknown(values) else float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return estimate(float(np.mean(values)), error, len(values))


def over_pairs(judged: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Estimate:
    """A statistic of a table with a row a pair of classes; for its error each class is left out in turn.

    Classes that are in the same pairs count as one: of pairs that share none, the mean's interval is Student's t. A
    class that is in all pairs cannot be left out: the interval is then for pairs with it.

    Pairs share classes, and what a class does to one pair it does to the others. Student's t, which takes pairs for
    independent, holds the true mean in half the cases if what 45 pairs of ten classes differ by is their classes; the
    jackknife (Arvesen 1969, Jackknifing U-statistics) in 95%, and in 99% if classes have nothing to do with it. A test
    simulates both, and where it is too narrow: if one class is in most of the pairs, in 87% at worst of what was tried.
    """
    classes = judged["classes_b"].str.split(",")
    others = {tuple(name not in pair for pair in classes) for name in classes.explode()}  # the pairs without each class
    left = np.array([statistic(judged[list(kept)]) for kept in sorted(others)])
    left = left[~np.isnan(left)]  # without a class that is in all pairs none is left
    error = np.nan if is_chance_unknown(left) else float(np.sqrt((len(left) - 1) * np.var(left)))
    return estimate(statistic(judged), error, len(left))


def mean_gain(judged: pd.DataFrame) -> float:
    """The mean over the pairs; not a number where there is none."""
    return float(judged["difference"].mean())


def difficulty(judged: pd.DataFrame) -> float:
    """Spearman's rank correlation of gain and error from scratch; not a number where either is always the same."""
    return -rank_correlation(judged["difference"], judged["scratch_accuracy"])


def nearness(judged: pd.DataFrame, class_names: Collection[str]) -> float:
    """Spearman's rank correlation of gain and how close the pair is in meaning to part A's classes."""
    return rank_correlation(judged["difference"], closeness_of(judged, class_names))


def closeness_of(judged: pd.DataFrame, class_names: Collection[str]) -> pd.Series:
    """How close each pair is in meaning to part A's classes, from 0 to 1."""
    near: pd.Series = judged["classes_b"].map(lambda pair: closeness(pair.split(","), class_names))
    return near


def may_predict(judged: pd.DataFrame, class_names: Collection[str]) -> dict[str, pd.Series]:
    """What may predict each pair's gain, by its name: its error from scratch; of CIFAR-10's classes, closeness, too."""
    found = {"error from scratch (%)": 100 * (1 - judged["scratch_accuracy"])}
    if has_places(class_names):
        found["closeness in meaning to part A's classes"] = closeness_of(judged, class_names)
    return found


def rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's, by pandas, which does not warn where one of them is always the same; it is not a number then."""
    return float(pd.concat([first, second], axis=1).corr("spearman").to_numpy()[0, 1])


def verdicts(paired: pd.DataFrame) -> pd.DataFrame:
    """`pairs.csv`: a row a pair of classes, strategy and size, with its mean over the seeds and the verdict.

    Differences are shares as in `summary.csv`; `p` is corrected for the number of pairs.
    """
    rows = []
    for (strategy, size), group in paired.groupby(["strategy", "train_size"], sort=False):
        found: list[dict[str, Any]] = []
        for classes, of_pair in group.groupby("classes_b", sort=False):
            gain = over_seeds(of_pair["difference"].to_numpy())
            names = {"strategy": strategy, "train_size": size, "classes_b": classes, "seeds": len(of_pair)}
            scratch = float(of_pair["scratch_accuracy"].mean())
            found.append({**names, "scratch_accuracy": scratch, "difference": gain.value, **gain._asdict()})
        for row, p_value in zip(found, holm([row["p"] for row in found]), strict=True):
            effect = "helped" if row["difference"] > 0 else "hurt"
            rows.append({**row, "p": p_value, "verdict": effect if p_value < 0.05 else "cannot be told"})
    return pd.DataFrame(rows, columns=PAIRS)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """`summary.csv`: a row a strategy and size; differences to scratch are shares (0.01 is one point).

    `p` is corrected for the number of rows.
    """
    paired = differences(results)
    judged = verdicts(paired)
    rows: list[dict[str, Any]] = []
    for (strategy, size), pairs in judged.groupby(["strategy", "train_size"], sort=False):
        group = paired[(paired["strategy"] == strategy) & (paired["train_size"] == size)]
        gain = over_pairs(pairs, mean_gain) if len(pairs) > 1 else over_seeds(group["difference"].to_numpy())
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
                "difference": gain.value,
                **gain._asdict(),
                **{key: int(counts.get(verdict, 0)) for key, verdict in VERDICTS.items()},
            }
        )
    table = pd.DataFrame(rows, columns=SUMMARY)
    return table.assign(p=holm(table["p"].tolist()))


def largest_by_depth(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of AnB, AnB+, BnB and BnB+ from the largest training set, with `part`, `n` and `plus` beside them."""
    parsed = summary["strategy"].str.extract(DEPTH)
    table = pd.concat([summary, parsed.assign(n=pd.to_numeric(parsed["n"]))], axis=1).dropna(subset=["n"])
    # By the size's name: in a study that is not complete, strategies have their means over other pairs and seeds.
    sizes = table.groupby("train_size")["train_images"].mean()
    return table[table["train_size"] == sizes.idxmax()] if len(sizes) else table


PAIRS = [
    *("strategy", "train_size", "classes_b", "seeds", "scratch_accuracy"),
    *("difference", "low", "high", "p", "verdict"),
]
VERDICTS = {"helped": "helped", "hurt": "hurt", "cannot_be_told": "cannot be told"}
SUMMARY = [
    *("strategy", "train_size", "train_images", "pairs", "networks", "test_accuracy", "scratch_accuracy"),
    *("difference", "low", "high", "p", *VERDICTS),
]


@dataclass(frozen=True)
class Predictors:
    """What goes with transfer's gain over the pairs of classes: rank correlations with their intervals, and kinds.

    Gain and difficulty share the network from scratch: its chance alone makes harder pairs seem to gain more.
    """

    difficulty: Estimate  # of gain and error from scratch
    nearness: Estimate | None  # of gain and closeness in meaning; None unless all are CIFAR-10's
    kinds: dict[str, tuple[Estimate, int]]  # mean gain, and the number of pairs of each kind


def predict_gain(judged: pd.DataFrame, class_names: Collection[str]) -> Predictors | None:
    """For one strategy's and size's verdicts; None from fewer than five pairs. `class_names` are the dataset's."""
    if len(judged) < 5:
        return None
    hard = correlation(judged, difficulty)
    if hard is None:
        return None
    kinds, near = {}, None
    if has_places(class_names):
        near = correlation(judged, partial(nearness, class_names=class_names))
        for kind, group in judged.groupby(judged["classes_b"].map(kind_of)):
            kinds[str(kind)] = (over_pairs(group, mean_gain), len(group))
    return Predictors(hard, near, kinds)


def correlation(judged: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Estimate | None:
    """A correlation over pairs and its interval, which ends where correlations do; None where nothing varies."""
    found = Estimate(*np.clip(over_pairs(judged, statistic), -1, 1).tolist())
    return None if np.isnan(found.value) else found


def kind_of(classes: str) -> str:
    """Two animals, two vehicles, or one of each: what is held out is closest to those of its kind left in A."""
    animals = sum(name in ANIMALS for name in classes.split(","))
    return {2: "two animals", 1: "an animal and a vehicle", 0: "two vehicles"}[animals]

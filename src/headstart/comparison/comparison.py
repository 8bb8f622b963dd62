"""Compare classifiers in pairs: accuracy and log loss, with intervals, tests, and what would settle each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import binomtest

from headstart.comparison.predictions import Predictions
from headstart.errors import InvalidRequest
from headstart.practical.inference import holm
from headstart.statistics.intervals import t_interval
from headstart.statistics.power import items_for_any_seeds, items_needed, seeds_needed
from headstart.statistics.two_level import (
    Effect,
    compare_clustered,
    compare_losses,
    compare_networks,
    compare_paired,
    compare_unpaired,
    mean_squares,
)
from headstart.storage.files import finite_or_none

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Settle:
    """What would settle an undecided accuracy difference. A number is None if it would not help or is unknown."""

    seeds: int | None = None
    items: int | None = None
    words: str = ""


@dataclass(frozen=True)
class Pair:
    """Two classifiers and their difference in one metric. A positive difference of accuracy favours the first one."""

    first: str
    second: str
    metric: str  # "accuracy" or "log_loss"
    effect: Effect
    p_value: float  # corrected (Holm)
    seeds: tuple[int, int]
    paired: bool
    settle: Settle

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below 0.05."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class Comparison:
    """Several classifiers on the same items."""

    models: tuple[Predictions, ...]
    accuracies: dict[str, tuple[float, float, float]]  # by name: mean over seeds, and its 95% interval
    log_losses: dict[str, tuple[float, float, float] | None]
    pairs: tuple[Pair, ...]
    smallest_effect: float


def compare_models(models: Sequence[Predictions], smallest_effect: float = 0.01, paired: bool = False) -> Comparison:
    """Compare every pair of classifiers.

    Args:
        models: At least two, with the same items (see `read_models`).
        smallest_effect: The smallest difference of accuracy that matters, above 0 and below 1.
        paired: Whether the k-th seeds of all classifiers belong together although they have no names.

    Returns:
        Accuracies, log losses, and every pair with corrected p-values.

    Raises:
        InvalidRequest: There are fewer than two, or one has one seed and another has several.
    """
    if len(models) < 2:
        raise InvalidRequest("give at least two classifiers with different names")
    if not 0 < smallest_effect < 1:
        rule = "give a number of points above 0 and below 100"
        raise InvalidRequest(rule, option="smallest_effect", value=100 * smallest_effect)
    pairs = []
    for first, second in combinations(models, 2):
        pairs.append(compare_pair(first, second, "accuracy", paired))
        if first.losses is not None and second.losses is not None:
            pairs.append(compare_pair(first, second, "log_loss", paired))
    corrected = holm([pair.effect.p for pair in pairs])
    pairs = [replace(pair, p_value=p_value) for pair, p_value in zip(pairs, corrected, strict=True)]
    by_name = {model.name: model for model in models}
    pairs = [settle(pair, by_name, smallest_effect, len(pairs)) for pair in pairs]
    return Comparison(
        models=tuple(models),
        accuracies={model.name: estimate_accuracy(model) for model in models},
        log_losses={model.name: None if model.losses is None else estimate_mean(model.losses) for model in models},
        pairs=tuple(pairs),
        smallest_effect=smallest_effect,
    )


def compare_pair(first: Predictions, second: Predictions, metric: str, paired: bool) -> Pair:
    """Compare two classifiers by one metric. The p-value is not corrected yet.

    Args:
        first: The first classifier.
        second: The second one, with the same items.
        metric: "accuracy" or "log_loss".
        paired: As in `compare_models`.

    Returns:
        The pair, without what would settle it.

    Raises:
        InvalidRequest: One has one seed and the other has several.
    """
    a, b, together = align_seeds(first, second, metric, paired)
    clusters, counts = first.clusters, (len(a), len(b))
    if min(counts) == 1 < max(counts):
        few, many = (first, second) if len(a) == 1 else (second, first)
        raise InvalidRequest(
            f"{few.name} has one seed and {many.name} has {len(many.predictions)}: the variance of "
            "one seed is unknown; give several of both, or one of each"
        )
    if paired and len(a) != len(b):
        raise InvalidRequest(
            f"{first.name} has {len(a)} seeds and {second.name} has {len(b)}: paired seeds need the same number; "
            "give as many of both, or leave out paired"
        )
    if counts == (1, 1) and clusters is None:
        effect = compare_networks(a[0] == 1, b[0] == 1) if metric == "accuracy" else compare_losses(a[0] - b[0])
    elif counts == (1, 1) or (together and clusters is not None):
        assert clusters is not None
        effect = compare_clustered(a - b, clusters)
    elif together:
        effect = compare_paired(a - b)
    else:
        effect = compare_unpaired(a, b, clusters)
    return Pair(first.name, second.name, metric, effect, effect.p, counts, together, Settle())


def align_seeds(
    first: Predictions, second: Predictions, metric: str, paired: bool
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the scores of two classifiers, with equal names of seeds in the same rows.

    Args:
        first: The first classifier.
        second: The second one, with the same items.
        metric: "accuracy" or "log_loss".
        paired: As in `compare_models`; names of seeds that are equal count before it.

    Returns:
        float (K_A, n), float (K_B, n), and whether the rows belong together.
    """
    a, b = scores(first, metric), scores(second, metric)
    if first.seeds is not None and second.seeds is not None and {*first.seeds} == {*second.seeds}:
        return a, b[[second.seeds.index(seed) for seed in first.seeds]], True
    return a, b, paired and len(a) == len(b)


def scores(model: Predictions, metric: str) -> np.ndarray:
    """Return a classifier's scores.

    Args:
        model: The classifier.
        metric: "accuracy" or "log_loss".

    Returns:
        float (K, n): for accuracy, 1 for a correct prediction and 0 for a wrong one; otherwise the loss in nats.
    """
    values = model.correct if metric == "accuracy" else model.losses
    return np.asarray(values, dtype=float)


def settle(pair: Pair, models: dict[str, Predictions], smallest_effect: float, comparisons: int) -> Pair:
    """Add what would settle a pair that is undecided.

    Args:
        pair: The pair, with its corrected p-value.
        models: Classifiers by name.
        smallest_effect: The smallest difference of accuracy that matters, above 0 and below 1.
        comparisons: The number of tests that are corrected together.

    Returns:
        The pair; unchanged if it is significant, about the log loss, or has clusters, which the formulas do not cover.
    """
    first, second = models[pair.first], models[pair.second]
    if pair.metric != "accuracy" or pair.significant or first.clusters is not None:
        return pair
    a, b, _ = align_seeds(first, second, "accuracy", pair.paired)
    items = a.shape[1]
    effect = f"{100 * smallest_effect:g} point(s)"
    if pair.seeds == (1, 1):
        discordant = float((a != b).mean())
        if discordant <= smallest_effect:
            words = f"they differ on {discordant:.1%} of the items, so a difference of {effect} is impossible"
            return replace(pair, settle=Settle(words=words))
        needed = items_needed(smallest_effect, discordant, comparisons)
        words = f"about {needed:,} items would settle a difference of {effect} between these two networks"
        return replace(pair, settle=Settle(items=needed, words=words))
    deviation, omega = spread(a, b, pair.paired)
    seeds = seeds_needed(smallest_effect, deviation, comparisons, omega**2 / items)
    if seeds is None:
        needed = items_for_any_seeds(smallest_effect, omega, comparisons)
        words = f"no number of seeds settles a difference of {effect}; at least {needed:,} items would be needed"
        return replace(pair, settle=Settle(items=needed, words=words))
    words = f"about {seeds} seeds of each would settle a difference of {effect}, if the seed variance stays the same"
    return replace(pair, settle=Settle(seeds=seeds, words=words))


def spread(a: np.ndarray, b: np.ndarray, paired: bool) -> tuple[float, float]:
    """Estimate the variation between seeds and between items.

    Args:
        a: float (K_A, n), the first classifier's scores.
        b: float (K_B, n), the second one's.
        paired: Whether the seeds are paired; then K_A = K_B.

    Returns:
        The standard deviation of the difference between seeds, and that of the items' mean differences.
    """
    n = a.shape[1]
    if paired:
        ms_seeds, ms_items, ms_error = mean_squares(a - b)
        return float(np.sqrt(max(ms_seeds, ms_error) / n)), float(np.sqrt(max(ms_items - ms_error, 0) / len(a)))
    by_seed = sum(max(float(x.mean(axis=1).var(ddof=1)), mean_squares(x)[2] / n) for x in (a, b))
    noise = sum(mean_squares(x)[2] / len(x) for x in (a, b))
    by_item = float((a.mean(axis=0) - b.mean(axis=0)).var(ddof=1))
    return float(np.sqrt(by_seed)), float(np.sqrt(max(by_item - noise, 0)))


def estimate_accuracy(model: Predictions) -> tuple[float, float, float]:
    """Return the mean accuracy over seeds and its 95% interval: Wilson's for one seed, Student's t over several."""
    correct = model.correct
    if len(correct) > 1:
        return estimate_mean(correct.astype(float))
    low, high = binomtest(int(correct.sum()), correct.shape[1]).proportion_ci(method="wilson")
    return float(correct.mean()), float(low), float(high)


def estimate_mean(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of (K, n) and its 95% interval: over items for one seed, over seeds for several."""
    found = t_interval(values[0] if len(values) == 1 else values.mean(axis=1))
    return found.value, found.low, found.high


def describe(comparison: Comparison) -> dict[str, Any]:
    """Return the content of `comparison.json`. Undefined numbers are null."""
    items = len(comparison.models[0].ids)
    return {
        "items": items,
        "smallest_effect": comparison.smallest_effect,
        "models": {
            model.name: {
                "accuracy": comparison.accuracies[model.name][0],
                "ci95": [finite_or_none(number) for number in comparison.accuracies[model.name][1:]],
                "log_loss": None if (loss := comparison.log_losses[model.name]) is None else loss[0],
                "seeds": len(model.predictions),
                "items": items,
            }
            for model in comparison.models
        },
        "pairs": [describe_pair(pair) for pair in comparison.pairs],
        "limits": LIMITS,
    }


LIMITS = (
    "p-values are corrected for all pairs and metrics (Holm), intervals are not. Planning assumes the same training "
    "data, seeds with a normal distribution, and no further planning after looking at new results."
)


def describe_pair(pair: Pair) -> dict[str, Any]:
    """Return one of `pairs` in `comparison.json`."""
    effect = pair.effect
    return {
        "first": pair.first,
        "second": pair.second,
        "metric": pair.metric,
        "difference": effect.difference,
        "ci95": [finite_or_none(effect.low), finite_or_none(effect.high)],
        "p_value": pair.p_value,
        "p_uncorrected": effect.p,
        "significant": pair.significant,
        "test": effect.test,
        "se": finite_or_none(effect.se),
        "df": finite_or_none(effect.df),
        "seeds": list(pair.seeds),
        "paired": pair.paired,
        "settle": {"seeds": pair.settle.seeds, "items": pair.settle.items},
        "words": words_of(pair),
    }


def words_of(pair: Pair) -> str:
    """Describe in one sentence what may be concluded from a pair."""
    effect, is_accuracy = pair.effect, pair.metric == "accuracy"
    subject = "these two networks" if pair.seeds == (1, 1) else "these two methods"
    names = (f"“{pair.first}”", f"“{pair.second}”")
    test = f"{effect.test}, Holm-corrected p = {pair.p_value:.3g}"
    what = "accuracy" if is_accuracy else "log loss"
    if effect.difference == 0:
        sentence = f"{names[0]} and {names[1]} have the same {what}."
        return f"{sentence} Undecided: {pair.settle.words}." if pair.settle.words else sentence
    first_is_better = (effect.difference > 0) == is_accuracy
    better, worse = names if first_is_better else names[::-1]
    size = f"{100 * abs(effect.difference):.2g} points" if is_accuracy else f"{abs(effect.difference):.3g} nats"
    sentence = f"{better} is {size} of {what} better than {worse}"
    if pair.significant:
        return f"{sentence}: significant for {subject} ({test})."
    hint = f"; {pair.settle.words}" if pair.settle.words else ""
    return f"{sentence}: undecided for {subject} ({test}){hint}."

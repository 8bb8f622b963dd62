"""Compare two classifiers on the same items, with one seed each or several.

Every function takes scores by seed and item, such as 1 for a correct prediction and 0 for a wrong one. The two sources
of variance are other seeds and other items. With one seed each, a result is about these two networks only.

Sources: Obuchowski and Rockette (1995) with Hillis' (2007) degrees of freedom for paired seeds. Satterthwaite (1946)
for unpaired seeds. The cluster-robust variance CR1 for clustered items. A floor keeps the seed variance at least as
large as the residual variance. Without it, tests with two seeds reject true null hypotheses in 8 to 12% of cases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from headstart.practical.inference import mcnemar, paired_interval

MAX_EXACT_ITEMS = 2_000  # for a permutation test of single items
MIN_CLUSTERS = 30  # with fewer, the p-value comes from sign flips of whole clusters
RESAMPLES = 9_999  # of a permutation test that is too large to be exact


class Effect(NamedTuple):
    """The difference between two classifiers, with its 95% interval and test."""

    difference: float
    low: float
    high: float
    p: float
    se: float  # standard error
    df: float  # degrees of freedom; infinite for a normal interval
    test: str  # the name of the test


class Components(NamedTuple):
    """The variance of a mean difference, in parts, each with its degrees of freedom."""

    seeds: float
    seeds_df: float
    items: float
    items_df: float


def t_effect(difference: float, parts: Components, test: str, fixed_items_df: bool = False) -> Effect:
    """Combine variance components into an interval and a test by Satterthwaite's degrees of freedom.

    Args:
        difference: The mean difference.
        parts: The components of its variance.
        test: The test's name.
        fixed_items_df: Whether the items' component is treated as known, as in Hillis' formula.

    Returns:
        The effect; without an interval if the variance is 0.
    """
    variance = parts.seeds + parts.items
    if variance <= 0:
        return no_variance(difference, test)
    terms = parts.seeds**2 / parts.seeds_df if parts.seeds else 0.0
    if not fixed_items_df:
        terms += parts.items**2 / parts.items_df
    df = variance**2 / terms if terms else np.inf
    se = float(np.sqrt(variance))
    reach = float(stats.t.ppf(0.975, df)) * se
    p = float(2 * stats.t.sf(abs(difference) / se, df))
    return Effect(difference, difference - reach, difference + reach, p, se, float(df), test)


def no_variance(difference: float, test: str) -> Effect:
    """Return an effect with p = 1 and without an interval, because all differences are equal.

    Args:
        difference: The mean difference.
        test: The test's name.
    """
    return Effect(difference, np.nan, np.nan, 1.0, 0.0, np.nan, test)


def compare_networks(first: np.ndarray, second: np.ndarray) -> Effect:
    """Compare two classifiers with one seed each by the mid-p McNemar test and Agresti and Min's interval.

    Args:
        first: bool (n,), whether the first one is right.
        second: bool (n,), the same for the second one.

    Returns:
        The difference of the accuracies, first minus second.
    """
    n, b, c = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    low, high = paired_interval(b, c, n)
    se = float(np.sqrt(b + c - (b - c) ** 2 / n)) / n
    return Effect((b - c) / n, low, high, mcnemar(b, c), se, np.inf, "mid-p McNemar")


def compare_losses(losses: np.ndarray) -> Effect:
    """Compare two classifiers with one seed each by their losses.

    The p-value is from sign flips for up to 2,000 items, and from a t test for more. The interval is Student's t.

    Args:
        losses: float (n,), the first one's loss minus the second one's, for each item.

    Returns:
        The mean difference of the losses.
    """
    difference, error = float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses)))
    parts = Components(0.0, 1.0, error**2, len(losses) - 1)
    effect = t_effect(difference, parts, "t")
    if len(losses) > MAX_EXACT_ITEMS or not error:
        return effect
    return effect._replace(p=sign_flip_p(losses), test="sign flips of items")


def sign_flip_p(values: np.ndarray) -> float:
    """Return the two-sided p-value of a mean of 0, if each value could equally well have the other sign.

    Args:
        values: float (n,), a value for each item or for each cluster. For up to 13 values, all sign patterns are tried.
    """
    found = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    return float(found.pvalue)


def compare_paired(differences: np.ndarray) -> Effect:
    """Compare two classifiers with paired seeds: the same seeds, or splits, for both.

    Args:
        differences: float (K, n), K >= 2: the first one's score minus the second one's, by seed and item.
    """
    (k, n), mean = differences.shape, float(differences.mean())
    ms_seeds, ms_items, ms_error = mean_squares(differences)
    seeds = max(ms_seeds, ms_error) / (k * n)
    items = max(ms_items - ms_error, 0.0) / (k * n)
    return t_effect(mean, Components(seeds, k - 1, items, n - 1), "two-level t, paired seeds", fixed_items_df=True)


def compare_unpaired(first: np.ndarray, second: np.ndarray, clusters: np.ndarray | None = None) -> Effect:
    """Compare two classifiers whose seeds have nothing in common.

    Args:
        first: float (K_A, n), K_A >= 2: the first one's scores by seed and item.
        second: float (K_B, n), K_B >= 2: the second one's scores for the same items.
        clusters: (n,), each item's cluster; by default, items are independent.
    """
    members, count = number_clusters(np.arange(first.shape[1]) if clusters is None else clusters)
    by_item = first.mean(axis=0) - second.mean(axis=0)
    mean, test = float(by_item.mean()), "two-level t, unpaired seeds"
    if count < 2:
        return no_variance(mean, test)
    seeds, terms, noise = 0.0, 0.0, 0.0
    for scores in (first, second):
        part, part_noise = seed_variance(scores, members, count)
        seeds += part
        terms += part**2 / (len(scores) - 1)
        noise += part_noise
    items = max(cluster_variance(by_item - mean, members, count) - noise, 0.0)
    return t_effect(mean, Components(seeds, seeds**2 / terms if terms else 1.0, items, count - 1), test)


def compare_clustered(differences: np.ndarray, clusters: np.ndarray) -> Effect:
    """Compare two classifiers on items in clusters, such as images of one person, with one seed or paired seeds.

    Args:
        differences: float (K, n): the first one's score minus the second one's, by seed and item.
        clusters: (n,): each item's cluster.
    """
    k, mean, by_item = len(differences), float(differences.mean()), differences.mean(axis=0)
    test = "clustered t" if k == 1 else "two-level clustered t"
    members, count = number_clusters(clusters)
    if count < 2:
        return no_variance(mean, test)
    items, seeds = cluster_variance(by_item - mean, members, count), 0.0
    if k > 1:
        seeds, noise = seed_variance(differences, members, count)
        items = max(items - noise, 0.0)
    effect = t_effect(mean, Components(seeds, max(k - 1, 1), items, count - 1), test)
    if k > 1 or count >= MIN_CLUSTERS or not effect.se:
        return effect
    return effect._replace(p=sign_flip_p(np.bincount(members, weights=by_item)), test="sign flips of clusters")


def number_clusters(clusters: np.ndarray) -> tuple[np.ndarray, int]:
    """Return each item's cluster as a number from 0, int (n,), and how many clusters there are."""
    names, members = np.unique(clusters, return_inverse=True)
    return members, len(names)


def seed_variance(scores: np.ndarray, members: np.ndarray, count: int) -> tuple[float, float]:
    """Return the variance of the mean over seeds, with its floor, and the floor: the variance of the residuals.

    Args:
        scores: float (K, n), K >= 2, by seed and item.
        members: int (n,), the number of each item's cluster.
        count: How many clusters there are.
    """
    k, by_seed = len(scores), scores.mean(axis=1, keepdims=True)
    residuals = scores - by_seed - scores.mean(axis=0) + scores.mean()
    noise = sum(cluster_variance(row, members, count) for row in residuals) / (k * (k - 1))
    return max(float(by_seed.var(ddof=1)) / k, noise), noise


def cluster_variance(deviations: np.ndarray, members: np.ndarray, count: int) -> float:
    """Return the cluster-robust variance (CR1) of a mean.

    Args:
        deviations: float (n,), deviations from the mean.
        members: int (n,), the number of each item's cluster.
        count: How many clusters there are.
    """
    sums = np.bincount(members, weights=deviations, minlength=count)
    return float(count / (count - 1) * (sums**2).sum() / len(deviations) ** 2)


def mean_squares(scores: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares of seeds, items and residuals of a two-way layout (K, n) without replication."""
    (k, n), mean = scores.shape, scores.mean()
    by_seed, by_item = scores.mean(axis=1), scores.mean(axis=0)
    ms_seeds = n * float(((by_seed - mean) ** 2).sum()) / (k - 1)
    ms_items = k * float(((by_item - mean) ** 2).sum()) / (n - 1)
    residuals = scores - by_seed[:, None] - by_item + mean
    return ms_seeds, ms_items, float((residuals**2).sum()) / ((k - 1) * (n - 1))

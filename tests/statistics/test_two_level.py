"""Comparisons of two classifiers: published cases to four digits, an oracle, properties, and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from headstart.practical.inference import holm, mcnemar
from headstart.statistics.two_level import (
    Effect,
    compare_clustered,
    compare_losses,
    compare_networks,
    compare_paired,
    compare_unpaired,
    mean_squares,
    sign_flip_p,
)


def rows(text: str) -> np.ndarray:
    return np.array([[int(digit) for digit in row] for row in text.split()], dtype=float)


FIRST = rows("1111101110 1111011111 1111111000")
SECOND = rows("1101001010 1001001110 1101101011")
CLUSTERED = np.array([1, 1, 1, 0, 0, 0, 1, 1, -1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0], dtype=float)


def rounded(*numbers: float) -> list[float]:
    return [round(float(number), 4) for number in numbers]


def test_statsmodels_agrees_on_mcnemar_and_holm() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
    from statsmodels.stats.multitest import multipletests

    for only_first, only_second in [(9, 1), (30, 22), (0, 3)]:
        exact = exact_mcnemar([[50, only_first], [only_second, 40]], exact=True).pvalue
        half_of_ties = binom.pmf(min(only_first, only_second), only_first + only_second, 0.5)
        assert mcnemar(only_first, only_second) == pytest.approx(exact - half_of_ties)
    values = [0.01, 0.04, 0.03, 0.2]
    assert np.allclose(holm(values), multipletests(values, method="holm")[1])


def test_statsmodels_agrees_on_clustered_errors() -> None:
    from statsmodels.api import OLS

    clusters = np.repeat(range(6), 4)
    fit = OLS(CLUSTERED, np.ones(24)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    assert compare_clustered(CLUSTERED[None], clusters).se == pytest.approx(fit.bse[0])


def test_one_seed_each_by_hand() -> None:
    first, second = np.arange(100) < 9, np.arange(100) == 9
    effect = compare_networks(first, second)
    assert effect.test == "mid-p McNemar"
    assert rounded(effect.difference, effect.p, effect.low, effect.high) == [0.08, 0.0117, 0.0165, 0.1403]


def test_holm_by_hand() -> None:
    assert rounded(*holm([0.01, 0.04, 0.03])) == [0.03, 0.06, 0.06]


def test_paired_seeds_by_hand() -> None:
    effect = compare_paired(FIRST - SECOND)
    assert rounded(*mean_squares(FIRST - SECOND)) == [0.4333, 0.4481, 0.2481]
    assert rounded(effect.difference, effect.se, effect.df, effect.p) == [0.2333, 0.1453, 4.2722, 0.1790]
    assert rounded(effect.low, effect.high, effect.difference / effect.se) == [-0.1601, 0.6268, 1.6059]


def test_unpaired_seeds_by_hand() -> None:
    effect = compare_unpaired(FIRST, SECOND)
    assert rounded(effect.difference, effect.se, effect.df, effect.p) == [0.2333, 0.1222, 7.6536, 0.0943]


def test_clusters_by_hand() -> None:
    effect = compare_clustered(CLUSTERED[None], np.repeat(range(6), 4))
    assert rounded(effect.difference, effect.se, effect.df) == [0.25, 0.1708, 5]
    assert rounded(effect.low, effect.high) == [-0.1890, 0.6890]
    assert (effect.test, effect.p) == ("sign flips of clusters", 0.28125)


def test_many_clusters_use_t_and_agree_with_single_items() -> None:
    """With one item in each cluster, the cluster-robust variance is the usual one."""
    values = np.random.default_rng(0).normal(0.2, 1, size=40)
    effect = compare_clustered(values[None], np.arange(40))
    assert effect.test == "clustered t"
    assert effect.se == pytest.approx(values.std(ddof=1) / np.sqrt(40))


def test_losses_by_hand() -> None:
    first = np.array([0.9, 0.8, 0.7, 0.6, 0.95, 0.55, 0.85, 0.4])
    second = np.array([0.8, 0.7, 0.75, 0.5, 0.9, 0.3, 0.8, 0.35])
    assert rounded(-np.log(first).mean(), -np.log(second).mean()) == [0.3655, 0.5179]
    effect = compare_losses(np.log(first) - np.log(second))
    assert (effect.test, *rounded(effect.difference, effect.p)) == ("sign flips of items", 0.1524, 0.0312)


def test_many_losses_use_t() -> None:
    assert compare_losses(np.random.default_rng(0).normal(size=2_001)).test == "t"


def test_a_mixed_model_finds_the_same_variance() -> None:
    """The components are those of a two-way analysis of variance, here computed by least squares."""
    scores = FIRST - SECOND
    k, n = scores.shape
    seeds, items = np.repeat(np.arange(k), n), np.tile(np.arange(n), k)
    design = np.column_stack([np.ones(k * n), *(seeds == s for s in range(1, k)), *(items == i for i in range(1, n))])
    _, residual, rank, _ = np.linalg.lstsq(design, scores.ravel(), rcond=None)
    assert mean_squares(scores)[2] == pytest.approx(residual[0] / (k * n - rank))


def test_the_floor_counts_when_seeds_vary_less_than_residuals() -> None:
    scores = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]])
    ms_seeds, _, ms_error = mean_squares(scores)
    assert (ms_seeds, ms_error > 0) == (0, True)
    assert compare_paired(scores).se == pytest.approx(np.sqrt(ms_error / 8))


scores = arrays(np.int64, st.tuples(st.integers(2, 4), st.integers(3, 12)), elements=st.integers(0, 1))


@given(scores, st.randoms(use_true_random=False))
def test_order_of_seeds_and_items_does_not_matter(values: np.ndarray, random: object) -> None:
    other = 1 - values[:, ::-1]
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    seeds, items = rng.permutation(len(values)), rng.permutation(values.shape[1])
    shuffle = np.ix_(seeds, items)
    same(compare_paired(values - other), compare_paired((values - other)[shuffle]))
    same(compare_unpaired(values, other), compare_unpaired(values[shuffle], other[:, items]))


@given(scores)
def test_exchanging_the_two_changes_the_sign_only(values: np.ndarray) -> None:
    other = np.roll(values, 1, axis=1)
    for there, back in (
        (compare_paired(values - other), compare_paired(other - values)),
        (compare_unpaired(values, other), compare_unpaired(other, values)),
        (compare_networks(values[0] == 1, other[0] == 1), compare_networks(other[0] == 1, values[0] == 1)),
    ):
        same(there, back._replace(difference=-back.difference, low=-back.high, high=-back.low))


@given(scores)
def test_a_classifier_never_differs_from_itself(values: np.ndarray) -> None:
    effects = [compare_paired(values - values), compare_unpaired(values, values)]
    effects.append(compare_networks(values[0] == 1, values[0] == 1))
    effects.append(compare_clustered((values - values).astype(float), np.arange(values.shape[1]) // 2))
    for effect in effects:
        assert (effect.difference, effect.p) == (0, 1)


def same(first: Effect, second: Effect) -> None:
    numbers = [effect[:6] for effect in (first, second)]
    assert first.test == second.test
    assert np.allclose(*numbers, equal_nan=True)


def test_copies_of_items_in_their_cluster_do_not_narrow_the_interval() -> None:
    clusters = np.repeat(range(6), 4)
    once = compare_clustered(CLUSTERED[None], clusters)
    twice = compare_clustered(np.tile(CLUSTERED, 2)[None], np.tile(clusters, 2))
    assert np.allclose(once[:6], twice[:6])


def test_sign_flips_of_few_values_are_exact() -> None:
    assert sign_flip_p(np.array([1.0, 2, 3, 4])) == 2 / 16


def simulate(draws: int, seeds: int, items: int, seed_sd: float, item_sd: float) -> np.ndarray:
    """Differences (draws, seeds, items) without any true difference: seed and item effects, and noise."""
    rng = np.random.default_rng(0)
    by_seed = rng.normal(0, seed_sd, (draws, seeds, 1))
    by_item = rng.normal(0, item_sd, (draws, 1, items))
    return by_seed + by_item + rng.normal(0, 1, (draws, seeds, items))


@pytest.mark.parametrize(
    ("seeds", "seed_sd", "item_sd", "least", "most"),
    [(3, 0.3, 0.3, 0.94, 0.97), (5, 0.3, 0.3, 0.94, 0.97), (5, 0.0, 0.3, 0.95, 1.0), (3, 0.0, 0.0, 0.95, 1.0)],
)
def test_paired_intervals_cover_the_truth(
    seeds: int, seed_sd: float, item_sd: float, least: float, most: float
) -> None:
    """About 0.95 where seeds matter; more where they do not, because of the floor that protects two and three seeds."""
    drawn = simulate(2_000, seeds, 50, seed_sd, item_sd)
    effects = [compare_paired(differences) for differences in drawn]
    assert least <= np.mean([effect.low <= 0 <= effect.high for effect in effects]) <= most


def test_unpaired_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(2_000):
        items = rng.normal(0, 0.3, 50)
        first, second = (
            rng.normal(0, 0.3, (4, 1)) + items + rng.normal(0, 0.2, 50) + rng.normal(0, 1, (4, 50)) for _ in range(2)
        )
        effect = compare_unpaired(first, second)
        covered.append(effect.low <= 0 <= effect.high)
    assert 0.94 <= np.mean(covered) <= 0.97


def test_items_alone_would_be_wrong_about_the_method() -> None:
    """With one seed each, the same method differs significantly from itself far more often than in 5% of cases."""
    rng = np.random.default_rng(2)
    rejected = []
    for _ in range(500):
        accuracies = np.clip(0.8 + rng.normal(0, 0.03, 2), 0, 1)
        first, second = (rng.random(1_000) < accuracy for accuracy in accuracies)
        rejected.append(compare_networks(first, second).p < 0.05)
    assert np.mean(rejected) > 0.2

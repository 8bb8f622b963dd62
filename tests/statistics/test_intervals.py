from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from headstart.practical.data import CIFAR10_CLASSES
from headstart.statistics.intervals import has_no_variance, jackknife_interval, rank_correlation, t_estimate, t_interval
from headstart.study.plan import parse_pairs


def mean(pairs: pd.DataFrame) -> float:
    return float(pairs["difference"].mean())


def table(**differences: float) -> pd.DataFrame:
    """A row for each pair of classes, whose names are joined by an underscore."""
    classes = [name.replace("_", ",") for name in differences]
    return pd.DataFrame({"classes_b": classes, "difference": differences.values()})


# Over seeds


def test_students_interval_by_hand() -> None:
    """Mean 2, standard deviation 1, n = 3; t(0.975, 2) = 4.3027, and 4.3027 / sqrt(3) = 2.4841.

    t = 2 sqrt(3) = 3.4641, which with two degrees of freedom has p = 1 - t / sqrt(2 + t^2) = 0.0742.
    """
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, -0.4841, 4.4841, 0.0742), abs=1e-4)


def test_an_interval_from_a_standard_error_by_hand() -> None:
    """t(0.975, 1) = 12.7062; t = 1 has p = 0.5 with one degree of freedom."""
    assert t_estimate(-3.0, 3.0, 2) == pytest.approx((-3.0, -41.1186, 35.1186, 0.5), abs=1e-3)


@pytest.mark.parametrize("values", [[5.0], [0.1, 0.1, 0.1], [0.1 + 0.2, 0.3]], ids=str)
def test_without_variance_there_is_no_interval(values: list[float]) -> None:
    """0.1 + 0.2 and 0.3 differ by rounding only."""
    assert has_no_variance(values)
    estimate = t_interval(values)
    assert estimate.value == pytest.approx(values[0])
    assert np.isnan([estimate.low, estimate.high]).all()
    assert estimate.p == 1.0


def test_values_that_differ_by_one_test_image_vary() -> None:
    assert not has_no_variance([0.5, 0.5001])


# Over pairs of classes


def test_a_jackknife_interval_by_hand() -> None:
    """Without cat or dog the mean is 2.5, without deer 2, without truck 1, and without ship 1.5.

    Cat and dog are in the same pair, so these are four means. Their variance is 0.3125, and the root of 3 x 0.3125 is
    0.968246. t(0.975, 3) = 3.182446, and the product is 3.081390. t = 2 / 0.968246 = 2.065591 has p = 0.1308.
    """
    estimate = jackknife_interval(table(cat_dog=1, deer_truck=2, ship_truck=3), mean)
    assert estimate == pytest.approx((2.0, -1.0814, 5.0814, 0.1308), abs=1e-4)


@pytest.mark.parametrize(
    "pairs",
    [
        {"cat_dog": 0.01, "cat_deer": 0.02, "cat_truck": 0.06},  # without the other class, the pair is left out
        {"cat_dog": 0.01, "deer_truck": 0.02},
        {"cat_dog": 0.01, "deer_truck": 0.02, "bird_ship": 0.06},
        {"cat_dog": 0.01, "deer_truck": 0.02, "bird_ship": 0.06, "frog_horse": -0.01, "airplane_automobile": 0.0},
    ],
    ids=lambda pairs: f"{len(pairs)} pairs",
)
def test_a_jackknife_that_leaves_out_one_pair_each_is_students(pairs: dict[str, float]) -> None:
    assert jackknife_interval(table(**pairs), mean) == pytest.approx(t_interval(list(pairs.values())))


def test_a_single_pair_has_no_jackknife_interval() -> None:
    estimate = jackknife_interval(table(cat_dog=0.5), mean)
    assert (estimate.value, estimate.p) == (0.5, 1.0)
    assert np.isnan([estimate.low, estimate.high]).all()


@pytest.mark.parametrize("pairs", ["all", "30-random", "10-random", "4-random", "4,9+3,5"])
@pytest.mark.parametrize(("by_class", "by_pair"), [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.0, 0.01)])
def test_the_jackknife_interval_covers_the_true_mean_as_stated(by_class: float, by_pair: float, pairs: str) -> None:
    """Gains are the sum of random effects of both classes and of the pair; their true mean is 0."""
    rng = np.random.default_rng(0)
    numbers = np.array(parse_pairs(pairs, CIFAR10_CLASSES))
    classes = pd.DataFrame({"classes_b": [f"{a},{b}" for a, b in numbers]})
    covered, students = [], []
    for _ in range(200):
        gains = rng.normal(0, by_class, 10)[numbers].sum(axis=1) + rng.normal(0, by_pair, len(numbers))
        interval = jackknife_interval(classes.assign(difference=gains), mean)
        covered.append(interval.low <= 0 <= interval.high)
        interval = t_interval(gains)
        students.append(interval.low <= 0 <= interval.high)
    assert np.mean(covered) >= 0.92  # 95%, minus two standard errors of 200 cases
    if by_class == 1.0 and len(numbers) >= 30:
        assert 0.4 <= np.mean(students) <= 0.7


# Correlations


def test_a_rank_correlation_by_hand() -> None:
    """The ranks differ by 0, 1, 1 and 0: 1 - 6 x 2 / (4 x 15) = 0.8, however large the values are."""
    assert rank_correlation(pd.Series([1, 2, 3, 4]), pd.Series([1, 300, 20, 4000])) == pytest.approx(0.8)
    assert rank_correlation(pd.Series([1, 2, 3]), pd.Series([9, 5, 1])) == pytest.approx(-1.0)


def test_a_correlation_with_a_constant_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(rank_correlation(pd.Series([1.0, 2.0, 3.0]), pd.Series([0.9, 0.9, 0.9])))

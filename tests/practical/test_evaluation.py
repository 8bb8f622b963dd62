from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.practical.evaluation import accuracy_interval, compare, holm, mcnemar, paired_interval, summarise
from headstart.training.trainer import Trained
from support.tiny import TinyRun

Make = Callable[..., Trained]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(90, 100, 0.8256, 0.9448), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1800, 2000, 0.8861, 0.9124)],
)
def test_the_interval_of_an_accuracy_is_wilsons_by_hand(
    right: int, n: int, low: float, high: float, make_trained: Make
) -> None:
    assert accuracy_interval(make_trained(right=right, of=n)) == pytest.approx((low, high), abs=5e-5)


# Two networks on the same images


def test_agresti_and_mins_interval_by_hand() -> None:
    # b = 9.5, c = 1.5, m = 102: (8 -+ 1.96 sqrt(11 - 64 / 102)) / 102
    assert paired_interval(9, 1, 100) == pytest.approx((0.016546, 0.140317), abs=1e-6)
    assert paired_interval(0, 0, 100) == pytest.approx((-1.96 / 102, 1.96 / 102), abs=1e-6)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_paired_interval_contains_the_shrunk_difference(only_first: int, only_second: int, others: int) -> None:
    n = max(1, only_first + only_second + others)
    low, high = paired_interval(only_first, only_second, n)
    assert -1 <= low < (only_first - only_second) / (n + 2) < high <= 1
    assert paired_interval(only_second, only_first, n) == pytest.approx((-high, -low))


def test_the_mid_p_value_counts_half_the_observed_probability() -> None:
    """Nine images against one: the exact p is 2 (1 + 10) / 1024 = 0.0215, and 10 / 1024 is subtracted."""
    exact = 2 * (1 + 10) / 1024
    assert exact == pytest.approx(0.0215, abs=5e-5)
    assert mcnemar(9, 1) == mcnemar(1, 9) == pytest.approx(exact - 10 / 1024)
    assert mcnemar(9, 1) == pytest.approx(0.0117, abs=5e-5)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (4, 4, 1.0), (1, 0, 0.5), (0, 5, 1 / 32), (6, 0, 1 / 64), (7, 2, (2 * (1 + 9 + 36) - 36) / 512)],
)
def test_mid_p_values_by_hand(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_mid_p_value_falls_as_the_division_becomes_less_even(first: int, second: int) -> None:
    p = mcnemar(first, second)
    assert 0 < p <= 1 + 1e-12
    assert p == mcnemar(second, first)
    if first > second:
        assert mcnemar(first + 1, second) < p or first == second
        n = first + second
        exact = 2 * sum(comb(n, k) for k in range(second + 1)) / 2**n
        assert p == pytest.approx(exact - comb(n, second) / 2**n)


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01; 2 x 0.03; 1 x 0.04 is raised to that
        ([0.001, 0.02, 0.5], [0.003, 0.04, 0.5]),
        ([0.6, 0.5, 0.9], [1.0, 1.0, 1.0]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holms_correction_by_hand(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), max_size=6), st.randoms())
def test_holms_correction_ignores_the_order_and_only_raises(raw: list[float], random: object) -> None:
    corrected = holm(raw)
    assert all(old <= new <= 1 for old, new in zip(raw, corrected, strict=True))
    shuffled = list(range(len(raw)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert holm([raw[i] for i in shuffled]) == [corrected[i] for i in shuffled]


# The comparison


def test_a_comparison_is_as_computed_by_hand(make_trained: Make) -> None:
    """Of 20 images, all classify 10 correctly; scratch one more, last_layer the nine others, two_layers all."""
    scratch = make_trained("scratch", [True] * 10 + [True] + [False] * 9)
    last_layer = make_trained("last_layer", [True] * 10 + [False] + [True] * 9)
    two_layers = make_trained("two_layers", [True] * 20)
    table = compare([scratch, last_layer, two_layers]).set_index(["first", "second"])
    assert list(table.index) == [("last_layer", "scratch"), ("two_layers", "scratch"), ("two_layers", "last_layer")]
    assert table["only_first"].tolist() == [9, 9, 1]
    assert table["only_second"].tolist() == [1, 0, 0]
    assert table["difference"].tolist() == pytest.approx([0.4, 0.45, 0.05])
    # 12 / 2^10, 1 / 2^9 and 1 / 2. Holm: times 2, 3 and 1.
    assert table["p_uncorrected"].tolist() == pytest.approx([12 / 1024, 1 / 512, 0.5])
    assert table["p_value"].tolist() == pytest.approx([24 / 1024, 3 / 512, 0.5])
    assert table["significant"].tolist() == [True, True, False]
    # (8 -+ 1.95996 sqrt(11 - 64 / 22)) / 22 and so on
    assert table["low"].tolist() == pytest.approx([0.110226, 0.185156, -0.079097], abs=1e-6)
    assert table["high"].tolist() == pytest.approx([0.617047, 0.633026, 0.170006], abs=1e-6)


def test_the_interval_of_a_difference_follows_from_its_counts(make_trained: Make) -> None:
    """b = 9, c = 1, n = 100."""
    first = make_trained("scratch", [True] * 90 + [True] + [False] * 9)
    second = make_trained("last_layer", [True] * 90 + [False] + [True] * 9)
    [row] = compare([first, second]).to_dict("records")
    assert (row["only_first"], row["only_second"], row["difference"]) == (9, 1, 0.08)
    assert (row["low"], row["high"]) == pytest.approx((0.0165, 0.1403), abs=5e-5)
    assert row["p_uncorrected"] == row["p_value"] == pytest.approx(0.0117, abs=5e-5)


def test_a_difference_can_lose_its_significance_by_the_correction(make_trained: Make) -> None:
    """Five images against none: p = 1 / 2^5 = 0.03125, and 3 times that is above 0.05."""
    first = make_trained("scratch", [True] * 15 + [False] * 5)
    second = make_trained("last_layer", [True] * 20)
    assert compare([first, second])["p_value"].tolist() == pytest.approx([0.03125])
    assert compare([first, second])["significant"].tolist() == [True]
    third = make_trained("two_layers", [True] * 20)
    table = compare([first, second, third])
    assert table["p_uncorrected"].tolist() == pytest.approx([0.03125, 0.03125, 1.0])
    assert table["p_value"].tolist() == pytest.approx([0.09375, 0.09375, 1.0])
    assert not table["significant"].any()


def test_only_images_that_one_network_alone_gets_right_count(make_trained: Make) -> None:
    few = compare([make_trained("a", [True] * 5), make_trained("b", [False] * 5)])
    with_others = compare([make_trained("a", [True] * 5 + [True] * 95), make_trained("b", [False] * 5 + [True] * 95)])
    assert few["p_value"].tolist() == with_others["p_value"].tolist() == pytest.approx([0.03125])


def test_equal_strategies_do_not_differ(make_trained: Make) -> None:
    table = compare([make_trained(name, 70) for name in ("scratch", "last_layer", "two_layers")])
    assert table["difference"].tolist() == [0, 0, 0]
    assert table["p_value"].tolist() == table["p_uncorrected"].tolist() == [1, 1, 1]
    assert not table["significant"].any()
    assert (table["low"] < 0).all()
    assert (table["high"] > 0).all()


def test_a_network_whose_output_is_not_a_number_is_compared(make_trained: Make) -> None:
    broken = make_trained("scratch", probabilities=np.full((100, 2), np.nan, np.float32))
    table = compare([broken, make_trained("last_layer", 100)])
    assert table["difference"].tolist() == [0.5]  # its prediction is always class 0


def test_the_summary_has_the_last_epochs_figures_and_weight_counts(tiny_run: TinyRun) -> None:
    table = summarise(tiny_run.networks).set_index("network")
    assert list(table.index) == ["Network A", "From scratch", "One layer", "Two layers"]
    for trained in tiny_run.networks:
        row, last = table.loc[trained.title], trained.history.iloc[-1]
        assert row["test %"] == pytest.approx(100 * last["test_accuracy"])
        assert row["training %"] == pytest.approx(100 * trained.train_accuracy)
        low, high = map(float, row["95% interval"].split(" to "))
        assert low < row["test %"] < high or row["test %"] == high == 100
        assert row["seconds"] == trained.seconds
    fc1, fc2 = 4 * 4 * 8 * 16 + 16, 16 * 2 + 2
    convolutions = (27 * 4 + 4) + (36 * 4 + 4) + (36 * 8 + 8) + (72 * 8 + 8)
    by_hand = [convolutions + fc1 + 16 * 8 + 8, convolutions + fc1 + fc2, fc2, fc1 + fc2]
    assert table["trained weights"].tolist() == by_hand


def test_the_summarys_interval_is_in_percent(make_trained: Make) -> None:
    assert summarise([make_trained("scratch", 90, 100)])["95% interval"].tolist() == ["82.6 to 94.5"]

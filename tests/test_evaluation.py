from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import TinyRun
from headstart.practical.evaluation import accuracy_interval, compare, holm, paired_interval, summarise, wilson_interval
from headstart.practical.training import Trained


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(90, 100, 0.8256, 0.9448), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1800, 2000, 0.8861, 0.9124)],
)
def test_wilsons_interval_by_hand(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_an_accuracys_interval_counts_the_test_images_that_are_right(make_trained: Callable[..., Trained]) -> None:
    assert accuracy_interval(make_trained(right=90)) == pytest.approx((0.8256, 0.9448), abs=5e-5)


def test_agresti_and_mins_interval_by_hand() -> None:
    # b = 9.5, c = 1.5, m = 102: (8 -+ 1.96 sqrt(11 - 64 / 102)) / 102
    assert paired_interval(9, 1, 100) == pytest.approx((0.016546, 0.140317), abs=1e-6)
    assert paired_interval(0, 0, 100) == pytest.approx((-1.96 / 102, 1.96 / 102), abs=1e-6)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_paired_interval_lies_round_the_shrunk_difference_and_turns_round_with_the_pair(
    only_first: int, only_second: int, others: int
) -> None:
    n = max(1, only_first + only_second + others)
    low, high = paired_interval(only_first, only_second, n)
    assert -1 <= low < (only_first - only_second) / (n + 2) < high <= 1
    assert paired_interval(only_second, only_first, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01; 2 x 0.03; 1 x 0.04 may not be less than that
        ([0.001, 0.02, 0.5], [0.003, 0.04, 0.5]),
        ([0.6, 0.5, 0.9], [1.0, 1.0, 1.0]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holms_correction_by_hand(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), max_size=6), st.randoms())
def test_holms_correction_knows_no_order_and_only_raises(raw: list[float], random: object) -> None:
    corrected = holm(raw)
    assert all(old <= new <= 1 for old, new in zip(raw, corrected, strict=True))
    shuffled = list(range(len(raw)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert holm([raw[i] for i in shuffled]) == [corrected[i] for i in shuffled]


def test_the_comparison_by_hand(make_trained: Callable[..., Trained]) -> None:
    """Of 20 images all have 10 right, scratch one more, last_layer the nine others, two_layers all."""
    scratch = make_trained("scratch", [True] * 10 + [True] + [False] * 9)
    last_layer = make_trained("last_layer", [True] * 10 + [False] + [True] * 9)
    two_layers = make_trained("two_layers", [True] * 20)
    table = compare([scratch, last_layer, two_layers]).set_index(["first", "second"])
    assert list(table.index) == [("last_layer", "scratch"), ("two_layers", "scratch"), ("two_layers", "last_layer")]
    assert table["only_first"].tolist() == [9, 9, 1]
    assert table["only_second"].tolist() == [1, 0, 0]
    assert table["difference"].tolist() == pytest.approx([0.4, 0.45, 0.05])
    # McNemar: 2 (1 + 10) / 2^10 = 0.021484; 2 / 2^9 = 0.003906; 2 / 2 = 1. Holm: times 2, 3 and 1.
    assert table["p_value"].tolist() == pytest.approx([0.0429688, 0.0117188, 1.0], abs=1e-6)
    assert table["significant"].tolist() == [True, True, False]
    for (_, row), counts in zip(table.iterrows(), [(9, 1), (9, 0), (1, 0)], strict=True):
        assert (row["low"], row["high"]) == paired_interval(*counts, 20)


def test_holms_correction_can_take_a_significance_away(make_trained: Callable[..., Trained]) -> None:
    """Six images against none: p = 2 / 2^6 = 0.03125, and 3 times that is no longer less than 0.05."""
    first = make_trained("scratch", [True] * 14 + [False] * 6)
    second = make_trained("last_layer", [True] * 20)
    assert compare([first, second])["p_value"].tolist() == pytest.approx([0.03125])
    third = make_trained("two_layers", [True] * 20)
    assert compare([first, second, third])["p_value"].tolist() == pytest.approx([0.09375, 0.09375, 1.0])
    assert not compare([first, second, third])["significant"].any()


def test_only_images_on_which_one_alone_is_right_count(make_trained: Callable[..., Trained]) -> None:
    few = compare([make_trained("a", [True] * 5), make_trained("b", [False] * 5)])
    with_others = compare([make_trained("a", [True] * 5 + [True] * 95), make_trained("b", [False] * 5 + [True] * 95)])
    assert few["p_value"].tolist() == with_others["p_value"].tolist() == [0.0625]


def test_equal_strategies_do_not_differ(make_trained: Callable[..., Trained]) -> None:
    table = compare([make_trained(name, 70) for name in ("scratch", "last_layer", "two_layers")])
    assert table["difference"].tolist() == [0, 0, 0]
    assert table["p_value"].tolist() == [1, 1, 1]
    assert not table["significant"].any()
    assert (table["low"] < 0).all()
    assert (table["high"] > 0).all()


def test_the_summary_holds_the_last_epochs_figures_and_counts_what_was_trained(tiny_run: TinyRun) -> None:
    table = summarise(tiny_run.networks).set_index("network")
    assert list(table.index) == ["Network A", "From scratch", "Fine-tuning one layer", "Fine-tuning two layers"]
    for trained in tiny_run.networks:
        row, last = table.loc[trained.title], trained.history.iloc[-1]
        assert (row["copied"], row["frozen"]) == (trained.copied, trained.frozen)
        measured = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
        assert row[measured].tolist() == pytest.approx(last[measured].tolist())
        assert row["low"] < row["test_accuracy"] < row["high"]
        assert row["seconds"] == trained.seconds
    fc1, fc2 = 4 * 4 * 8 * 16 + 16, 16 * 2 + 2
    convolutions = (27 * 4 + 4) + (36 * 4 + 4) + (36 * 8 + 8) + (72 * 8 + 8)
    assert table["trained weights"].tolist() == [
        convolutions + fc1 + 16 * 8 + 8,
        convolutions + fc1 + fc2,
        fc2,
        fc1 + fc2,
    ]


def test_a_network_that_gives_no_numbers_is_measured_and_not_believed(make_trained: Callable[..., Trained]) -> None:
    broken = make_trained("scratch", probabilities=np.full((100, 2), np.nan, np.float32))
    table = compare([broken, make_trained("last_layer", 100)])
    assert table["difference"].tolist() == [0.5]  # it always says class 0
    assert np.isnan(broken.test_loss)

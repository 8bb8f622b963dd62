from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from headstart.practical.conclusions import (
    conclude,
    describe_best,
    describe_convergence,
    describe_gap,
    describe_network,
    describe_transfer,
)
from headstart.practical.evaluation import compare
from headstart.practical.recipe import Recipe
from headstart.practical.training import Trained

Make = Callable[..., Trained]


def best(*strategies: Trained) -> str:
    return describe_best(strategies, compare(strategies))


def three(make: Make, scratch: int, last_layer: int, two_layers: int, of: int = 1000) -> list[Trained]:
    return [make("scratch", scratch, of), make("last_layer", last_layer, of), make("two_layers", two_layers, of)]


# Which one is best


def test_transfer_that_helps_is_said_to_help(make_trained: Make) -> None:
    scratch, last_layer, two_layers = three(make_trained, 700, 800, 900)
    text = best(scratch, last_layer, two_layers)
    assert text.startswith("“Fine-tuning two layers” has the best test accuracy, 90.0%.")
    assert "10.0 points ahead of “Fine-tuning one layer”" in text
    assert "20.0 points ahead of “From scratch”" in text
    assert text.count(": significant)") == 2
    assert "no difference" not in text
    pairs = compare([scratch, last_layer, two_layers])
    said = describe_transfer(two_layers, scratch, pairs)
    assert "20.0 points above scratch in test accuracy (significant)" in said


def test_transfer_that_loses_is_said_to_hurt(make_trained: Make) -> None:
    scratch, last_layer, two_layers = three(make_trained, 900, 700, 800)
    text = best(scratch, last_layer, two_layers)
    assert text.startswith("“From scratch” has the best test accuracy, 90.0%.")
    assert "20.0 points ahead of “Fine-tuning one layer”" in text
    pairs = compare([scratch, last_layer, two_layers])
    said = describe_transfer(last_layer, scratch, pairs)
    assert "20.0 points below scratch in test accuracy (significant)" in said


def test_a_lead_that_chance_may_explain_is_not_called_real(make_trained: Make) -> None:
    scratch, last_layer, two_layers = three(make_trained, 898, 900, 899)
    text = best(scratch, last_layer, two_layers)
    assert text.startswith("“Fine-tuning one layer” has the best test accuracy, 90.0%.")
    assert text.count("no difference is shown") == 2
    assert ": significant)" not in text
    pairs = compare([scratch, last_layer, two_layers])
    said = describe_transfer(last_layer, scratch, pairs)
    assert "0.2 points above scratch in test accuracy (not significant)" in said


def test_a_tie_at_the_top_is_shared(make_trained: Make) -> None:
    text = best(*three(make_trained, 700, 900, 900))
    assert "“Fine-tuning one layer” and “Fine-tuning two layers” share the best test accuracy, 90.0%." in text
    assert text.count("From scratch") == 1


def test_equal_strategies_have_no_best(make_trained: Make) -> None:
    scratch, last_layer, two_layers = three(make_trained, 800, 800, 800)
    text = best(scratch, last_layer, two_layers)
    assert "same test accuracy, 80.0%" in text
    assert "no best" in text
    pairs = compare([scratch, last_layer, two_layers])
    assert "ended level with scratch in test accuracy. After" in describe_transfer(last_layer, scratch, pairs)


def test_equal_accuracies_on_different_images_are_equal(make_trained: Make) -> None:
    one, other = make_trained("scratch", [True, True, False]), make_trained("last_layer", [False, True, True])
    assert "no best" in best(one, other)


def test_p_values_are_shown(make_trained: Make) -> None:
    text = best(make_trained("scratch", 890, 1000), make_trained("last_layer", 900, 1000))
    assert "p = 0.002" in text  # 10 images against none: 2 / 2^10
    assert "p < 0.001" in best(make_trained("scratch", 0, 1000), make_trained("last_layer", 1000, 1000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=3, max_size=3))
def test_whatever_came_out_the_words_agree_with_the_numbers(make_trained: Make, right: list[list[bool]]) -> None:
    names = ("scratch", "last_layer", "two_layers")
    scratch, *transfers = strategies = [make_trained(*pair) for pair in zip(names, right, strict=True)]
    pairs = compare(strategies)
    text = describe_best(strategies, pairs)
    top = max(trained.test_accuracy for trained in strategies)
    at_the_top = [trained for trained in strategies if trained.test_accuracy == top]
    if len(at_the_top) == 3:
        assert "no best" in text
    else:
        praised = re.findall(r"“(.+?)”", text[: text.index("best test accuracy")])
        assert sorted(praised) == sorted(trained.title for trained in at_the_top)
        behind = re.findall(r"(\d+\.\d) points? ahead of “(.+?)”", text)
        gaps = {t.title: f"{100 * (top - t.test_accuracy):.1f}" for t in strategies if t not in at_the_top}
        assert {title: gap for gap, title in behind} == gaps
    for trained in transfers:
        mine, its = (t.probabilities.argmax(axis=1) == t.labels for t in (trained, scratch))
        wins, losses = int((mine & ~its).sum()), int((its & ~mine).sum())
        text = describe_transfer(trained, scratch, pairs)
        side = "level with" if wins == losses else "above" if wins > losses else "below"
        assert f"{side} scratch in test accuracy" in text
        assert wins == losses or f"ended {100 * abs(mine.mean() - its.mean()):.1f} points" in text
        if wins == losses or binomtest(wins, wins + losses).pvalue >= 0.05:
            assert "(significant)" not in text
            assert ("(not significant)" in text) == (wins != losses)


# What transfer changed


def test_the_head_start_is_told_by_its_end_its_beginning_and_its_time(make_trained: Make) -> None:
    scratch = make_trained(
        "scratch",
        80,
        seconds=61.4,
        curves={"test_accuracy": [0.5, 0.6, 0.7, 0.75, 0.8], "train_accuracy": [0.5, 0.6, 0.7, 0.8, 0.95]},
    )
    transferred = make_trained(
        "last_layer",
        90,
        copied=5,
        frozen=5,
        seconds=7.0,
        curves={"test_accuracy": [0.81, 0.79, 0.85, 0.88, 0.9], "train_accuracy": [0.5, 0.6, 0.7, 0.8, 0.93]},
    )
    text = describe_transfer(transferred, scratch, compare([scratch, transferred]))
    assert "(5 layers from network A, 5 of them frozen) ended 10.0 points above scratch" in text
    assert "After the first epoch it was at 81.0%, scratch at 50.0%" in text
    assert re.search(r"from epoch 5 on it stayed within a point of its final accuracy, scratch from epoch 5 on", text)
    assert "took 7 s, from scratch 61 s" in text
    assert "fits even its training images less well (93.0%, from scratch 95.0%)" in text


@pytest.mark.parametrize(
    ("curve", "epoch"), [([0.9, 0.9, 0.9], 1), ([0.5, 0.895, 0.9], 2), ([0.9, 0.5, 0.9], 3), ([0.1, 0.2, 0.9], 3)]
)
def test_settled_is_the_first_epoch_after_the_last_one_that_was_off(
    curve: list[float], epoch: int, make_trained: Make
) -> None:
    scratch = make_trained("scratch", 80, curves={"test_accuracy": [0.1] * 4 + [0.8]})
    transferred = make_trained("two_layers", 90, curves={"test_accuracy": curve})
    text = describe_transfer(transferred, scratch, compare([scratch, transferred]))
    assert f"from epoch {epoch} on it stayed" in text
    assert "scratch from epoch 5 on" in text


def test_the_pair_may_stand_either_way_in_the_table(make_trained: Make) -> None:
    scratch, transferred = make_trained("scratch", 700, 1000), make_trained("last_layer", 900, 1000)
    one_way = describe_transfer(transferred, scratch, compare([scratch, transferred]))
    assert one_way == describe_transfer(transferred, scratch, compare([transferred, scratch]))


@pytest.mark.parametrize(
    ("first", "right", "said"),
    [
        ((0.5, 0.6, 0.7), (700, 700, 800), "a head start, and a better end"),
        ((0.5, 0.6, 0.7), (700, 600, 702), "a head start, but no better end"),
        ((0.5, 0.4, 0.51), (700, 600, 800), "no head start, but a better end"),
        ((0.5, 0.4, 0.5), (700, 700, 600), "no head start, and no better end"),
    ],
)
def test_the_effect_of_transfer_is_said_in_one_sentence(
    first: tuple[float, ...], right: tuple[int, ...], said: str, make_trained: Make
) -> None:
    names = ("scratch", "last_layer", "two_layers")
    strategies = [
        make_trained(name, n, 1000, curves={"test_accuracy": [begin, 0.7, 0.7, 0.7, n / 1000]})
        for name, n, begin in zip(names, right, first, strict=True)
    ]
    text = conclude(strategies, compare(strategies), "CIFAR-10")[1]
    assert text.startswith(f"The effect of transfer learning: {said}. ")
    one, two = "“Fine-tuning one layer”", "“Fine-tuning two layers”"
    ahead = f"{one} and {two} are" if said.startswith("a head") else "none is"
    assert f"first epoch {ahead} more than a point ahead" in text
    better = f"{two} is" if right[2] == 800 else "none is"
    worse = {700: "none", 600: one}[right[1]] if right[2] != 600 else two
    assert f"after the last {better} significantly better than scratch, and {worse} is significantly worse" in text


# Whether it converged


def with_loss(make: Make, *losses: float) -> str:
    return describe_convergence(make(curves={name: list(losses) for name in ("train_loss", *OTHERS)}))


OTHERS = ("train_accuracy", "test_loss", "test_accuracy")


def test_a_loss_that_has_settled_converged(make_trained: Make) -> None:
    text = with_loss(make_trained, 1.0, 0.6, 0.4, 0.31, 0.3)
    assert "converged" in text
    assert "not" not in text
    assert "1.000" in text
    assert "0.300" in text
    assert "1%" in text  # 0.01 of 0.70


def test_a_loss_that_still_falls_was_still_improving(make_trained: Make) -> None:
    text = with_loss(make_trained, 1.0, 0.8, 0.6, 0.4, 0.2)
    assert "still improving" in text
    assert "25%" in text
    assert "It converged" not in text


@pytest.mark.parametrize(("before", "verdict"), [(0.299, "converged"), (0.301, "was still improving")])
def test_the_last_fifth_may_bring_a_tenth_of_the_fall(before: float, verdict: str, make_trained: Make) -> None:
    text = with_loss(make_trained, 1.2, 0.8, 0.5, before, 0.2)
    assert text.startswith(f"It {verdict}: ")
    assert "less than 10% counts as converged" in text


def test_what_lies_below_the_loss_that_label_smoothing_asks_for_is_no_fall_and_no_rise(make_trained: Make) -> None:
    """Two classes and a smoothing of 0.05 ask for a certainty of 97.5%, a loss of 0.0253."""
    curves = {key: [0.032, 0.03, 0.02, 0.021, 0.0253] for key in ("train_loss", *OTHERS)}
    assert describe_convergence(make_trained(curves=curves)).startswith("It converged: ")
    hard = make_trained(curves=curves, recipe=Recipe(label_smoothing=0.0))
    assert "rose in the last fifth" in describe_convergence(hard)


def test_a_loss_that_is_low_from_the_start_has_converged(make_trained: Make) -> None:
    text = with_loss(make_trained, 0.025, 0.02, 0.02, 0.02, 0.024)
    assert text.startswith("It converged in its first epoch")
    assert "asks for 0.025" in text


def test_a_loss_that_rose_did_not_converge(make_trained: Make) -> None:
    assert "did not converge" in with_loss(make_trained, 0.7, 0.6, 0.6, 0.7, 0.8)


def test_a_loss_that_shot_up_in_the_end_did_not_converge_though_it_is_below_its_start(make_trained: Make) -> None:
    text = with_loss(make_trained, 1.0, 0.3, 0.2, 0.1, 0.9)
    assert "It converged" not in text


def test_a_loss_that_is_not_a_number_did_not_converge(make_trained: Make) -> None:
    for odd in (np.nan, np.inf):
        text = with_loss(make_trained, 0.7, 0.6, odd, odd, odd)
        assert "did not converge" in text
        assert "not a finite number" in text


@pytest.mark.parametrize("epochs", [1, 4])
def test_few_epochs_cannot_tell(epochs: int, make_trained: Make) -> None:
    assert "cannot be told" in with_loss(make_trained, *[0.5] * epochs)


# Whether it was regularised


def gap(make: Make, train: float, test: float, test_loss: list[float]) -> str:
    return describe_gap(
        make(curves={"train_accuracy": [train] * 5, "test_accuracy": [test] * 5, "test_loss": test_loss})
    )


def test_a_wide_gap_is_overfitting(make_trained: Make) -> None:
    text = gap(make_trained, 0.99, 0.8, [0.5] * 5)
    assert "It overfits" in text
    assert "99.0% on training and 80.0% on test images" in text


def test_a_test_loss_that_rises_is_the_beginning_of_it(make_trained: Make) -> None:
    text = gap(make_trained, 0.85, 0.8, [0.9, 0.4, 0.45, 0.5, 0.6])
    assert "begins to show" in text
    assert "0.400 (epoch 2) to 0.600" in text


@pytest.mark.parametrize(
    ("train", "last", "said"),
    [
        (0.899, 0.439, "Overfitting is held down"),
        (0.901, 0.439, "It overfits"),
        (0.899, 0.441, "Overfitting begins to show"),
    ],
)
def test_ten_points_and_ten_percent_are_the_limits(train: float, last: float, said: str, make_trained: Make) -> None:
    assert gap(make_trained, train, 0.8, [0.9, 0.6, 0.5, 0.4, last]).startswith(said)


@pytest.mark.parametrize("train", [0.7, 0.85])
def test_a_narrow_gap_and_a_low_test_loss_are_no_overfitting(train: float, make_trained: Make) -> None:
    text = gap(make_trained, train, 0.8, [0.9, 0.6, 0.5, 0.42, 0.41])
    assert "held down" in text
    assert "It overfits" not in text


def test_of_a_loss_that_is_not_a_number_nothing_is_said(make_trained: Make) -> None:
    text = gap(make_trained, 0.5, 0.5, [np.nan] * 5)
    assert "held down" not in text
    assert "overfits" not in text


# All of it


def test_a_network_is_described_by_its_accuracy_interval_and_number_of_test_images(make_trained: Make) -> None:
    text = describe_network(make_trained("a", 1800, 2000))
    assert text.startswith("Network A classifies 90.0% of 2,000 test images correctly")
    assert "88.6% to 91.2%" in text
    assert "after epoch 5" in text


def test_digits_are_named_and_real_images_are_not_talked_down(make_trained: Make) -> None:
    strategies = three(make_trained, 700, 800, 900)
    on_digits = conclude(strategies, compare(strategies), "scikit-learn digits, not CIFAR-10")
    on_copies = conclude(strategies, compare(strategies), "CIFAR-10 images from the folder “copies”")
    assert on_copies[0].startswith("These are CIFAR-10 images from the folder “copies”: with CIFAR-10 as Keras loads")
    assert on_copies[1:] == on_digits[1:]
    assert "digits" in on_digits[0]
    assert "nothing about CIFAR-10" in on_digits[0]
    on_images = conclude(strategies, compare(strategies), "CIFAR-10")
    assert on_digits[1:] == on_images
    assert not any("digits" in paragraph for paragraph in on_images)


@pytest.mark.parametrize(
    "curves",
    [{}, {"train_loss": [np.nan] * 5, "test_loss": [np.nan] * 5}, {"train_loss": [0.5]}],
    ids=["as usual", "not a number", "one epoch"],
)
@pytest.mark.parametrize("right", [(0, 0, 0), (100, 100, 100), (90, 80, 70), (50, 90, 90)])
def test_the_conclusions_name_every_strategy_and_never_fail(
    curves: dict[str, Any], right: tuple[int, int, int], make_trained: Make
) -> None:
    names = ("scratch", "last_layer", "two_layers")
    strategies = [make_trained(name, n, curves=dict(curves)) for name, n in zip(names, right, strict=True)]
    paragraphs = conclude(strategies, compare(strategies), "CIFAR-10")
    assert len(paragraphs) == 2 + 2 + 1
    whole = "\n".join(paragraphs)
    for trained in strategies[1:]:
        assert f"“{trained.title}” (" in whole
    assert "nan" not in whole
    assert "one seed" in paragraphs[-1]

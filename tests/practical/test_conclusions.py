from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.practical.conclusions import conclude, describe_network, describe_pair, describe_transfer
from headstart.practical.evaluation import compare
from headstart.training.trainer import Trained

Make = Callable[..., Trained]
NAMES = ("scratch", "last_layer", "two_layers")
TITLES = {"scratch": "From scratch", "last_layer": "One layer", "two_layers": "Two layers"}


def three(make: Make, *right: int, of: int = 1000) -> list[Trained]:
    return [make(name, number, of) for name, number in zip(NAMES, right, strict=True)]


def pair_of(*strategies: Trained) -> str:
    """The description of the first two strategies."""
    return describe_pair(compare([*strategies]).iloc[0], len(strategies[0].labels))


def paragraphs(strategies: list[Trained]) -> list[str]:
    return conclude(strategies, compare(strategies))


# One network


def test_a_network_is_described_by_accuracy_interval_and_image_count(make_trained: Make) -> None:
    text = describe_network(make_trained("a", 1800, 2000))
    begin = "**Network A** classifies 90.0% of 2,000 test images correctly (95% confidence interval 88.6% to 91.2%; "
    assert text.startswith(begin)
    assert "guessing" not in text
    assert "one class" not in text


def test_the_losses_are_of_the_first_the_best_and_the_last_epoch(make_trained: Make) -> None:
    curves = {"train_loss": [0.9, 0.5, 0.3, 0.2, 0.1], "test_loss": [0.9, 0.5, 0.41, 0.52, 0.63]}
    text = describe_network(make_trained("scratch", 90, curves=curves))
    assert "Its training loss was 0.900 after epoch 1 and 0.100 after the last. " in text
    assert "The test loss was lowest after epoch 3 (0.410; at the end 0.630)." in text


def test_the_gap_between_training_and_test_accuracy_is_given_in_points(make_trained: Make) -> None:
    text = describe_network(make_trained("scratch", 80, train_accuracy=0.95))
    assert text.endswith("The training accuracy is 95.0%: a gap of 15.0 points.")
    text = describe_network(make_trained("scratch", 80, train_accuracy=0.78))
    assert text.endswith("The training accuracy is 78.0%: a gap of -2.0 points.")


def test_a_gap_of_zero_has_no_minus_sign(make_trained: Make) -> None:
    for train_accuracy in (0.8, 0.7999, 0.8001):
        text = describe_network(make_trained("scratch", 80, train_accuracy=train_accuracy))
        assert "-0.0" not in text


def with_labels(make: Make, share: float, right: int, of: int = 100) -> Trained:
    """A result with this share of images in the first class, and this many images classified correctly."""
    labels = (np.arange(of) >= share * of).astype(int)
    answers = np.where(np.arange(of) % of < right, labels, 1 - labels)
    return make("scratch", right, of, labels=labels, probabilities=np.eye(2, dtype=np.float32)[answers])


@pytest.mark.parametrize(("right", "guessing"), [(50, True), (59, True), (60, False), (40, True), (20, True)])
def test_guessing_is_mentioned_if_the_interval_includes_it(right: int, guessing: bool, make_trained: Make) -> None:
    """The interval of 59 correct images of 100 starts at 49.2%, that of 60 at 50.2%."""
    text = describe_network(make_trained("scratch", right, 100))
    assert "; the largest class has 50.0%). " in text
    assert ("That is no better than guessing the largest class. " in text) == ("guessing" in text) == guessing


def test_guessing_means_the_share_of_the_largest_class(make_trained: Make) -> None:
    text = describe_network(with_labels(make_trained, share=0.8, right=85))
    assert "the largest class has 80.0%). " in text
    assert "That is no better than guessing the largest class. " in text
    assert "guessing" not in describe_network(with_labels(make_trained, share=0.8, right=95))
    assert "guessing" not in describe_network(with_labels(make_trained, share=0.6, right=85))


def test_a_network_that_predicts_one_class_only_is_reported(make_trained: Make) -> None:
    always_dog = np.tile(np.array([0.4, 0.6], np.float32), (100, 1))
    text = describe_network(make_trained("scratch", 50, probabilities=always_dog))
    assert "It predicts one class only, “dog”. " in text
    assert "no better than guessing" in text
    assert "one class only" not in describe_network(make_trained("scratch", 50))


@pytest.mark.parametrize("odd", [np.nan, np.inf])
@pytest.mark.parametrize("curve", ["train_loss", "test_loss"])
def test_a_loss_that_is_not_finite_is_reported_as_a_failed_training(curve: str, odd: float, make_trained: Make) -> None:
    text = describe_network(make_trained(curves={curve: [0.7, 0.6, odd, odd, odd]}))
    assert text.endswith("Its loss is not a finite number: the training failed.")
    assert "nan" not in text
    assert "inf" not in text.replace("confidence", "")
    assert "failed" not in describe_network(make_trained())


# Two strategies


def test_a_clear_lead_is_significant_for_these_two_networks(make_trained: Make) -> None:
    text = pair_of(*three(make_trained, 700, 800, 900))
    assert text.startswith("“One layer” is 10.0 points ahead of “From scratch”: significant for these two networks (")


def test_the_better_strategy_is_named_first(make_trained: Make) -> None:
    text = pair_of(*three(make_trained, 900, 700, 800))
    assert text.startswith("“From scratch” is 20.0 points ahead of “One layer”: significant for these two networks (")


def test_a_lead_that_other_test_images_could_reverse_is_undecided(make_trained: Make) -> None:
    text = pair_of(*three(make_trained, 898, 900, 899))
    assert "“One layer” is 0.2 points ahead of “From scratch”: not significant, so undecided (" in text
    assert "significant for" not in text


def test_a_tie_has_no_p_value_even_if_the_images_differ(make_trained: Make) -> None:
    one, other = make_trained("scratch", [True, True, False]), make_trained("last_layer", [False, True, True])
    expected = "“One layer” and “From scratch” classify equally many test images correctly."
    assert pair_of(one, other) == pair_of(*three(make_trained, 800, 800, 900)) == expected


@pytest.mark.parametrize(
    ("behind", "of", "ahead"),
    [
        (1, 8000, "1 of 8,000 images"),
        (3, 8000, "3 of 8,000 images"),  # 0.0375 points
        (5, 8000, "0.1 points"),  # 0.0625
        (1, 2500, "1 of 2,500 images"),  # 0.04
        (1, 1000, "0.1 points"),
    ],
)
def test_a_tiny_difference_is_given_as_a_number_of_images(behind: int, of: int, ahead: str, make_trained: Make) -> None:
    scratch, last_layer = make_trained("scratch", 700 - behind, of), make_trained("last_layer", 700, of)
    assert pair_of(scratch, last_layer).startswith(f"“One layer” is {ahead} ahead of “From scratch”: ")
    assert pair_of(last_layer, scratch).startswith(f"“One layer” is {ahead} ahead of “From scratch”: ")


def test_p_values_are_described_as_corrected_and_mid_p(make_trained: Make) -> None:
    text = pair_of(*three(make_trained, 892, 900, 900))  # 8 images against none: 3 x 1 / 2^8
    assert text.endswith("(mid-p McNemar, Holm-corrected p = 0.0117).")
    assert pair_of(*three(make_trained, 900, 901, 900)).endswith("(mid-p McNemar, Holm-corrected p = 1).")
    text = pair_of(*three(make_trained, 100, 900, 900))
    assert re.search(r"Holm-corrected p = [1-9](\.\d)?e-\d+\)\.$", text)


# What transfer changed


def with_times(
    make: Make, name: str, curve: list[float], seconds: list[float], feature_seconds: float = 0.0
) -> Trained:
    trained = make(name, round(100 * curve[-1]), curves={"test_accuracy": curve}, feature_seconds=feature_seconds)
    trained.history["seconds"] = seconds
    return trained


def test_transfer_is_described_by_first_and_last_accuracy_and_times(make_trained: Make) -> None:
    scratch = with_times(make_trained, "scratch", [0.5, 0.6, 0.7, 0.8], [15.0, 30.0, 45.0, 61.4])
    last_layer = with_times(make_trained, "last_layer", [0.81, 0.79, 0.85, 0.9], [4.5, 5.0, 5.5, 6.0], 4.0)
    assert describe_transfer(last_layer, scratch) == (
        "**One layer** was at 81.0% after the first epoch and at 90.0% after the last; from scratch: 50.0%, 80.0%. "
        "Training took 6 s instead of 61 s. With the frozen layers' output computed in every epoch, it would "
        "take about 10 s."  # the output for two epochs took 4 s: for four epochs it takes 8 s, and training 2 s
    )


@pytest.mark.parametrize(
    ("epochs", "seconds", "feature_seconds", "about"),
    [(20, 30.0, 10.0, 120), (2, 30.0, 10.0, 30), (1, 30.0, 10.0, 25), (40, 12.0, 2.0, 50), (20, 7.0, 0.0, 7)],
)
def test_the_time_without_stored_output_is_as_estimated_by_hand(
    epochs: int, seconds: float, feature_seconds: float, about: int, make_trained: Make
) -> None:
    """The stored output has two views, which is what two epochs need."""
    columns = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    curves = {column: [0.5] * epochs for column in columns}
    scratch = make_trained("scratch", 50, curves=dict(curves))
    trained = make_trained("two_layers", 50, curves=dict(curves), feature_seconds=feature_seconds)
    trained.history["seconds"] = np.linspace(feature_seconds, seconds, epochs + 1)[1:]
    assert describe_transfer(trained, scratch).endswith(f" in every epoch, it would take about {about} s.")


# All conclusions


def test_one_best_strategy_has_the_best_accuracy(make_trained: Make) -> None:
    first = paragraphs(three(make_trained, 700, 800, 900))[0]
    assert first == "“Two layers” has the best test accuracy, 90.0%."


def test_two_strategies_can_share_the_best_accuracy(make_trained: Make) -> None:
    first = paragraphs(three(make_trained, 700, 900, 900))[0]
    assert first == "“One layer” and “Two layers” share the best test accuracy, 90.0%."


def test_three_strategies_can_share_the_best_accuracy(make_trained: Make) -> None:
    first = paragraphs(three(make_trained, 800, 800, 800))[0]
    assert re.findall("“(.+?)”", first) == ["From scratch", "One layer", "Two layers"]
    assert first.endswith(" and “Two layers” share the best test accuracy, 80.0%.")
    assert " has " not in first


def test_a_lead_of_one_image_is_not_shared(make_trained: Make) -> None:
    first = paragraphs(three(make_trained, 8000, 8001, 7999, of=10_000))[0]
    assert first == "“One layer” has the best test accuracy, 80.0%."


def test_the_paragraphs_are_best_pairs_and_one_for_each_transfer(make_trained: Make) -> None:
    strategies = three(make_trained, 700, 800, 900)
    text = paragraphs(strategies)
    assert len(text) == 4
    pairs = compare(strategies)
    assert text[1] == " ".join(describe_pair(pairs.iloc[place], 1000) for place in range(3))
    assert text[2] == describe_transfer(strategies[1], strategies[0])
    assert text[3] == describe_transfer(strategies[2], strategies[0])


NEVER = ("converged", "overfitting is held down", "is 0.0 points", "-0.0", "nan")


@pytest.mark.parametrize(
    "curves",
    [{}, {"train_loss": [np.nan] * 5, "test_loss": [np.nan] * 5}, {"train_loss": [0.5]}],
    ids=["as usual", "not a number", "one epoch"],
)
@pytest.mark.parametrize("right", [(0, 0, 0), (100, 100, 100), (90, 80, 70), (50, 90, 90)])
def test_the_words_claim_no_more_than_the_numbers(
    curves: dict[str, Any], right: tuple[int, int, int], make_trained: Make
) -> None:
    strategies = [make_trained(name, n, curves=dict(curves)) for name, n in zip(NAMES, right, strict=True)]
    whole = "\n".join([*paragraphs(strategies), *map(describe_network, strategies)]).lower()
    assert not [words for words in NEVER if words in whole]
    for title in TITLES.values():
        assert title.lower() in whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=3, max_size=3))
def test_the_words_agree_with_the_numbers_for_any_results(make_trained: Make, right: list[list[bool]]) -> None:
    strategies = [make_trained(*pair) for pair in zip(NAMES, right, strict=True)]
    first, of_pairs, *_ = paragraphs(strategies)
    top = max(trained.test_accuracy for trained in strategies)
    best = [TITLES[trained.name] for trained in strategies if trained.test_accuracy == top]
    assert re.findall("“(.+?)”", first) == best
    assert f"the best test accuracy, {100 * top:.1f}%" in first
    counts = {TITLES[trained.name]: int(sum(is_right)) for trained, is_right in zip(strategies, right, strict=True)}
    ahead = re.findall("“([^”]+)” is ([0-9.]+) points ahead of “([^”]+)”", of_pairs)
    for better, points, worse in ahead:
        assert counts[better] > counts[worse]
        assert float(points) == pytest.approx(100 * (counts[better] - counts[worse]) / 12, abs=0.06)
    ties = re.findall("“([^”]+)” and “([^”]+)” classify equally many", of_pairs)
    assert all(counts[one] == counts[other] for one, other in ties)
    assert len(ahead) + len(ties) == 3
    # the word "significant" is never used alone
    assert re.sub("not significant, so undecided|significant for these two networks", "", of_pairs).count("signif") == 0
    assert of_pairs.count("significant for these two networks") == compare(strategies)["significant"].sum()

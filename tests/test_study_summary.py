from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headstart.practical.data import CIFAR10_CLASSES
from headstart.study.closeness import closeness
from headstart.study.conclusions import conclude, describe_predictors
from headstart.study.plan import parse_pairs
from headstart.study.summary import (
    differences,
    difficulty,
    kind_of,
    largest_by_depth,
    mean_gain,
    over_pairs,
    over_seeds,
    predict_gain,
    summarise,
    verdicts,
)

PAIRS = ("cat,dog", "deer,truck", "ship,truck")


def make_results(gains: dict[str, list[float]], scratch: float = 0.9, strategy: str = "A3B") -> pd.DataFrame:
    """Gains of one strategy by pair of classes, one a seed; from scratch every seed differs a little."""
    rows = []
    for classes, values in gains.items():
        for seed, gain in enumerate(values):
            base = scratch - seed / 100
            common = {"classes_b": classes, "seed": seed, "train_size": "1.0", "train_images": 10_000}
            rows.append({**common, "strategy": "scratch", "test_accuracy": base})
            rows.append({**common, "strategy": strategy, "test_accuracy": base + gain})
            rows.append({**common, "strategy": "a", "test_accuracy": 0.5})
    return pd.DataFrame(rows).assign(key=lambda table: table.index.astype(str), test_loss=0.3)


def in_words(results: pd.DataFrame) -> list[str]:
    return conclude(results, CIFAR10_CLASSES, len(results), "CIFAR-10")


def test_an_interval_by_hand() -> None:
    # mean 2, standard deviation 1, n = 3: t(0.975, 2) = 4.3027; 4.3027 / sqrt(3) = 2.4841
    # and t = 2 * sqrt(3) = 3.4641, which with two degrees of freedom has p = 1 - t / sqrt(2 + t^2) = 0.0742
    assert over_seeds([1.0, 2.0, 3.0]) == pytest.approx((2.0, -0.4841, 4.4841, 0.0742), abs=1e-4)
    alone = over_seeds([5.0])
    assert (alone.value, np.isnan(alone.low), np.isnan(alone.high), alone.p) == (5.0, True, True, 1.0)


def test_differences_are_paired_by_classes_seed_and_size() -> None:
    results = make_results({"cat,dog": [0.01, 0.03]})
    lonely = results.iloc[[1]].assign(seed=7)  # no partner from scratch
    other_size = results.iloc[[1]].assign(train_size="0.5")
    failed = results.iloc[[1]].assign(strategy="A5B", test_accuracy=np.nan)
    paired = differences(pd.concat([results, lonely, other_size, failed]))
    assert paired["difference"].tolist() == pytest.approx([0.01, 0.03])
    assert paired["scratch_accuracy"].tolist() == pytest.approx([0.9, 0.89])


def test_over_several_pairs_the_interval_is_over_their_means_with_each_class_left_out() -> None:
    """Left out: cat and dog 2.5, deer 2, truck 1, ship 1.5; variance 0.3125, times 3: 0.9375; t(0.975, 3) = 3.1824."""
    gains = {"cat,dog": [0.01, 0.01], "deer,truck": [0.02, 0.02], "ship,truck": [0.0, 0.06]}
    [row] = summarise(make_results(gains)).to_dict("records")
    assert (row["pairs"], row["networks"]) == (3, 6)
    reach = 0.01 * 3.1824 * 0.9375**0.5
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.02, 0.02 - reach, 0.02 + reach), abs=1e-6)


def test_where_all_pairs_share_a_class_the_interval_is_students() -> None:
    """Leaving out the other class of each is leaving out the pair."""
    gains = np.array([0.01, 0.02, 0.06])
    judged = pd.DataFrame({"classes_b": ["cat,dog", "cat,deer", "cat,truck"], "difference": gains})
    assert over_pairs(judged, mean_gain) == pytest.approx(over_seeds(gains))


def test_a_class_that_is_in_most_pairs_is_named() -> None:
    gains = {"cat,dog": [0.01, 0.02], "cat,deer": [0.02, 0.04], "deer,truck": [0.0, 0.01], "ship,truck": [0.02, 0.03]}
    assert not any("may be too narrow" in paragraph for paragraph in in_words(make_results(gains)))
    most = in_words(make_results({**gains, "cat,frog": [0.0, 0.03]}))
    assert "“cat” is in 3 of 5 pairs: the intervals over pairs of classes may be too narrow." in most


def test_a_means_p_value_is_corrected_for_all_that_was_looked_at() -> None:
    """Three gains have p = 0.046; of two such means the smallest counts twice."""
    gains, none = [0.01, 0.015, 0.022], [0.01, -0.01, 0.0]
    alone = make_results({"cat,dog": gains})
    two = pd.concat([alone, make_results({"cat,dog": none}, strategy="A5B").query("strategy == 'A5B'")])
    assert summarise(alone)["p"].tolist() == pytest.approx([over_seeds(gains).p])
    assert summarise(two)["p"].tolist() == pytest.approx([2 * over_seeds(gains).p, 1.0])
    assert over_seeds(gains).low > 0
    assert "on average it helps" in in_words(alone)[0]
    [of_two] = [paragraph for paragraph in in_words(two) if paragraph.startswith("“A3B”")]
    assert "on average it makes no difference that can be told from chance" in of_two


def test_what_the_images_are_and_which_networks_diverged_is_said_first() -> None:
    results = make_results({"cat,dog": [0.01, 0.02]})
    results.loc[1, "test_loss"] = np.nan
    copies, diverged, *_ = conclude(results, CIFAR10_CLASSES, len(results), "CIFAR-10 images from the folder “copies”")
    assert copies.startswith("These are CIFAR-10 images from the folder “copies”")
    assert diverged == "The loss of 1 networks is not finite; their accuracy counts like any other."
    digits = conclude(results, CIFAR10_CLASSES, len(results), "scikit-learn digits, not CIFAR-10")
    assert "nothing about CIFAR-10" in digits[0]


def test_pairs_of_one_seed_among_others_are_counted() -> None:
    words = in_words(make_results({"cat,dog": [0.01, 0.02], "deer,truck": [0.02]}))
    assert "With one seed, nothing can be told of 1 of the 2 pairs of classes: chance has no measure." in words


def test_a_class_that_is_in_all_pairs_is_named() -> None:
    gains = {"cat,dog": [0.01, 0.02], "cat,deer": [0.02, 0.04]}
    said = "All pairs have “cat” in them"
    assert sum(said in paragraph for paragraph in in_words(make_results(gains))) == 1
    for others in ({**gains, "deer,truck": [0.0, 0.01]}, {"cat,dog": [0.01, 0.02]}):
        assert not any("All pairs have" in paragraph for paragraph in in_words(make_results(others)))


@pytest.mark.parametrize("pairs", [2, 3, 5])
def test_where_no_pair_shares_a_class_it_is_students_too(pairs: int) -> None:
    gains = np.array([0.01, 0.02, 0.06, -0.01, 0.0])[:pairs]
    classes = ["cat,dog", "deer,truck", "bird,ship", "frog,horse", "airplane,automobile"][:pairs]
    assert over_pairs(pd.DataFrame({"classes_b": classes, "difference": gains}), mean_gain) == pytest.approx(
        over_seeds(gains)
    )


@pytest.mark.parametrize("pairs", ["all", "30-random", "10-random", "4-random", "4,9+3,5"])
@pytest.mark.parametrize(("by_class", "by_pair"), [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.0, 0.01)])
def test_the_interval_over_pairs_holds_the_truth_as_often_as_it_says(
    by_class: float, by_pair: float, pairs: str
) -> None:
    """Gains that are the sum of what both classes do and of chance; their true mean is 0."""
    rng = np.random.default_rng(0)
    numbers = np.array(parse_pairs(pairs, CIFAR10_CLASSES))
    table = pd.DataFrame({"classes_b": [f"{a},{b}" for a, b in numbers]})
    held, students = [], []
    for _ in range(200):
        gains = rng.normal(0, by_class, 10)[numbers].sum(axis=1) + rng.normal(0, by_pair, len(numbers))
        interval = over_pairs(table.assign(difference=gains), mean_gain)
        held.append(interval.low <= 0 <= interval.high)
        interval = over_seeds(gains)
        students.append(interval.low <= 0 <= interval.high)
    assert np.mean(held) >= 0.92  # 95%, less two standard errors of 200 cases
    if by_class == 1.0 and len(numbers) >= 30:
        assert 0.4 <= np.mean(students) <= 0.7


def test_over_one_pair_it_is_over_the_seeds() -> None:
    [row] = summarise(make_results({"cat,dog": [0.01, 0.02, 0.03]})).to_dict("records")
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(over_seeds([0.01, 0.02, 0.03])[:3])


def test_a_pairs_verdict_is_corrected_for_the_number_of_pairs() -> None:
    """p = 0.0202 for gains of 1, 2 and 3 times x minus something: alone it counts, of three pairs it does not."""
    clear, doubtful, none = [0.030, 0.031, 0.032], [0.010, 0.012, 0.015], [0.01, -0.01, 0.0]
    alone = verdicts(make_results({"cat,dog": doubtful}).pipe(differences))
    assert alone["verdict"].tolist() == ["helped"]
    p_alone = alone["p"].item()
    assert 0.05 / 3 > p_alone > 0.05 / 10
    three = verdicts(differences(make_results(dict(zip(PAIRS, (clear, doubtful, none), strict=True)))))
    assert three["p"].tolist() == pytest.approx([3 * over_seeds(clear).p, 2 * p_alone, 1.0], abs=1e-6)
    assert three["verdict"].tolist() == ["helped", "helped", "cannot be told"]
    hurt = verdicts(differences(make_results({"cat,dog": [-gain for gain in clear]})))
    assert hurt["verdict"].tolist() == ["hurt"]


def test_one_seed_or_no_spread_tells_nothing_of_a_pair() -> None:
    assert over_seeds([0.5]).p == over_seeds([0.1, 0.1, 0.1]).p == 1.0
    judged = verdicts(differences(make_results({"cat,dog": [0.3]})))
    assert judged["verdict"].tolist() == ["cannot be told"]
    assert "With one seed" in " ".join(in_words(make_results({"cat,dog": [0.3]})))


@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_differences_are_a_coincidence_and_no_certainty(seeds: int) -> None:
    """Each is one of 2,000 test images better, as seeds often are; as floating-point numbers they differ."""
    right = np.array([1890, 1897, 1893])[:seeds]
    results = make_results({"cat,dog": [0.0] * seeds})
    for strategy, more in (("scratch", 0), ("A3B", 1)):
        results.loc[results["strategy"] == strategy, "test_accuracy"] = (right + more) / 2000
    gains = differences(results)["difference"]
    assert 0 < np.ptp(gains) < 1e-15
    assert over_seeds(gains.to_numpy()).p == 1.0
    assert verdicts(differences(results))["verdict"].tolist() == ["cannot be told"]
    assert np.isnan(summarise(results)["low"].item())
    assert f"the same over {seeds} seeds: how sure that is cannot be said" in in_words(results)[0]


def test_equal_means_of_several_pairs_are_none_either() -> None:
    [row] = summarise(make_results({"cat,dog": [0.01, 0.03], "deer,truck": [0.03, 0.01]})).to_dict("records")
    assert row["difference"] == pytest.approx(0.02)
    assert np.isnan([row["low"], row["high"]]).all()


def test_the_words_begin_with_what_is_missing_and_end_with_how_much_was_looked_at() -> None:
    classes = [",".join(CIFAR10_CLASSES[number] for number in pair) for pair in parse_pairs("all", CIFAR10_CLASSES)]
    rng = np.random.default_rng(0)
    results = make_results({pair: rng.normal(0.0, 0.01, 2).tolist() for pair in classes})
    results["test_accuracy"] -= results.groupby("classes_b").ngroup() / 1000  # some pairs are harder
    first, *_, limits = conclude(results, CIFAR10_CLASSES, len(results) + 7, "CIFAR-10")
    assert first.startswith("7 of 277 networks are not trained")
    assert "1 mean differences were looked at" in limits
    assert "corrected for their number (Holm), and of 5 correlations and kinds of pairs, which are not" in limits
    assert not in_words(results)[0].startswith("0 of")


def test_the_largest_training_set_is_found_by_its_name() -> None:
    """Means over the pairs and seeds that are there differ, where some are not."""
    images = {"A1B": 200.0, "A2B": 200.67, "A3B+": 200.0, "scratch": 200.0}
    rows = [{"strategy": name, "train_size": "1.0", "train_images": mean} for name, mean in images.items()]
    rows += [{"strategy": "A1B", "train_size": "10", "train_images": 20.0}]
    by_depth = largest_by_depth(pd.DataFrame(rows))
    assert by_depth[["strategy", "part", "n", "plus"]].to_numpy().tolist() == [
        ["A1B", "A", 1, ""],
        ["A2B", "A", 2, ""],
        ["A3B+", "A", 3, "+"],
    ]
    assert largest_by_depth(pd.DataFrame(rows[3:4])).empty


def test_harder_pairs_that_gain_more_are_noticed() -> None:
    judged = pd.DataFrame(
        {
            "classes_b": ["cat,dog", "bird,cat", "deer,truck", "cat,ship", "ship,truck", "airplane,ship", "frog,ship"],
            "scratch_accuracy": [0.80, 0.85, 0.90, 0.92, 0.94, 0.96, 0.98],
            "difference": [0.07, 0.06, 0.04, 0.05, 0.03, 0.02, 0.01],
        }
    )
    found = predict_gain(judged, CIFAR10_CLASSES)
    assert found is not None
    assert found.difficulty.value == pytest.approx(1 - 6 * 2 / (7 * 48))
    assert 0 < found.difficulty.low < found.difficulty.value
    assert found.difficulty.high == 1.0
    assert found.kinds["two animals"][0].value == pytest.approx(0.065)
    assert found.kinds["two vehicles"][0].value == pytest.approx(0.025)
    assert found.kinds["an animal and a vehicle"][1] == 3
    assert predict_gain(judged[:4], CIFAR10_CLASSES) is None
    assert predict_gain(judged.assign(scratch_accuracy=0.9), CIFAR10_CLASSES) is None
    assert difficulty(judged.assign(difference=judged["scratch_accuracy"])) == pytest.approx(-1.0)
    perfect = predict_gain(judged.assign(difference=-judged["scratch_accuracy"]), CIFAR10_CLASSES)
    assert perfect is not None
    assert np.isnan(perfect.difficulty.low)  # the same whatever is left out is a coincidence, and no certainty
    foreign = predict_gain(judged, (*CIFAR10_CLASSES, "cow"))  # how close is what part A has no place for?
    assert foreign is not None
    assert (foreign.kinds, foreign.nearness) == ({}, None)


def chance(pairs: int, seed: int) -> pd.DataFrame:
    """Pairs that differ in nothing; one network from scratch each, with which the gain and the error are measured."""
    rng = np.random.default_rng(seed)
    scratch = rng.normal(0.8, 0.03, pairs)
    numbers = np.array(parse_pairs("all", CIFAR10_CLASSES))[:pairs]
    classes = [",".join(CIFAR10_CLASSES[number] for number in pair) for pair in numbers]
    gain = rng.normal(0.8, 0.03, pairs) - scratch
    return pd.DataFrame({"classes_b": classes, "scratch_accuracy": scratch, "difference": gain})


def test_a_correlation_that_comes_from_random_differences_is_not_reported_as_a_finding() -> None:
    found = predict_gain(chance(45, seed=0), CIFAR10_CLASSES)
    assert found is not None
    assert found.difficulty.low > 0
    words = describe_predictors("“A3B” at size 1.0", found)
    assert "some of it by the chance of the networks from scratch" in words
    assert "the more transfer gains" not in words


def test_pairs_that_gain_more_the_closer_they_are_to_part_a_are_noticed() -> None:
    judged = chance(45, seed=0)
    near = judged["classes_b"].map(lambda pair: closeness(pair.split(","), CIFAR10_CLASSES))
    for sign, word in ((1, "more"), (-1, "less")):
        found = predict_gain(judged.assign(difference=sign * near + judged["difference"]), CIFAR10_CLASSES)
        assert found is not None
        assert found.nearness is not None
        assert sign * found.nearness.value > 0.6
        assert f"The closer in meaning a pair is to part A's classes, the {word} it gains" in describe_predictors(
            "", found
        )
    unrelated = predict_gain(judged, CIFAR10_CLASSES)
    assert unrelated is not None
    assert "closer in meaning to part A's classes gain more or less is not shown" in describe_predictors("", unrelated)


@pytest.mark.parametrize(
    ("classes", "kind"),
    [("cat,dog", "two animals"), ("ship,truck", "two vehicles"), ("deer,truck", "an animal and a vehicle")],
)
def test_kinds(classes: str, kind: str) -> None:
    assert kind_of(classes) == kind


@pytest.mark.parametrize(
    ("gains", "words"),
    [([0.03, 0.031, 0.032], "helps"), ([-0.03, -0.031, -0.032], "hurts"), ([-0.01, 0.01, 0.0], "told from chance")],
)
def test_the_words_follow_the_interval(gains: list[float], words: str) -> None:
    first, *_, limits = in_words(make_results({"cat,dog": gains}))
    assert f"on average it {words}" in first or f"makes no difference that can be {words}" in first
    assert f"{100 * np.mean(gains):+.1f} points" in first
    assert limits.startswith("Limits")
    assert "other seeds would give, and nothing of other pairs of classes; neither says what other images" in limits


def test_nothing_to_compare_is_said() -> None:
    results = make_results({"cat,dog": [0.1]})
    only_scratch = results[results["strategy"] == "scratch"]
    assert summarise(only_scratch).empty
    assert in_words(only_scratch) == ["Nothing can be concluded: no strategy has a partner from scratch."]

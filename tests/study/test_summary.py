from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headstart.practical.data import CIFAR10_CLASSES
from headstart.statistics.intervals import t_interval
from headstart.study.closeness import closeness
from headstart.study.conclusions import conclude, describe_predictors
from headstart.study.plan import parse_pairs
from headstart.study.summary import (
    Analysis,
    analyse,
    differences,
    difficulty_correlation,
    kind_of_pair,
    largest_by_depth,
    predict_gain,
)

PAIRS = ("cat,dog", "deer,truck", "ship,truck")


def make_results(gains: dict[str, list[float]], scratch: float = 0.9, strategy: str = "A3B") -> pd.DataFrame:
    """Gains of one strategy by pair of classes, one per seed; from scratch, every seed differs a little."""
    rows = []
    for classes, values in gains.items():
        for seed, gain in enumerate(values):
            base = scratch - seed / 100
            common = {"classes_b": classes, "seed": seed, "train_size": "1.0", "train_images": 10_000}
            rows.append({**common, "strategy": "scratch", "test_accuracy": base})
            rows.append({**common, "strategy": strategy, "test_accuracy": base + gain})
            rows.append({**common, "strategy": "a", "test_accuracy": 0.5})
    return pd.DataFrame(rows).assign(key=lambda table: table.index.astype(str), test_loss=0.3)


def effects_of(gains: dict[str, list[float]]) -> pd.DataFrame:
    """The table of pairs for these gains."""
    return analyse(make_results(gains)).pairs


def conclude_from(results: pd.DataFrame, data: str = "CIFAR-10") -> list[str]:
    """The conclusions of a study that is complete."""
    return conclude(analyse(results), CIFAR10_CLASSES, len(results), data)


# Differences, and their means


def test_differences_are_paired_by_classes_seed_and_size() -> None:
    results = make_results({"cat,dog": [0.01, 0.03]})
    unpaired = results.iloc[[1]].assign(seed=7)
    other_size = results.iloc[[1]].assign(train_size="0.5")
    failed = results.iloc[[1]].assign(strategy="A5B", test_accuracy=np.nan)
    paired = differences(pd.concat([results, unpaired, other_size, failed]))
    assert paired["difference"].tolist() == pytest.approx([0.01, 0.03])
    assert paired["scratch_accuracy"].tolist() == pytest.approx([0.9, 0.89])


def test_the_interval_over_pairs_leaves_out_each_class() -> None:
    """Without cat or dog 2.5, deer 2, truck 1, ship 1.5; variance 0.3125, times 3: 0.9375; t(0.975, 3) = 3.1824."""
    gains = {"cat,dog": [0.01, 0.01], "deer,truck": [0.02, 0.02], "ship,truck": [0.0, 0.06]}
    [row] = analyse(make_results(gains)).summary.to_dict("records")
    assert (row["pairs"], row["networks"]) == (3, 6)
    reach = 0.01 * 3.1824 * 0.9375**0.5
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.02, 0.02 - reach, 0.02 + reach), abs=1e-6)


def test_the_interval_of_one_pair_is_over_its_seeds() -> None:
    """t(0.975, 2) = 4.3027, and the standard error is 0.01 / sqrt(3): 0.024841."""
    [row] = analyse(make_results({"cat,dog": [0.01, 0.02, 0.03]})).summary.to_dict("records")
    expected = (0.02, 0.02 - 0.024841, 0.02 + 0.024841)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(expected, abs=1e-6)


def test_means_of_pairs_that_are_equal_have_no_interval() -> None:
    [row] = analyse(make_results({"cat,dog": [0.01, 0.03], "deer,truck": [0.03, 0.01]})).summary.to_dict("records")
    assert row["difference"] == pytest.approx(0.02)
    assert np.isnan([row["low"], row["high"]]).all()


def test_without_a_strategy_there_is_nothing_to_conclude() -> None:
    only_scratch = make_results({"cat,dog": [0.1]}).query("strategy == 'scratch'")
    assert analyse(only_scratch).summary.empty
    assert conclude_from(only_scratch) == ["Nothing can be concluded: no strategy has a partner from scratch."]


# Tests and their corrections


def test_a_means_p_value_is_corrected_for_the_number_of_means() -> None:
    """Three gains have p = 0.046; of two such means, the smallest p-value counts twice."""
    gains, none = [0.01, 0.015, 0.022], [0.01, -0.01, 0.0]
    alone = make_results({"cat,dog": gains})
    two = pd.concat([alone, make_results({"cat,dog": none}, strategy="A5B").query("strategy == 'A5B'")])
    p = t_interval(gains).p
    assert 0.04 < p < 0.05
    assert analyse(alone).summary["p"].tolist() == pytest.approx([p])
    assert analyse(two).summary["p"].tolist() == pytest.approx([2 * p, 1.0])
    assert "it helps on average" in conclude_from(alone)[0]
    [of_two] = [paragraph for paragraph in conclude_from(two) if paragraph.startswith("“A3B”")]
    assert "on average, undecided" in of_two


def test_a_verdict_is_corrected_for_the_number_of_pairs() -> None:
    """The p-value of the second pair is 0.014; of three pairs, it is the second smallest and counts twice."""
    clear, doubtful, none = [0.030, 0.031, 0.032], [0.010, 0.012, 0.015], [0.01, -0.01, 0.0]
    alone = effects_of({"cat,dog": doubtful})
    assert alone["verdict"].tolist() == ["helped"]
    p_alone = alone["p"].item()
    assert 0.05 / 3 > p_alone > 0.05 / 10
    three = effects_of(dict(zip(PAIRS, (clear, doubtful, none), strict=True)))
    assert three["p"].tolist() == pytest.approx([3 * t_interval(clear).p, 2 * p_alone, 1.0], abs=1e-6)
    assert three["verdict"].tolist() == ["helped", "helped", "undecided"]


def test_a_negative_effect_hurt() -> None:
    assert effects_of({"cat,dog": [-0.030, -0.031, -0.032]})["verdict"].tolist() == ["hurt"]


def test_the_summary_counts_the_verdicts() -> None:
    gains = dict(zip(PAIRS, ([0.030, 0.031, 0.032], [-0.030, -0.031, -0.032], [0.01, -0.01, 0.0]), strict=True))
    [row] = analyse(make_results(gains)).summary.to_dict("records")
    assert [row[column] for column in ("helped", "hurt", "cannot_be_told")] == [1, 1, 1]


def test_one_seed_says_nothing_about_a_pair() -> None:
    results = make_results({"cat,dog": [0.3]})
    assert analyse(results).pairs["verdict"].tolist() == ["undecided"]
    words = conclude_from(results)
    assert "from one network only, so the uncertainty is unknown" in words[0]
    assert (
        "Nothing can be concluded about any single pair of classes: with one seed, seed variance cannot be estimated."
        in words
    )


def test_pairs_with_one_seed_are_counted() -> None:
    words = conclude_from(make_results({"cat,dog": [0.01, 0.02], "deer,truck": [0.02]}))
    assert "Nothing can be concluded about 1 of the 2 pairs: with one seed, seed variance cannot be estimated." in words


@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_differences_are_a_coincidence_and_not_certainty(seeds: int) -> None:
    """Each is one of 2,000 test images better, as seeds often are; as floating-point numbers they differ."""
    right = np.array([1890, 1897, 1893])[:seeds]
    results = make_results({"cat,dog": [0.0] * seeds})
    for strategy, more in (("scratch", 0), ("A3B", 1)):
        results.loc[results["strategy"] == strategy, "test_accuracy"] = (right + more) / 2000
    gains = differences(results)["difference"]
    assert 0 < np.ptp(gains) < 1e-15
    analysis = analyse(results)
    assert analysis.pairs["p"].tolist() == [1.0]
    assert analysis.pairs["verdict"].tolist() == ["undecided"]
    assert np.isnan(analysis.summary["low"].item())
    assert f"the same over {seeds} seeds, so the uncertainty is unknown" in conclude_from(results)[0]


# Conclusions


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.03, 0.031, 0.032], "it helps on average"),
        ([-0.03, -0.031, -0.032], "it hurts on average"),
        ([-0.01, 0.01, 0.0], "on average, undecided"),
    ],
)
def test_the_conclusion_follows_the_interval(gains: list[float], words: str) -> None:
    first, *_, limits = conclude_from(make_results({"cat,dog": gains}))
    assert words in first
    assert f"{100 * np.mean(gains):+.1f} points" in first
    assert limits.startswith("Limits")
    assert "about other seeds, not about other pairs of classes. Neither covers other images." in limits


def test_the_dataset_and_infinite_losses_are_reported_first() -> None:
    results = make_results({"cat,dog": [0.01, 0.02]})
    results.loc[1, "test_loss"] = np.nan
    copies, diverged, *_ = conclude_from(results, "CIFAR-10 images from the folder “copies”")
    assert copies.startswith("These are CIFAR-10 images from the folder “copies”")
    assert diverged == "The loss of 1 networks is not finite; their accuracy counts like any other."
    digits = conclude_from(results, "scikit-learn digits, not CIFAR-10")
    assert "nothing about CIFAR-10" in digits[0]


def test_a_class_that_is_in_most_pairs_is_named() -> None:
    gains = {"cat,dog": [0.01, 0.02], "cat,deer": [0.02, 0.04], "deer,truck": [0.0, 0.01], "ship,truck": [0.02, 0.03]}
    assert not any("may be too narrow" in paragraph for paragraph in conclude_from(make_results(gains)))
    most = conclude_from(make_results({**gains, "cat,frog": [0.0, 0.03]}))
    assert "“cat” is in 3 of 5 pairs: the intervals over pairs of classes may be too narrow." in most


def test_a_class_that_is_in_all_pairs_is_named() -> None:
    gains, start = {"cat,dog": [0.01, 0.02], "cat,deer": [0.02, 0.04]}, "All pairs include “cat”"
    assert sum(start in paragraph for paragraph in conclude_from(make_results(gains))) == 1
    for others in ({**gains, "deer,truck": [0.0, 0.01]}, {"cat,dog": [0.01, 0.02]}):
        assert not any("All pairs include" in paragraph for paragraph in conclude_from(make_results(others)))


def test_conclusions_start_with_what_is_missing_and_end_with_the_limits() -> None:
    classes = [",".join(CIFAR10_CLASSES[number] for number in pair) for pair in parse_pairs("all", CIFAR10_CLASSES)]
    rng = np.random.default_rng(0)
    results = make_results({pair: rng.normal(0.0, 0.01, 2).tolist() for pair in classes})
    results["test_accuracy"] -= results.groupby("classes_b").ngroup() / 1000  # some pairs are harder
    analysis = analyse(results)
    first, *_, limits = conclude(analysis, CIFAR10_CLASSES, len(results) + 7, "CIFAR-10")
    assert first.startswith("7 of 277 networks are not trained.")
    assert "The p-values of 1 mean differences are corrected for their number (Holm)." in limits
    assert "5 correlations and kinds of pairs are not corrected." in limits
    complete = conclude(analysis, CIFAR10_CLASSES, len(results), "CIFAR-10")
    assert not any("are not trained" in paragraph for paragraph in complete)


def test_conclusions_come_from_the_tables_they_are_given() -> None:
    """They are not computed again from the results."""
    results = make_results({"cat,dog": [0.01, 0.02]})
    analysis = analyse(results)
    changed = Analysis(results, analysis.pairs, analysis.summary.assign(difference=0.5))
    assert "+50.0 points" in conclude(changed, CIFAR10_CLASSES, len(results), "CIFAR-10")[0]


# Depth


def test_the_largest_training_set_is_found_by_its_name() -> None:
    """In an incomplete study, strategies have means over different pairs and seeds."""
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


# Predictors of the gain


def test_harder_pairs_that_gain_more_are_found() -> None:
    """The ranks of the fourth and the third pair are exchanged: 1 - 6 x 2 / (7 x 48)."""
    effects = pd.DataFrame(
        {
            "classes_b": ["cat,dog", "bird,cat", "deer,truck", "cat,ship", "ship,truck", "airplane,ship", "frog,ship"],
            "scratch_accuracy": [0.80, 0.85, 0.90, 0.92, 0.94, 0.96, 0.98],
            "difference": [0.07, 0.06, 0.04, 0.05, 0.03, 0.02, 0.01],
        }
    )
    found = predict_gain(effects, CIFAR10_CLASSES)
    assert found is not None
    assert found.difficulty.value == pytest.approx(1 - 6 * 2 / (7 * 48))
    assert 0 < found.difficulty.low < found.difficulty.value
    assert found.difficulty.high == 1.0
    assert found.kinds["two animals"][0].value == pytest.approx(0.065)
    assert found.kinds["two vehicles"][0].value == pytest.approx(0.025)
    assert found.kinds["an animal and a vehicle"][1] == 3
    assert predict_gain(effects[:4], CIFAR10_CLASSES) is None
    assert predict_gain(effects.assign(scratch_accuracy=0.9), CIFAR10_CLASSES) is None
    assert difficulty_correlation(effects.assign(difference=effects["scratch_accuracy"])) == pytest.approx(-1.0)
    perfect = predict_gain(effects.assign(difference=-effects["scratch_accuracy"]), CIFAR10_CLASSES)
    assert perfect is not None
    assert np.isnan(perfect.difficulty.low)  # the same without each class: a coincidence, not certainty
    other_data = predict_gain(effects, (*CIFAR10_CLASSES, "cow"))  # its closeness is not known
    assert other_data is not None
    assert (other_data.kinds, other_data.closeness) == ({}, None)


def random_effects(pairs: int, seed: int) -> pd.DataFrame:
    """Pairs without any effect; the same network from scratch determines the gain and the error."""
    rng = np.random.default_rng(seed)
    scratch = rng.normal(0.8, 0.03, pairs)
    numbers = np.array(parse_pairs("all", CIFAR10_CLASSES))[:pairs]
    classes = [",".join(CIFAR10_CLASSES[number] for number in pair) for pair in numbers]
    gain = rng.normal(0.8, 0.03, pairs) - scratch
    return pd.DataFrame({"classes_b": classes, "scratch_accuracy": scratch, "difference": gain})


def test_a_correlation_from_shared_variance_is_not_reported_as_a_finding() -> None:
    found = predict_gain(random_effects(45, seed=0), CIFAR10_CLASSES)
    assert found is not None
    assert found.difficulty.low > 0
    words = describe_predictors("“A3B” at size 1.0", found)
    assert "partly because the variance of the networks from scratch is in both" in words
    assert "the less it gains" not in words


@pytest.mark.parametrize(("sign", "word"), [(1, "more"), (-1, "less")])
def test_a_gain_that_depends_on_closeness_is_found(sign: int, word: str) -> None:
    effects = random_effects(45, seed=0)
    near = effects["classes_b"].map(lambda pair: closeness(pair.split(","), CIFAR10_CLASSES))
    found = predict_gain(effects.assign(difference=sign * near + effects["difference"]), CIFAR10_CLASSES)
    assert found is not None
    assert found.closeness is not None
    assert sign * found.closeness.value > 0.6
    words = describe_predictors("", found)
    assert f"The closer in meaning a pair is to part A's classes, the {word} it gains" in words


def test_a_gain_that_does_not_depend_on_closeness_is_undecided() -> None:
    found = predict_gain(random_effects(45, seed=0), CIFAR10_CLASSES)
    assert found is not None
    assert "closer in meaning to part A's classes gain more or less is undecided" in describe_predictors("", found)


@pytest.mark.parametrize(
    ("classes", "kind"),
    [("cat,dog", "two animals"), ("ship,truck", "two vehicles"), ("deer,truck", "an animal and a vehicle")],
)
def test_kinds_of_pairs(classes: str, kind: str) -> None:
    assert kind_of_pair(classes) == kind

"""Comparisons of whole classifiers: which test is used, what may be concluded, and what would settle it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart
from headstart.comparison.comparison import compare_models, describe
from headstart.comparison.predictions import Predictions
from headstart.errors import InvalidRequest
from support.runs import command, the_one_line


def model(name: str, correct: np.ndarray, **given: Any) -> Predictions:
    """A classifier of two classes that is right where it should be."""
    correct = np.atleast_2d(correct)
    labels = np.array(["cat", "dog"])[np.arange(correct.shape[1]) % 2]
    predictions = np.where(correct, labels, np.where(labels == "cat", "dog", "cat"))
    ids = np.array([f"{i:06}" for i in range(correct.shape[1])])
    fields: dict[str, Any] = {"seeds": None, "classes": (), "probabilities": None, "clusters": None} | given
    return Predictions(name, ids, labels, predictions=predictions, **fields)


def random(seeds: int, accuracy: float, items: int = 400, start: int = 0) -> np.ndarray:
    return np.random.default_rng(start).random((seeds, items)) < accuracy


@pytest.mark.parametrize(
    ("seeds", "paired", "clusters", "test"),
    [
        (1, False, False, "mid-p McNemar"),
        (1, False, True, "sign flips of clusters"),
        (3, True, False, "two-level t, paired seeds"),
        (3, False, False, "two-level t, unpaired seeds"),
        (3, True, True, "two-level clustered t"),
        (3, False, True, "two-level t, unpaired seeds"),
    ],
)
def test_the_test_follows_from_the_data(seeds: int, paired: bool, clusters: bool, test: str) -> None:
    groups = np.arange(400) // 20 if clusters else None
    models = [model(name, random(seeds, 0.8, start=start), clusters=groups) for start, name in enumerate("ab")]
    (pair,) = compare_models(models, paired=paired).pairs
    assert (pair.effect.test, pair.paired) == (test, paired)


def test_equal_names_of_seeds_make_them_paired_in_any_order() -> None:
    a, b = random(3, 0.8), random(3, 0.8, start=1)
    first = model("a", a, seeds=("0", "1", "2"))
    pairs = [
        compare_models([first, model("b", b[order], seeds=tuple(map(str, order)))]).pairs[0]
        for order in ([0, 1, 2], [2, 0, 1])
    ]
    assert [pair.paired for pair in pairs] == [True, True]
    assert pairs[0].effect == pytest.approx(pairs[1].effect)


def test_equal_names_of_seeds_count_before_the_order_also_if_paired() -> None:
    a, b = random(3, 0.8), random(3, 0.7, start=1)
    first, order = model("a", a, seeds=("0", "1", "2")), [2, 0, 1]
    same = compare_models([first, model("b", b, seeds=("0", "1", "2"))], paired=True).pairs[0]
    shuffled = compare_models([first, model("b", b[order], seeds=tuple(map(str, order)))], paired=True).pairs[0]
    assert shuffled.effect == pytest.approx(same.effect)


def test_what_would_settle_does_not_depend_on_the_order_of_seeds() -> None:
    base = random(1, 0.9, items=2_000)[0]
    flips = [np.arange(2_000) % 97 < 3 * seed for seed in range(3)]  # seeds differ, the same way for both
    a, b = np.array([base ^ flip for flip in flips]), np.array([base ^ flip ^ (np.arange(2_000) < 4) for flip in flips])
    first, order = model("a", a, seeds=("0", "1", "2")), [2, 0, 1]
    pairs = [
        compare_models([first, model("b", b[rows], seeds=tuple(map(str, rows)))]).pairs[0]
        for rows in ([0, 1, 2], order)
    ]
    assert not pairs[0].significant
    assert pairs[0].settle == pairs[1].settle


def test_paired_seeds_need_the_same_number() -> None:
    with pytest.raises(InvalidRequest, match="a has 2 seeds and b has 3: paired seeds need the same number"):
        compare_models([model("a", random(2, 0.8)), model("b", random(3, 0.8))], paired=True)


@pytest.mark.parametrize("seeds", [1, 3])
def test_with_clusters_nothing_is_promised_about_more_items(seeds: int) -> None:
    """Connor's formula and the two-level variance are for independent items."""
    groups = np.arange(400) // 20
    models = [model(name, random(seeds, 0.8, start=start), clusters=groups) for start, name in enumerate("ab")]
    (pair,) = compare_models(models).pairs
    assert not pair.significant
    assert (pair.settle.seeds, pair.settle.items, pair.settle.words) == (None, None, "")


def test_one_seed_against_several_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a has one seed and b has 3"):
        compare_models([model("a", random(1, 0.8)), model("b", random(3, 0.8))])


def test_all_pairs_and_metrics_are_corrected_together() -> None:
    models = [model(name, random(1, accuracy, start=start)) for start, (name, accuracy) in
              enumerate([("a", 0.95), ("b", 0.90), ("c", 0.75)])]  # fmt: skip
    pairs = compare_models(models).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    smallest = min(pair.effect.p for pair in pairs)
    assert min(pair.p_value for pair in pairs) == pytest.approx(3 * smallest)


def test_a_difference_between_networks_is_not_one_between_methods() -> None:
    one = describe(compare_models([model("a", random(1, 0.95)), model("b", random(1, 0.8, start=1))]))
    several = describe(compare_models([model("a", random(5, 0.95)), model("b", random(5, 0.8, start=1))]))
    assert "“a” is" in one["pairs"][0]["words"]
    assert "better than “b”: significant for these two networks" in one["pairs"][0]["words"]
    assert "significant for these two methods" in several["pairs"][0]["words"]


def test_what_would_settle_one_seed_is_a_number_of_items() -> None:
    """Connor (1987): 8% discordant items need 6,277 items for one point."""
    first = np.ones((1, 1000), dtype=bool)
    second = first.copy()
    first[0, :38] = second[0, 38:80] = False
    (pair,) = compare_models([model("a", first), model("b", second)]).pairs
    assert (pair.settle.items, pair.settle.seeds) == (6277, None)


def test_what_would_settle_several_seeds_is_more_seeds_or_more_items() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(5_000) < 0.9  # items that both classify in the same way
    noisy = [model(name, np.array([easy ^ (rng.random(5_000) < 0.03) for _ in range(3)])) for name in "ab"]
    (pair,) = compare_models(noisy).pairs
    assert pair.settle.seeds is not None
    assert pair.settle.seeds >= 3
    opposite = [
        model("a", np.tile(np.arange(200) % 4 > 0, (3, 1))),
        model("b", np.tile(np.arange(200) % 4 < 3, (3, 1))),
    ]
    (pair,) = compare_models(opposite, smallest_effect=0.01).pairs
    assert (pair.settle.seeds, pair.settle.items is not None) == (None, True)
    assert "no number of seeds settles" in describe(compare_models(opposite))["pairs"][0]["words"]


def test_a_classifier_never_differs_from_itself() -> None:
    same = random(3, 0.8)
    (pair,) = compare_models([model("a", same), model("b", same)], paired=True).pairs
    assert (pair.effect.difference, pair.p_value, pair.significant) == (0, 1, False)


def write(folder: Path, name: str, right: np.ndarray) -> str:
    labels = np.where(np.arange(len(right)) % 2, "dog", "cat")
    table = pd.DataFrame({"id": np.arange(len(right)), "label": labels})
    share = np.where(right, 0.9, 0.2)
    table["p_cat"] = np.where(labels == "cat", share, 1 - share)
    table["p_dog"] = 1 - table["p_cat"]
    table.sample(frac=1, random_state=1).to_csv(folder / f"{name}.csv", index=False)
    return f"{name}={name}.csv"


def test_the_command_writes_everything(here: Path) -> None:
    rng = np.random.default_rng(0)
    arguments = [write(here, name, rng.random(300) < accuracy) for name, accuracy in (("good", 0.95), ("<b>bad", 0.7))]
    ended = command("compare", *arguments, "--out", "result")
    assert (ended.status, ended.errors) == (0, "")
    assert "“good” is" in ended.output
    content = json.loads((here / "result" / "comparison.json").read_text())
    assert content["models"]["good"].keys() == {"accuracy", "ci95", "log_loss", "seeds", "items"}
    keys = {
        "first",
        "second",
        "metric",
        "difference",
        "ci95",
        "p_value",
        "p_uncorrected",
        "test",
        "se",
        "df",
        "settle",
        "words",
    }
    assert all(keys <= pair.keys() for pair in content["pairs"])
    table = pd.read_csv(here / "result" / "comparison.csv")
    assert table["metric"].tolist() == ["accuracy", "log_loss"]
    assert (here / "result" / "accuracies.png").read_bytes().startswith(b"\x89PNG")
    page = (here / "result" / "report.html").read_text()
    assert "<b>bad" not in page
    assert "&lt;b&gt;bad" in page


def test_python_gives_the_same_and_writes_nothing_by_default(here: Path) -> None:
    arguments = [write(here, name, np.arange(60) % 7 > place) for place, name in enumerate("ab")]
    files = dict(argument.split("=") for argument in arguments)
    content = headstart.compare(files)
    assert sorted(path.name for path in here.iterdir()) == ["a.csv", "b.csv"]
    assert headstart.compare(files, out="result") == json.loads((here / "result" / "comparison.json").read_text())
    assert content == headstart.compare(files, out="result")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv"], "'a.csv': give NAME=FILE"),
        (["a=a.csv"], "give at least two classifiers"),
        (["a=a.csv", "b=missing.csv"], "missing.csv: it cannot be read"),
        (["a=a.csv", "b=a.csv", "--smallest-effect", "0"], "--smallest-effect 0"),
        (["a=a.csv", "b=a.csv", "--out", "."], "--out .: the folder contains other files"),
        (["a=a.csv", "b=a.csv", "--images", "nowhere"], "--images nowhere: there is no such folder"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(arguments: list[str], message: str, here: Path) -> None:
    write(here, "a", np.arange(10) % 3 > 0)
    assert message in the_one_line(command("compare", *arguments))


def test_pictures_are_found_by_id_inside_the_folder_only(here: Path) -> None:
    from PIL import Image

    (here / "pictures").mkdir()
    for name in ("0.png", "1.jpg"):
        Image.new("RGB", (80, 60), "red").save(here / "pictures" / name)
    Image.new("RGB", (80, 60), "red").save(here / "secret.png")
    from headstart.report.comparison import find_pictures

    found = find_pictures(here / "pictures", {"0", "1.jpg", "2", "../secret.png", "*", "a\0b"})
    assert sorted(found) == ["0", "1.jpg"]
    assert all(address.startswith("data:image/png;base64,") for address in found.values())

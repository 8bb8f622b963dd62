from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headstart.practical.evaluation import accuracy_interval, compare
from headstart.practical.training import predict
from headstart.runs import artefacts
from support.tiny import TinyRun

NAMES = ["a", "scratch", "last_layer", "two_layers"]


def test_the_history_has_a_row_for_each_epoch_of_every_network(tiny_run: TinyRun, tmp_path: Path) -> None:
    artefacts.write_history(tmp_path / "history.csv", tiny_run.networks)
    lines = (tmp_path / "history.csv").read_bytes().decode().split("\n")
    assert lines[0] == "network,epoch,train_loss,train_accuracy,test_loss,test_accuracy"
    assert [line.split(",")[:2] for line in lines[1:-1]] == [[name, str(n)] for name in NAMES for n in (1, 2, 3, 4)]
    assert lines[-1] == ""


def test_the_history_has_every_number_in_full_precision(tiny_run: TinyRun, tmp_path: Path) -> None:
    artefacts.write_history(tmp_path / "history.csv", tiny_run.networks)
    read = pd.read_csv(tmp_path / "history.csv", dtype=str)
    for trained in tiny_run.networks:
        rows = read[read["network"] == trained.name]
        for column in artefacts.CURVES:
            assert [float(number) for number in rows[column]] == trained.history[column].tolist()


def test_predictions_are_probabilities_next_to_the_labels(tiny_run: TinyRun, tmp_path: Path) -> None:
    artefacts.write_predictions(tmp_path / "predictions.npz", tiny_run.source, tiny_run.strategies)
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as read:
        arrays = dict(read)
    assert list(arrays) == [*NAMES, "labels_a", "labels_b"]
    assert np.array_equal(arrays["labels_a"], tiny_run.part_a.y_test)
    assert np.array_equal(arrays["labels_b"], tiny_run.part_b.y_test)
    for trained in tiny_run.networks:
        labels = arrays["labels_a" if trained.name == "a" else "labels_b"]
        classes = 8 if trained.name == "a" else 2
        assert arrays[trained.name].shape == (len(labels), classes)
        assert np.allclose(arrays[trained.name].sum(axis=1), 1, atol=1e-5)


def test_disagreements_with_the_largest_difference_come_first(make_trained, tiny_run: TinyRun, tmp_path: Path) -> None:
    part = tiny_run.part_b
    right = [list(range(29)), list(range(29)), [n for n in range(29) if n not in (3, 7)]]
    strategies = []
    for name, those in zip(NAMES[1:], right, strict=True):
        trained = make_trained(name, right=[n in those for n in range(29)])
        own = np.where(np.arange(29) == 7, 0.99, 0.9)  # the wrong answer for image 7 has the highest probability
        answers = np.where([n in those for n in range(29)], part.y_test, 1 - part.y_test)
        trained.probabilities[:] = np.where(np.arange(2) == answers[:, None], own[:, None], 1 - own[:, None])
        strategies.append(trained)
    artefacts.write_disagreements(tmp_path / "disagreements.npz", part, strategies)
    with np.load(tmp_path / "disagreements.npz", allow_pickle=False) as read:
        assert read["indices"].tolist() == [7, 3]
        assert np.array_equal(read["images"], part.x_test[[7, 3]])


def test_a_saved_network_predicts_the_same_from_raw_images(tiny_run: TinyRun, tmp_path: Path) -> None:
    import keras

    artefacts.write_networks(tmp_path / "models", tiny_run.networks)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == sorted(f"{name}.keras" for name in NAMES)
    for trained in tiny_run.networks:
        part = tiny_run.part_a if trained.name == "a" else tiny_run.part_b
        network = keras.models.load_model(tmp_path / "models" / f"{trained.name}.keras")
        assert part.x_test.dtype == np.uint8
        assert np.allclose(network.predict(part.x_test, verbose=0), trained.probabilities, atol=1e-5)


def test_each_network_has_a_figure_and_so_has_the_comparison(tiny_run: TinyRun, tmp_path: Path) -> None:
    artefacts.write_figures(tmp_path / "figures", tiny_run.networks, "some $digits$")
    files = sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in files] == sorted(f"{name}.png" for name in [*NAMES, "comparison"])
    for path in files:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 1000
            assert len(picture.convert("L").getcolors() or []) > 10  # something is drawn


def test_networks_are_described_by_their_measurements(tiny_run: TinyRun) -> None:
    described = artefacts.describe_networks(tiny_run.networks)
    assert list(described) == NAMES
    for trained in tiny_run.networks:
        network, last = described[trained.name], trained.history.iloc[-1]
        assert (network["copied"], network["frozen"]) == (trained.copied, trained.frozen)
        assert network["epochs"] == 4
        assert network["test_accuracy"] == last["test_accuracy"]
        part = tiny_run.part_a if trained.name == "a" else tiny_run.part_b
        answers = predict(trained.network, part.x_train).argmax(axis=1)
        assert network["train_accuracy"] == (answers == part.y_train).mean()  # of all training images
        assert network["test_loss"] == pytest.approx(last["test_loss"])
        assert network["test_accuracy_ci95"] == list(accuracy_interval(trained))
        assert network["words"].startswith(f"{trained.title} classifies {network['test_accuracy']:.1%} of ")
        assert "**" not in network["words"]
        assert network["seconds"] == pytest.approx(last["seconds"], abs=0.001)
        assert 0 <= network["feature_seconds"] <= network["seconds"]
        assert (network["feature_seconds"] > 0) is (trained.frozen > 0) is (network["features"] != "")
    # widths 4, 4, 8, 8; 16 units: conv1 112, conv2 148, conv3 296, conv4 584, fc1 2064, fc2 136 or 34
    counts = [network["trainable_parameters"] for network in described.values()]
    assert counts == [3340, 3238, 34, 2098]


def test_a_difference_is_the_first_strategy_minus_the_second(make_trained) -> None:
    strategies = [make_trained("scratch", 60), make_trained("last_layer", 90), make_trained("two_layers", 85)]
    described = artefacts.describe_comparison(strategies, compare(strategies))
    assert (described["best"], described["best_tied"]) == ("last_layer", ["last_layer"])
    rows = {(pair["first"], pair["second"]): pair for pair in described["pairs"]}
    assert {key: pair["difference"] for key, pair in rows.items()} == {
        ("last_layer", "scratch"): pytest.approx(0.30),
        ("two_layers", "scratch"): pytest.approx(0.25),
        ("two_layers", "last_layer"): pytest.approx(-0.05),
    }
    for pair in described["pairs"]:
        assert list(pair) == ["first", "second", "difference", "ci95", "p_value", "p_uncorrected", "significant"]
        assert pair["p_uncorrected"] <= pair["p_value"] <= 1
        low, high = pair["ci95"]
        assert low < pair["difference"] < high
    assert rows["last_layer", "scratch"]["significant"] is True


def test_descriptions_are_valid_json_even_if_a_training_diverged(make_trained) -> None:
    nan = [0.9, float("nan"), float("nan"), float("inf"), float("nan")]
    diverged = make_trained("a", curves={"train_loss": nan, "test_loss": nan})
    diverged.probabilities[:] = np.nan
    strategies = [make_trained(name, right) for name, right in (("scratch", 50), ("last_layer", 60))]
    [network] = artefacts.describe_networks([diverged]).values()
    assert network["train_loss"] is None
    described = [network, artefacts.describe_comparison(strategies, compare(strategies))]
    assert json.loads(json.dumps(described, allow_nan=False)) == described


@pytest.mark.parametrize(
    ("correct", "tied"),
    [
        ((60, 60, 60), ["scratch", "last_layer", "two_layers"]),
        ((60, 90, 90), ["last_layer", "two_layers"]),
        ((90, 60, 90), ["scratch", "two_layers"]),
        ((60, 61, 90), ["two_layers"]),
    ],
)
def test_all_strategies_with_the_best_accuracy_are_listed(correct, tied: list[str], make_trained) -> None:
    strategies = [make_trained(name, number) for name, number in zip(NAMES[1:], correct, strict=True)]
    described = artefacts.describe_comparison(strategies, compare(strategies))
    assert described["best_tied"] == tied
    assert described["best"] == tied[0]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_null_in_json(loss: float, make_trained) -> None:
    diverged = make_trained("a", train_loss=loss, curves={"test_loss": [0.9, 0.8, loss]})
    [network] = artefacts.describe_networks([diverged]).values()
    assert (network["train_loss"], network["test_loss"]) == (None, None)
    assert "the training failed" in network["words"]

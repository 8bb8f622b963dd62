from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from conftest import TinyRun
from headstart.practical.course import feature_table, plan_course, show
from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS, weight_hashes
from headstart.practical.optimizer import OPTIMIZERS
from headstart.practical.recipe import Recipe
from headstart.practical.training import Trained
from headstart.practical.transfer import LAST_LAYER, SCRATCH, STRATEGIES, TWO_LAYERS, Strategy, transfer
from headstart.store import Checkpoint

MEASURED = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]


class StartWeights(keras.callbacks.Callback):
    """Notes the weights of what is trained, before the first step."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.weights = self.model.get_weights()


def learning_rates(recipe: Recipe, steps: int) -> Iterator[float]:
    """Up in a straight line to the highest, then down; neither the first step nor the last is at 0."""
    rise = max(1, round(recipe.warmup * steps))
    for number in range(1, steps + 1):
        gone = (number - rise) / (steps + 1 - rise)  # of the way down, from 0 to almost 1
        down = 1 - gone if recipe.decay == "linear" else (1 + np.cos(np.pi * gone)) / 2
        yield recipe.learning_rate * (number / rise if number <= rise else down)


def train_plainly(network: keras.Model, part: Dataset, recipe: Recipe, frozen: int) -> None:
    """The same training without any of its machinery: a loop over the course, the whole network at every step."""
    order, views = (array.reshape(-1, array.shape[2]) for array in plan_course(len(part.x_train), recipe))
    names = WEIGHT_LAYERS[frozen:]
    variables = [weight for name in names for weight in network.get_layer(name).trainable_variables]
    optimizer = keras.optimizers.Adam() if recipe.optimizer == "adam" else OPTIMIZERS[recipe.optimizer]()
    for index, view, rate in zip(order, views, learning_rates(recipe, len(order)), strict=True):
        optimizer.learning_rate = rate
        target = np.eye(len(part.class_names))[part.y_train[index]]
        target = target * (1 - recipe.label_smoothing) + recipe.label_smoothing / len(part.class_names)
        with tf.GradientTape() as tape:
            told = network(show(tf.constant(part.x_train[index]), tf.constant(view), recipe.shift), training=False)
            loss = -tf.reduce_mean(tf.reduce_sum(target.astype(np.float32) * tf.math.log(told), axis=1))
        gradients = tape.gradient(loss, variables)
        for variable in variables:
            variable.assign(variable * (1 - rate * recipe.weight_decay))
        optimizer.apply(gradients, variables)


@pytest.mark.parametrize(
    ("pair", "given"),
    [((5, 0), {}), ((5, 0), {"optimizer": "adam"}), ((3, 2), {"decay": "cosine", "weight_decay": 0.5}), ((5, 5), {})],
)
def test_any_strategy_is_trained_as_a_plain_loop_over_one_and_the_same_course_would(
    pair: tuple[int, int], given: dict[str, Any], tiny_run: TinyRun, copy_network: Callable[[keras.Model], keras.Model]
) -> None:
    copied, frozen = pair
    recipe = replace(tiny_run.recipe_b, dropout=(0.0, 0.0, 0.0), epochs=2, batch_size=20, learning_rate=5e-3, **given)
    start = StartWeights()
    strategy = Strategy("other", copied, frozen)
    trained = transfer(tiny_run.source, strategy, tiny_run.part_b, recipe, callbacks=[start])

    before, after, of_a = trained.hashes_before, trained.hashes_after, tiny_run.source.hashes_after
    assert [name for name in WEIGHT_LAYERS if before[name] == of_a[name]] == list(WEIGHT_LAYERS[:copied])
    assert [name for name in WEIGHT_LAYERS if before[name] == after[name]] == list(WEIGHT_LAYERS[:frozen])
    assert after == weight_hashes(trained.network)
    trainable = [layer.name for layer in trained.network.layers if layer.trainable_weights]
    assert trainable == list(WEIGHT_LAYERS[frozen:])
    assert (trained.name, trained.copied, trained.frozen) == ("other", copied, frozen)

    plain = copy_network(trained.network)
    plain.set_weights([*tiny_run.source.network.get_weights()[: 2 * frozen], *start.weights])
    assert weight_hashes(plain) == before
    train_plainly(plain, tiny_run.part_b, recipe, frozen)
    np.testing.assert_allclose(plain.predict_on_batch(tiny_run.part_b.x_test), trained.probabilities, atol=1e-4)
    for mine, its in zip(plain.get_weights(), trained.network.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-4)


def test_fewer_images_than_a_batch_still_train(tiny_run: TinyRun) -> None:
    part = tiny_run.part_b
    few = replace(part, x_train=part.x_train[:5], y_train=part.y_train[:5])
    recipe = replace(tiny_run.recipe_b, epochs=1, batch_size=128)
    trained = transfer(tiny_run.source, LAST_LAYER, few, recipe)
    assert trained.optimizer_steps == 1
    assert trained.hashes_before["fc2"] != trained.hashes_after["fc2"]


# The curves


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([-np.log(max(row[label], 1e-7)) for row, label in zip(probabilities, labels, strict=True)]))


def measure(network: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy with dropout off, by hand."""
    probabilities = np.asarray(network(images, training=False), dtype=np.float64)
    return cross_entropy(probabilities, labels), float(np.mean(probabilities.argmax(axis=1) == labels))


def test_the_last_epoch_is_the_final_network_without_dropout_on_all_test_and_all_training_images(
    tiny_run: TinyRun,
) -> None:
    for trained in tiny_run.networks:
        part = tiny_run.part_a if trained is tiny_run.source else tiny_run.part_b
        last = trained.history.iloc[-1]
        loss, accuracy = measure(trained.network, part.x_train, part.y_train)
        assert (last["train_loss"], last["train_accuracy"]) == pytest.approx((loss, accuracy), abs=1e-5)
        loss, accuracy = measure(trained.network, part.x_test, part.y_test)
        assert (last["test_loss"], last["test_accuracy"]) == pytest.approx((loss, accuracy), abs=1e-5)
        assert (trained.test_loss, trained.test_accuracy) == pytest.approx((loss, accuracy), abs=1e-5)
        expected = trained.network(part.x_test, training=False)
        np.testing.assert_allclose(trained.probabilities, expected, atol=1e-5)
        assert np.array_equal(trained.labels, part.y_test)


def test_every_epoch_is_measured_on_the_network_as_it_then_was(
    tiny_run: TinyRun, copy_network: Callable[[keras.Model], keras.Model]
) -> None:
    network, part = copy_network(tiny_run.source.network), tiny_run.part_a
    assert len(tiny_run.source_weights) == len(tiny_run.source.history) == 4
    for (_, row), weights in zip(tiny_run.source.history.iterrows(), tiny_run.source_weights, strict=True):
        network.set_weights(weights)
        loss, accuracy = measure(network, part.x_test, part.y_test)
        assert (row["test_loss"], row["test_accuracy"]) == pytest.approx((loss, accuracy), abs=1e-5)


def test_the_training_curve_is_measured_on_as_many_images_as_the_test_curve(tiny_run: TinyRun) -> None:
    for trained in tiny_run.networks:
        right = trained.history["train_accuracy"].to_numpy()[:-1] * len(trained.labels)
        np.testing.assert_allclose(right, np.rint(right), atol=1e-6)


def test_the_training_curve_is_measured_on_the_same_images_each_epoch_with_dropout_off(tiny_run: TinyRun) -> None:
    standing_still = replace(tiny_run.recipe_b, learning_rate=0.0, dropout=(0.5, 0.5, 0.5))
    history = transfer(tiny_run.source, SCRATCH, tiny_run.part_b, standing_still).history
    assert history["test_loss"].nunique() == history["test_accuracy"].nunique() == 1
    assert history["train_loss"][:-1].nunique() == history["train_accuracy"][:-1].nunique() == 1


def test_the_history_has_a_row_an_epoch_and_its_columns_in_order(tiny_run: TinyRun) -> None:
    for trained in tiny_run.networks:
        assert list(trained.history) == ["epoch", *MEASURED, "seconds"]
        assert trained.history["epoch"].tolist() == [1, 2, 3, 4]
        assert (trained.history["seconds"] > 0).all()
        assert trained.seconds >= trained.history["seconds"].sum()
        assert trained.probabilities.dtype == np.float32


def test_a_training_that_is_measured_only_at_its_end_is_the_same_training(tiny_run: TinyRun) -> None:
    trained = transfer(tiny_run.source, SCRATCH, tiny_run.part_b, tiny_run.recipe_b, only_last=True)
    whole = tiny_run.scratch
    assert trained.hashes_after == whole.hashes_after
    pd.testing.assert_frame_equal(
        trained.history.drop(columns="seconds"), whole.history.tail(1).drop(columns="seconds").reset_index(drop=True)
    )
    assert trained.seconds >= trained.history["seconds"].sum() > whole.history["seconds"].min()  # of all its epochs


def test_the_test_images_steer_nothing_and_the_last_epoch_is_reported_though_an_earlier_one_was_better(
    tiny_run: TinyRun,
) -> None:
    """Test labels the wrong way round: the better the network learns, the worse it looks."""
    wrong = replace(tiny_run.part_b, y_test=1 - tiny_run.part_b.y_test)
    trained = transfer(tiny_run.source, SCRATCH, wrong, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.scratch.hashes_after
    assert np.array_equal(trained.probabilities, tiny_run.scratch.probabilities)
    accuracies = trained.history["test_accuracy"].tolist()
    assert trained.test_accuracy == accuracies[-1] < max(accuracies)


def test_nothing_keeps_the_images_or_features_of_a_training_that_is_over(tiny_run: TinyRun, monkeypatch) -> None:
    """A study trains hundreds of networks in one process."""
    kept: list[weakref.ref[np.ndarray]] = []

    def noted(*given: Any) -> Any:
        table, said = feature_table(*given)
        kept.append(weakref.ref(table))
        return table, said

    monkeypatch.setattr("headstart.practical.training.feature_table", noted)
    for strategy in (SCRATCH, TWO_LAYERS):
        part = replace(tiny_run.part_b, x_train=tiny_run.part_b.x_train.copy())
        kept.append(weakref.ref(part.x_train))
        transfer(tiny_run.source, strategy, part, tiny_run.recipe_b)
        del part
    gc.collect()
    assert [array() is None for array in kept] == [True, True, True]


# Same seed, same numbers


def numbers(trained: Trained) -> bytes:
    return trained.history.drop(columns="seconds").to_csv(index=False).encode()


def test_the_same_seed_gives_the_same_bytes_in_whatever_order_the_strategies_come(tiny_run: TinyRun) -> None:
    for strategy, first_time in reversed(list(zip(STRATEGIES, tiny_run.strategies, strict=True))):
        again = transfer(tiny_run.source, strategy, tiny_run.part_b, tiny_run.recipe_b)
        assert again.hashes_before == first_time.hashes_before
        assert again.hashes_after == first_time.hashes_after
        assert again.probabilities.tobytes() == first_time.probabilities.tobytes()
        assert numbers(again) == numbers(first_time)
        assert again.optimizer_steps == first_time.optimizer_steps == 4 * (67 // 8)


def test_another_seed_gives_other_weights_in_every_trained_layer(tiny_run: TinyRun) -> None:
    other = transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, replace(tiny_run.recipe_b, seed=1))
    assert all(other.hashes_after[name] != tiny_run.two_layers.hashes_after[name] for name in ("fc1", "fc2"))
    assert numbers(other) != numbers(tiny_run.two_layers)


class StoppedError(Exception):
    pass


class SaveAndStop(keras.callbacks.Callback):
    """A checkpoint after every epoch, and an interruption after one of them."""

    def __init__(self, checkpoint: Checkpoint, after: int) -> None:
        super().__init__()
        self.checkpoint, self.after, self.rows = checkpoint, after, []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.rows.append({column: logs[column] for column in ("epoch", *MEASURED, "seconds")})
        self.checkpoint.save(self.model, self.rows)
        if epoch + 1 == self.after:
            raise StoppedError


@pytest.mark.parametrize(("place", "after"), [(0, 2), (1, 4), (2, 2)], ids=["scratch", "last_layer", "two_layers"])
def test_a_training_stopped_and_resumed_ends_as_an_undisturbed_one(
    place: int, after: int, tiny_run: TinyRun, tmp_path: Path
) -> None:
    given = (tiny_run.source, STRATEGIES[place], tiny_run.part_b, tiny_run.recipe_b)
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz")
    with pytest.raises(StoppedError):
        transfer(*given, callbacks=[SaveAndStop(checkpoint, after)])
    epochs: list[int] = []
    count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    resumed, undisturbed = transfer(*given, callbacks=[count], resume=checkpoint.restore), tiny_run.strategies[place]
    assert epochs == list(range(after, 4))
    assert resumed.hashes_before == undisturbed.hashes_before
    assert resumed.hashes_after == undisturbed.hashes_after
    assert resumed.probabilities.tobytes() == undisturbed.probabilities.tobytes()
    assert numbers(resumed) == numbers(undisturbed)
    assert resumed.optimizer_steps == undisturbed.optimizer_steps

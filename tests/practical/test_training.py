"""The practical's training. Where layers are copied or frozen, the package's `transfer` prepares the network for it."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from headstart.practical import training as practical
from headstart.practical.data import Dataset
from headstart.practical.network import WEIGHT_LAYERS, build_network
from headstart.practical.recipe import Recipe
from headstart.practical.training import learning_rate, predict, training_batches
from headstart.practical.transfer import frozen_output
from headstart.training.strategies import LAST_LAYER, SCRATCH, TWO_LAYERS, Strategy
from headstart.training.trainer import transfer, weight_hashes
from support.tiny import TinyRun
from support.training import MEASURED, assert_same, original, train_again

# The batches


def numbered_views(n: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Image i is the number i, or 100 + i when it is mirrored; its target is i."""
    numbers = np.arange(n, dtype=np.float32)[:, None]
    return [numbers, 100 + numbers], numbers


def epochs_of_batches(n: int, size: int, recipe: Recipe, first_epoch: int = 0) -> list[list[list[float]]]:
    """For each epoch its batches, for each batch the numbers of its images."""
    dataset = training_batches(*numbered_views(n), size, recipe, first_epoch)
    batches, steps = [images.numpy()[:, 0].tolist() for images, _ in dataset], n // size
    return [batches[start : start + steps] for start in range(0, len(batches), steps)]


def test_each_image_is_mirrored_in_every_second_epoch() -> None:
    epochs = epochs_of_batches(6, 2, Recipe(epochs=4))
    assert len(epochs) == 4
    views = [sorted(number for batch in epoch for number in batch) for epoch in epochs]
    assert views == [[0, 2, 4, 101, 103, 105], [1, 3, 5, 100, 102, 104]] * 2


def test_an_image_keeps_its_target() -> None:
    views, targets = numbered_views(6)
    for images, of_images in training_batches(views, targets, 3, Recipe(epochs=2), 0):
        assert np.array_equal(images.numpy() % 100, of_images.numpy())


def test_the_images_that_are_left_out_differ_between_epochs() -> None:
    epochs = epochs_of_batches(7, 3, Recipe(epochs=8))
    assert all([len(batch) for batch in epoch] == [3, 3] for epoch in epochs)
    seen = [{number % 100 for batch in epoch for number in batch} for epoch in epochs]
    assert all(len(numbers) == 6 for numbers in seen)  # no image is used twice
    left_out = [({*range(7)} - numbers).pop() for numbers in seen]
    assert len({*left_out}) > 3


def test_the_order_depends_on_the_seed_and_the_epoch_only() -> None:
    recipe = Recipe(epochs=4, seed=5)
    whole = epochs_of_batches(12, 4, recipe)
    assert epochs_of_batches(12, 4, recipe) == whole
    assert epochs_of_batches(12, 4, recipe, first_epoch=2) == whole[2:]
    assert epochs_of_batches(12, 4, replace(recipe, epochs=2, learning_rate=1.0, shift=0)) == whole[:2]
    orders = {str([number % 100 for batch in epoch for number in batch]) for epoch in whole}
    assert len(orders) == 4
    assert epochs_of_batches(12, 4, replace(recipe, seed=6)) != whole


class BatchSizes(keras.layers.Layer):
    """Notes the sizes of the batches that it is compiled for; the first is that of training."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def call(self, images: Any) -> Any:
        if images.shape[0] is not None:
            self.sizes.append(images.shape[0])
        return images


@pytest.mark.parametrize(
    ("images", "batch_size", "size"), [(67, 128, 8), (64, 16, 8), (64, 4, 4), (20, 128, 4), (5, 128, 4), (3, 128, 3)]
)
def test_of_few_images_an_epoch_has_eight_batches_of_at_least_four(
    images: int, batch_size: int, size: int, tiny_run: TinyRun
) -> None:
    part = tiny_run.part_b
    few = replace(part, x_train=part.x_train[:images], y_train=part.y_train[:images])
    note, steps = BatchSizes(), []
    layers = [note, keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    network = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    practical.train(network, few, Recipe(epochs=1, batch_size=batch_size), "scratch", callbacks=[count])
    assert note.sizes[0] == size
    assert len(steps) == images // size


# The steps


@pytest.mark.parametrize(
    ("epochs", "warmup", "rates"),
    [
        (10, 0.2, [0.5, 1.0, *[(7.5 - epoch) / 8.5 for epoch in range(8)]]),
        (4, 0.2, [1.0, 2.5 / 3.5, 1.5 / 3.5, 0.5 / 3.5]),
        (4, 0.0, [1.0, 2.5 / 3.5, 1.5 / 3.5, 0.5 / 3.5]),
        (5, 0.6, [1 / 3, 2 / 3, 1.0, 1.5 / 2.5, 0.5 / 2.5]),
        (4, 0.9, [0.25, 0.5, 0.75, 1.0]),
        (1, 0.2, [1.0]),
    ],
)
def test_the_learning_rate_rises_and_falls_as_computed_by_hand(epochs: int, warmup: float, rates: list[float]) -> None:
    recipe = Recipe(epochs=epochs, warmup=warmup, learning_rate=0.01)
    assert [learning_rate(epoch, recipe) for epoch in range(epochs)] == pytest.approx([0.01 * rate for rate in rates])


def test_the_training_has_these_learning_rates(tiny_run: TinyRun) -> None:
    rates: list[float] = []

    class Note(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            rates.append(float(self.model.optimizer.learning_rate))

    recipe = replace(tiny_run.recipe_b, epochs=5, warmup=0.4, learning_rate=0.07)
    transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, recipe, callbacks=[Note()])
    by_hand = [0.035, 0.07, 0.05, 0.03, 0.01]  # it falls over 3.5 epochs: 2.5, 1.5 and 0.5 of them remain
    assert rates == pytest.approx([rate for rate in by_hand for _ in range(8)])


def train_plainly(network: keras.Model, part: Dataset, recipe: Recipe, frozen: int) -> None:
    """The same training as a plain loop over the whole network, with the usual formulas of AdamW."""
    names = WEIGHT_LAYERS[frozen:]
    variables = [weight for name in names for weight in network.get_layer(name).trainable_variables]
    means, squares = ([np.zeros(variable.shape, np.float32) for variable in variables] for _ in range(2))
    size = min(recipe.batch_size, len(part.y_train) // 8)
    step = 0
    for epoch in range(recipe.epochs):
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(part.y_train))
        rate = learning_rate(epoch, recipe)
        for start in range(0, len(order) // size * size, size):
            index, step = order[start : start + size], step + 1
            images = np.stack([part.x_train[i][:, ::-1] if (i + epoch) % 2 else part.x_train[i] for i in index])
            target = np.eye(len(part.class_names), dtype=np.float32)[part.y_train[index]]
            target = target * (1 - recipe.label_smoothing) + recipe.label_smoothing / len(part.class_names)
            with tf.GradientTape() as tape:
                answers = network(images, training=False)
                loss = -tf.reduce_mean(tf.reduce_sum(target * tf.math.log(answers), axis=1))
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            for variable, gradient, mean, square in zip(variables, gradients, means, squares, strict=True):
                mean += 0.1 * (gradient.numpy() - mean)
                square += 0.001 * (gradient.numpy() ** 2 - square)
                change = np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * mean / (np.sqrt(square) + 1e-7)
                variable.assign(variable * (1 - rate * recipe.weight_decay) - rate * change)


@pytest.mark.parametrize(
    ("copied", "frozen", "changes"),
    [(0, 0, {}), (5, 0, {"label_smoothing": 0.0}), (3, 2, {"weight_decay": 0.5}), (5, 5, {"seed": 3})],
)
def test_any_strategy_equals_a_plain_loop_over_the_whole_network(
    copied: int,
    frozen: int,
    changes: dict[str, Any],
    tiny_run: TinyRun,
    copy_network: Callable[[keras.Model], keras.Model],
) -> None:
    recipe = replace(tiny_run.recipe_b, dropout=(0.0, 0.0), epochs=2, learning_rate=5e-3, **changes)
    trained = transfer(tiny_run.source, Strategy("other", copied, frozen), tiny_run.part_b, recipe)
    plain = copy_network(trained.network)
    plain.set_weights(trained.start)
    assert weight_hashes(plain) == trained.hashes_before
    train_plainly(plain, tiny_run.part_b, recipe, frozen)
    np.testing.assert_allclose(plain.predict_on_batch(tiny_run.part_b.x_test), trained.probabilities, atol=2e-4)
    for mine, its in zip(plain.get_weights(), trained.network.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=2e-4)


# The measurements


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([-np.log(max(row[label], 1e-7)) for row, label in zip(probabilities, labels, strict=True)]))


def measure(network: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy with dropout and shifts off, by hand."""
    probabilities = np.asarray(network(images, training=False), dtype=np.float64)
    return cross_entropy(probabilities, labels), float(np.mean(probabilities.argmax(axis=1) == labels))


def test_the_final_figures_are_measured_in_inference_mode_on_all_images(tiny_run: TinyRun) -> None:
    for trained in tiny_run.networks:
        part = tiny_run.part_a if trained is tiny_run.source else tiny_run.part_b
        loss, accuracy = measure(trained.network, part.x_train, part.y_train)
        assert (trained.train_loss, trained.train_accuracy) == pytest.approx((loss, accuracy), abs=1e-5)
        loss, accuracy = measure(trained.network, part.x_test, part.y_test)
        assert (trained.test_loss, trained.test_accuracy) == pytest.approx((loss, accuracy), abs=1e-5)
        last = trained.history.iloc[-1]
        assert (last["test_loss"], last["test_accuracy"]) == (trained.test_loss, trained.test_accuracy)
        np.testing.assert_allclose(predict(trained.network, part.x_test), trained.probabilities, atol=1e-5)
        assert cross_entropy(trained.probabilities, part.y_test) == pytest.approx(last["test_loss"], abs=1e-5)
        assert np.array_equal(trained.labels, part.y_test)
        assert trained.class_names == part.class_names


def test_every_epoch_is_measured_with_the_weights_of_that_epoch(
    tiny_run: TinyRun, copy_network: Callable[[keras.Model], keras.Model]
) -> None:
    network, part = copy_network(tiny_run.source.network), tiny_run.part_a
    assert len(tiny_run.source_weights) == len(tiny_run.source.history) == 4
    for (_, row), weights in zip(tiny_run.source.history.iterrows(), tiny_run.source_weights, strict=True):
        network.set_weights(weights)
        loss, accuracy = measure(network, part.x_test, part.y_test)
        assert (row["test_loss"], row["test_accuracy"]) == pytest.approx((loss, accuracy), abs=1e-5)


def test_the_training_curve_uses_as_many_images_as_the_test_curve(tiny_run: TinyRun) -> None:
    for trained in tiny_run.networks:
        right = trained.history["train_accuracy"].to_numpy() * len(trained.labels)
        np.testing.assert_allclose(right, np.rint(right), atol=1e-6)


def test_curves_use_the_same_images_each_epoch_without_dropout_and_shifts(tiny_run: TinyRun) -> None:
    recipe = replace(tiny_run.recipe_b, learning_rate=1e-30, weight_decay=0.0, dropout=(0.5, 0.5), shift=8)
    history = transfer(None, SCRATCH, tiny_run.part_b, recipe).history
    assert [history[column].nunique() for column in MEASURED] == [1, 1, 1, 1]


def test_the_curve_of_few_training_images_uses_all_of_them(tiny_run: TinyRun) -> None:
    """They are fewer than the test images."""
    part = tiny_run.part_b
    few = replace(part, x_train=part.x_train[:9], y_train=part.y_train[:9])
    trained = transfer(tiny_run.source, LAST_LAYER, few, tiny_run.recipe_b)
    last = trained.history.iloc[-1]
    assert (last["train_loss"], last["train_accuracy"]) == pytest.approx((trained.train_loss, trained.train_accuracy))


def test_predicting_in_batches_leaves_no_image_out(tiny_run: TinyRun) -> None:
    images = np.concatenate([tiny_run.part_a.x_test] * 4)[:501]  # batches of 250, 250 and 1
    probabilities = predict(tiny_run.source.network, images)
    assert probabilities.shape == (501, 8)
    np.testing.assert_allclose(probabilities, tiny_run.source.network(images, training=False), atol=1e-5)


def test_the_history_has_a_row_for_each_epoch_with_seconds_from_the_start(tiny_run: TinyRun) -> None:
    for trained in tiny_run.networks:
        assert {*trained.history} == {"epoch", *MEASURED, "seconds"}
        assert trained.history["epoch"].tolist() == [1, 2, 3, 4]
        assert (np.diff([trained.feature_seconds, *trained.history["seconds"]]) > 0).all()
        assert trained.probabilities.dtype == np.float32


def test_the_callbacks_receive_the_row_of_each_epoch(tiny_run: TinyRun) -> None:
    rows: list[dict[str, float]] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rows.append(dict(logs)))
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, tiny_run.recipe_b, callbacks=[note])
    pd.testing.assert_frame_equal(pd.DataFrame(rows)[[*trained.history]], trained.history)


def test_the_seconds_include_frozen_layers_output_and_no_measuring(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = practical.measure

    def slow(*arguments: Any) -> Any:
        time.sleep(0.5)
        return plain(*arguments)

    monkeypatch.setattr(practical, "measure", slow)
    recipe = replace(tiny_run.recipe_b, epochs=2)
    began = time.perf_counter()
    trained = transfer(tiny_run.source, LAST_LAYER, tiny_run.part_b, recipe)
    assert time.perf_counter() - began > trained.seconds + 4 * 0.5
    assert trained.seconds > trained.feature_seconds > 0


def test_the_last_epoch_is_reported_and_test_images_influence_nothing(tiny_run: TinyRun) -> None:
    """The test labels are exchanged: the more the network learns, the worse its test accuracy gets."""
    wrong = replace(tiny_run.part_b, y_test=1 - tiny_run.part_b.y_test)
    trained = transfer(tiny_run.source, SCRATCH, wrong, tiny_run.recipe_b)
    assert trained.hashes_after == tiny_run.scratch.hashes_after
    assert np.array_equal(trained.probabilities, tiny_run.scratch.probabilities)
    accuracies = trained.history["test_accuracy"].tolist()
    assert trained.test_accuracy == accuracies[-1] < max(accuracies)


def test_nothing_keeps_the_images_or_features_after_a_training(tiny_run: TinyRun) -> None:
    """A study trains hundreds of networks in one process."""
    recipe, kept = replace(tiny_run.recipe_b, epochs=1), []
    for frozen in (0, 4):
        part = replace(tiny_run.part_b, x_train=tiny_run.part_b.x_train.copy())
        network = build_network(2, recipe, ([0.0] * 3, [1.0] * 3), seed=0)
        for name in WEIGHT_LAYERS[:frozen]:
            network.get_layer(name).trainable = False
        features = frozen_output(network, part) if frozen else None
        kept += [weakref.ref(array) for array in (part.x_train, *(features[0] if features else []))]
        practical.train(network, part, recipe, "scratch", features)
        del part, features
    gc.collect()
    assert [array() is None for array in kept] == [True] * 4


# Same seed, same numbers


@pytest.mark.parametrize("name", ["two_layers", "scratch", "a", "last_layer"])
def test_the_same_seed_gives_the_same_bits_in_any_order_of_networks(name: str, tiny_run: TinyRun) -> None:
    assert_same(train_again(tiny_run, name), original(tiny_run, name))


def test_other_random_numbers_in_the_process_change_no_training(tiny_run: TinyRun) -> None:
    keras.utils.set_random_seed(99)
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global generator, which others use
    assert_same(train_again(tiny_run, "scratch"), tiny_run.scratch)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_another_seed_gives_other_weights_in_every_trained_layer(tiny_run: TinyRun) -> None:
    other = transfer(tiny_run.source, TWO_LAYERS, tiny_run.part_b, replace(tiny_run.recipe_b, seed=1))
    assert all(other.hashes_after[name] != tiny_run.two_layers.hashes_after[name] for name in ("fc1", "fc2"))
    assert other.history["test_loss"].tolist() != tiny_run.two_layers.history["test_loss"].tolist()

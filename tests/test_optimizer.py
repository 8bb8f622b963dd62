from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.practical.network import build_network
from headstart.practical.optimizer import OPTIMIZERS, orthogonal
from headstart.practical.recipe import Recipe
from headstart.practical.training import compile_head

RATE = 0.01
RECIPE = Recipe(learning_rate=RATE, warmup=0.0, weight_decay=0.0)


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Jordan's iteration as he writes it: every product is of the whole, wide matrix."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / np.linalg.norm(x)
    for _ in range(3):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def take_steps(optimizer: keras.optimizers.Optimizer, start: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    variable = keras.Variable(start)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    return np.asarray(variable)


def draw(shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("shape", [(3, 3, 8, 6), (3, 3, 1, 12)], ids=["tall", "wide"])
def test_muon_moves_a_kernel_by_its_averaged_gradient_made_orthogonal(shape: tuple[int, ...]) -> None:
    start, *gradients = draw(shape, 4)
    moved = take_steps(OPTIMIZERS["muon"](RATE), start, gradients)

    expected, mean = start.astype(np.float64), np.zeros(shape)
    for gradient in gradients:
        mean = 0.95 * mean + 0.05 * gradient
        ahead = (0.95 * mean + 0.05 * gradient).reshape(-1, shape[-1])
        step = newton_schulz(ahead) * 0.2 * max(ahead.shape) ** 0.5
        expected -= RATE * step.reshape(shape)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 5), (7,)], ids=["fully connected", "bias"])
def test_muon_leaves_all_else_to_adam(shape: tuple[int, ...]) -> None:
    start, *gradients = draw(shape, 4)
    moved = take_steps(OPTIMIZERS["muon"](RATE), start, gradients)
    np.testing.assert_array_equal(moved, take_steps(OPTIMIZERS["adam"](RATE), start, gradients))
    np.testing.assert_allclose(moved, take_steps(keras.optimizers.Adam(RATE), start, gradients), atol=1e-6)


def test_adam_moves_kernels_too_where_the_recipe_asks_for_it() -> None:
    start, *gradients = draw((3, 3, 4, 5), 4)
    moved = take_steps(OPTIMIZERS["adam"](RATE), start, gradients)
    np.testing.assert_allclose(moved, take_steps(keras.optimizers.Adam(RATE), start, gradients), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**16))
def test_a_matrix_made_orthogonal_keeps_its_directions_and_forgets_its_size(
    rows: int, columns: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rank = min(rows, columns)
    left, right = (np.linalg.qr(rng.normal(size=(size, rank)))[0] for size in (rows, columns))
    values = rng.uniform(0.2, 1, size=rank)
    made = orthogonal(tf.constant(scale * (left * values) @ right.T, tf.float32)).numpy()
    within = left.T @ made @ right
    np.testing.assert_allclose(within, np.diag(np.diag(within)), atol=1e-3)  # the same singular vectors
    assert np.all((np.diag(within) > 0.3) & (np.diag(within) < 1.3))  # all about as long
    np.testing.assert_allclose(left @ within @ right.T, made, atol=1e-3)  # and no others


def test_a_gradient_of_nothing_moves_nothing() -> None:
    start = np.ones((3, 3, 2, 4), np.float32)
    np.testing.assert_array_equal(take_steps(OPTIMIZERS["muon"](RATE), start, [np.zeros_like(start)]), start)


def test_each_recipe_has_its_optimizer() -> None:
    for name, kind in OPTIMIZERS.items():
        recipe = replace(RECIPE, optimizer=name, widths=(2, 2, 2, 2), units=4)
        network = build_network(2, recipe, ([0.0] * 3, [1.0] * 3), seed=0)
        compile_head(network, recipe, 4, whole_epochs=False)
        assert type(network.optimizer) is kind

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from headstart.practical.course import count_views, plan_course, show
from headstart.practical.recipe import Recipe

# The course: what is shown when


@given(
    images=st.integers(1, 40),
    batch=st.integers(1, 50),
    epochs=st.integers(1, 4),
    mirror=st.booleans(),
    shift=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_every_epoch_shows_every_image_once_but_for_less_than_a_batch(
    images: int, batch: int, epochs: int, mirror: bool, shift: int, seed: int
) -> None:
    recipe = Recipe(epochs=epochs, batch_size=batch, mirror=mirror, shift=shift, seed=seed)
    order, views = plan_course(images, recipe)
    batch = min(batch, images, max(4, images // 8))
    assert order.shape == views.shape == (epochs, images // batch, batch)
    assert order.dtype == views.dtype == np.int32
    for epoch in order.reshape(epochs, -1):
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(range(images))
    assert views.min() >= 0
    assert views.max() < count_views(recipe)


@given(st.integers(1, 20_000))
def test_few_images_still_make_several_steps_an_epoch(images: int) -> None:
    (order, _) = plan_course(images, Recipe(epochs=1))
    _, steps, batch = order.shape
    assert min(4, images) <= batch <= 128
    assert steps >= min(8, max(1, images // 4))
    assert batch == 128 or images < 8 * 128


@given(seed=st.integers(0, 99), shift=st.integers(0, 2))
def test_two_epochs_show_every_image_both_ways(seed: int, shift: int) -> None:
    recipe = Recipe(epochs=4, batch_size=6, shift=shift, seed=seed)
    order, views = plan_course(60, recipe)
    mirrored = np.empty((4, 60), int)
    for epoch in range(4):
        mirrored[epoch, order[epoch].ravel()] = views[epoch].ravel() >= count_views(recipe) // 2
    assert (mirrored[0] + mirrored[1] == 1).all()
    assert np.array_equal(mirrored[0], mirrored[2])
    assert np.array_equal(mirrored[1], mirrored[3])
    assert 0 < mirrored[0].mean() < 1


def test_every_view_and_every_order_turns_up() -> None:
    recipe = Recipe(epochs=8, batch_size=100, shift=1)
    order, views = plan_course(1000, recipe)
    assert np.bincount(views.ravel(), minlength=18).min() > 8000 / 18 * 0.7
    assert len({epoch.tobytes() for epoch in order}) == 8


def test_the_seed_alone_decides_the_course() -> None:
    recipe = Recipe(epochs=2, batch_size=8)
    (order, views), (order_again, views_again) = plan_course(50, recipe), plan_course(50, recipe)
    assert np.array_equal(order, order_again)
    assert np.array_equal(views, views_again)
    other, _ = plan_course(50, replace(recipe, seed=1))
    assert not np.array_equal(order, other)
    another_network, _ = plan_course(50, replace(recipe, dropout=(0.0, 0.0, 0.9), learning_rate=1.0))
    assert np.array_equal(order, another_network)


# The views


@pytest.mark.parametrize(("mirror", "shift", "views"), [(False, 0, 1), (True, 0, 2), (False, 2, 25), (True, 2, 50)])
def test_views_are_counted(mirror: bool, shift: int, views: int) -> None:
    assert count_views(Recipe(mirror=mirror, shift=shift)) == views


@pytest.mark.parametrize(
    ("shift", "view", "seen"),
    [
        (0, 0, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (0, 1, [[2, 1, 0], [5, 4, 3], [8, 7, 6]]),
        (1, 4, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (1, 13, [[2, 1, 0], [5, 4, 3], [8, 7, 6]]),
        (1, 0, [[4, 3, 4], [1, 0, 1], [4, 3, 4]]),
        (1, 8, [[4, 5, 4], [7, 8, 7], [4, 5, 4]]),
        (1, 9, [[4, 5, 4], [1, 2, 1], [4, 5, 4]]),
    ],
    ids=["plain", "mirrored", "plain among shifts", "mirrored among shifts", "first", "last", "first mirrored"],
)
def test_a_view_by_hand(shift: int, view: int, seen: list[list[int]]) -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    shown = show(tf.constant(image), tf.constant([view]), shift).numpy()
    assert shown.dtype == np.uint8
    assert shown[0, :, :, 0].tolist() == seen


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_views_are_all_the_shifts_of_the_image_and_of_its_mirror_image_within_reflected_edges(shift: int) -> None:
    image = np.random.default_rng(0).integers(256, size=(9, 8, 3), dtype=np.uint8)
    shifts = (2 * shift + 1) ** 2
    seen = show(tf.constant(np.stack([image] * 2 * shifts)), tf.range(2 * shifts), shift).numpy()
    for view in range(2 * shifts):
        framed = np.pad(image if view < shifts else image[:, ::-1], [(shift, shift), (shift, shift), (0, 0)], "reflect")
        down, right = divmod(view % shifts, 2 * shift + 1)
        assert np.array_equal(seen[view], framed[down : down + 9, right : right + 8])
    assert len({picture.tobytes() for picture in seen}) == 2 * shifts

"""
## The course of a training

The whole course of a training is laid out before it begins: which images form each batch, and in which **view** each
is shown, that is, whether it is mirrored and how far it is moved. It follows from the seed alone: the same seed gives
the same network, and all strategies are shown the same batches. With few images the batches are smaller than the
recipe says, down to four, so that an epoch still has eight steps: 20 steps in all would teach a network nothing.

What frozen layers make of an image never changes. So their output, the image's **features**, is computed once for every
view and looked up from then on, if it fits into memory.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from headstart.practical.data import Dataset
from headstart.practical.network import predict
from headstart.practical.recipe import Recipe

STEPS_AN_EPOCH = 8  # at least, unless the batches would be smaller than
SMALLEST_BATCH = 4
FEATURE_BYTES = 2**30  # features that would take more memory than this are computed anew for every batch


def plan_course(images: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """What each step is shown: the images' indices and their views, two int32 arrays (epochs, steps, batch).

    Every epoch has a new order. An image is mirrored in every other epoch, half of them in the even ones, so that
    two epochs show all of them both ways.
    """
    batch = min(recipe.batch_size, max(SMALLEST_BATCH, images // STEPS_AN_EPOCH), images)
    kept = images - images % batch  # the last, smaller batch is left out; these are other images in each epoch
    shifts = (2 * recipe.shift + 1) ** 2
    mirrored_first = np.random.default_rng(recipe.seed).integers(2, size=images)
    order = np.empty((recipe.epochs, kept), np.int32)
    views = np.empty((recipe.epochs, kept), np.int32)
    for epoch in range(recipe.epochs):
        rng = np.random.default_rng([recipe.seed, epoch])
        order[epoch] = rng.permutation(images)[:kept]
        mirrored = (mirrored_first[order[epoch]] + epoch) % 2 * recipe.mirror
        views[epoch] = mirrored * shifts + rng.integers(shifts, size=kept)
    return order.reshape(recipe.epochs, -1, batch), views.reshape(recipe.epochs, -1, batch)


def count_views(recipe: Recipe) -> int:
    """In how many ways the recipe may show an image: twice as many with its mirror image, 25 times with shift 2."""
    return (1 + recipe.mirror) * (2 * recipe.shift + 1) ** 2


def show(images: tf.Tensor, views: tf.Tensor, shift: int) -> tf.Tensor:
    """Images (n, H, W, C) as their views (n,) show them; the mirrored edge fills what a shift uncovers."""
    side = 2 * shift + 1
    mirrored, down, right = views // side**2, views // side % side - shift, views % side - shift
    rows = reflect(tf.range(images.shape[1]) + down[:, None], images.shape[1])
    columns = reflect(tf.range(images.shape[2]) + right[:, None], images.shape[2])
    columns = tf.where(mirrored[:, None] == 1, images.shape[2] - 1 - columns, columns)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def reflect(index: tf.Tensor, size: int) -> tf.Tensor:
    """Indices beyond an axis of this size, folded back at its first and its last element."""
    index = tf.abs(index)
    return tf.where(index >= size, 2 * (size - 1) - index, index)


# %% [markdown]
# ### Frozen features


# %%
def feature_table(
    prefix: keras.Model, images: np.ndarray, recipe: Recipe, most_bytes: int
) -> tuple[np.ndarray | None, str]:
    """The frozen prefix's output for all views of all n images, (views x n, ...): image i in view v is row v n + i.

    None if it would take more than `most_bytes`; and how the features are obtained, in words.
    """
    shape = (count_views(recipe) * len(images), *prefix.output_shape[1:])
    dtype = tf.as_dtype(prefix.outputs[0].dtype).as_numpy_dtype
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > most_bytes:
        limit = f"{size / 1e6:,.0f} MB at once would be more than {most_bytes / 1e6:,.0f} MB"
        return None, f"computed anew for every batch ({limit})"
    table = np.empty(shape, dtype)
    for view in range(count_views(recipe)):
        for start in range(0, len(images), 250):
            chunk = tf.constant(images[start : start + 250])
            shown = show(chunk, tf.fill([len(chunk)], view), recipe.shift)
            table[view * len(images) + start :][: len(chunk)] = prefix.predict_on_batch(shown)
    return table, f"computed once for each of {count_views(recipe)} views ({size / 1e6:,.0f} MB)"


def as_features(part: Dataset, prefix: keras.Model, table: np.ndarray, recipe: Recipe) -> Dataset:
    """The part with features in place of images, as they are when neither mirrored nor moved."""
    plain = (2 * recipe.shift + 1) ** 2 // 2 * len(part.x_train)  # the rows of the view in the middle of the shifts
    return replace(part, x_train=table[plain : plain + len(part.x_train)], x_test=predict(prefix, part.x_test))


# %% [markdown]
# ### What every step is fed with


# %%
def training_steps(
    part: Dataset, recipe: Recipe, prefix: keras.Model | None, table: np.ndarray | None, done: int
) -> tf.data.Dataset:
    """One batch a step, from epoch `done` to the last: (images or features, one-hot labels)."""
    images, labels = len(part.x_train), tf.constant(part.y_train)
    order, views = (array[done:].reshape(-1, array.shape[2]) for array in plan_course(images, recipe))

    def look_up(array: np.ndarray, rows: tf.Tensor) -> tf.Tensor:
        held = weakref.proxy(array)  # TensorFlow never lets go of what it is given: the array would outlive its use
        found = tf.numpy_function(lambda rows: held[rows], [rows], array.dtype)  # a tensor would be a second copy
        return tf.ensure_shape(found, (order.shape[1], *array.shape[1:]))

    def batch(index: tf.Tensor, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if table is not None:
            inputs = look_up(table, views * images + index)
        else:
            inputs = show(look_up(part.x_train, index), views, recipe.shift)
            inputs = inputs if prefix is None else prefix(inputs, training=False)
        return inputs, tf.one_hot(tf.gather(labels, index), len(part.class_names))

    steps = tf.data.Dataset.from_tensor_slices((order, views)).map(batch).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # on a CPU its thread holds up the end of an epoch for seconds
    options.threading.private_threadpool_size = 1
    return steps.with_options(options)

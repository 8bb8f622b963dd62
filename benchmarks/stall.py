"""Show the stall at the end of an epoch: the same few steps repeatedly, with and without tf.data's autotuning.

Each line is one `fit` of one epoch on the same 2,000 images. With autotuning, some epochs last until 5.11 s (or
10.23 s, 20.47 s, ...) after their start: a thread of tf.data sleeps that long, and the end of the epoch waits for it.
`python benchmarks/stall.py`
"""

import time

import keras
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
images, labels = rng.random((2000, 32, 32, 3), dtype="float32"), rng.integers(10, size=2000)
for autotuning in (True, False):
    model = keras.Sequential([keras.layers.Conv2D(32, 3, activation="relu") for _ in range(3)])
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(10))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    options = tf.data.Options()
    options.autotune.enabled = autotuning
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(64).with_options(options)
    for number in range(9):
        start = time.perf_counter()
        model.fit(batches, verbose=0)
        if number:  # the first includes compilation
            print(f"autotuning {autotuning!s:5}  {time.perf_counter() - start:.2f} s", flush=True)

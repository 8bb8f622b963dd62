"""Run the practical with a plain Keras script, as one writes it after reading Keras' own guides.

It uses float arrays, `model.fit` in float32 with validation data, `trainable = False` for frozen layers, and no cache.
Images, batch size, epochs and network are headstart's; bench.py writes the network's sizes into the .npz. Keras
evaluates the network on the test images. A second `evaluate` uses as many training images, because headstart's curves
show them, too. With `--no-stall`, the autotuning of tf.data is off.

Prints one JSON object: {phase: [seconds of each epoch, the first with everything before it], "peak_rss": bytes}.
"""

import argparse
import json
import resource
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Clock(keras.callbacks.Callback):
    """Evaluates on training images after each epoch, as a curve needs it, and notes the time."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y, self.ends = x, y, []

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(self.x, self.y, batch_size=500, verbose=0)
        self.ends.append(time.perf_counter())


def network(classes, widths, units, dropout):
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(widths[0], 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(widths[1], 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(widths[2], 3, padding="same", activation="relu"),
            layers.Conv2D(widths[3], 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(dropout[0]),
            layers.Dense(units, activation="relu"),
            layers.Dropout(dropout[1]),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def fit(model, part, epochs, batch, stall):
    x_train, y_train, x_test, y_test = part
    start = time.perf_counter()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = Clock(x_train[: len(x_test)], y_train[: len(x_test)])
    how = {"epochs": epochs, "callbacks": [clock], "verbose": 0}
    if stall:
        model.fit(x_train, y_train, batch, validation_data=(x_test, y_test), validation_batch_size=500, **how)
    else:
        train = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(len(x_train)).batch(batch)
        test = tf.data.Dataset.from_tensor_slices((x_test, y_test)).batch(500)
        options = tf.data.Options()
        options.autotune.enabled = False
        train, test = train.with_options(options), test.with_options(options)
        model.fit(train, validation_data=test, shuffle=False, **how)  # shuffled above
    return list(np.diff([start, *clock.ends]))


def fine_tune(model, source, part, trained, **how):
    for new, old in list(zip(model.layers, source.layers, strict=True))[:-1]:
        new.set_weights(old.get_weights())
    for layer in [layer for layer in model.layers if layer.weights][:-trained]:
        layer.trainable = False
    assert len(model.trainable_weights) == 2 * trained, "a kernel and a bias for each trained layer"
    return fit(model, part, **how)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--no-stall", action="store_true")
    options = parser.parse_args()
    data = np.load(options.data)
    parts = {
        part: [
            data[f"x_train_{part}"].astype("float32") / 255,
            data[f"y_train_{part}"],
            data[f"x_test_{part}"].astype("float32") / 255,
            data[f"y_test_{part}"],
        ]
        for part in ("a", "b")
    }
    sizes = [data[name].tolist() for name in ("widths", "units", "dropout")]
    how = {"epochs": options.epochs, "batch": options.batch, "stall": not options.no_stall}
    source = network(int(parts["a"][1].max()) + 1, *sizes)
    times = {"a": fit(source, parts["a"], **how), "scratch": fit(network(2, *sizes), parts["b"], **how)}
    times["last_layer"] = fine_tune(network(2, *sizes), source, parts["b"], trained=1, **how)
    times["two_layers"] = fine_tune(network(2, *sizes), source, parts["b"], trained=2, **how)
    print(json.dumps({**times, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()

"""The practical as a plain Keras script: what one writes after reading Keras' own guides.

Float arrays, `model.fit` in float32 with validation data, `trainable = False` for what is frozen, no caching. The
network, images, batch size and epochs are ours; a network's evaluation is Keras' own, on the test images, plus one
`evaluate` on as many training images, which our curves show, too. With `--no-stall` tf.data's autotuning is off.

Prints one JSON object: {phase: [seconds of each epoch, the first with what comes before it], "peak_rss": bytes}.
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
    """The seconds from epoch's end to epoch's end, with the evaluation on training images that a curve needs."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y, self.ends = x, y, []

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(self.x, self.y, batch_size=500, verbose=0)
        self.ends.append(time.perf_counter())


def network(classes):
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(96, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(160, 3, padding="same", activation="relu"),
            layers.Conv2D(224, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def fit(model, part, epochs, batch, stall):
    x_train, y_train, x_test, y_test = part
    start = time.perf_counter()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = Clock(x_train[: len(x_test)], y_train[: len(x_test)])
    if stall:
        model.fit(
            x_train,
            y_train,
            batch,
            epochs,
            validation_data=(x_test, y_test),
            validation_batch_size=500,
            callbacks=[clock],
            verbose=0,
        )
    else:
        train = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(len(x_train)).batch(batch)
        test = tf.data.Dataset.from_tensor_slices((x_test, y_test)).batch(500)
        options = tf.data.Options()
        options.autotune.enabled = False
        model.fit(
            train.with_options(options),
            epochs=epochs,
            validation_data=test.with_options(options),
            callbacks=[clock],
            shuffle=False,  # it is done above
            verbose=0,
        )
    return list(np.diff([start, *clock.ends]))


def fine_tune(source, part, trained, epochs, batch, stall):
    model = network(2)
    for new, old in list(zip(model.layers, source.layers, strict=True))[:-1]:
        new.set_weights(old.get_weights())
    for layer in [layer for layer in model.layers if layer.weights][:-trained]:
        layer.trainable = False
    assert len(model.trainable_weights) == 2 * trained, "a kernel and a bias for each trained layer"
    return fit(model, part, epochs, batch, stall)


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
    common = {"epochs": options.epochs, "batch": options.batch, "stall": not options.no_stall}
    source = network(int(parts["a"][1].max()) + 1)
    times = {"a": fit(source, parts["a"], **common), "scratch": fit(network(2), parts["b"], **common)}
    times["last_layer"] = fine_tune(source, parts["b"], trained=1, **common)
    times["two_layers"] = fine_tune(source, parts["b"], trained=2, **common)
    print(json.dumps({**times, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()

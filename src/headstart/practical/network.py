"""
## The network

Four convolutional layers, two max-pooling layers, two fully connected layers: six layers with weights, named `conv1`
to `conv4`, `fc1` and `fc2`. ReLU follows each but the last, which has softmax. Small 3 × 3 kernels in pairs see as
far as one large kernel with fewer weights; each pooling halves the picture, and behind the first the channels double.
Dropout stands in front of `conv3`, `fc1` and `fc2`. The first layer normalises each colour with the mean and variance
of the *training* images (where weights are copied, of those that their source was trained on), so that a saved network
takes raw pixels from 0 to 255.
"""

from __future__ import annotations

import hashlib

import keras
import numpy as np
import pandas as pd
from keras import layers

from headstart.practical.recipe import Recipe

WEIGHT_LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")

Statistics = tuple[list[float], list[float]]  # mean and variance of each colour, in units of 0..255 and their square


def build_network(classes: int, recipe: Recipe, statistics: Statistics, seed: int) -> keras.Sequential:
    """The network with fresh random weights drawn from `seed`; it takes images (n, 32, 32, 3) of values 0 to 255."""
    keras.utils.set_random_seed(seed)
    dtype = "mixed_bfloat16" if recipe.precision == "bfloat16" else "float32"
    mean, variance = statistics

    def conv(number: int) -> layers.Layer:
        width = recipe.widths[number - 1]
        return layers.Conv2D(width, 3, padding="same", activation="relu", dtype=dtype, name=f"conv{number}")

    def dropout(place: int, before: str) -> layers.Layer:
        return layers.Dropout(recipe.dropout[place], seed=seed + place, dtype=dtype, name=f"dropout_{before}")

    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            layers.Normalization(mean=mean, variance=variance, name="normalise"),
            conv(1),
            conv(2),
            layers.MaxPooling2D(dtype=dtype, name="pool1"),
            dropout(0, before="conv3"),
            conv(3),
            conv(4),
            layers.MaxPooling2D(dtype=dtype, name="pool2"),
            layers.Flatten(dtype=dtype, name="flatten"),
            dropout(1, before="fc1"),
            layers.Dense(recipe.units, activation="relu", dtype=dtype, name="fc1"),
            dropout(2, before="fc2"),
            layers.Dense(classes, activation="softmax", dtype="float32", name="fc2"),
        ],
        name="practical",
    )


# %% [markdown]
# ### Normalisation, and cutting a network in two


# %%
def colour_statistics(images: np.ndarray) -> Statistics:
    """Mean and variance of each colour over all pixels of uint8 images, from the counts of its 256 values."""
    values = np.arange(256)
    counts = [np.bincount(images[..., colour].ravel(), minlength=256) for colour in range(images.shape[-1])]
    mean = [float(np.average(values, weights=count)) for count in counts]
    variance = [float(np.average((values - m) ** 2, weights=count)) for count, m in zip(counts, mean, strict=True)]
    return mean, variance


def input_statistics(network: keras.Sequential) -> Statistics:
    """The statistics that a network normalises its input with."""
    config = network.get_layer("normalise").get_config()
    return config["mean"], config["variance"]


def split_network(network: keras.Sequential, frozen: int) -> tuple[keras.Sequential | None, keras.Sequential]:
    """The network cut in front of its first trained weight layer: (frozen prefix or None, head).

    Both share the network's layers, so that training the head trains the network, which has no optimizer of its own to
    hand on. A dropout layer at the cut belongs to the head, whose input it regularises; one in the prefix never acts,
    because the prefix only ever predicts.
    """
    if frozen == 0:
        return None, keras.Sequential([network.inputs[0], *network.layers], name="head")
    names = [layer.name for layer in network.layers]
    cut = names.index(WEIGHT_LAYERS[frozen])
    cut -= isinstance(network.layers[cut - 1], layers.Dropout)
    prefix = keras.Sequential([network.inputs[0], *network.layers[:cut]], name="prefix")
    features = keras.Input(prefix.output_shape[1:], dtype=prefix.outputs[0].dtype, name="features")
    return prefix, keras.Sequential([features, *network.layers[cut:]], name="head")


# %% [markdown]
# ### Looking into a network


# %%
def weight_hashes(network: keras.Sequential) -> dict[str, str]:
    """A fingerprint of each weight layer: equal if and only if all its weights are, bit for bit."""
    return {
        name: hashlib.sha256(b"".join(array.tobytes() for array in network.get_layer(name).get_weights())).hexdigest()
        for name in WEIGHT_LAYERS
    }


def layer_table(network: keras.Sequential) -> pd.DataFrame:
    """One row a layer: its kind, activation, output shape and number of parameters."""
    return pd.DataFrame(
        [
            {
                "layer": layer.name,
                "kind": type(layer).__name__,
                "activation": layer.activation.__name__ if hasattr(layer, "activation") else "",
                "output": " × ".join(map(str, layer.output.shape[1:])),
                "parameters": sum(weight.size for weight in layer.get_weights()),
            }
            for layer in network.layers
        ]
    )


def predict(network: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """The network's output for all inputs, in inference mode; chunk by chunk, for memory's sake."""
    return np.concatenate([network.predict_on_batch(inputs[i : i + 500]) for i in range(0, len(inputs), 500)])

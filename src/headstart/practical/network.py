"""
## The network

Four convolutional layers, two max-pooling layers, two fully connected layers: six layers with weights, named `conv1`
to `conv4`, `fc1` and `fc2`. ReLU follows each but the last, which has softmax. All kernels are small, 3 × 3: what a
layer sees of the image grows with each layer and with each halving of the picture, by a pooling or by a convolution
that takes every second step; the smaller the picture, the more channels it has. Dropout stands in front of `fc1` and
`fc2` and, if the recipe says so, behind the first pooling. The first layer normalises each colour with the mean and
variance of the *training* images (where weights are copied, of those that the source was trained on), so that a saved
network takes raw pixels from 0 to 255.
"""

from __future__ import annotations

import hashlib
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

from headstart.practical.recipe import Recipe

WEIGHT_LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")

Statistics = tuple[list[float], list[float]]  # mean and variance of each colour, in units of 0..255 and their square


def build_network(classes: int, recipe: Recipe, statistics: Statistics, seed: int) -> keras.Sequential:
    """The network with fresh random weights drawn from `seed`; it takes images (n, 32, 32, 3) of values 0 to 255."""
    dtype = "mixed_bfloat16" if recipe.precision == "bfloat16" else "float32"
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=9).tolist())  # what else runs cannot disturb these
    mean, variance = statistics

    def random_weights() -> Any:
        return keras.initializers.get({"class_name": recipe.initialisation, "config": {"seed": next(seeds)}})

    def add_dropout(place: int) -> None:
        layer = layers.Dropout(recipe.dropout[place], seed=next(seeds), dtype=dtype, name=f"dropout{place + 1}")
        if layer.rate > 0:
            network.add(layer)

    network = keras.Sequential([keras.Input((32, 32, 3), name="image")], name="practical")
    network.add(layers.Normalization(mean=mean, variance=variance, name="normalise"))
    for number, (width, stride) in enumerate(zip(recipe.widths, recipe.strides, strict=True), start=1):
        convolution: dict[str, Any] = {"padding": "same", "activation": "relu", "kernel_initializer": random_weights()}
        layer = layers.Conv2D(width, 3, stride, **convolution, dtype=dtype, name=f"conv{number}")
        if stride == 2 and recipe.precision == "bfloat16":
            layer.convolution_op = convolve_by_two
        network.add(layer)
        if number in recipe.pools:
            network.add(layers.MaxPooling2D(dtype=dtype, name=f"pool{recipe.pools.index(number) + 1}"))
        if number == recipe.pools[0]:
            add_dropout(0)
    network.add(layers.Flatten(dtype=dtype, name="flatten"))
    add_dropout(1)
    network.add(layers.Dense(recipe.units, "relu", kernel_initializer=random_weights(), dtype=dtype, name="fc1"))
    add_dropout(2)
    network.add(layers.Dense(classes, "softmax", kernel_initializer=random_weights(), dtype="float32", name="fc2"))
    return network


# %% [markdown]
# ### A quicker gradient in bfloat16


# %%
def convolve_by_two(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Keras' convolution with stride 2, (n, H, W, C) to (n, H/2, W/2, D), whose gradient for the kernel is quicker.

    In bfloat16, TensorFlow's own gradient for the kernel, (3, 3, C, D), runs at a sixth of the processor's speed. It is
    the product of two matrices: the patches that the kernel saw, and what came back for each of them.
    """
    kernel = tf.convert_to_tensor(kernel)

    def gradient(back: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        patches = tf.image.extract_patches(images, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
        seen, came_back = (tf.reshape(array, (-1, array.shape[-1])) for array in (patches, back))
        for_kernel = tf.reshape(tf.matmul(seen, came_back, transpose_a=True), kernel.shape)
        return tf.nn.conv2d_transpose(back, kernel, tf.shape(images), 2), for_kernel

    convolve = tf.custom_gradient(lambda images, kernel: (tf.nn.conv2d(images, kernel, 2, "SAME"), gradient))
    return convolve(images, kernel)


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
    if isinstance(network.layers[cut - 1], layers.Dropout):
        cut -= 1
    prefix = keras.Sequential([network.inputs[0], *network.layers[:cut]], name="prefix")
    features = keras.Input(prefix.output_shape[1:], dtype=prefix.outputs[0].dtype, name="features")
    return prefix, keras.Sequential([features, *network.layers[cut:]], name="head")


# %% [markdown]
# ### Looking into a network


# %%
def weight_hashes(network: keras.Sequential) -> dict[str, str]:
    """A fingerprint of each weight layer: equal if and only if all its weights are, bit for bit."""
    digests = {name: hashlib.sha256() for name in WEIGHT_LAYERS}
    for name, digest in digests.items():
        for array in network.get_layer(name).get_weights():
            digest.update(array)
    return {name: digest.hexdigest() for name, digest in digests.items()}


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
    return np.concatenate([network.predict_on_batch(inputs[i : i + 250]) for i in range(0, len(inputs), 250)])

"""
## The network

Four convolutional layers, two max-pooling layers and two fully connected layers. The six layers with weights are
`conv1` to `conv4`, `fc1` and `fc2`. A *convolution* looks for small patterns everywhere in the image; *max pooling*
keeps the strongest response in each 2 × 2 square and so halves the width and height. `conv4` halves them once more,
because it takes every second position (a stride of 2). The smaller the picture gets, the more channels it has: the
network sees more and more of the image, and asks less and less where exactly something is.

*ReLU* replaces negative values with 0. *Softmax* turns the last outputs into probabilities with the sum 1. Dropout is
before both fully connected layers, which have most of the weights. The first layer normalises each colour with the
mean and variance of the training images, so that the network takes pixels from 0 to 255. Network A has one layer
more, which shifts the images at random. It has no weights and is active in training only.
"""

from __future__ import annotations

import keras
import numpy as np

from headstart.practical.recipe import Recipe

WEIGHT_LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")


def colour_statistics(images: np.ndarray) -> tuple:
    """Return mean and variance of each colour, from about 5,000 of the images."""
    sample = images[:: max(1, len(images) // 5000)]
    return sample.mean(axis=(0, 1, 2)).tolist(), sample.var(axis=(0, 1, 2)).tolist()


def build_network(classes: int, recipe: Recipe, statistics: tuple, seed: int) -> keras.Sequential:
    """Build the network with new random weights, which follow from `seed` alone."""
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=9).tolist())
    (mean, variance), shift, weights = statistics, recipe.shift / 32, keras.initializers.GlorotUniform

    def conv(number: int, strides: int = 1) -> keras.layers.Layer:
        options = {"padding": "same", "activation": "relu", "kernel_initializer": weights(next(seeds))}
        return keras.layers.Conv2D(recipe.widths[number - 1], 3, strides, name=f"conv{number}", **options)

    augmentation = keras.layers.RandomTranslation(shift, shift, "reflect", "nearest", next(seeds), dtype="float32")
    network = [
        keras.Input((32, 32, 3), name="image"),
        keras.layers.Normalization(mean=mean, variance=variance, dtype="float32", name="normalise"),
        *([augmentation] if shift else []),
        *(conv(1), keras.layers.MaxPooling2D(name="pool1"), conv(2), keras.layers.MaxPooling2D(name="pool2")),
        *(conv(3), conv(4, strides=2), keras.layers.Flatten(name="flatten")),
        keras.layers.Dropout(recipe.dropout[0], seed=next(seeds), name="dropout1"),
        keras.layers.Dense(recipe.units, "relu", kernel_initializer=weights(next(seeds)), name="fc1"),
        keras.layers.Dropout(recipe.dropout[1], seed=next(seeds), name="dropout2"),
        keras.layers.Dense(classes, "softmax", kernel_initializer=weights(next(seeds)), dtype="float32", name="fc2"),
    ]
    return keras.Sequential(network)

"""
## Transfer

Each strategy on part B starts with a new network of the same architecture. Weights are *copied* from network A, layer
by layer. A copied layer can be *frozen*, so that training does not change it. All others are trained. The last layer
is always new, because network A has other classes. Network A itself is only read.

The output of the frozen layers is computed **once**, before the training. It is the same in every epoch: their
weights do not change, and in inference mode dropout is off, so that the output depends on the image only. Each image
is shown in two ways, as it is and mirrored, so that two outputs for each are enough. Training the other layers on
these stored outputs (*features*) gives the same network as training with the frozen layers in front of them.
"""

from __future__ import annotations

import time

import keras

from headstart.practical.data import Dataset
from headstart.practical.training import predict


def frozen_output(network: keras.Sequential, part: Dataset, predict=predict) -> tuple:
    """Compute the frozen part's output: for training images in both views, its seconds, for test images, the rest."""
    began = time.perf_counter()
    cut = next(number for number, layer in enumerate(network.layers) if layer.trainable_weights)
    cut -= isinstance(network.layers[cut - 1], keras.layers.Dropout)
    prefix = keras.Sequential([keras.Input(network.input_shape[1:]), *network.layers[:cut]])
    views = [predict(prefix, part.x_train), predict(prefix, part.x_train[:, :, ::-1])]
    return views, time.perf_counter() - began, predict(prefix, part.x_test), network.layers[cut:]

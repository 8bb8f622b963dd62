"""Weight averaging, which the search tries on part A: a network made of the mean of the weights that it went through.

A Recipe has no such ingredient: where the learning rate falls to 0, the mean should end where the weights do. Whether
it does, a search can say.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Averaging(keras.callbacks.Callback):
    """Puts the exponential mean of the trainable weights into the network when its training is over.

    What is measured after each epoch is the network as it is trained; what `train` predicts last, the averaged one's.
    """

    def __init__(self, decay: float):
        """`decay` is how much of the mean stays in a step; with 0 it is the last weights, bit for bit."""
        super().__init__()
        self.decay, self.steps, self.means = decay, 0, list[np.ndarray]()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras after every few steps (`steps_per_execution`), whose last weights stand for them all."""
        before, self.steps = self.steps, int(self.model.optimizer.iterations)
        # Divided as Adam does it, so that the mean does not lean to where it began; the first one is the weights.
        share = (1 - self.decay ** (self.steps - before)) / (1 - self.decay**self.steps)
        weights = [np.asarray(variable) for variable in self.model.trainable_variables]
        self.means = self.means or [np.zeros_like(array) for array in weights]
        for mean, array in zip(self.means, weights, strict=True):
            mean *= 1 - share
            mean += share * array

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras behind the last epoch's measurement."""
        for variable, mean in zip(self.model.trainable_variables, self.means, strict=True):
            variable.assign(mean)

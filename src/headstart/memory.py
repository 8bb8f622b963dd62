"""Frees what Keras would keep.

Keras' graph of a training step, and with it every variable that it touches, outlives all references to it
(keras-team/keras issue 17458): the weights of a network, and Adam's two means of each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def empty(variables: Sequence[keras.Variable]) -> None:
    """Free the float32 numbers that the variables hold. They are not to be used again."""
    for variable in variables:
        if variable.dtype == "float32":
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=tf.zeros(0))


class EmptyOptimizer(keras.callbacks.Callback):
    """Empties the optimizer when the training is over, but for the count of steps, which is still asked for."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras, after whatever stands before it in the list of callbacks."""
        empty(self.model.optimizer.variables)

"""Free memory that Keras would keep.

The graph of a training step outlives all references to it (keras-team/keras issue 17458). So does every variable that
it uses: the network's weights, and the optimizer's two moments of each weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def free_variables(variables: Sequence[keras.Variable]) -> None:
    """Free the float32 values of variables.

    Args:
        variables: Keras variables, which must not be used again.
    """
    for variable in variables:
        if variable.dtype == "float32":
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=tf.zeros(0))


class FreeOptimizer(keras.callbacks.Callback):
    """Free the optimizer's variables when a training ends, except for its step counter, which is read afterwards."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Free the variables. Callbacks that need the optimizer must come before this one."""
        free_variables(self.model.optimizer.variables)

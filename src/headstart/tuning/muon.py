"""Muon, which the search tries on part A: an optimizer that moves a kernel in all directions equally far.

Adam's steps, seen as matrices, lie mostly in a few directions; the others are learnt late. Muon (Jordan and others,
2024) makes the steps orthogonal. A convolution's kernel is such a matrix, too, with a column for each of its outputs.
The steps are made as large as Adam's usually are (Liu and others, 2025, arXiv:2502.16982), so that one learning rate
and one weight decay serve both. A Recipe has no such ingredient.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MOMENTUM = 0.95  # how much of the gradients' mean stays in a step
STEP = 0.2  # root mean square of a step's entries, in learning rates


class Muon(keras.callbacks.Callback):
    """Has the optimizer, which is Adam, move the convolutions' kernels so, from the first step on.

    (Keras' own Muon leaves the convolutions to Adam.)
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras before the first step, which traces what a step is."""
        optimizer = self.model.optimizer
        adam = optimizer.update_step

        def update_step(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
            if len(variable.shape) != 4:
                adam(gradient, variable, learning_rate)
                return
            mean = optimizer._momentums[optimizer._get_variable_index(variable)]
            mean.assign(MOMENTUM * mean + (1 - MOMENTUM) * gradient)
            ahead = MOMENTUM * mean + (1 - MOMENTUM) * gradient  # as Nesterov does it
            matrix = tf.reshape(ahead, (-1, variable.shape[-1]))
            size = STEP * max(matrix.shape) ** 0.5  # an orthogonal matrix' entries are smaller by this root
            step = tf.cast(learning_rate, tf.float32) * size * orthogonal(matrix)
            variable.assign_sub(tf.reshape(step, variable.shape))

        optimizer.update_step = update_step


def orthogonal(matrix: tf.Tensor, iterations: int = 3) -> tf.Tensor:
    """A float32 matrix with all its singular values brought near to 1, as Newton's and Schulz' iteration does it.

    Each iteration, with Jordan's coefficients, is X <- X (a + b G + c G²), where G = XᵀX is the smaller product. All
    these factors are polynomials of the first G, so that X itself, which is much larger, is multiplied at the end only.
    """
    if matrix.shape[0] < matrix.shape[1]:
        return tf.transpose(orthogonal(tf.transpose(matrix), iterations))
    matrix /= tf.norm(matrix) + 1e-7
    unit = whole = tf.eye(matrix.shape[1])
    gram = tf.matmul(matrix, matrix, transpose_a=True)
    for _ in range(iterations):
        factor = 3.4445 * unit - 4.7750 * gram + 2.0315 * (gram @ gram)
        whole, gram = whole @ factor, factor @ gram @ factor
    return matrix @ whole

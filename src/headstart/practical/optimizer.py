"""
## The optimizer

The learning rate says how far a step goes, and rises and falls as the recipe has it. The optimizer says where.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from headstart.practical.recipe import Recipe


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """The recipe's learning rate, which rises in a straight line to its highest, then falls to 0."""

    def __init__(self, recipe: Recipe, steps: int):
        """`steps` is the number of all of them; the first of them has a learning rate above 0, too."""
        self.recipe = recipe
        self.rise = max(1, round(recipe.warmup * steps))
        self.fall = steps - self.rise + 1

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate of a step, of which the first has number 0."""
        step = tf.cast(step, tf.float32)
        left = 1 - tf.maximum(0.0, step + 1 - self.rise) / self.fall
        falling = left if self.recipe.decay == "linear" else (1 - tf.cos(np.pi * left)) / 2
        return self.recipe.learning_rate * tf.minimum((step + 1) / self.rise, falling)


# %% [markdown]
# ### Adam
#
# Adam (Kingma and Ba, 2015) divides each weight's mean gradient by its usual size.


# %%
class FusedAdam(keras.optimizers.Adam):
    """Adam in one pass over each weight matrix; with Keras' own, a step that trains `fc1` takes 1.3 times as long."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """One step, by the operation that TensorFlow has for it; `beta_power` is what corrects the means' bias."""
        step, place = tf.cast(self.iterations + 1, tf.float32), self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


# %% [markdown]
# ### Muon
#
# A convolution's kernel is a matrix, too, with a column for each of its outputs. Adam's steps, seen as matrices, lie
# mostly in a few directions; the others are learnt late. Muon (Jordan and others, 2024) evens out a kernel's steps over
# all directions. Its steps are made as large as Adam's usually are (Liu and others, 2025, arXiv:2502.16982), so
# that one learning rate and one weight decay serve both.


# %%
MOMENTUM = 0.95  # how much of the gradients' mean stays in a step
STEP = 0.2  # root mean square of an orthogonal step's entries, in learning rates; after three iterations some 0.14


class Muon(FusedAdam):
    """Muon for the convolutions' kernels, Adam for all else. (Keras' own Muon gives Adam the convolutions.)"""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """One step; a kernel's begins with Nesterov's momentum."""
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        mean = self._momentums[self._get_variable_index(variable)]
        mean.assign(MOMENTUM * mean + (1 - MOMENTUM) * gradient)
        ahead = tf.reshape(MOMENTUM * mean + (1 - MOMENTUM) * gradient, (-1, variable.shape[-1]))
        size = STEP * max(ahead.shape) ** 0.5  # an orthogonal matrix' entries are smaller by this root
        step = tf.cast(learning_rate, tf.float32) * size * orthogonal(ahead)
        variable.assign_sub(tf.reshape(step, variable.shape))


def orthogonal(matrix: tf.Tensor, iterations: int = 3) -> tf.Tensor:
    """A float32 matrix with its singular values brought nearer to 1, as Newton's and Schulz' iteration does it.

    Five iterations are usual; after three, small values stay smaller. Each, with Jordan's coefficients, is
    X <- X (a + b G + c G²), where G = XᵀX is the smaller product. All these factors are polynomials of the first G, so
    that X itself, which is much larger, is multiplied at the end only.
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


OPTIMIZERS = {"muon": Muon, "adam": FusedAdam}

from __future__ import annotations

import keras
import tensorflow as tf

from conftest import TinyRun
from headstart.memory import EmptyOptimizer
from headstart.practical.transfer import SCRATCH, transfer


def test_the_optimizer_of_a_training_that_is_over_holds_its_count_of_steps_alone(tiny_run: TinyRun) -> None:
    held: list[keras.Variable] = []

    class Note(keras.callbacks.Callback):
        def on_train_end(self, logs: dict[str, float] | None = None) -> None:
            held.extend(self.model.optimizer.variables)

    [undisturbed] = [trained for trained in tiny_run.strategies if trained.name == "scratch"]
    callbacks = [Note(), EmptyOptimizer()]
    trained = transfer(tiny_run.source, SCRATCH, tiny_run.part_b, tiny_run.recipe_b, callbacks=callbacks)
    means = [variable.value.handle for variable in held if variable.dtype == "float32"]
    assert len(means) == 2 * len(trained.network.trainable_variables)
    assert all(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32).shape == (0,) for handle in means)
    assert trained.optimizer_steps == undisturbed.optimizer_steps
    assert trained.hashes_after == undisturbed.hashes_after

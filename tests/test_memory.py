from __future__ import annotations

import keras
import tensorflow as tf

from conftest import TinyRun
from headstart.memory import EmptyOptimizer
from headstart.strategies import SCRATCH
from headstart.training import transfer


def test_the_optimizer_of_a_training_that_is_over_holds_its_count_of_steps_alone(tiny_run: TinyRun) -> None:
    optimizers: list[keras.optimizers.Optimizer] = []

    class Note(keras.callbacks.Callback):
        def on_train_end(self, logs: dict[str, float] | None = None) -> None:
            optimizers.append(self.model.optimizer)

    callbacks = [Note(), EmptyOptimizer()]
    trained = transfer(tiny_run.source, SCRATCH, tiny_run.part_b, tiny_run.recipe_b, callbacks=callbacks)
    [optimizer] = optimizers
    emptied = [variable.value.handle for variable in optimizer.variables if variable.dtype == "float32"]
    assert len(emptied) == 1 + 2 * len(trained.network.trainable_variables)  # the learning rate, and two means of each
    assert all(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32).shape == (0,) for handle in emptied)
    assert int(optimizer.iterations) == 4 * (67 // 8)  # four epochs of as many whole batches as 67 images have
    assert trained.hashes_after == tiny_run.scratch.hashes_after

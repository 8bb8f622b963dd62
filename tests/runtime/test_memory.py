from __future__ import annotations

import keras
import tensorflow as tf

from headstart.runtime.memory import FreeOptimizer
from headstart.training.strategies import SCRATCH
from headstart.training.trainer import transfer
from support.tiny import TinyRun


def test_after_a_training_the_optimizer_only_keeps_its_step_count(tiny_run: TinyRun) -> None:
    optimizers: list[keras.optimizers.Optimizer] = []

    class Note(keras.callbacks.Callback):
        def on_train_end(self, logs: dict[str, float] | None = None) -> None:
            optimizers.append(self.model.optimizer)

    callbacks = [Note(), FreeOptimizer()]
    trained = transfer(tiny_run.source, SCRATCH, tiny_run.part_b, tiny_run.recipe_b, callbacks=callbacks)
    [optimizer] = optimizers
    freed = [variable.value.handle for variable in optimizer.variables if variable.dtype == "float32"]
    assert len(freed) == 1 + 2 * len(trained.network.trainable_variables)  # the learning rate, two moments per weight
    assert all(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32).shape == (0,) for handle in freed)
    assert int(optimizer.iterations) == 4 * (67 // 8)  # four epochs of as many whole batches as 67 images have
    assert trained.hashes_after == tiny_run.scratch.hashes_after

from __future__ import annotations

import logging
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from headstart.runtime.progress import Progress

LOGS = {"train_loss": 0.5, "train_accuracy": 0.911, "test_loss": 0.6, "test_accuracy": 0.875}


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=1000.0)


def train(clock: SimpleNamespace, name: str = "a", epochs: int = 3, first: int = 0) -> None:
    """What Keras calls in a training with one step per second."""
    progress = Progress(name, clock=lambda: clock.now)
    progress.set_params({"epochs": epochs, "steps": 5})
    for epoch in range(first, epochs):
        progress.on_epoch_begin(epoch)
        for step in range(5):
            clock.now += 1
            progress.on_train_batch_end(step)
        progress.on_epoch_end(epoch, LOGS)


def test_line_of_an_epoch_has_loss_accuracies_and_time(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headstart")
    train(clock, epochs=21)
    measured = "loss 0.500 | accuracy: training 91.1%, test 87.5%"
    assert len(caplog.messages) == 21
    assert caplog.messages[0] == f"a: epoch 1 of 21 | {measured} | 1 min 40 s left"
    assert caplog.messages[-1] == f"a: epoch 21 of 21 | {measured} | 0 min 00 s left"


def test_after_a_resume_only_new_epochs_are_used_for_the_time(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headstart")
    train(clock, epochs=20, first=18)
    assert [message.rpartition("| ")[2] for message in caplog.messages] == ["0 min 05 s left", "0 min 00 s left"]


def test_within_an_epoch_one_step_per_second_is_logged(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "headstart")
    progress = Progress("a", clock=lambda: clock.now)
    progress.set_params({"epochs": 2, "steps": 40})
    progress.on_epoch_begin(0)
    for step in range(40):
        clock.now += 0.125
        progress.on_train_batch_end(step)
    steps = [f"a: epoch 1, step {step} of 40" for step in (8, 16, 24, 32, 40)]
    assert caplog.messages == ["a: starting", *steps]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_topic_is_the_networks_name(clock: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "headstart")
    train(clock, name="[bold]")
    assert {record.__dict__["topic"] for record in caplog.records} == {"[bold]"}
    assert "[bold]: starting" in caplog.messages


def test_keras_calls_it_in_a_real_training(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "headstart")
    keras.utils.set_random_seed(0)  # an earlier training in this process may have made TensorFlow require a seed
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    measured = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(LOGS))
    network.fit(np.ones((4, 2)), np.ones(4), epochs=2, verbose=0, callbacks=[measured, Progress("a")])
    assert [message[:16] for message in caplog.messages] == ["a: epoch 1 of 2 ", "a: epoch 2 of 2 "]

"""Log the progress of a training."""

from __future__ import annotations

import logging
import time
from typing import Any

import keras

logger = logging.getLogger(__name__)


class Progress(keras.callbacks.Callback):
    """Log a line after every epoch (INFO), and about once a second within an epoch (DEBUG).

    The records have the attribute `topic`, so that a terminal can replace the line of the same topic.

    Args:
        name: The network's name, which is also the topic.
        clock: Returns seconds.
    """

    def __init__(self, name: str, clock: Any = time.monotonic):
        super().__init__()
        self.name, self.clock, self.measured = name, clock, ""
        self.log(logging.DEBUG, "starting")

    def log(self, level: int, message: str) -> None:
        """Log a line about this network, with its name as the topic."""
        logger.log(level, "%s: %s", self.name, message, extra={"topic": self.name})

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Store the time of the first epoch in this process, because the remaining time is estimated from it."""
        if not self.measured:
            self.first, self.start = epoch, self.clock()
        self.epoch, self.logged = epoch, self.clock()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the step, if the last line is at least a second old."""
        if self.clock() - self.logged >= 1:
            self.logged = self.clock()
            steps = self.params["steps"]
            self.log(logging.DEBUG, f"epoch {self.epoch + 1}, step {batch + 1} of {steps}{self.measured}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Log the measurements after the epoch, and the estimated remaining time."""
        done, epochs = epoch + 1, self.params["epochs"]
        seconds = (self.clock() - self.start) / (done - self.first) * (epochs - done)
        minutes, seconds = divmod(round(seconds), 60)
        self.measured = (
            f" | loss {logs['train_loss']:.3f} | accuracy: training {100 * logs['train_accuracy']:.1f}%, "
            f"test {100 * logs['test_accuracy']:.1f}% | {minutes} min {seconds:02} s left"
        )
        self.log(logging.INFO, f"epoch {done} of {epochs}{self.measured}")

"""How far a training is, in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras


class Progress(keras.callbacks.Callback):
    """Passes on a line of text after every epoch, and within an epoch about once a second."""

    def __init__(self, name: str, show: Callable[[str, bool], object]):
        """`show(line, epoch_ended)` is called with each new line."""
        super().__init__()
        self.name, self.show, self.measured = name, show, ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember when the first epoch of this sitting began, to reckon the time left from it."""
        if not self.measured:
            self.first, self.start = epoch, time.monotonic()
        self.epoch, self.shown = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Show the step, if the last line is a second old."""
        if time.monotonic() - self.shown >= 1:
            self.shown = time.monotonic()
            self.show(
                f"{self.name}: epoch {self.epoch + 1}, step {batch + 1} of {self.params['steps']}{self.measured}", False
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Show what the epoch's end has measured."""
        done, epochs = epoch + 1, self.params["epochs"]
        seconds = (time.monotonic() - self.start) / (done - self.first) * (epochs - done)
        minutes, seconds = divmod(round(seconds), 60)
        self.measured = (
            f" | loss {logs['train_loss']:.3f} | training {100 * logs['train_accuracy']:.1f}%, "
            f"test {100 * logs['test_accuracy']:.1f}% right | {minutes} min {seconds:02} s left"
        )
        self.show(f"{self.name}: epoch {done} of {epochs}{self.measured}", True)

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from headstart.display import Display

LOGS = {"train_loss": 0.5, "train_accuracy": 0.911, "test_loss": 0.6, "test_accuracy": 0.875}
MARKUP = "[bold]dog[/red] :smile:"


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=20, soft_wrap=True, highlight=False)


def pipe() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=80, soft_wrap=True, highlight=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def screen(console: Console) -> list[str]:
    """The lines that a terminal would show: text and the few controls that rich's Live makes use of."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written(console)):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A"):
            row -= int(token[2:-1])
        elif token.endswith("K"):
            lines[row] = ""
        elif not token.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + len(token) :]
            column += len(token)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("headstart.progress.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def train(display: Display, name: str, clock: SimpleNamespace, epochs: int = 3, first: int = 0) -> None:
    """What Keras calls for a network, in a training of one step a second."""
    progress = display.progress(name)
    progress.set_params({"epochs": epochs, "steps": 5})
    for epoch in range(first, epochs):
        progress.on_epoch_begin(epoch)
        for step in range(5):
            clock.now += 1
            progress.on_train_batch_end(step)
        progress.on_epoch_end(epoch, LOGS)


def test_off_a_terminal_each_epoch_is_one_plain_line(clock: SimpleNamespace) -> None:
    console = pipe()
    with Display(console) as display:
        train(display, "a", clock)
        train(display, "scratch", clock)
    lines = written(console).splitlines()
    assert [line.partition(" |")[0] for line in lines] == [
        f"{name}: epoch {epoch} of 3" for name in ("a", "scratch") for epoch in (1, 2, 3)
    ]
    assert "\x1b" not in written(console)
    assert "\r" not in written(console)


def test_on_a_terminal_each_network_has_one_line(clock: SimpleNamespace) -> None:
    console = terminal()
    with Display(console) as display:
        train(display, "a", clock)
        train(display, "scratch", clock)
        assert [line.partition(" |")[0] for line in screen(console)] == ["a: epoch 3 of 3", "scratch: epoch 3 of 3"]
        display.progress("last_layer")
    assert [line.partition(" |")[0] for line in screen(console)] == [
        "a: epoch 3 of 3",
        "scratch: epoch 3 of 3",
        "last_layer: starting",
    ]


def test_on_a_narrow_terminal_a_line_is_cut_and_not_wrapped(clock: SimpleNamespace) -> None:
    console = terminal(width=30)
    with Display(console) as display:
        train(display, "a", clock)
        train(display, "scratch", clock)
    lines = screen(console)
    assert len(lines) == 2
    assert all(len(line) <= 30 for line in lines)


def test_a_line_has_loss_accuracies_and_the_time_left(clock: SimpleNamespace) -> None:
    console = pipe()
    with Display(console) as display:
        train(display, "a", clock, epochs=21)
    first, *_, last = written(console).splitlines()
    assert first == "a: epoch 1 of 21 | loss 0.500 | training 91.1%, test 87.5% right | 1 min 40 s left"
    assert last == "a: epoch 21 of 21 | loss 0.500 | training 91.1%, test 87.5% right | 0 min 00 s left"


def test_after_a_resume_the_time_left_follows_from_the_epochs_since(clock: SimpleNamespace) -> None:
    console = pipe()
    with Display(console) as display:
        train(display, "a", clock, epochs=20, first=18)
    assert [line.rpartition("| ")[2] for line in written(console).splitlines()] == [
        "0 min 05 s left",
        "0 min 00 s left",
    ]


def test_within_an_epoch_the_line_moves_about_once_a_second(clock: SimpleNamespace) -> None:
    shown = []
    from headstart.progress import Progress

    progress = Progress("a", lambda line, epoch_ended: shown.append((line, epoch_ended)))
    progress.set_params({"epochs": 2, "steps": 40})
    progress.on_epoch_begin(0)
    for step in range(40):
        clock.now += 0.125
        progress.on_train_batch_end(step)
    assert shown == [(f"a: epoch 1, step {step} of 40", False) for step in (8, 16, 24, 32, 40)]


@pytest.mark.parametrize("console", [pipe(), terminal()], ids=["pipe", "terminal"])
def test_markup_in_a_name_is_shown_as_it_is(console: Console) -> None:
    with Display(console) as display:
        display.show(MARKUP, MARKUP)
    assert screen(console) == [MARKUP]


def test_the_terminal_is_given_back_when_a_training_fails() -> None:
    console = terminal()

    def training_that_fails() -> None:
        with Display(console) as display:
            display.progress("a")
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        training_that_fails()
    assert written(console).rindex("\x1b[?25h") > written(console).rindex("\x1b[?25l")  # the cursor is back
    assert screen(console) == ["a: starting"]


def test_keras_calls_the_callback_in_a_real_training() -> None:
    import keras
    import numpy as np

    console = pipe()
    keras.utils.set_random_seed(0)  # a training of ours, before, has made TensorFlow insist on one
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    with Display(console) as display:
        measured = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(LOGS))
        network.fit(np.ones((4, 2)), np.ones(4), epochs=2, verbose=0, callbacks=[measured, display.progress("a")])
    assert [line[:16] for line in written(console).splitlines()] == ["a: epoch 1 of 2 ", "a: epoch 2 of 2 "]

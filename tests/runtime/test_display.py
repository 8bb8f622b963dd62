from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from headstart.runtime.display import Display

MARKUP = "[bold]dog[/red] :smile:"
logger = logging.getLogger("headstart.test")


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=20, soft_wrap=True, highlight=False)


def pipe() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=80, soft_wrap=True, highlight=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def screen(console: Console) -> list[str]:
    """The lines that a terminal would show: text and the few control sequences that rich's Live uses."""
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


def log_epochs(topic: str, level: int = logging.INFO) -> None:
    for epoch in (1, 2, 3):
        logger.log(level, "%s: epoch %s of 3", topic, epoch, extra={"topic": topic})


def test_without_a_terminal_each_record_is_one_plain_line() -> None:
    console = pipe()
    with Display(console):
        log_epochs("a")
        logger.info("no topic")
        log_epochs("scratch")
    lines = [f"{name}: epoch {epoch} of 3" for name in ("a", "scratch") for epoch in (1, 2, 3)]
    assert written(console).splitlines() == [*lines[:3], "no topic", *lines[3:]]


def test_on_a_terminal_each_topic_has_one_line() -> None:
    console = terminal()
    with Display(console):
        log_epochs("a")
        log_epochs("scratch")
        assert screen(console) == ["a: epoch 3 of 3", "scratch: epoch 3 of 3"]
        logger.info("a: again", extra={"topic": "a"})
        assert screen(console) == ["a: again", "scratch: epoch 3 of 3"]
    assert screen(console) == ["a: again", "scratch: epoch 3 of 3"]


def test_record_without_a_topic_is_printed_above_the_topics() -> None:
    console = terminal()
    with Display(console):
        log_epochs("a")
        logger.info("no topic")
        log_epochs("a")
    assert screen(console) == ["no topic", "a: epoch 3 of 3"]


def test_on_a_narrow_terminal_a_line_is_cut_and_not_wrapped() -> None:
    console = terminal(width=12)
    with Display(console):
        log_epochs("a")
        log_epochs("scratch")
    assert screen(console) == ["a: epoch 3 …", "scratch: ep…"]


@pytest.mark.parametrize(("console", "shown"), [(pipe(), False), (terminal(), True)], ids=["pipe", "terminal"])
def test_debug_records_are_shown_on_a_terminal_only(console: Console, shown: bool) -> None:
    with Display(console):
        log_epochs("a", logging.DEBUG)
    assert screen(console) == (["a: epoch 3 of 3"] if shown else [])


def test_warning_is_marked() -> None:
    console = pipe()
    with Display(console):
        logger.warning("these are digits")
    assert written(console) == "WARNING: these are digits\n"


@pytest.mark.parametrize("topic", ["", "a"])
@pytest.mark.parametrize("make", [pipe, terminal])
def test_markup_is_printed_as_it_is(make: type[Console], topic: str) -> None:
    with Display(console := make()):
        logger.info(MARKUP, extra={"topic": topic})
    assert screen(console) == [MARKUP]


def test_terminal_and_logger_are_restored_after_a_failure() -> None:
    console = terminal()
    ours = logging.getLogger("headstart")
    before = ours.level, ours.propagate, list(ours.handlers)

    def failing() -> None:
        with Display(console):
            logger.info("a: starting", extra={"topic": "a"})
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        failing()
    assert written(console).rindex("\x1b[?25h") > written(console).rindex("\x1b[?25l")  # the cursor is visible again
    assert screen(console) == ["a: starting"]
    assert (ours.level, ours.propagate, ours.handlers) == before

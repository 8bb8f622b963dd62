"""Show log records in a terminal: lines of one topic are replaced in place, all others are printed."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console


class Display(logging.Handler):
    """A context that shows headstart's log records on a console.

    On a terminal, a record with the attribute `topic` replaces the line of the same topic, and DEBUG records are shown,
    too. Anywhere else, INFO records and above are printed, a line each.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console):
        super().__init__(logging.DEBUG if console.is_terminal else logging.INFO)
        self.console = console
        self.lines: dict[str, str] = {}
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self.logger = logging.getLogger("headstart")

    def __enter__(self) -> Display:
        self.before = self.logger.level, self.logger.propagate
        self.logger.setLevel(self.level)
        self.logger.propagate = False
        self.logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()
        self.logger.removeHandler(self)
        level, self.logger.propagate = self.before
        self.logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, or replace the line of its topic."""
        line = record.getMessage()
        if record.levelno >= logging.WARNING:
            line = f"{record.levelname}: {line}"
        topic = getattr(record, "topic", "")
        if not (topic and self.live):
            self.console.print(Text(line))
            return
        self.lines[topic] = line
        self.live.start()  # not earlier, because a download has its own progress bar
        text = Text("\n".join(self.lines.values()), no_wrap=True, overflow="ellipsis")
        self.live.update(text, refresh=True)

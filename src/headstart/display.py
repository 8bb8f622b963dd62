"""What a person sees while networks train: a line a network, renewed in place; plain lines where that cannot be."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from headstart.progress import Progress


class Display:
    """A context in which `progress(name)` gives the Keras callback that keeps the network's line up to date."""

    def __init__(self, console: Console):
        self.console = console
        self.lines: dict[str, str] = {}
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def progress(self, name: str) -> Progress:
        """The callback for the network of this name."""
        from headstart.progress import Progress

        self.show(name, f"{name}: starting", epoch_ended=False)
        return Progress(name, lambda line, epoch_ended: self.show(name, line, epoch_ended))

    def show(self, name: str, line: str, epoch_ended: bool = True) -> None:
        """Renew the line of this name; off a terminal, print it if an epoch, or whatever it tells of, has ended."""
        self.lines[name] = line
        if self.live:
            text = Text("\n".join(self.lines.values()), no_wrap=True, overflow="ellipsis")
            self.live.update(text, refresh=True)
        elif epoch_ended:
            self.console.print(Text(line))

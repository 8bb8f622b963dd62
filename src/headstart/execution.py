"""Run a notebook's cells in order, in a kernel of its own, and lose nothing of it when that goes wrong.

The notebook appears under its name only when every cell has run; what was reached before a failure is saved whole
as `<name>.partial.ipynb`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from headstart.errors import Failed
from headstart.notebook import write_notebook

Show = Callable[[str, str], object]  # what a line is about ("cell" or "training"), and the line


class Client(NotebookClient):
    """nbclient, with a word on every cell and on every line that a cell renews."""

    def __init__(self, notebook: nbformat.NotebookNode, show: Show, **options: Any):
        super().__init__(notebook, **options)
        self.show = show
        self.at, self.count = 0, sum(cell.cell_type == "code" for cell in notebook.cells)
        self.on_cell_execute = self.begin_cell

    def begin_cell(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Count the cell, and say which it is."""
        if cell.cell_type == "code":
            self.at += 1
            first = next((line for line in cell.source.splitlines() if line.strip()), "")
            self.show("cell", f"cell {self.at} of {self.count}: {first:.70}")

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        """Pass on what a training reports, then let nbclient put it into the notebook."""
        if msg["msg_type"] == "update_display_data":
            self.show("training", f"  {msg['content']['data'].get('text/markdown', '')}")
        return super().process_message(msg, cell, cell_index)


def execute_notebook(notebook: nbformat.NotebookNode, path: Path, timeout: int | None, show: Show) -> None:
    """Run all cells (each for `timeout` seconds at most, where given) and write the result to `path`.

    What TensorFlow writes to the kernel's standard error, past Python, is no output of a cell. It is passed on only if
    the kernel dies. Raises Failed, or KeyboardInterrupt, when it ends early.
    """
    client = Client(
        notebook,
        show,
        timeout=timeout,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR", "--IPKernelApp.capture_fd_output=False"],
        shutdown_kernel="immediate",
    )
    partial = path.with_name(f"{path.stem}.partial.ipynb")
    try:
        with tempfile.TemporaryFile() as written:
            try:
                run_interruptibly(client, written)
            except RuntimeError:  # the kernel died, or could not start
                written.seek(0)
                sys.stderr.write(written.read().decode(errors="replace"))
                raise
    except BaseException as error:
        write_notebook(notebook, partial)
        reason = reason_for(error, timeout)
        if reason is None:
            show("cell", f"what was reached is in {partial}")
            raise
        raise Failed(f"cell {client.at} of {client.count}: {reason}; what was reached is in {partial}") from error
    write_notebook(notebook, path)
    partial.unlink(missing_ok=True)


def run_interruptibly(client: Client, written: BinaryIO) -> None:
    """Run the client in a thread, so that Ctrl-C ends its kernel and is heard here.

    In the main thread nbclient takes the signal for itself and reports a dead kernel. What the kernel's process writes
    to its standard output and error goes into the file.
    """
    # Where matplotlib is told another backend, a notebook would show no figures.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.async_execute(env=environment, stdout=written, stderr=written))
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()  # the thread is there: a Ctrl-C while it starts would not reach what follows
            try:
                pool.submit(loop.run_until_complete, task).result()
            except KeyboardInterrupt:
                pid = getattr(getattr(client.km, "provisioner", None), "pid", None)
                if pid and not task.done():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)  # a busy kernel would not listen
                loop.call_soon_threadsafe(task.cancel)
                raise
    finally:
        with suppress(RuntimeError):  # a second Ctrl-C has broken off the wait for the thread, which still runs it
            loop.close()
        atexit.unregister(client._cleanup_kernel)  # nbclient does not, where the kernel could not start


def reason_for(error: BaseException, timeout: int | None) -> str | None:
    """A failure in words; None where it is not the notebook's."""
    if isinstance(error, CellTimeoutError):
        return f"it took longer than --timeout {timeout} seconds"
    if isinstance(error, DeadKernelError):
        return "its kernel died (out of memory, or killed)"
    if isinstance(error, RuntimeError) and "Kernel died" in str(error):
        return "its kernel could not start"
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {' '.join(str(error.evalue).split())}"
    return None

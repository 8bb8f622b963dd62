"""Execute a notebook's cells in order, in a new kernel, and keep all outputs if a cell fails.

The notebook is written under its name only after every cell was executed. After a failure, all outputs so far are in
`<name>.partial.ipynb`.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from headstart.errors import TrainingFailed
from headstart.notebook.build import write_notebook

logger = logging.getLogger(__name__)


class LoggingClient(NotebookClient):
    """A client that logs every cell, and every line that a cell updates.

    Args:
        notebook: The notebook; its outputs are added.
        options: Those of NotebookClient.
    """

    def __init__(self, notebook: nbformat.NotebookNode, **options: Any):
        super().__init__(notebook, **options)
        self.at, self.count = 0, sum(cell.cell_type == "code" for cell in notebook.cells)
        self.on_cell_execute = self.begin_cell

    def begin_cell(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Count and log the cell."""
        if cell.cell_type == "code":
            self.at += 1
            first = next((line for line in cell.source.splitlines() if line.strip()), "")
            logger.info("cell %s of %s: %.70s", self.at, self.count, first, extra={"topic": "cell"})

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        """Log the progress of a training, then let nbclient add the message to the notebook."""
        if msg["msg_type"] == "update_display_data":
            line = msg["content"]["data"].get("text/markdown", "")
            logger.info("  %s", line, extra={"topic": "training"})
        return super().process_message(msg, cell, cell_index)


class OwnKernel(AsyncKernelManager):
    """Starts a kernel with this interpreter, because the kernel named python3 can be another environment's."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return how the kernel is started."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def execute_notebook(notebook: nbformat.NotebookNode, path: Path, timeout: int | None = None) -> None:
    """Execute all cells, and write the notebook.

    TensorFlow's direct writes to the kernel's standard error are not an output of a cell. They are printed only if the
    kernel dies.

    Args:
        notebook: Its outputs are added.
        path: The file.
        timeout: Seconds that one cell may take; no limit by default.

    Raises:
        TrainingFailed: A cell failed or took too long, or the kernel died.
        KeyboardInterrupt: The user stopped it.
    """
    client = LoggingClient(
        notebook,
        timeout=timeout,
        kernel_manager_class=OwnKernel,
        resources={"metadata": {"path": str(path.parent)}},  # the kernel's folder, from which a relative path is read
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
            logger.info("all outputs so far are in %s", partial)
            raise
        raise TrainingFailed(
            f"cell {client.at} of {client.count}: {reason}; all outputs so far are in {partial}"
        ) from error
    write_notebook(notebook, path)
    partial.unlink(missing_ok=True)


def run_interruptibly(client: LoggingClient, written: BinaryIO) -> None:
    """Run the client in a thread, so that Ctrl-C stops its kernel and raises KeyboardInterrupt here.

    In the main thread, nbclient would handle the signal itself and report a dead kernel.

    Args:
        client: The client.
        written: A file for what the kernel's process writes to its standard output and error.
    """
    # With another backend of matplotlib, the notebook would show no figures.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.async_execute(env=environment, stdout=written, stderr=written))
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()  # start the thread now, because Ctrl-C while it starts would be lost
            try:
                running = pool.submit(loop.run_until_complete, task)
                while not running.done():
                    wait([running], timeout=0.2)  # the system may give Ctrl-C to a thread that cannot wake this one
                running.result()
            except KeyboardInterrupt:
                pid = getattr(getattr(client.km, "provisioner", None), "pid", None)
                if pid and not task.done():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)  # a busy kernel does not react to anything else
                loop.call_soon_threadsafe(task.cancel)
                raise
    finally:
        with suppress(RuntimeError):  # after a second Ctrl-C, the thread is still running it
            loop.close()
        atexit.unregister(client._cleanup_kernel)  # nbclient does not do this if the kernel could not start


def reason_for(error: BaseException, timeout: int | None) -> str | None:
    """Describe why a notebook failed.

    Args:
        error: What was raised.
        timeout: Seconds that one cell may take, or None.

    Returns:
        The reason in words; None if the notebook did not cause it.
    """
    if isinstance(error, CellTimeoutError):
        return f"it took longer than {timeout} seconds (timeout)"
    if isinstance(error, DeadKernelError):
        return "its kernel died (out of memory, or killed)"
    if isinstance(error, RuntimeError) and "Kernel died" in str(error):
        return "its kernel could not start"
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {' '.join(str(error.evalue).split())}"
    return None

"""Locks between processes. The system releases them when their process ends for any reason."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from headstart.errors import ResourceError

logger = logging.getLogger(__name__)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Reserve a folder for one process at a time.

    Args:
        folder: The folder, which exists.

    Raises:
        ResourceError: Another process has reserved it.
    """
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ResourceError(
            f"{folder}: another process is working in this folder; wait for it or name another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def waiting_lock(file: Path, what: str) -> Iterator[None]:
    """Let one process at a time continue; the others wait.

    Args:
        file: The lock; its folder is created.
        what: What is locked, for the message to those who wait.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(file)
    try:
        held = lock.acquire(timeout=0.5)
    except filelock.Timeout:
        logger.info("waiting for another process that is using %s", what)
        held = lock.acquire()
    with held:
        yield

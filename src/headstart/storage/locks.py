"""Locks between processes. The system releases them when their process ends for any reason."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from headstart.errors import ResourceError
from headstart.storage.files import USER_FIXABLE

logger = logging.getLogger(__name__)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Reserve a folder for one process at a time.

    Args:
        folder: The folder, which exists.

    Raises:
        ResourceError: Another process has reserved it, or its file system has no locks.
    """
    lock = filelock.FileLock(folder / ".lock")
    try:
        acquire(lock, timeout=0)
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

    Raises:
        ResourceError: The file system has no locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(file)
    try:
        acquire(lock, timeout=0.5)
    except filelock.Timeout:
        logger.info("waiting for another process that is using %s", what)
        acquire(lock)
    try:
        yield
    finally:
        lock.release()


def acquire(lock: filelock.BaseFileLock, timeout: float | None = None) -> None:
    """Acquire a lock.

    Args:
        lock: The lock.
        timeout: Seconds to wait; no limit by default.

    Raises:
        filelock.Timeout: Another process holds it.
        ResourceError: The file system has no locks (ENOLCK, EOPNOTSUPP, EIO), as some network file systems.
        OSError: The file cannot be created.
    """
    try:
        lock.acquire(timeout=timeout)
    except OSError as error:
        if isinstance(error, filelock.Timeout) or error.errno in USER_FIXABLE:
            raise
        problem = f"its file system cannot lock files ({error.strerror or error})"
        raise ResourceError(f"{lock.lock_file}: {problem}; use a folder on a local disk") from error

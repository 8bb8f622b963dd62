"""One file from one host: a transfer that goes on from the bytes that are here, and leaves a host that is too slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class HostError(Exception):
    """A host did not deliver, or none did: the reason, in one line."""


def answering(urls: Sequence[str], size: int, patience: float) -> list[str]:
    """Those addresses that serve a file of `size` bytes; HostError if none does so in `patience` seconds."""
    reasons = dict.fromkeys(urls, f"no answer in {patience:g} s")

    def ask(url: str) -> None:
        try:
            connect(url, size - 1, size, patience)[0].close()
            reasons[url] = ""
        except HostError as failure:
            reasons[url] = str(failure)

    # Finding a host's address knows no time limit: hence threads that may hang, and keep no program from ending.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    found = [url for url in urls if not reasons[url]]
    if not found:
        raise HostError("; ".join(f"{url}: {reason}" for url, reason in reasons.items()))
    return found


def receive(url: str, part: Path, size: int, pace: tuple[float, float], show: Callable[[int], object]) -> None:
    """Add to the part-file what it lacks of `size` bytes; what has arrived stays.

    Raises HostError if the host does not send it, or less than `pace`: bytes a second, in any so many seconds.
    `show` is called with the number of bytes that are here.
    """
    speed, seconds = pace
    response, position = connect(url, part.stat().st_size, size, seconds)
    with response, part.open("r+b") as file:
        file.seek(position)
        since, received = time.monotonic(), 0
        while position < size:
            with host_errors():
                chunk = response.read1(min(1 << 16, size - position))
            if not chunk:
                raise HostError("the connection ended before the file did")
            position += file.write(chunk)
            received += len(chunk)
            show(position)
            elapsed = time.monotonic() - since
            if elapsed >= seconds:
                if received < speed * elapsed:
                    raise HostError(f"too slow, {received / elapsed / 1000:,.0f} kB/s")
                since, received = time.monotonic(), 0


def connect(url: str, position: int, size: int, timeout: float) -> tuple[HTTPResponse, int]:
    """The host's answer, and the byte that it begins with: a host that cannot go on from `position` begins at 0."""
    request = Request(url, headers={"Range": f"bytes={position}-", "User-Agent": "headstart"})
    with host_errors():
        response: HTTPResponse = urlopen(request, timeout=timeout)
    begins = position if response.status == 206 else 0
    if response.headers.get("Content-Length") not in (None, str(size - begins)):
        response.close()
        raise HostError(f"serves another file, not one of {size:,} bytes")
    return response, begins


@contextmanager
def host_errors() -> Iterator[None]:
    """Whatever goes wrong with a host is a HostError, whose line holds nothing that the host wrote itself."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise HostError(f"HTTP status {error.code}") from error
    except OSError as error:
        raise HostError(getattr(error, "reason", error)) from error
    except (HTTPException, ValueError) as error:
        raise HostError(type(error).__name__) from error

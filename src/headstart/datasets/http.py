"""Download one file from one host: resume after the received bytes, and stop if the host is too slow."""

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
    """One host, or every host, failed to deliver. The message is the reason, in one line."""


def available_urls(urls: Sequence[str], size: int, timeout: float) -> list[str]:
    """Return the addresses that serve a file of this size.

    Args:
        urls: The addresses, which are all tried at the same time.
        size: Bytes of the file.
        timeout: Seconds, for all addresses together.

    Raises:
        HostError: No address serves it.
    """
    reasons = dict.fromkeys(urls, f"no answer in {timeout:g} s")

    def ask(url: str) -> None:
        try:
            connect(url, size - 1, size, timeout)[0].close()
            reasons[url] = ""
        except HostError as error:
            reasons[url] = str(error)

    # Daemon threads, because looking up a host's name has no time limit, and must not delay the end of the program.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    found = [url for url in urls if not reasons[url]]
    if not found:
        raise HostError("; ".join(f"{url}: {reason}" for url, reason in reasons.items()))
    return found


def receive(url: str, part: Path, size: int, pace: tuple[float, float], report: Callable[[int], object]) -> None:
    """Append the missing bytes to a partial file. Received bytes stay, whatever happens.

    Args:
        url: The address.
        part: The partial file, which exists.
        size: Bytes of the complete file.
        pace: The slowest acceptable speed: bytes per second, averaged over this number of seconds.
        report: Called with the number of received bytes.

    Raises:
        HostError: The host does not send them, or too slowly.
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
            report(position)
            elapsed = time.monotonic() - since
            if elapsed >= seconds:
                if received < speed * elapsed:
                    raise HostError(f"too slow, {received / elapsed / 1000:,.0f} kB/s")
                since, received = time.monotonic(), 0


def connect(url: str, position: int, size: int, timeout: float) -> tuple[HTTPResponse, int]:
    """Request the bytes of a file from a position to the end.

    Args:
        url: The address.
        position: The first byte, from 0.
        size: Bytes of the complete file.
        timeout: Seconds that the host may stay silent.

    Returns:
        The response and its first byte, which is 0 if the host cannot resume.

    Raises:
        HostError: The host does not answer, or serves a file of another size.
    """
    request = Request(url, headers={"Range": f"bytes={position}-", "User-Agent": "headstart"})
    with host_errors():
        response: HTTPResponse = urlopen(request, timeout=timeout)
    first = position if response.status == 206 else 0
    if response.headers.get("Content-Length") not in (None, str(size - first)):
        response.close()
        raise HostError(f"serves another file, not one of {size:,} bytes")
    return response, first


@contextmanager
def host_errors() -> Iterator[None]:
    """Report every problem with a host as a HostError.

    The message contains nothing that the host wrote itself, because a terminal would interpret it.

    Raises:
        HostError: The reason, in one line.
    """
    try:
        yield
    except HTTPError as error:
        error.close()
        raise HostError(f"HTTP status {error.code}") from error
    except OSError as error:
        raise HostError(getattr(error, "reason", error)) from error
    except (HTTPException, ValueError) as error:
        raise HostError(type(error).__name__) from error

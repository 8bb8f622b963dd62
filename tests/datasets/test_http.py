from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from headstart.datasets.http import HostError, available_urls, receive
from support.hosts import CONTENT, HALF, Host, refused_port

PATIENT = (1e3, 10.0)
"""A pace (bytes per second, over so many seconds) that every host here keeps, except for those that stop."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    (tmp_path / "part").touch()
    return tmp_path / "part"


def test_transfer_resumes_after_the_bytes_that_are_there(part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    reported: list[int] = []
    with Host() as host:
        receive(host.url, part, len(CONTENT), PATIENT, reported.append)
    assert part.read_bytes() == CONTENT
    assert (host.requested, host.sent) == ([HALF], [len(CONTENT) - HALF])
    assert reported == sorted(reported)
    assert reported[-1] == len(CONTENT)


def test_host_that_cannot_resume_sends_everything_again(part: Path) -> None:
    part.write_bytes(CONTENT[:HALF])
    with Host("no range") as host:
        receive(host.url, part, len(CONTENT), PATIENT, print)
    assert part.read_bytes() == CONTENT


FAULTS = {
    "stall": ("timed out", HALF),
    "reset": ("reset", HALF),
    "truncation": ("ended before the file did", HALF),
    "slow": (r"too slow, \d+ kB/s", None),
    "404": ("HTTP status 404", 0),
    "redirect loop": ("HTTP status 302", 0),
    "no http": ("BadStatusLine", 0),
    "other file": ("serves another file", 0),
    "silent": ("timed out", 0),
}
"""The reason in the message, and how many bytes arrive."""
PACES = {"stall": (1e3, 2.0), "silent": (1e3, 0.3), "slow": (2e5, 0.9)}  # slow takes 1.2 s


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_reported_and_received_bytes_are_kept(part: Path, fault: str) -> None:
    reason, kept = FAULTS[fault]
    with Host(fault) as host, pytest.raises(HostError, match=reason) as caught:
        receive(host.url, part, len(CONTENT), PACES.get(fault, PATIENT), print)
    assert str(caught.value).isprintable()
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert part.stat().st_size == kept if kept is not None else part.stat().st_size > 0


def test_only_hosts_that_serve_the_file_are_available() -> None:
    with ExitStack() as stack:
        faults = ("none", "silent", "404", "redirect loop", "other file", "no range")
        first, *bad, last = (stack.enter_context(Host(fault)) for fault in faults)
        urls = [first.url, *(host.url for host in bad), refused_port(), last.url]
        assert available_urls(urls, len(CONTENT), 1.5) == [first.url, last.url]


def test_if_no_host_is_available_the_message_has_every_reason() -> None:
    start = time.monotonic()
    with pytest.raises(HostError, match=r"^http://.*refused; http://.*refused$") as caught:
        available_urls([refused_port(), refused_port()], len(CONTENT), 8.0)
    assert str(caught.value).isprintable()
    assert time.monotonic() - start < 2


def test_unknown_host_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(HostError, match="Name or service not known"):
        available_urls(["http://dead.test/a"], len(CONTENT), 4.0)


def test_name_service_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    start = time.monotonic()
    with pytest.raises(HostError, match=r"no answer in 0.5 s.*no answer in 0.5 s"):
        available_urls(["http://one.test/a", "http://two.test/a"], len(CONTENT), 0.5)
    assert time.monotonic() - start < 2
    over.set()

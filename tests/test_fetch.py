import http.server
import os
import random
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from headstart.fetch import HostError, answering, receive

CONTENT = random.Random(0).randbytes(60_000)
HALF = len(CONTENT) // 2
PATIENT = (1e3, 10.0)


class Host(http.server.ThreadingHTTPServer):
    """A web server with a fault; `asked` lists the first byte and `sent` the number of bytes of every transfer."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, fault: str = "none") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.asked: list[int] = []
        self.sent: list[int] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error here."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        fault, first = self.server.fault, int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if fault == "silent":
            self.server.over.wait()
        elif fault == "404":
            self.send_error(404)
        elif fault == "redirect loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif fault == "no http":
            self.wfile.write(b"\x1b[2J nonsense\r\n\r\n")
        else:
            content = {"wrong bytes": bytes(len(CONTENT)), "other file": b"<html>log in</html>"}.get(fault, CONTENT)
            whole = fault in ("no range", "other file")
            self.send_response(200 if whole else 206)
            body = content if whole else content[first:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if first == len(CONTENT) - 1:  # so it is asked whether the host is there
                self.wfile.write(body)
            else:
                self.server.asked.append(first)
                self.server.sent.append(0)
                self.send_body(fault, first, body)

    def send_body(self, fault: str, first: int, body: bytes) -> None:
        turn, breaks = len(self.server.sent) - 1, fault in ("stall", "reset", "truncation") and first < HALF
        body = body[: HALF - first] if breaks else body
        for start in range(0, len(body), 2000):
            self.server.sent[turn] += len(body[start : start + 2000])  # before the client can have read it
            self.wfile.write(body[start : start + 2000])
            if fault == "slow":  # 50 kB/s at most
                time.sleep(0.04)
        if fault == "stall" and breaks:
            self.server.over.wait()
        if fault == "reset" and breaks:
            time.sleep(0.1)  # what was sent arrives before the reset overtakes it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        pass


def refused_port() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/archive.tar.gz"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    (tmp_path / "part").touch()
    return tmp_path / "part"


def test_transfer_goes_on_from_what_is_here_and_shows_it(part) -> None:
    part.write_bytes(CONTENT[:HALF])
    shown: list[int] = []
    with Host() as host:
        receive(host.url, part, len(CONTENT), PATIENT, shown.append)
    assert part.read_bytes() == CONTENT
    assert (host.asked, host.sent) == ([HALF], [len(CONTENT) - HALF])
    assert shown == sorted(shown)
    assert shown[-1] == len(CONTENT)


def test_host_that_cannot_go_on_sends_all_once_more(part) -> None:
    part.write_bytes(CONTENT[:HALF])
    with Host("no range") as host:
        receive(host.url, part, len(CONTENT), PATIENT, print)
    assert part.read_bytes() == CONTENT


BREAKS = {
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


IMPATIENT = {"stall": (1e3, 2.0), "silent": (1e3, 0.3), "slow": (2e5, 0.9)}  # slow takes 1.2 s; the others end


@pytest.mark.parametrize("fault", BREAKS)
def test_fault_is_told_and_what_arrived_stays(part, fault) -> None:
    line, kept = BREAKS[fault]
    with Host(fault) as host, pytest.raises(HostError, match=line) as caught:
        receive(host.url, part, len(CONTENT), IMPATIENT.get(fault, PATIENT), print)
    assert str(caught.value).isprintable()
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert part.stat().st_size == kept if kept is not None else part.stat().st_size > 0


def test_answering_hosts_are_told_from_the_others() -> None:
    faults = ("silent", "404", "redirect loop", "other file")
    with Host() as first, Host("no range") as last:
        bad = [Host(fault) for fault in faults]
        for host in bad:
            host.__enter__()
        urls = [first.url, *(host.url for host in bad), refused_port(), last.url]
        assert answering(urls, len(CONTENT), 3.0) == [first.url, last.url]
        for host in bad:
            host.__exit__()


def test_when_none_answers_each_reason_is_told_in_one_line() -> None:
    began = time.monotonic()
    with pytest.raises(HostError, match=r"^http://.*refused; http://.*refused$") as caught:
        answering([refused_port(), refused_port()], len(CONTENT), 8.0)
    assert str(caught.value).isprintable()
    assert time.monotonic() - began < 2


def test_dead_name_is_told(monkeypatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(HostError, match="Name or service not known"):
        answering(["http://dead.test/a"], len(CONTENT), 4.0)


def test_name_service_that_hangs_is_given_up_in_time(monkeypatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    began = time.monotonic()
    with pytest.raises(HostError, match=r"no answer in 0.5 s.*no answer in 0.5 s"):
        answering(["http://one.test/a", "http://two.test/a"], len(CONTENT), 0.5)
    assert time.monotonic() - began < 2
    over.set()

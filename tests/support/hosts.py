"""Web servers on this machine that serve CIFAR-10's archive, each with a fault."""

from __future__ import annotations

import http.server
import os
import random
import socket
import struct
import threading
import time
from typing import Self

CONTENT = random.Random(0).randbytes(60_000)
HALF = len(CONTENT) // 2


class Host(http.server.ThreadingHTTPServer):
    """A web server with a fault. `requested` has the first byte of every transfer, `sent` the number of its bytes."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, fault: str = "none") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.requested: list[int] = []
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
        """Ignore clients that close the connection."""


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
            if first == len(CONTENT) - 1:  # the question whether the host serves the file
                self.wfile.write(body)
            else:
                self.server.requested.append(first)
                self.server.sent.append(0)
                self.send_body(fault, first, body)

    def send_body(self, fault: str, first: int, body: bytes) -> None:
        transfer, breaks = len(self.server.sent) - 1, fault in ("stall", "reset", "truncation") and first < HALF
        body = body[: HALF - first] if breaks else body
        for start in range(0, len(body), 2000):
            self.server.sent[transfer] += len(body[start : start + 2000])  # before the client can have read it
            self.wfile.write(body[start : start + 2000])
            if fault == "slow":  # 50 kB/s at most
                time.sleep(0.04)
        if fault == "stall" and breaks:
            self.server.over.wait()
        if fault == "reset" and breaks:
            time.sleep(0.1)  # so that the bytes arrive before the reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        pass


def refused_port() -> str:
    """The address of a host that refuses every connection."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/archive.tar.gz"

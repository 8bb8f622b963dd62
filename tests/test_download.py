import hashlib
import http.server
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.download import CIFAR10, Archive, DownloadFailed, archive_path, cached, download_cifar10
from headstart.errors import BadRequest

CONTENT = random.Random(0).randbytes(60_000)
HALF = len(CONTENT) // 2


class Host(http.server.ThreadingHTTPServer):
    """A web server with a fault; `asked` lists the first byte and `sent` the number of bytes of every real request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.asked: list[int] = []
        self.sent: list[int] = []
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"

    def close(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error here."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        fault, first = self.server.fault, int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        probe = self.headers["Range"] == "bytes=0-0"
        if fault == "silent":
            self.server.over.wait()
        elif fault == "404":
            self.send_error(404)
        elif fault == "redirect loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        else:
            self.serve(fault, 0 if fault == "no range" else first, probe)

    def serve(self, fault: str, first: int, probe: bool) -> None:
        content = {"wrong bytes": bytes(len(CONTENT)), "other file": b"<html>log in first</html>"}.get(fault, CONTENT)
        self.send_response(200 if fault == "no range" else 206)
        if fault != "no range":
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if not probe:
            self.server.asked.append(first)
            self.server.sent.append(0)
            self.send_body(fault, first, content)

    def send_body(self, fault: str, first: int, content: bytes) -> None:
        turn = len(self.server.sent) - 1
        stop = HALF if fault in ("stall", "reset", "truncation") and first < HALF else len(content)
        stop = first + 2000 if fault == "a breath" else stop
        for start in range(first, stop, 2000):
            part = content[start : min(start + 2000, stop)]
            self.wfile.write(part)
            self.server.sent[turn] += len(part)
            if fault == "slow":  # 50 kB/s at most
                time.sleep(0.04)
        if fault in ("stall", "a breath") and stop < len(content):
            self.server.over.wait()
        if fault == "reset" and stop == HALF:
            time.sleep(0.1)  # what was sent arrives before the reset overtakes it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


@pytest.fixture
def serve() -> Iterator[Callable[[str], Host]]:
    hosts: list[Host] = []

    def start(fault: str = "none") -> Host:
        hosts.append(Host(fault))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


def archive_at(*places: Host | str, **changes: float) -> Archive:
    urls = tuple(place if isinstance(place, str) else place.url for place in places)
    archive = Archive(urls, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    return replace(archive, **{"answer": 4.0, "brisk": 2e5, "trial": 0.5, "alive": 1e3, "stall": 0.6, **changes})


def refused_port() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/archive.tar.gz"


def failure(archive: Archive) -> str:
    with pytest.raises(DownloadFailed) as caught:
        download_cifar10(archive)
    assert isinstance(caught.value, BadRequest)
    assert "--data digits" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def part_file() -> Path:
    return archive_path().with_name(f"{archive_path().name}.part")


def test_official_archive_is_the_one_keras_names() -> None:
    assert CIFAR10.urls[0] == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert (CIFAR10.size, CIFAR10.brisk) == (170_498_071, 500_000)


def test_download_fills_the_cache_from_the_first_host_and_only_once(serve, keras_home, capsys) -> None:
    official, mirror = serve(), serve()
    archive = archive_at(official, mirror)
    assert not cached(archive)
    path = download_cifar10(archive)
    assert path == keras_home / "datasets" / "cifar-10-batches-py-target_archive"
    assert path.read_bytes() == CONTENT
    assert cached(archive)
    assert "CIFAR-10" in capsys.readouterr().err
    assert not part_file().exists()
    download_cifar10(archive)
    assert (official.asked, mirror.asked) == ([0], [])


@pytest.mark.parametrize("fault", ["silent", "404", "redirect loop", "other file"])
def test_host_that_serves_nothing_is_left_for_the_mirror(serve, fault) -> None:
    official, mirror = serve(fault), serve()
    assert download_cifar10(archive_at(official, mirror, answer=1.2)).read_bytes() == CONTENT
    assert mirror.sent == [len(CONTENT)]


@pytest.mark.parametrize("fault", ["stall", "reset", "truncation", "slow"])
def test_mirror_goes_on_where_the_first_host_broke_off(serve, fault) -> None:
    official, mirror = serve(fault), serve()
    assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
    [begun_at] = mirror.asked
    assert begun_at == HALF if fault != "slow" else 0 < begun_at < len(CONTENT)
    assert mirror.sent == [len(CONTENT) - begun_at]


@pytest.mark.parametrize("fault", ["silent", "404", "redirect loop", "other file", "wrong bytes", "a breath"])
def test_one_clear_line_when_both_hosts_fail_and_the_next_start_succeeds(serve, fault) -> None:
    official, mirror = serve(fault), serve(fault)
    line = failure(archive_at(official, mirror, answer=0.3, trial=0.2, stall=0.3))
    assert all(str(host.server_address[1]) in line for host in (official, mirror))
    official.fault = mirror.fault = "none"
    assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT


def test_wrong_bytes_are_thrown_away_and_the_other_host_is_asked(serve) -> None:
    official, mirror = serve("wrong bytes"), serve()
    assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
    assert mirror.asked == [0]


def test_wrong_bytes_everywhere_are_not_fetched_again_and_not_kept(serve) -> None:
    official, mirror = serve("wrong bytes"), serve("wrong bytes")
    assert "SHA-256" in failure(archive_at(official, mirror))
    assert (official.asked, mirror.asked) == ([0], [0])
    assert part_file().read_bytes() == b""
    assert not archive_path().exists()


def test_part_file_that_was_damaged_is_found_out(serve) -> None:
    official, mirror = serve(), serve()
    part_file().parent.mkdir(parents=True)
    part_file().write_bytes(bytes(HALF))
    assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
    assert (official.asked, mirror.asked) == ([HALF], [0])


@pytest.mark.parametrize("leftover", [CONTENT, bytes(len(CONTENT)), CONTENT + b"more"], ids=["whole", "wrong", "long"])
def test_complete_part_file_is_used_only_if_it_is_right(serve, leftover) -> None:
    official = serve()
    part_file().parent.mkdir(parents=True)
    part_file().write_bytes(leftover)
    assert download_cifar10(archive_at(official)).read_bytes() == CONTENT
    assert official.asked == ([] if leftover == CONTENT else [0])


def test_slow_mirror_is_better_than_none(serve) -> None:
    official, mirror = serve("stall"), serve("slow")
    began = time.monotonic()
    assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
    assert time.monotonic() - began < 5
    assert sum(mirror.sent) <= HALF + 8000  # a little more than arrived may have been on its way


def test_slow_first_host_is_taken_when_the_mirror_is_gone(serve) -> None:
    official = serve("slow")
    assert download_cifar10(archive_at(official, refused_port())).read_bytes() == CONTENT
    assert len(official.asked) == 2


def test_a_trickle_is_not_waited_for(serve) -> None:
    began = time.monotonic()
    assert "too slow" in failure(archive_at(serve("slow"), alive=2e5, stall=0.3))
    assert time.monotonic() - began < 3


def test_host_that_cannot_resume_costs_bytes_but_not_the_download(serve) -> None:
    official, mirror = serve("truncation"), serve("no range")
    assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
    assert mirror.sent == [len(CONTENT)]


def test_refused_port_fails_at_once() -> None:
    began = time.monotonic()
    assert "refused" in failure(archive_at(refused_port(), refused_port(), answer=8.0)).lower()
    assert time.monotonic() - began < 2


def test_dead_name_is_left_for_the_mirror(serve, monkeypatch) -> None:
    look_up = socket.getaddrinfo

    def resolve(name, *more, **named):
        if name == "dead.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(name, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert download_cifar10(archive_at("http://dead.test/a", serve())).read_bytes() == CONTENT
    archive_path().unlink()
    assert "Name or service not known" in failure(archive_at("http://dead.test/a"))


def test_name_service_that_hangs_is_given_up_in_time(monkeypatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    began = time.monotonic()
    assert "no answer in 0.5 s" in failure(archive_at("http://one.test/a", "http://two.test/a", answer=0.5))
    assert time.monotonic() - began < 2
    over.set()


def test_closed_network_is_known_within_15_seconds_with_the_usual_patience() -> None:
    assert CIFAR10.answer < 12  # all hosts are asked at once, so this is the whole wait


def test_torn_archive_in_the_cache_is_said_and_replaced(serve, capsys) -> None:
    archive_path().parent.mkdir(parents=True)
    archive_path().write_bytes(CONTENT[:HALF])
    archive = archive_at(serve())
    assert not cached(archive)
    assert download_cifar10(archive).read_bytes() == CONTENT
    assert "torn or not CIFAR-10" in capsys.readouterr().err


def test_torn_archive_in_the_cache_stays_when_there_is_no_network() -> None:
    archive_path().parent.mkdir(parents=True)
    archive_path().write_bytes(CONTENT[:HALF])
    failure(archive_at(refused_port()))
    assert archive_path().read_bytes() == CONTENT[:HALF]


def test_full_disk_is_one_line(serve, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left on device" in failure(archive_at(serve()))


def test_cache_that_is_no_folder_is_one_line(serve, keras_home) -> None:
    keras_home.mkdir()
    (keras_home / "datasets").write_text("in the way")
    assert "KERAS_HOME" in failure(archive_at(serve()))


def test_keras_home_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "keras"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: str(path) != "/tmp" and is_dir(path))
    assert archive_path().parent == tmp_path / ".keras" / "datasets"
    failure(archive_at(refused_port()))
    assert "cannot write" in capsys.readouterr().err


def downloader(archive: Archive) -> subprocess.Popen[str]:
    code = f"from headstart.download import *; print(download_cifar10({archive!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_download_killed_half_way_goes_on_from_there(serve) -> None:
    host = serve("stall")
    archive = archive_at(host, trial=20.0, answer=20.0)
    with downloader(archive) as process:
        deadline = time.monotonic() + 10
        while not (part_file().exists() and part_file().stat().st_size > 0) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    kept = part_file().stat().st_size
    assert 0 < kept <= HALF
    host.fault = "none"
    assert download_cifar10(archive).read_bytes() == CONTENT
    assert host.asked == [0, kept]
    assert host.sent[1] == len(CONTENT) - kept


def test_four_processes_at_once_download_once(serve) -> None:
    host = serve("slow")
    processes = [downloader(archive_at(host, brisk=1e3, answer=10.0)) for _ in range(4)]
    outputs = [process.communicate(timeout=20) for process in processes]
    assert [output for output, _ in outputs] == [f"{archive_path()}\n"] * 4
    assert host.sent == [len(CONTENT)]


def test_importing_loads_neither_tensorflow_nor_rich() -> None:
    code = (
        "import sys, headstart.download, headstart.sources;"
        "print(sorted({'keras', 'tensorflow', 'rich', 'sklearn', 'PIL'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"

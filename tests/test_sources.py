import errno
import hashlib
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from headstart.download import Archive, DownloadFailed, archive_path
from headstart.errors import BadRequest
from headstart.practical.data import CIFAR10_CLASSES
from headstart.sources import fingerprint, load_dataset, open_dataset
from test_batches import packed, unpacked
from test_image_folder import picture

NO_NETWORK = Archive(("http://127.0.0.1:9/archive.tar.gz",), 1, "0" * 64, answer=1.0)


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("headstart.image_folder.user_cache_path", lambda name: tmp_path / "cache")


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)


def refusal(data: object) -> str:
    with pytest.raises(BadRequest) as caught:
        open_dataset(str(data))
    assert str(caught.value).isprintable()
    return str(caught.value)


def archive_of(file: Path) -> Archive:
    content = file.read_bytes()
    return Archive(NO_NETWORK.urls, len(content), hashlib.sha256(content).hexdigest())


def test_digits_need_no_socket(no_sockets) -> None:
    assert load_dataset("digits").name == "scikit-learn digits, not CIFAR-10"


def test_auto_without_network_gives_digits_and_says_so_loudly() -> None:
    said: list[str] = []
    dataset, source = open_dataset("auto", said.append, NO_NETWORK)
    assert "not CIFAR-10" in dataset.name
    assert "NOT CIFAR-10, because" in source
    [warning] = [line for line in said if line.startswith("WARNING")]
    assert "DIGITS, NOT CIFAR-10" in warning
    assert warning.isprintable()


def test_cifar10_without_network_is_refused() -> None:
    with pytest.raises(DownloadFailed, match="--data digits"):
        open_dataset("cifar10", archive=NO_NETWORK)


@pytest.mark.parametrize(
    "data", ["cifar", "no/such", "a\nb", "a\0b", "x" * 500, "\x1b[2J", "~no/x", "caf\udce9", "pipe"]
)
def test_what_does_not_exist_is_refused_with_what_data_takes(data, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert "cifar10, digits, auto, or a path" in refusal(data)


def test_keras_unpacks_the_archive_in_one_process_at_a_time(tmp_path: Path, monkeypatch) -> None:
    file = packed(archive_path(), unpacked(tmp_path / "data", images=1), mode="w")

    def unpacking() -> None:
        with pytest.raises(Timeout):
            FileLock(f"{archive_path()}.lock").acquire(timeout=0)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headstart.practical.cifar10.load_dataset", unpacking)
    with pytest.raises(BadRequest, match=r"cannot be unpacked there \(No space left on device\): make room"):
        open_dataset("cifar10", archive=archive_of(file))


def test_archive_and_unpacked_folder_are_the_same_data(tmp_path, no_sockets) -> None:
    unpacked(tmp_path / "data" / "cifar-10-batches-py")
    file = packed(tmp_path / "cifar-10-python.tar.gz", tmp_path / "data" / "cifar-10-batches-py")
    from_archive, source = open_dataset(str(file), archive=archive_of(file))
    assert "SHA-256" in source
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-python.tar.gz", "data"]
    for folder in (tmp_path / "data", tmp_path / "data" / "cifar-10-batches-py"):
        dataset, source = open_dataset(str(folder))
        assert fingerprint(dataset) == fingerprint(from_archive)
        assert "unpacked" in source


def test_keras_uses_our_cache_and_gives_what_we_read_ourselves(tmp_path, no_sockets, monkeypatch) -> None:
    packed(archive_path(), unpacked(tmp_path / "data", images=1), mode="w")
    # Keras was imported with another home, and knows the real archive's hash.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))
    monkeypatch.setattr("keras.src.utils.file_utils.validate_file", lambda *_, **__: True)
    dataset, source = open_dataset("cifar10", archive=archive_of(archive_path()))
    ours = load_dataset(str(tmp_path / "data"))
    assert dataset.x_train.shape == (50_000, 32, 32, 3)  # Keras repeats a batch's only image
    assert np.array_equal(dataset.x_train[::10_000], ours.x_train)
    assert np.array_equal(dataset.y_train[9_999::10_000], ours.y_train)
    assert np.array_equal(dataset.x_test, ours.x_test)
    assert "keras.datasets.cifar10" in source


def test_archive_with_a_wrong_hash_or_torn_is_refused_unopened(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tarfile.open", None)
    (tmp_path / "file").write_bytes(bytes(1000))
    assert "torn, or not the official archive of 170,498,071 bytes (1,000 bytes)" in refusal(tmp_path / "file")
    os.truncate(tmp_path / "file", 170_498_071)
    assert "torn, or not the official archive" in refusal(tmp_path / "file")


def test_image_folder_has_the_notebook_s_name(tmp_path, no_sockets, monkeypatch) -> None:
    for part in ("train", "test"):
        for name in CIFAR10_CLASSES:
            picture(tmp_path / "ten" / part / name / "0.png")
    monkeypatch.chdir(tmp_path / "ten")
    dataset, source = open_dataset(".")
    assert dataset.class_names == CIFAR10_CLASSES
    assert dataset.name == "CIFAR-10 images from the folder “ten”"
    assert source == f"image folder {tmp_path / 'ten'}"


def test_names_that_cannot_be_shown_are_escaped_or_refused(tmp_path) -> None:
    for part in ("train", "test"):
        for name in ("apple", "pear"):
            picture(tmp_path / "a\x1b" / "fruit" / part / name / "0.png")
    assert open_dataset(str(tmp_path / "a\x1b" / "fruit")).source.endswith("a\\x1b/fruit")
    (tmp_path / "a\x1b" / "fruit" / "train" / "pear" / "b\n.png").write_text("text")
    assert "b\\n.png: no image" in refusal(tmp_path / "a\x1b" / "fruit")
    (tmp_path / "a\x1b" / "fruit").rename(tmp_path / "caf\udce9")
    assert "cannot be shown" in refusal(tmp_path / "caf\udce9")


def test_fingerprint_tells_every_part_of_the_data() -> None:
    dataset = load_dataset("digits")
    other = [
        replace(dataset, x_train=255 - dataset.x_train),
        replace(dataset, y_train=dataset.y_train[::-1]),
        replace(dataset, x_test=dataset.x_test[::-1]),
        replace(dataset, y_test=1 - dataset.y_test),
        replace(dataset, class_names=("apple", "plum")),
    ]
    assert len({fingerprint(one) for one in (dataset, *other)}) == 6
    assert fingerprint(replace(dataset, name="elsewhere")) == fingerprint(dataset)

from __future__ import annotations

import errno
import hashlib
import logging
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from headstart.datasets.download import Archive, DownloadFailed, archive_path
from headstart.datasets.sources import fingerprint, load_dataset, open_dataset, printable, resolve_auto
from headstart.errors import InvalidRequest, ResourceError
from headstart.practical.data import CIFAR10_CLASSES
from support.cifar10 import packed, unpacked
from support.pictures import write_picture

NO_NETWORK = Archive(("http://127.0.0.1:9/archive.tar.gz",), 1, "0" * 64, timeout=1.0)


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)


def refusal(data: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        open_dataset(str(data))
    assert str(caught.value).isprintable()
    return str(caught.value)


def archive_of(file: Path) -> Archive:
    content = file.read_bytes()
    return Archive(NO_NETWORK.urls, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.usefixtures("no_sockets")
def test_digits_need_no_network() -> None:
    assert load_dataset("digits").name == "scikit-learn digits, not CIFAR-10"


def test_auto_without_a_network_gives_the_digits_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    dataset, source = open_dataset("auto", NO_NETWORK)
    assert "not CIFAR-10" in dataset.name
    assert "NOT CIFAR-10, because" in source
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "DIGITS, NOT CIFAR-10" in warning
    assert warning.isprintable()


def test_cifar10_without_a_network_is_refused() -> None:
    with pytest.raises(DownloadFailed, match="use the digits"):
        open_dataset("cifar10", NO_NETWORK)


@pytest.mark.parametrize(
    ("data", "name", "resolved"),
    [
        ("auto", "CIFAR-10", "cifar10"),
        ("auto", "scikit-learn digits, not CIFAR-10", "digits"),
        ("digits", "scikit-learn digits, not CIFAR-10", "digits"),
        ("some/folder", "images from the folder “folder”", "some/folder"),
    ],
)
def test_auto_is_resolved_to_the_dataset_that_was_found(data: str, name: str, resolved: str) -> None:
    assert resolve_auto(data, name) == resolved


@pytest.mark.parametrize(
    "data", ["cifar", "no/such", "a\nb", "a\0b", "x" * 500, "\x1b[2J", "~no/x", "caf\udce9", "pipe"]
)
def test_unknown_data_is_refused_with_the_choices(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    refused = refusal(data)
    assert refused.startswith(f"data={data!r}: ")
    assert "cifar10, digits, auto, or a path" in refused


def test_only_one_process_at_a_time_lets_keras_unpack_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed(archive_path(), unpacked(tmp_path / "data", images=1), mode="w")

    def unpack() -> None:
        with pytest.raises(Timeout):
            FileLock(f"{archive_path()}.lock").acquire(timeout=0)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headstart.practical.cifar10.load_dataset", unpack)
    with pytest.raises(ResourceError, match=r"cannot be unpacked there \(No space left on device\): free some space"):
        open_dataset("cifar10", archive_of(file))


@pytest.mark.usefixtures("no_sockets")
def test_archive_and_unpacked_folder_are_the_same_data(tmp_path: Path) -> None:
    unpacked(tmp_path / "data" / "cifar-10-batches-py")
    file = packed(tmp_path / "cifar-10-python.tar.gz", tmp_path / "data" / "cifar-10-batches-py")
    from_archive, source = open_dataset(str(file), archive_of(file))
    assert "SHA-256" in source
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-python.tar.gz", "data"]
    for folder in (tmp_path / "data", tmp_path / "data" / "cifar-10-batches-py"):
        dataset, source = open_dataset(str(folder))
        assert fingerprint(dataset) == fingerprint(from_archive)
        assert "unpacked" in source


@pytest.mark.usefixtures("no_sockets")
def test_keras_reads_our_cache_as_we_read_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(archive_path(), unpacked(tmp_path / "data", images=1), mode="w")
    # Keras was imported with another home, and knows the real archive's hash.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))
    monkeypatch.setattr("keras.src.utils.file_utils.validate_file", lambda *_, **__: True)
    dataset, source = open_dataset("cifar10", archive_of(archive_path()))
    ours = load_dataset(str(tmp_path / "data"))
    assert dataset.x_train.shape == (50_000, 32, 32, 3)  # Keras repeats a batch's only image
    assert np.array_equal(dataset.x_train[::10_000], ours.x_train)
    assert np.array_equal(dataset.y_train[9_999::10_000], ours.y_train)
    assert np.array_equal(dataset.x_test, ours.x_test)
    assert "keras.datasets.cifar10" in source


def test_archive_with_a_wrong_size_or_hash_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarfile.open", None)
    (tmp_path / "file").write_bytes(bytes(1000))
    assert "damaged, or not the official archive of 170,498,071 bytes (1,000 bytes)" in refusal(tmp_path / "file")
    os.truncate(tmp_path / "file", 170_498_071)
    assert "damaged, or not the official archive" in refusal(tmp_path / "file")


@pytest.mark.usefixtures("no_sockets")
def test_image_folder_has_the_name_that_the_notebook_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "test"):
        for name in CIFAR10_CLASSES:
            write_picture(tmp_path / "ten" / part / name / "0.png")
    monkeypatch.chdir(tmp_path / "ten")
    dataset, source = open_dataset(".")
    assert dataset.class_names == CIFAR10_CLASSES
    assert dataset.name == "CIFAR-10 images from the folder “ten”"
    assert source == f"image folder {tmp_path / 'ten'}"


def test_unprintable_names_are_escaped_or_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("apple", "pear"):
            write_picture(tmp_path / "a\x1b" / "fruit" / part / name / "0.png")
    assert open_dataset(str(tmp_path / "a\x1b" / "fruit")).source.endswith("a\\x1b/fruit")
    (tmp_path / "a\x1b" / "fruit" / "train" / "pear" / "b\n.png").write_text("text")
    assert "b\\n.png: the image cannot be read" in refusal(tmp_path / "a\x1b" / "fruit")
    (tmp_path / "a\x1b" / "fruit").rename(tmp_path / "caf\udce9")
    assert "has unprintable characters" in refusal(tmp_path / "caf\udce9")


def test_only_unprintable_characters_are_escaped() -> None:
    assert printable("ü “x”\n\x1b\udce9\\") == "ü “x”\\n\\x1b\\udce9\\"


def test_fingerprint_depends_on_images_labels_and_class_names_only() -> None:
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

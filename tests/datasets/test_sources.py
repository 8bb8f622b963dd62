from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
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
    dataset, source = open_dataset("auto", archive=NO_NETWORK)
    assert "not CIFAR-10" in dataset.name
    assert "NOT CIFAR-10, because" in source
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "DIGITS, NOT CIFAR-10" in warning
    assert warning.isprintable()


def test_cifar10_without_a_network_is_refused() -> None:
    with pytest.raises(DownloadFailed, match="use the digits"):
        open_dataset("cifar10", archive=NO_NETWORK)


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
        open_dataset("cifar10", archive=archive_of(file))


@pytest.mark.usefixtures("no_sockets")
def test_archive_and_unpacked_folder_are_the_same_data(tmp_path: Path) -> None:
    unpacked(tmp_path / "data" / "cifar-10-batches-py")
    file = packed(tmp_path / "cifar-10-python.tar.gz", tmp_path / "data" / "cifar-10-batches-py")
    from_archive, source = open_dataset(str(file), archive=archive_of(file))
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
    dataset, source = open_dataset("cifar10", archive=archive_of(archive_path()))
    ours = load_dataset(str(tmp_path / "data"))
    assert dataset.x_train.shape == (50_000, 32, 32, 3)  # Keras repeats a batch's only image
    assert np.array_equal(dataset.x_train[::10_000], ours.x_train)
    assert np.array_equal(dataset.y_train[9_999::10_000], ours.y_train)
    assert np.array_equal(dataset.x_test, ours.x_test)
    assert "keras.datasets.cifar10" in source


def test_archive_with_a_wrong_size_or_hash_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarfile.open", None)
    file = tmp_path / "cifar.tar.gz"
    file.write_bytes(bytes(1000))
    assert "damaged, or not the official archive of 170,498,071 bytes (1,000 bytes)" in refusal(file)
    os.truncate(file, 170_498_071)
    assert "damaged, or not the official archive" in refusal(file)


@pytest.mark.parametrize("name", ["a.png", "images.zip", "labels.csv", "a"])
def test_a_file_that_is_no_archive_is_refused_with_the_choices(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not an archive")
    refused = refusal(tmp_path / name)
    assert refused.startswith(f"data='{tmp_path / name}': this file is not an archive: give cifar10, digits, auto")


@pytest.mark.parametrize("old", ["cifar-10-batches-py", "cifar-10-batches-py.tar.gz"])
def test_without_a_network_an_earlier_keras_cache_is_read(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = unpacked(tmp_path / "keras" / "datasets" / "cifar-10-batches-py", images=1)
    monkeypatch.setattr("headstart.datasets.cifar10.MD5", md5_of(batches))
    expected = load_dataset(str(batches))
    assert expected.name == "CIFAR-10"
    archive = NO_NETWORK
    if old.endswith(".gz"):
        archive = archive_of(packed(batches.parent / old, batches))
        shutil.rmtree(batches)
        monkeypatch.setattr("headstart.practical.cifar10.load_dataset", lambda: expected)
    dataset, source = open_dataset("cifar10", archive=archive)
    assert fingerprint(dataset) == fingerprint(expected)
    if old.endswith(".gz"):
        assert archive_path().read_bytes() == (batches.parent / old).read_bytes()
    else:
        assert source == f"{batches} (unpacked by an earlier Keras, MD5 checked)"


def test_other_batches_in_keras_cache_are_not_taken_for_cifar10(tmp_path: Path) -> None:
    unpacked(tmp_path / "keras" / "datasets" / "cifar-10-batches-py", images=1)
    with pytest.raises(DownloadFailed):
        open_dataset("cifar10", archive=NO_NETWORK)


def test_a_damaged_archive_in_keras_cache_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    archive_path().parent.mkdir(parents=True)
    archive_path().write_bytes(bytes(1000))
    with pytest.raises(DownloadFailed):
        open_dataset("cifar10", archive=NO_NETWORK)
    assert f"{archive_path()} is not the complete archive (1,000 bytes): it is downloaded again" in caplog.messages


def md5_of(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_changed_batches_are_not_called_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = unpacked(tmp_path / "mine")
    monkeypatch.setattr("headstart.datasets.cifar10.MD5", md5_of(batches))
    assert load_dataset(str(batches)).name == "CIFAR-10"
    (batches / "data_batch_2").write_bytes((batches / "data_batch_3").read_bytes())
    assert load_dataset(str(batches)).name == "images in CIFAR-10's file format from mine"


def test_a_share_of_an_image_folder_becomes_the_test_part(tmp_path: Path) -> None:
    for number in range(10):
        for name in ("apple", "pear"):
            write_picture(tmp_path / "fruit" / name / f"{number}.png", seed=number)
    dataset, source = open_dataset(str(tmp_path / "fruit"), 0.3, seed=1)
    assert (len(dataset.x_train), len(dataset.x_test)) == (14, 6)
    assert source == f"image folder {tmp_path / 'fruit'}, 30% of each class as test images"
    again, other = (open_dataset(str(tmp_path / "fruit"), 0.3, seed).dataset for seed in (1, 2))
    assert fingerprint(again) == fingerprint(dataset) != fingerprint(other)


@pytest.mark.parametrize(
    ("data", "share"), [("digits", 0.2), ("folder", 0.0), ("folder", 1.0), ("folder", float("nan"))]
)
def test_a_test_share_that_makes_no_sense_is_refused(data: str, share: float, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidRequest, match=f"^test_share={share}: (leave it out: only an image|give a share)"):
        open_dataset(str(tmp_path / data) if data == "folder" else data, share)


@pytest.mark.parametrize("data", ["~nobody-of-this-name/x", "x" * 500, "a\0b", "no/such"])
def test_a_test_share_of_nothing_is_refused_in_one_line(data: str) -> None:
    with pytest.raises(InvalidRequest, match="cifar10, digits, auto, or a path"):
        open_dataset(data, 0.2)


@pytest.mark.usefixtures("no_sockets")
def test_image_folder_has_the_name_that_the_notebook_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "test"):
        for name in CIFAR10_CLASSES:
            write_picture(tmp_path / "ten" / part / name / "0.png")
    monkeypatch.chdir(tmp_path / "ten")
    dataset, source = open_dataset(".")
    assert dataset.class_names == CIFAR10_CLASSES
    assert dataset.name == "images with CIFAR-10's class names from the folder “ten”"
    assert source == f"image folder {tmp_path / 'ten'}"


def test_unprintable_names_are_escaped_or_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("apple", "pear"):
            write_picture(tmp_path / "a\x1b" / "fruit" / part / name / "0.png")
    assert open_dataset(str(tmp_path / "a\x1b" / "fruit")).source.endswith("a\\x1b/fruit")
    (tmp_path / "a\x1b" / "fruit" / "train" / "pear" / "b\n.png").write_text("text")
    assert "b\\n.png (not a picture" in refusal(tmp_path / "a\x1b" / "fruit")
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

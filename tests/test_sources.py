import hashlib
import io
import os
import pickle
import socket
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from headstart.download import Archive, DownloadFailed, archive_path
from headstart.errors import BadRequest
from headstart.practical.data import CIFAR10_CLASSES, load_image_folder
from headstart.sources import BATCHES, fingerprint, open_dataset

KERAS_FOLDER = "cifar-10-batches-py-target"  # what Keras unpacks its archive into
NO_NETWORK = Archive(("http://127.0.0.1:9/archive.tar.gz",), 1, "0" * 64, answer=1.0)


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("headstart.sources.user_cache_path", lambda name: tmp_path / "cache" / name)


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)


def refusal(data: object, archive: Archive = NO_NETWORK) -> str:
    with pytest.raises(BadRequest) as caught:
        open_dataset(str(data), archive=archive)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 800
    return line


# Names


def test_digits_need_no_socket(no_sockets) -> None:
    dataset, source = open_dataset("digits")
    assert dataset.name == "scikit-learn digits, not CIFAR-10"
    assert "digits" in source


def test_auto_without_network_gives_digits_and_says_so_loudly() -> None:
    said: list[str] = []
    dataset, source = open_dataset("auto", said.append, NO_NETWORK)
    assert "not CIFAR-10" in dataset.name
    assert "not CIFAR-10, because" in source
    [warning] = [line for line in said if line.startswith("WARNING")]
    assert "NOT CIFAR-10" in warning
    assert "\n" not in warning


def test_cifar10_without_network_is_refused() -> None:
    with pytest.raises(DownloadFailed, match="--data digits"):
        open_dataset("cifar10", archive=NO_NETWORK)


@pytest.mark.parametrize(
    "data", ["cifar", "", "/no/such/place", "no/such.tar.gz", "a\nb", "a\0b", "x" * 500, "\x1b[2J", "~nobody/x"]
)
def test_what_does_not_exist_is_refused_with_what_data_takes(data, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadRequest) as caught:
        open_dataset(data)
    assert str(caught.value).isprintable()
    assert "cifar10, digits, auto, or a path" in str(caught.value)


def test_neither_file_nor_folder_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no such name, file or folder" in refusal(tmp_path / "pipe")


# CIFAR-10's own files


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 did, as in CIFAR-10's files."""

    def save_bytes(self, text: bytes) -> None:
        self.write(b"T" + struct.pack("<I", len(text)) + text)
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


def batch(images: int = 3, seed: int = 0, **changes: object) -> bytes:
    random = np.random.default_rng(seed)
    pixels = np.resize(random.integers(0, 256, 7 * 3072, dtype=np.uint8), (images, 3072))  # easy to compress
    labels = random.integers(0, 10, images).tolist()
    content = {b"batch_label": b"training batch", b"labels": labels, b"data": pixels, b"filenames": [b"a.png"] * images}
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(content | {name.encode(): value for name, value in changes.items()})
    return file.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")


def batches(**changes: bytes) -> dict[str, bytes]:
    return {name: batch(seed=seed) for seed, name in enumerate(BATCHES)} | changes


def unpacked(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def packed(file: Path, contents: dict[str, bytes], compressed: bool = True) -> Archive:
    with tarfile.open(file, "w:gz" if compressed else "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive_of(file)


def archive_of(file: Path) -> Archive:
    content = file.read_bytes()
    return Archive(NO_NETWORK.urls, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_unpacked_folder_or_its_parent(tmp_path, no_sockets, inner) -> None:
    unpacked(tmp_path / "data" / inner, batches())
    dataset, source = open_dataset(str(tmp_path / "data"))
    first = pickle.loads(batches()["data_batch_1"], encoding="bytes")
    assert dataset.x_train.shape == (15, 32, 32, 3)
    assert dataset.x_train.dtype == np.uint8
    assert dataset.x_train[1, 4, 5, 2] == first[b"data"][1, 2 * 1024 + 4 * 32 + 5]
    assert dataset.y_train[:3].tolist() == first[b"labels"]
    assert dataset.y_test.dtype == np.int64
    assert (dataset.class_names, dataset.name) == (CIFAR10_CLASSES, "CIFAR-10")
    assert "unpacked" in source


def test_archive_is_read_without_unpacking_it(tmp_path, no_sockets) -> None:
    archive = packed(tmp_path / "cifar-10-python.tar.gz", batches())
    dataset, source = open_dataset(str(tmp_path / "cifar-10-python.tar.gz"), archive=archive)
    unpacked(tmp_path / "data", batches())
    assert fingerprint(dataset) == fingerprint(open_dataset(str(tmp_path / "data")).dataset)
    assert "SHA-256" in source
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-python.tar.gz", "data"]


def test_keras_uses_our_cache_and_gives_what_we_read_ourselves(tmp_path, no_sockets, monkeypatch) -> None:
    archive_path().parent.mkdir(parents=True)
    archive = packed(archive_path(), {name: batch(10_000, seed) for seed, name in enumerate(BATCHES)}, compressed=False)
    # Keras was imported with another home, and knows the real archive's hash.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))
    monkeypatch.setattr("keras.src.utils.file_utils.validate_file", lambda *_, **__: True)
    dataset, source = open_dataset("cifar10", archive=archive)
    assert dataset.x_train.shape == (50_000, 32, 32, 3)
    assert "keras.datasets.cifar10" in source
    assert fingerprint(dataset) == fingerprint(open_dataset(str(archive_path().with_name(KERAS_FOLDER))).dataset)


def test_archive_with_a_wrong_hash_or_torn_is_refused(tmp_path) -> None:
    file = tmp_path / "cifar-10-python.tar.gz"
    archive = packed(file, batches())
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "its SHA-256 differs" in refusal(file, archive)
    file.write_bytes(content[:1000])
    assert "it has 1,000 of" in refusal(file, archive)
    assert "1,000 of 170,498,071 bytes" in refusal_of_official(file)


def refusal_of_official(file: Path) -> str:
    with pytest.raises(BadRequest) as caught:
        open_dataset(str(file))
    return str(caught.value)


@pytest.mark.parametrize("cut", [20, -30_000])
def test_broken_compression_is_refused(tmp_path, cut) -> None:
    packed(tmp_path / "whole", batches())
    (tmp_path / "file").write_bytes((tmp_path / "whole").read_bytes()[:cut])
    assert "fetch cifar-10-python.tar.gz again" in refusal(tmp_path / "file", archive_of(tmp_path / "file"))


def test_no_tar_at_all_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("no tar")
    assert "cannot be unpacked" in refusal(tmp_path / "file", archive_of(tmp_path / "file"))


def test_links_and_paths_out_of_the_archive_lead_nowhere(tmp_path) -> None:
    (tmp_path / "outside").write_bytes(batch())
    file = tmp_path / "file"
    with tarfile.open(file, "w:gz") as tar:
        for name in BATCHES:
            link = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
            tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    assert "data_batch_1 is missing" in refusal(file, archive_of(file))
    assert not (tmp_path.parent / "escaped").exists()


def test_missing_batch_is_refused(tmp_path) -> None:
    contents = batches()
    del contents["data_batch_4"]
    assert "data_batch_4 is missing" in refusal(unpacked(tmp_path / "data", contents))


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


HOSTILE = {
    "runs a command": lambda mark: pickle.dumps(Calls(os.system, f"touch {mark}"), protocol=2),
    "evaluates": lambda mark: pickle.dumps(Calls(eval, f"open({str(mark)!r}, 'w')"), protocol=4),
    "opens a file": lambda mark: pickle.dumps(Calls(open, str(mark), "w")),
    "hides in the labels": lambda mark: batch(labels=Calls(os.mkdir, str(mark))),
    "hides behind numpy": lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__class__.mro\x93.",
    "loads by numpy": lambda mark: b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
    "spells addresses": lambda mark: pickle.dumps(
        {b"data": Calls(np.ndarray, (1,), np.dtype("O"), b"A" * 8)}, protocol=2
    ),
    "a huge array": lambda mark: pickle.dumps({b"data": Calls(np.ndarray, (1 << 40,))}, protocol=2),
    "a huge memo": lambda mark: b"]r\xff\xff\xff\x3f.",
    "a persistent id": lambda mark: b"Pmark\n.",
    "an extension": lambda mark: b"\x82\x01.",
    "deep": lambda mark: b"(" * 100_000 + b"l" * 100_000 + b".",
    "a text of terabytes": lambda mark: b"\x80\x04\x8e" + (1 << 42).to_bytes(8, "little") + b"x.",
    "no dictionary": lambda mark: pickle.dumps([1, 2]),
    "nothing": lambda mark: b"",
    "torn": lambda mark: batch()[:-100],
    "no data": lambda mark: batch(data=None),
    "real numbers": lambda mark: batch(data=np.zeros((3, 3072))),
    "another shape": lambda mark: batch(data=np.zeros((3, 3071), np.uint8)),
    "as many columns": lambda mark: batch(data=np.asfortranarray(np.zeros((3, 3072), np.uint8))),
    "a label too many": lambda mark: batch(labels=[1, 2, 3, 4]),
    "a label of 10": lambda mark: batch(labels=[1, 2, 10]),
    "a label below 0": lambda mark: batch(labels=[1, 2, -1]),
    "labels of texts": lambda mark: batch(labels=[b"1", b"2", b"3"]),
    "one huge label": lambda mark: batch(labels=1 << 40),
    "no image": lambda mark: batch(0),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_batch_is_refused_and_runs_nothing(tmp_path, kind) -> None:
    mark = tmp_path / "mark"
    folder = unpacked(tmp_path / "data", batches(data_batch_3=HOSTILE[kind](mark)))
    assert "data_batch_3: no batch of CIFAR-10" in refusal(folder)
    archive = packed(tmp_path / "archive", batches(test_batch=HOSTILE[kind](mark)))
    assert "test_batch: no batch of CIFAR-10" in refusal(tmp_path / "archive", archive)
    assert not mark.exists()


# Image folders


def picture(file: Path, size: tuple[int, int] = (32, 32), seed: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three images each to train on and two to test with, of several sizes and kinds."""
    for number, kind in enumerate(("png", "jpg", "bmp")):
        for name in ("pear", "apple"):
            picture(tmp_path / "fruit" / "train" / name / f"{number}.{kind}", (32 + 9 * number, 32), number)
            if number < 2:
                picture(tmp_path / "fruit" / "test" / name / f"{number}.{kind}", seed=number + 7)
    (tmp_path / "fruit" / "train" / "apple" / ".hidden").write_text("not looked at")
    return tmp_path / "fruit"


def test_image_folder_gives_the_notebook_s_pixels_and_then_the_same_from_the_cache(folder, no_sockets) -> None:
    expected = load_image_folder(folder)
    said: list[str] = []
    first, source = open_dataset(str(folder), said.append)
    again, _ = open_dataset(str(folder), said.append)
    assert fingerprint(first) == fingerprint(again) == fingerprint(expected)
    assert first.class_names == ("apple", "pear")
    assert (first.name, source) == ("images of fruit", f"image folder {folder}")
    assert ["decoding" in said[0], "kept in" in said[1], "already decoded" in said[2]] == [True] * 3
    assert len(said) == 3


def test_classes_of_cifar10_are_named_but_not_taken_for_cifar10(tmp_path) -> None:
    for part in ("train", "test"):
        for name in CIFAR10_CLASSES:
            picture(tmp_path / "ten" / part / name / "0.png")
    dataset, _ = open_dataset(str(tmp_path / "ten"))
    assert dataset.class_names == CIFAR10_CLASSES
    assert dataset.name == "images of ten, in CIFAR-10's ten classes"


def test_changed_image_is_decoded_afresh(folder) -> None:
    before = fingerprint(open_dataset(str(folder)).dataset)
    picture(folder / "train" / "pear" / "0.png", seed=99)
    os.utime(folder / "train" / "pear" / "0.png", ns=(1, 1))
    assert fingerprint(open_dataset(str(folder)).dataset) != before


def cache_file(tmp_path: Path) -> Path:
    [file] = (tmp_path / "cache" / "headstart").iterdir()
    return file


def objects() -> bytes:
    file = io.BytesIO()
    np.savez(file, x_train=np.array([Calls(os.abort)], dtype=object))
    return file.getvalue()


def other_arrays() -> bytes:
    file = io.BytesIO()
    few = np.zeros((1, 32, 32, 3), np.uint8)
    np.savez(file, x_train=few, y_train=np.zeros(1, np.int64), x_test=few, y_test=np.zeros(1, np.int64))
    return file.getvalue()


DAMAGE = {
    "torn": lambda content: content[:-3000],
    "a bit flipped": lambda content: content[:9000] + bytes([content[9000] ^ 1]) + content[9001:],
    "empty": lambda content: b"",
    "objects": lambda content: objects(),
    "other arrays": lambda content: other_arrays(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_cache_is_decoded_again_and_mended(folder, tmp_path, kind) -> None:
    expected = fingerprint(open_dataset(str(folder)).dataset)
    file = cache_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[kind](whole))
    said: list[str] = []
    assert fingerprint(open_dataset(str(folder), said.append).dataset) == expected
    assert "decoding" in said[0]
    open_dataset(str(folder), said.append)
    assert "already decoded" in said[-1]


def test_cache_that_cannot_be_written_is_said_and_no_more(folder, tmp_path) -> None:
    (tmp_path / "cache").write_text("in the way")
    said: list[str] = []
    assert len(open_dataset(str(folder), said.append).dataset.x_train) == 6
    assert "cannot keep the decoded images" in said[-1]


def test_full_disk_leaves_no_half_written_cache(folder, tmp_path, monkeypatch) -> None:
    def full(file, **_: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    said: list[str] = []
    open_dataset(str(folder), said.append)
    assert "No space left on device" in said[-1]
    assert list((tmp_path / "cache" / "headstart").iterdir()) == []


def remove(folder: Path) -> None:
    for entry in sorted(folder.rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    folder.rmdir()


def bomb(file: Path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header promises far more pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def sparse(file: Path) -> None:
    os.truncate(picture(file), 200_000_000)


BAD_FOLDERS = {
    "no test part": (lambda folder: remove(folder / "test"), "holds no folder 'test'"),
    "no part": (lambda folder: [remove(folder / part) for part in ("train", "test")], "holds no folder 'train'"),
    "one class": (lambda folder: [remove(folder / part / "pear") for part in ("train", "test")], "1 class(es)"),
    "no class": (lambda folder: [remove(path) for path in folder.glob("*/*")], "0 class(es)"),
    "a class missing": (lambda folder: remove(folder / "test" / "pear"), "class 'pear' is not in both"),
    "an empty class": (
        lambda folder: [path.unlink() for path in folder.glob("test/pear/*")],
        "test/pear: the class has no",
    ),
    "a control letter": (lambda folder: (folder / "train" / "a\x1b[2J").mkdir(), "a\\x1b[2J: a class of this name"),
    "a newline": (lambda folder: (folder / "train" / "a\nb").mkdir(), "a\\nb: a class of this name"),
    "text": (lambda folder: (folder / "test" / "pear" / "1.jpg").write_text("text"), "pear/1.jpg: no image"),
    "an empty file": (lambda folder: (folder / "test" / "pear" / "1.jpg").write_text(""), "pear/1.jpg: no image"),
    "a torn image": (
        lambda folder: (folder / "train/pear/2.bmp").write_bytes((folder / "train/pear/2.bmp").read_bytes()[:900]),
        "pear/2.bmp: no image that can be read",
    ),
    "another kind": (
        lambda folder: Image.new("RGB", (9, 9)).save(folder / "train" / "pear" / "3.eps"),
        "pear/3.eps: a picture of kind EPS",
    ),
    "a bomb": (lambda folder: bomb(folder / "train" / "pear" / "x.png", 60_000, 1_000), "x.png: too large"),
    "a larger bomb": (lambda folder: bomb(folder / "train" / "pear" / "x.png", 60_000, 60_000), "x.png: no image"),
    "a file of 200 MB": (lambda folder: sparse(folder / "train" / "pear" / "x.png"), "x.png: too large"),
}


@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_bad_image_folder_is_refused_and_leaves_no_cache(folder, tmp_path, kind) -> None:
    spoil, words = BAD_FOLDERS[kind]
    spoil(folder)
    assert words in refusal(folder)
    assert not (tmp_path / "cache").exists()


# Fingerprints


def test_fingerprint_tells_every_part_of_the_data(folder) -> None:
    dataset = open_dataset(str(folder)).dataset
    other = [
        replace(dataset, x_train=255 - dataset.x_train),
        replace(dataset, y_train=dataset.y_train[::-1]),
        replace(dataset, x_test=dataset.x_test[::-1]),
        replace(dataset, y_test=1 - dataset.y_test),
        replace(dataset, class_names=("apple", "plum")),
    ]
    assert len({fingerprint(one) for one in (dataset, *other)}) == 6
    assert fingerprint(replace(dataset, name="elsewhere")) == fingerprint(dataset)

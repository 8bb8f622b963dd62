import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from headstart.batches import BATCHES, read_archive, read_batch, read_folder
from headstart.errors import BadRequest
from headstart.practical.data import CIFAR10_CLASSES


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 did, as in CIFAR-10's files."""

    def save_bytes(self, text: bytes) -> None:
        self.write(b"T" + struct.pack("<I", len(text)) + text)
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


def contents(images: int = 3, seed: int = 0, **changes: object) -> dict[bytes, object]:
    random = np.random.default_rng(seed)
    pixels = np.resize(random.integers(0, 256, 7 * 3072, dtype=np.uint8), (images, 3072))
    labels = random.integers(0, 10, images).tolist()
    batch = {b"batch_label": b"training batch", b"labels": labels, b"data": pixels, b"filenames": [b"a.png"] * images}
    return batch | {name.encode(): value for name, value in changes.items()}


def batch(images: int = 3, seed: int = 0, **changes: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(contents(images, seed, **changes))
    return file.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")


def unpacked(folder: Path, images: int = 3) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        (folder / name).write_bytes(batch(images, seed))
    return folder


def packed(file: Path, folder: Path, mode: str = "w:gz") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as tar:
        tar.add(folder, "cifar-10-batches-py")
    return file


def test_batches_are_read_as_keras_reads_them_unpacked_or_not(tmp_path) -> None:
    dataset = read_folder(unpacked(tmp_path / "data"))
    assert (dataset.x_train.shape, dataset.x_train.dtype) == ((15, 32, 32, 3), np.uint8)
    assert dataset.x_train[4, 4, 5, 2] == contents(seed=1)[b"data"][1, 2 * 1024 + 4 * 32 + 5]
    assert dataset.y_train[3:6].tolist() == contents(seed=1)[b"labels"]
    assert dataset.y_test.tolist() == contents(seed=5)[b"labels"]
    assert dataset.y_test.dtype == np.int64
    assert (dataset.class_names, dataset.name) == (CIFAR10_CLASSES, "CIFAR-10")
    from_archive = read_archive(packed(tmp_path / "archive.tar.gz", tmp_path / "data"))
    pairs = zip(vars(dataset).values(), vars(from_archive).values(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("protocol", range(2, 5))
def test_batch_pickled_by_python_3_is_read_too(protocol, tmp_path) -> None:
    images, labels = read_batch(pickle.dumps(contents(), protocol), tmp_path)
    assert images.tolist() == contents()[b"data"].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1).tolist()
    assert labels.tolist() == contents()[b"labels"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: os.truncate(file, 1 << 36)], ids=["missing", "huge"])
def test_missing_or_huge_batch_is_refused(tmp_path, spoil) -> None:
    spoil(unpacked(tmp_path / "data") / "data_batch_4")
    with pytest.raises(BadRequest, match="data_batch_4 is missing, or far too large"):
        read_folder(tmp_path / "data")


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
    "hides among good data": lambda mark: batch(filenames=Calls(os.mkdir, str(mark))),
    "hides behind numpy": lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__class__.mro\x93.",
    "loads by numpy": lambda mark: b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
    "spells addresses": lambda mark: batch(data=Calls(np.ndarray, (1,), np.dtype("O"), b"A" * 8)),
    "a huge array": lambda mark: batch(data=Calls(np.ndarray, (1 << 40,))),
    "a huge memo": lambda mark: b"]r\xff\xff\xff\x3f.",
    "a tuple hashed for hours": lambda mark: b"})" + 40 * b"2\x86" + b"K\x01s.",
    "a byte array of gigabytes": lambda mark: b"\x80\x05\x96" + (1 << 32).to_bytes(8, "little") + b"x.",
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
    "columns first": lambda mark: batch(data=np.asfortranarray(np.zeros((3, 3072), np.uint8))),
    "a label too many": lambda mark: batch(labels=[1, 2, 3, 4]),
    "a label of 10": lambda mark: batch(labels=[1, 2, 10]),
    "a label below 0": lambda mark: batch(labels=[1, 2, -1]),
    "labels of texts": lambda mark: batch(labels=[b"1", b"2", b"3"]),
    "one huge label": lambda mark: batch(labels=1 << 40),
    "no image": lambda mark: batch(0),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_batch_is_refused_and_runs_nothing(tmp_path, kind) -> None:
    with pytest.raises(BadRequest, match="test_batch: no batch of CIFAR-10"):
        read_batch(HOSTILE[kind](tmp_path / "mark"), tmp_path / "test_batch")
    assert not (tmp_path / "mark").exists()

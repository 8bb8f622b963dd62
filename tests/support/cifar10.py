"""CIFAR-10's files with few images: good ones, and ones that are damaged or hostile."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from headstart.datasets.cifar10 import BATCHES


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 did, as in CIFAR-10's files."""

    def save_bytes(self, text: bytes) -> None:
        self.write(b"T" + struct.pack("<I", len(text)) + text)
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def batch_contents(images: int = 3, seed: int = 0, **changes: object) -> dict[bytes, Any]:
    """The dictionary that a batch pickles."""
    random = np.random.default_rng(seed)
    pixels = np.resize(random.integers(0, 256, 7 * 3072, dtype=np.uint8), (images, 3072))
    labels = random.integers(0, 10, images).tolist()
    batch = {b"batch_label": b"training batch", b"labels": labels, b"data": pixels, b"filenames": [b"a.png"] * images}
    return batch | {name.encode(): value for name, value in changes.items()}


def batch(images: int = 3, seed: int = 0, **changes: object) -> bytes:
    """A batch, pickled like CIFAR-10's own."""
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(batch_contents(images, seed, **changes))
    return file.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")


def unpacked(folder: Path, images: int = 3) -> Path:
    """A folder with the six batches."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        (folder / name).write_bytes(batch(images, seed))
    return folder


def packed(file: Path, folder: Path, mode: str = "w:gz") -> Path:
    """An archive of such a folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as tar:
        tar.add(folder, "cifar-10-batches-py")
    return file


BAD_BATCHES: dict[str, Callable[[Path], bytes]] = {
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
    "cut off": lambda mark: batch()[:-100],
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
"""Batches that must be refused. Those that try to run code would create the file `mark`."""


def archive(**member: Any) -> bytes:
    """An archive with five empty batches and one other member, which has these attributes; with gzip, as CIFAR-10's."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for name in BATCHES[:-1]:
            tar.addfile(tarfile.TarInfo(f"cifar-10-batches-py/{name}"))
        info = tarfile.TarInfo(member.pop("name", f"cifar-10-batches-py/{BATCHES[-1]}"))
        data = member.pop("data", b"")
        for key, value in member.items():
            setattr(info, key, value)
        info.size = member.get("size", len(data))
        tar.fileobj.write(info.tobuf(format=tarfile.GNU_FORMAT) + data)  # type: ignore[union-attr]
    return file.getvalue()


OUTSIDE = Path("/tmp/headstart-was-here")
BAD_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "no archive": lambda: b"not an archive",
    "empty": lambda: b"",
    "cut off": lambda: archive()[:-9],
    "a path out of it": lambda: archive(name=f"../../../..{OUTSIDE}"),
    "an absolute path": lambda: archive(name=str(OUTSIDE)),
    "a link to another file": lambda: archive(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": lambda: archive(type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a link to itself": lambda: archive(type=tarfile.LNKTYPE, linkname=f"cifar-10-batches-py/{BATCHES[-1]}"),
    "a device": lambda: archive(type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "a batch of terabytes": lambda: archive(size=1 << 40),
    "a bomb": lambda: archive(data=bytes(60_000_000)),
    "a pickle that calls": lambda: archive(data=pickle.dumps(Calls(os.abort))),
}
"""Archives that must be refused. Those with a path would create the file OUTSIDE."""

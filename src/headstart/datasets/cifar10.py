"""CIFAR-10's own files: six pickled batches, read so that a pickle can only describe an array."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from headstart.errors import InvalidRequest
from headstart.practical.data import CIFAR10_CLASSES, Dataset

MD5 = {  # of each file, as in torchvision.datasets.CIFAR10
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
BATCHES = tuple(MD5)
MAX_BYTES = 40_000_000  # an official batch has 31 million
REMEDY = "download cifar-10-python.tar.gz again, or use cifar10 from Keras' cache"


def read_archive(file: Path) -> Dataset:
    """Read CIFAR-10 from its archive, without unpacking it to the disk.

    Args:
        file: The archive, compressed or not.

    Returns:
        The dataset, in Keras' order.

    Raises:
        InvalidRequest: The archive is damaged, or a batch is missing.
    """
    contents = {}
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                name = Path(member.name).name
                if name in BATCHES and member.isreg() and member.size <= MAX_BYTES:
                    contents[name] = tar.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    except Exception as error:  # compressed data can be damaged in any way
        raise InvalidRequest(f"{file}: the archive cannot be read ({error!s:.200}): {REMEDY}") from error
    return assemble(contents, file)


def read_folder(folder: Path) -> Dataset:
    """Read CIFAR-10 from its unpacked batches.

    Args:
        folder: The folder that contains the batches.

    Returns:
        The dataset, in Keras' order.

    Raises:
        InvalidRequest: A batch is missing or damaged.
    """
    files = [folder / name for name in BATCHES]
    usable = [file for file in files if file.is_file() and file.stat().st_size <= MAX_BYTES]
    return assemble({file.name: file.read_bytes() for file in usable}, folder)


def assemble(contents: dict[str, bytes], origin: Path) -> Dataset:
    """Make a dataset in Keras' order: the five training batches in sequence, and the test batch.

    Args:
        contents: Pickles by the batch's name; it is emptied, so that memory is freed.
        origin: The folder or archive, for messages.

    Returns:
        Images uint8 (n, 32, 32, 3) with values 0 to 255, labels int64 (n,) from 0 to 9.

    Raises:
        InvalidRequest: A batch is missing or damaged.
    """
    if missing := sorted(MD5.keys() - contents.keys()):
        raise InvalidRequest(f"{origin}: {missing[0]} is missing or too large: {REMEDY}")
    official = all(hashlib.md5(contents[name]).hexdigest() == md5 for name, md5 in MD5.items())
    *train, test = (read_batch(contents.pop(name), origin / name) for name in BATCHES)
    images, labels = map(np.concatenate, zip(*train, strict=True))
    name = "CIFAR-10" if official else f"images in CIFAR-10's file format from {origin.name}"
    return Dataset(images, labels, *test, CIFAR10_CLASSES, name)


def read_batch(content: bytes, origin: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one batch.

    Args:
        content: The pickle.
        origin: Where it is from, for messages.

    Returns:
        Images uint8 (n, 32, 32, 3) with values 0 to 255, and labels int64 (n,) from 0 to 9.

    Raises:
        InvalidRequest: It is not a batch of CIFAR-10.
    """
    try:
        batch = BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        _, shape, _, columns_first, pixels = batch[b"data"].state
        labels = np.frombuffer(bytes(list(batch[b"labels"])), dtype=np.uint8).astype(np.int64)
        if shape != [len(labels), 3072] or columns_first or labels.max() > 9:
            raise ValueError("its images or labels are not CIFAR-10's")
        images = np.frombuffer(pixels, dtype=np.uint8).reshape(len(labels), 3, 32, 32)
    except Exception as error:  # a hostile pickle can fail in any way
        raise InvalidRequest(f"{origin}: not a batch of CIFAR-10 ({error!s:.200}): {REMEDY}") from error
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels


class ArrayDescription:
    """A substitute for numpy's classes in a pickle: it only stores its `state`.

    Numpy's own classes would not be safe, because an array of objects made from bytes follows any addresses in them.
    """

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Store the state, which for an array is [version, shape, dtype, columns first, bytes]."""
        self.state = state


class BatchUnpickler(pickle._Unpickler):
    """An unpickler of numbers, strings, lists, dictionaries and the description of an array. It can import nothing.

    It is based on Python's unpickler, because the one in C allocates as much memory as a hostile memo index demands.
    Tuples become lists. Otherwise, a key of forty nested tuples, each twice in the next, would take hours to hash.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.TUPLE[0]: pickle._Unpickler.dispatch[pickle.LIST[0]],
        pickle.TUPLE1[0]: lambda reader: reader.stack.append([reader.stack.pop()]),
        pickle.TUPLE2[0]: lambda reader: reader.stack.append([reader.stack.pop(-2), reader.stack.pop()]),
        pickle.TUPLE3[0]: lambda reader: reader.stack.append([reader.stack.pop(-at) for at in (3, 2, 1)]),
    }
    del dispatch[pickle.BYTEARRAY8[0]]  # it would allocate as much memory as the file demands

    def find_class(self, module: str, name: str) -> Any:
        """Return a substitute for numpy's classes, and refuse everything else, because it would be imported and called.

        Args:
            module: The module that the pickle names.
            name: The name in that module.

        Raises:
            pickle.UnpicklingError: It is not one of numpy's array classes.
        """
        if (module, name) == ("_codecs", "encode"):  # Python 3 writes bytes for Python 2 in this way
            return lambda text, _: text.encode("latin1")
        if module.partition(".")[0] == "numpy" and name in ("ndarray", "dtype", "_reconstruct"):
            return ArrayDescription
        raise pickle.UnpicklingError(f"it names {module}.{name}")

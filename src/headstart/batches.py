"""CIFAR-10's own files: six pickled batches, read so that a pickle can do nothing but describe an array."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headstart.errors import BadRequest

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
MOST_BYTES = 40_000_000  # an official batch has 31 million
FETCH_AGAIN = "fetch cifar-10-python.tar.gz again, or use --data cifar10"


def read_archive(file: Path) -> Dataset:
    """CIFAR-10 from its archive, of which nothing is unpacked to the disk; BadRequest if that is torn or hostile."""
    contents = {}
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                name = Path(member.name).name
                if name in BATCHES and member.isreg() and member.size <= MOST_BYTES:
                    contents[name] = tar.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
    except Exception as error:  # what is compressed may be damaged in any way
        raise BadRequest(f"{file}: no archive that can be read ({error!s:.200}): {FETCH_AGAIN}") from error
    return joined(contents, file)


def read_folder(folder: Path) -> Dataset:
    """CIFAR-10 from its unpacked batches; BadRequest if one is missing, torn or hostile."""
    files = [folder / name for name in BATCHES]
    right = [file for file in files if file.is_file() and file.stat().st_size <= MOST_BYTES]
    return joined({file.name: file.read_bytes() for file in right}, folder)


def joined(contents: dict[str, bytes], origin: Path) -> Dataset:
    """The dataset in Keras' order: the five training batches one after the other, and the test batch."""
    if missing := sorted({*BATCHES} - contents.keys()):
        raise BadRequest(f"{origin}: {missing[0]} is missing, or far too large: {FETCH_AGAIN}")
    *train, test = (read_batch(contents.pop(name), origin / name) for name in BATCHES)
    images, labels = map(np.concatenate, zip(*train, strict=True))
    from headstart.practical.data import CIFAR10_CLASSES, Dataset  # TensorFlow comes with it: bad files need none

    return Dataset(images, labels, *test, CIFAR10_CLASSES, "CIFAR-10")


def read_batch(content: bytes, origin: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 32, 32, 3) and labels int64 (n,) in 0..9 of one batch; BadRequest if it is none."""
    try:
        batch = BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        _, shape, _, columns_first, pixels = batch[b"data"].state
        labels = np.frombuffer(bytes(list(batch[b"labels"])), dtype=np.uint8).astype(np.int64)
        if shape != [len(labels), 3072] or columns_first or labels.max() > 9:
            raise ValueError("its images or labels are not CIFAR-10's")
        images = np.frombuffer(pixels, dtype=np.uint8).reshape(len(labels), 3, 32, 32)
    except Exception as error:  # a hostile pickle may fail in any way it likes
        raise BadRequest(f"{origin}: no batch of CIFAR-10 ({error!s:.200}): {FETCH_AGAIN}") from error
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels


class Noted:
    """Stands where a pickle names a part of numpy: notes what it is given as `state`, and does nothing.

    Numpy's own parts would not be safe: an ndarray of objects made over bytes follows whatever addresses they spell.
    """

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Note the state, which for an array is [version, shape, dtype, columns first, bytes]."""
        self.state = state


class BatchUnpickler(pickle._Unpickler):
    """Reads numbers, texts, lists and dictionaries, and the description of an array; can name nothing else.

    It is the unpickler in Python, since the one in C sets aside as much memory as a hostile memo index says. Tuples
    become lists: as a dictionary's key, a tuple of twice the same tuple, forty levels deep, would be hashed for hours.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.TUPLE[0]: pickle._Unpickler.dispatch[pickle.LIST[0]],
        pickle.TUPLE1[0]: lambda reader: reader.stack.append([reader.stack.pop()]),
        pickle.TUPLE2[0]: lambda reader: reader.stack.append([reader.stack.pop(-2), reader.stack.pop()]),
        pickle.TUPLE3[0]: lambda reader: reader.stack.append([reader.stack.pop(-at) for at in (3, 2, 1)]),
    }
    del dispatch[pickle.BYTEARRAY8[0]]  # it sets aside as much memory as it says

    def find_class(self, module: str, name: str) -> Any:
        """Give a stand-in for numpy's parts, and refuse whatever else would be imported and called."""
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return lambda text, _: text.encode("latin1")
        if module.partition(".")[0] == "numpy" and name in ("ndarray", "dtype", "_reconstruct"):
            return Noted
        raise pickle.UnpicklingError(f"it names {module}.{name}")

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.datasets.cifar10 import read_archive, read_batch, read_folder
from headstart.datasets.sources import fingerprint
from headstart.errors import InvalidRequest
from headstart.practical.data import CIFAR10_CLASSES
from support.cifar10 import BAD_ARCHIVES, BAD_BATCHES, OUTSIDE, batch_contents, packed, unpacked
from support.runs import command


def test_batches_are_read_as_keras_reads_them(tmp_path: Path) -> None:
    dataset = read_folder(unpacked(tmp_path / "data"))
    assert (dataset.x_train.shape, dataset.x_train.dtype) == ((15, 32, 32, 3), np.uint8)
    assert dataset.x_train[4, 4, 5, 2] == batch_contents(seed=1)[b"data"][1, 2 * 1024 + 4 * 32 + 5]
    assert dataset.y_train[3:6].tolist() == batch_contents(seed=1)[b"labels"]
    assert dataset.y_test.tolist() == batch_contents(seed=5)[b"labels"]
    assert dataset.y_test.dtype == np.int64
    assert (dataset.class_names, dataset.name) == (CIFAR10_CLASSES, "images in CIFAR-10's file format from data")


def test_archive_and_folder_give_the_same_dataset(tmp_path: Path) -> None:
    from_folder = read_folder(unpacked(tmp_path / "data"))
    from_archive = read_archive(packed(tmp_path / "archive.tar.gz", tmp_path / "data"))
    assert fingerprint(from_folder) == fingerprint(from_archive)


@pytest.mark.parametrize("protocol", range(2, 5))
def test_batch_pickled_by_python_3_can_be_read(protocol: int, tmp_path: Path) -> None:
    images, labels = read_batch(pickle.dumps(batch_contents(), protocol), tmp_path)
    assert images.tolist() == batch_contents()[b"data"].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1).tolist()
    assert labels.tolist() == batch_contents()[b"labels"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: os.truncate(file, 1 << 36)], ids=["missing", "huge"])
def test_missing_or_huge_batch_is_refused(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(unpacked(tmp_path / "data") / "data_batch_4")
    with pytest.raises(InvalidRequest, match="data_batch_4 is missing or too large"):
        read_folder(tmp_path / "data")


@pytest.mark.parametrize("kind", BAD_BATCHES)
def test_bad_batch_is_refused_and_executes_nothing(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidRequest, match="test_batch: not a batch of CIFAR-10"):
        read_batch(BAD_BATCHES[kind](tmp_path / "mark"), tmp_path / "test_batch")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_bad_archive_is_refused_by_its_hash_and_by_its_reader(kind: str, here: Path) -> None:
    (here / "archive.tar.gz").write_bytes(BAD_ARCHIVES[kind]())
    refused = command("data", "--data", "archive.tar.gz")
    assert refused.status == 2
    assert refused.errors.count("\n") == 1
    assert "not the official archive" in refused.errors
    with pytest.raises(InvalidRequest, match=r"download cifar-10-python\.tar\.gz again"):
        read_archive(here / "archive.tar.gz")
    assert not OUTSIDE.exists()

from __future__ import annotations

import io
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.datasets import image_folder
from headstart.datasets.image_folder import COPIES, MAX_CACHED, hash_files, list_images, read_images
from headstart.datasets.sources import open_dataset
from headstart.errors import InvalidRequest
from headstart.practical.data import CIFAR10_CLASSES, Dataset
from headstart.practical.image_folder import load_dataset
from support.cifar10 import Calls
from support.pictures import BAD, fruit_folder, write_picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headstart"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fruit_folder(tmp_path / "fruit")


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns the messages since the last call, without what is skipped."""
    caplog.set_level(logging.INFO, "headstart")

    def take() -> list[str]:
        taken = [message for message in caplog.messages if not message.startswith("skipped in")]
        caplog.clear()
        return taken

    return take


def same(first: Dataset, second: Dataset) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(type(one) is type(other) and np.array_equal(one, other) for one, other in pairs)


def test_images_are_the_notebooks_also_from_the_cache(folder: Path, messages: Callable[[], list[str]]) -> None:
    expected = load_dataset(str(folder))
    assert same(read_images(folder), expected)
    assert same(read_images(folder), expected)
    decoding, cached, read = messages()
    assert decoding == "decoding the 10 images of fruit"
    assert cached.startswith("the decoded images are cached in")
    assert read.startswith("10 images of fruit are read from the cache")


def test_everything_that_determines_the_dataset_is_in_the_cache_key(folder: Path, cache: Path) -> None:
    first = read_images(folder)
    os.utime(folder / "train" / "pear" / "0.png", ns=(1, 1))
    read_images(folder)
    (folder / "train" / "pear" / "0.png").rename(folder / "train" / "apple" / "9.png")
    assert not same(read_images(folder), first)
    assert len(list(cache.glob("images-*"))) == MAX_CACHED == 3
    newest = max(cache.glob("images-*"), key=lambda file: file.stat().st_mtime_ns)
    elsewhere = folder.rename(folder.with_name("other"))
    assert read_images(elsewhere).name == "images from the folder “other”"
    (elsewhere / "train" / "pear" / ".hidden").touch()
    assert len(read_images(elsewhere).x_train) == 6
    write_picture(elsewhere / "train" / "pear" / "10.png")
    assert len(read_images(elsewhere).x_train) == 7
    assert len(list(cache.glob("images-*"))) == MAX_CACHED
    assert newest.exists()


def test_another_version_of_pillow_decodes_again(
    folder: Path, messages: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_images(folder)
    messages()
    monkeypatch.setattr("PIL.__version__", "0")
    read_images(folder)
    assert "decoding" in messages()[0]


def test_new_cache_is_kept_if_the_clock_was_set_back(
    folder: Path, cache: Path, messages: Callable[[], list[str]]
) -> None:
    cache.mkdir(parents=True)
    for number in range(3):
        (cache / f"images-{number}.npz").touch()
        os.utime(cache / f"images-{number}.npz", (4e9, 4e9 + number))
    read_images(folder)
    messages()
    read_images(folder)
    assert "are read from the cache" in messages()[0]
    assert {"images-1.npz", "images-2.npz"} < {file.name for file in cache.iterdir()}
    assert len(list(cache.glob("images-*"))) == MAX_CACHED


@pytest.mark.parametrize("step", ["cache_key", "read_cache"])
def test_picture_that_is_removed_during_reading_is_named(
    folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(image_folder, step)

    def remove_first(*arguments: object) -> object:
        (folder / "train" / "pear" / "1.jpg").unlink()
        return original(*arguments)

    monkeypatch.setattr(image_folder, step, remove_first)
    with pytest.raises(InvalidRequest, match=r"pear/1\.jpg"):
        open_dataset(str(folder))


def test_changed_copy_with_equal_names_sizes_and_times_is_decoded(folder: Path, tmp_path: Path) -> None:
    first = read_images(folder)
    second = tmp_path / "elsewhere" / "fruit"
    shutil.copytree(folder, second)
    changed = second / "train" / "pear" / "2.bmp"
    modified = changed.stat().st_mtime_ns
    changed.write_bytes(changed.read_bytes()[:-30] + bytes(30))
    os.utime(changed, ns=(modified, modified))
    assert not same(read_images(second), first)
    assert same(read_images(folder), first)


def test_only_one_of_two_concurrent_readers_decodes(
    folder: Path, cache: Path, messages: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second reader starts while the first decodes. A partial file in the cache is that of a killed process."""
    seen: list[str] = []
    second: list[threading.Thread] = []

    def decode_slowly(*arguments: Any) -> Dataset:
        second.append(threading.Thread(target=read_images, args=(folder,)))
        second[0].start()
        waiting = "waiting for another process that is using decoded images"
        while waiting not in seen and second[0].is_alive():
            time.sleep(0.01)
            seen.extend(messages())
        assert waiting in seen
        return decode(*arguments)

    cache.mkdir(parents=True)
    (cache / ".images-1.npz.killed.part").touch()
    decode = image_folder.decode
    monkeypatch.setattr(image_folder, "decode", decode_slowly)
    read_images(folder)
    second[0].join(60)
    seen += messages()
    assert sum("decoding" in message for message in seen) == 1
    assert "are read from the cache" in seen[-1]


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-3000],
    "one bit wrong": lambda content: content[:9000] + bytes([content[9000] ^ 1]) + content[9001:],
    "empty": lambda content: b"",
    "objects": lambda content: npz(x_train=np.array([Calls(os.abort)], dtype=object)),
    "other arrays": lambda content: npz(x_train=np.zeros(1)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_cache_is_decoded_again_and_replaced(
    folder: Path, cache: Path, kind: str, messages: Callable[[], list[str]]
) -> None:
    expected = read_images(folder)
    [file] = cache.glob("images-*")
    file.write_bytes(DAMAGE[kind](file.read_bytes()))
    messages()
    assert same(read_images(folder), expected)
    assert "decoding" in messages()[0]
    read_images(folder)
    assert "are read from the cache" in messages()[0]


def test_cache_that_cannot_be_written_is_only_reported(
    folder: Path, cache: Path, messages: Callable[[], list[str]]
) -> None:
    cache.parent.mkdir()
    cache.write_text("a file in the place of a folder")
    assert len(read_images(folder).x_train) == 6
    assert "the decoded images cannot be cached" in messages()[-1]


@pytest.mark.parametrize("kind", BAD)
def test_bad_image_folder_is_refused_and_not_cached(folder: Path, cache: Path, kind: str) -> None:
    spoil, rule = BAD[kind]
    spoil(folder)
    with pytest.raises(InvalidRequest, match=rule):
        read_images(folder)
    assert not [*cache.glob("images-*")]


def test_the_first_ten_bad_files_are_named_and_all_are_counted(folder: Path) -> None:
    for number in range(12):
        (folder / "train" / "pear" / f"bad{number}.png").write_text("text")
    with pytest.raises(InvalidRequest) as refused:
        read_images(folder)
    assert str(refused.value).startswith("12 images of 22 cannot be read, so repair or remove: ")
    assert [f"bad{number}.png (" in str(refused.value) for number in range(12)] == [True] * 10 + [False] * 2
    assert str(refused.value).endswith("; and 2 more")


def test_what_is_skipped_is_reported_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place in ("train", "test/pear", "test/apple"):
        (folder / place / "Thumbs.db").touch()
    (folder / "README.txt").touch()
    (folder / "extra").mkdir()
    caplog.set_level(logging.INFO, "headstart")
    read_images(folder)
    skipped = [message for message in caplog.messages if message.startswith("skipped")]
    assert skipped == ["skipped in fruit: Thumbs.db (3 times), .hidden, README.txt, extra"]


def test_the_share_and_the_seed_are_in_the_cache_key(folder: Path) -> None:
    shutil.rmtree(folder / "test")
    for number in range(6):
        write_picture(folder / "train" / "apple" / f"{number + 10}.png", seed=number + 10)
    datasets = [read_images(folder, share, seed) for share, seed in ((0.3, 0), (0.6, 0), (0.3, 1), (0.3, 0))]
    assert [len(dataset.x_test) for dataset in datasets] == [4, 8, 4, 4]
    assert same(datasets[0], datasets[3])
    assert not same(datasets[0], datasets[2])


def test_a_copy_of_cifar10_is_recognised_by_its_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        for number, name in enumerate(CIFAR10_CLASSES):
            write_picture(tmp_path / "ten" / part / name / "0.png", seed=number)
    content = hash_files(list_images(tmp_path / "ten"))
    assert read_images(tmp_path / "ten").name == "images with CIFAR-10's class names from the folder “ten”"
    monkeypatch.setitem(COPIES, content, "CIFAR-10 images (a test)")
    (tmp_path / "ten" / "test" / "cat" / "0.png").rename(tmp_path / "ten" / "test" / "cat" / "other.png")
    assert read_images(tmp_path / "ten").name == "CIFAR-10 images (a test) from the folder “ten”"
    write_picture(tmp_path / "ten" / "test" / "cat" / "other.png", seed=77)
    assert read_images(tmp_path / "ten").name == "images with CIFAR-10's class names from the folder “ten”"


def test_a_parent_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = fruit_folder(tmp_path / "caf\udce9 \x1b" / "fruit")
    assert len(read_images(folder).x_train) == 6

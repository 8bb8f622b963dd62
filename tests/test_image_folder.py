import io
import os
import shutil
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart import image_folder
from headstart.errors import BadRequest
from headstart.image_folder import read_images
from headstart.practical.data import Dataset
from headstart.practical.image_folder import load_dataset
from headstart.sources import open_dataset
from test_batches import Calls


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("headstart.image_folder.user_cache_path", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


def picture(file: Path, size: tuple[int, int] = (32, 32), seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


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


def same(first: Dataset, second: Dataset) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(type(one) is type(other) and np.array_equal(one, other) for one, other in pairs)


def test_images_are_the_notebook_s_and_then_the_same_from_the_cache(folder) -> None:
    expected = load_dataset(str(folder))
    said: list[str] = []
    assert same(read_images(folder, said.append), expected)
    assert same(read_images(folder, said.append), expected)
    assert ["decoding" in said[0], "kept in" in said[1], "decoded earlier" in said[2]] == [True] * 3
    assert len(said) == 3


def test_whatever_decides_the_dataset_makes_a_fresh_decode(folder, cache) -> None:
    first = read_images(folder, print)
    os.utime(folder / "train" / "pear" / "0.png", ns=(1, 1))
    read_images(folder, print)
    (folder / "train" / "pear" / "0.png").rename(folder / "train" / "apple" / "9.png")
    assert not same(read_images(folder, print), first)
    assert len(list(cache.glob("images-*"))) == 3
    newest = max(cache.glob("images-*"), key=lambda file: file.stat().st_mtime_ns)
    elsewhere = folder.rename(folder.with_name("other"))
    assert read_images(elsewhere, print).name == "images from the folder “other”"
    (elsewhere / "train" / "pear" / ".hidden").touch()
    assert len(read_images(elsewhere, print).x_train) == 6
    picture(elsewhere / "train" / "pear" / "10.png")
    assert len(read_images(elsewhere, print).x_train) == 7
    assert len(list(cache.glob("images-*"))) == 3
    assert newest.exists()


@pytest.mark.parametrize("library", ["PIL", "keras"])
def test_another_version_of_what_decodes_makes_a_fresh_decode(library: str, folder, monkeypatch) -> None:
    read_images(folder, print)
    monkeypatch.setattr(f"{library}.__version__", "0")
    said: list[str] = []
    read_images(folder, said.append)
    assert "decoding" in said[0]


def test_where_the_clock_was_set_back_the_newest_copy_is_kept_all_the_same(folder, cache) -> None:
    cache.mkdir()
    for number in range(3):
        (cache / f"images-{number}.npz").touch()
        os.utime(cache / f"images-{number}.npz", (4e9, 4e9 + number))
    read_images(folder, print)
    said: list[str] = []
    read_images(folder, said.append)
    assert "decoded earlier" in said[0]
    assert {"images-1.npz", "images-2.npz"} < {file.name for file in cache.iterdir()}
    assert len(list(cache.glob("images-*"))) == 3


@pytest.mark.parametrize("step", ["content_key", "kept_dataset"])
def test_a_picture_that_vanishes_while_the_folder_is_read_is_named(folder, step, monkeypatch) -> None:
    going = getattr(image_folder, step)

    def vanish(*given: object) -> object:
        (folder / "train" / "pear" / "1.jpg").unlink()
        return going(*given)

    monkeypatch.setattr(image_folder, step, vanish)
    with pytest.raises(BadRequest, match=r"pear/1\.jpg"):
        open_dataset(str(folder))


def test_another_folder_whose_pictures_have_the_same_names_sizes_and_times_is_another(folder, tmp_path) -> None:
    first = read_images(folder, print)
    second = tmp_path / "elsewhere" / "fruit"
    shutil.copytree(folder, second)
    kept = second / "train" / "pear" / "2.bmp"
    when = kept.stat().st_mtime_ns
    kept.write_bytes(kept.read_bytes()[:-30] + bytes(30))
    os.utime(kept, ns=(when, when))
    assert not same(read_images(second, print), first)
    assert same(read_images(folder, print), first)


def test_of_processes_that_want_the_same_images_one_decodes_them(folder, cache, monkeypatch) -> None:
    """A second one that comes while the first decodes waits for it; a part-file that it finds is a killed one's."""
    said: list[str] = []
    second: list[threading.Thread] = []

    def slow(*given: Any) -> Dataset:
        second.append(threading.Thread(target=read_images, args=(folder, said.append)))
        second[0].start()
        while not said and second[0].is_alive():
            time.sleep(0.01)
        assert said == ["another process is busy with decoded images: waiting for it"]
        return decoded(*given)

    cache.mkdir()
    (cache / ".images-1.npz.killed.part").touch()
    decoded = image_folder.decoded
    monkeypatch.setattr(image_folder, "decoded", slow)
    read_images(folder, print)
    second[0].join(60)
    assert len(said) == 2
    assert "decoded earlier" in said[1]


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


DAMAGE = {
    "torn": lambda content: content[:-3000],
    "a bit flipped": lambda content: content[:9000] + bytes([content[9000] ^ 1]) + content[9001:],
    "empty": lambda content: b"",
    "objects": lambda content: npz(x_train=np.array([Calls(os.abort)], dtype=object)),
    "other arrays": lambda content: npz(x_train=np.zeros(1)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_cache_is_decoded_again_and_mended(folder, cache, kind) -> None:
    expected = read_images(folder, print)
    [file] = cache.glob("images-*")
    file.write_bytes(DAMAGE[kind](file.read_bytes()))
    said: list[str] = []
    assert same(read_images(folder, said.append), expected)
    assert "decoding" in said[0]
    read_images(folder, said.append)
    assert "decoded earlier" in said[-1]


def test_cache_that_cannot_be_written_is_said_and_no_more(folder, cache) -> None:
    cache.write_text("in the way")
    said: list[str] = []
    assert len(read_images(folder, said.append).x_train) == 6
    assert "cannot be kept" in said[-1]


def bomb(file: Path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header promises far more pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


BAD = {
    "no test part": (lambda folder: shutil.rmtree(folder / "test"), "no folder 'test'"),
    "one class": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/pear")], r"1 class\(es\)"),
    "no class": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/*")], r"0 class\(es\)"),
    "a class missing": (lambda folder: shutil.rmtree(folder / "test" / "pear"), "class 'pear' is not in both"),
    "an empty class": (lambda folder: [path.unlink() for path in folder.glob("test/pear/*")], "test/pear: the class"),
    "a control letter": (
        lambda folder: [path.rename(path.with_name("a\x1b[2J")) for path in folder.glob("*/pear")],
        r"'a\\x1b\[2J' cannot be shown",
    ),
    "text": (lambda folder: (folder / "test/pear/1.jpg").write_text("text"), "pear/1.jpg: no image"),
    "an empty file": (lambda folder: (folder / "test/pear/1.jpg").write_text(""), "pear/1.jpg: no image"),
    "a folder": (lambda folder: (folder / "test/pear/more").mkdir(), "pear/more: no image .*it is no file"),
    "a pipe": (lambda folder: os.mkfifo(folder / "test/pear/pipe"), "pear/pipe: no image .*it is no file"),
    "a torn image": (lambda folder: os.truncate(folder / "train/pear/2.bmp", 900), "pear/2.bmp: no image"),
    "another kind": (lambda folder: Image.new("RGB", (9, 9)).save(folder / "test/pear/3.eps"), "3.eps: no image"),
    "a bomb": (lambda folder: bomb(folder / "train/pear/x.png", 60_000, 1_000), "x.png: .*60000 x 1000 pixels"),
    "a larger bomb": (lambda folder: bomb(folder / "train/pear/x.png", 60_000, 60_000), "x.png: no image"),
    "a huge file": (lambda folder: os.truncate(folder / "train/pear/0.png", 1 << 36), "0.png: .*100,000,000 bytes"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_image_folder_is_refused_and_leaves_no_cache(folder, cache, kind) -> None:
    spoil, words = BAD[kind]
    spoil(folder)
    with pytest.raises(BadRequest, match=words):
        read_images(folder, print)
    assert not [*cache.glob("images-*")]


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "png"), ("I", "tif"), ("F", "tif")])
def test_a_picture_of_more_than_8_bits_is_refused_and_not_made_black_or_white(folder, mode: str, kind: str) -> None:
    deep = folder / "test" / "pear" / f"deep.{kind}"
    Image.fromarray(np.arange(1024, dtype=np.float32 if mode == "F" else np.int32).reshape(32, 32)).convert(mode).save(
        deep
    )
    with pytest.raises(BadRequest, match="more than 8 bits a colour: save it with 8"):
        read_images(folder, print)

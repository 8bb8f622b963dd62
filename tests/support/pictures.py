"""Image folders: pictures of noise, and what must be refused."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(file: Path, size: tuple[int, int] = (32, 32), seed: int = 0) -> None:
    """A picture of noise; its folder is created."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def fruit_folder(folder: Path) -> Path:
    """Two classes with three training and two test images each, of several sizes and formats."""
    for number, kind in enumerate(("png", "jpg", "bmp")):
        for name in ("pear", "apple"):
            write_picture(folder / "train" / name / f"{number}.{kind}", (32 + 9 * number, 32), number)
            if number < 2:
                write_picture(folder / "test" / name / f"{number}.{kind}", seed=number + 7)
    (folder / "train" / "apple" / ".hidden").write_text("hidden files are ignored")
    return folder


def png_bytes(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises this many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def write_bomb(file: Path, width: int, height: int) -> None:
    """Write such a PNG."""
    file.write_bytes(png_bytes(width, height))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no test part": (lambda folder: shutil.rmtree(folder / "test"), r"it contains train/; give train/<class>/\*"),
    "one class": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/pear")], r"1 class\(es\)"),
    "no class": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/*")], r"0 class\(es\)"),
    "a class missing": (
        lambda folder: shutil.rmtree(folder / "test" / "pear"),
        "the class 'pear' must be in both train and test",
    ),
    "an empty class": (lambda folder: [path.unlink() for path in folder.glob("test/pear/*")], "test/pear: the class"),
    "a control character": (
        lambda folder: [path.rename(path.with_name("a\x1b[2J")) for path in folder.glob("*/pear")],
        r"'a\\x1b\[2J' has unprintable characters",
    ),
    "text": (
        lambda folder: (folder / "test/pear/1.jpg").write_text("text"),
        r"^1 image of 10 cannot be read, .*pear/1.jpg \(not a picture in one of the formats BMP, GIF, JPEG",
    ),
    "an empty file": (lambda folder: (folder / "test/pear/1.jpg").write_text(""), r"pear/1.jpg \(not a picture"),
    "a folder": (lambda folder: (folder / "test/pear/more").mkdir(), "test/pear: the class has a folder, more"),
    "a pipe": (lambda folder: os.mkfifo(folder / "test/pear/pipe"), "pear/pipe: neither a file nor a folder"),
    "a broken link": (
        lambda folder: (folder / "train/plum").symlink_to("nowhere"),
        "train/plum: neither a file nor a folder, perhaps a broken link",
    ),
    "a damaged image": (lambda folder: os.truncate(folder / "train/pear/2.bmp", 900), r"pear/2.bmp \(image file is t"),
    "another format": (
        lambda folder: Image.new("RGB", (9, 9)).save(folder / "test/pear/3.eps"),
        r"3.eps \(not a picture",
    ),
    "a drawing": (
        lambda folder: (folder / "test/pear/3.svg").write_text("<svg/>"),
        r"3.svg \(not a picture in one of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP\)",
    ),
    "two bad files": (
        lambda folder: [(folder / part / "pear/1.jpg").write_text("") for part in ("train", "test")],
        "^2 images of 10 cannot be read, so repair or remove: .*train/pear/1.jpg .*; .*test/pear/1.jpg",
    ),
    "a bomb": (
        lambda folder: write_bomb(folder / "train/pear/x.png", 90_000, 950),
        r"x.png \(90000 x 950 pixels, more than 80,000,000",
    ),
    "a larger bomb": (lambda folder: write_bomb(folder / "train/pear/x.png", 60_000, 60_000), r"x.png \(Image size"),
    "a huge file": (
        lambda folder: os.truncate(folder / "train/pear/0.png", 1 << 36),
        r"0.png \(more than 100,000,000 bytes",
    ),
}
"""What makes `fruit_folder` invalid, and what the message says then."""

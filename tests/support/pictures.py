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
    "no test part": (lambda folder: shutil.rmtree(folder / "test"), "no folder 'test'"),
    "one class": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/pear")], r"1 class\(es\)"),
    "no class": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/*")], r"0 class\(es\)"),
    "a class missing": (lambda folder: shutil.rmtree(folder / "test" / "pear"), "class 'pear' must be in both"),
    "an empty class": (lambda folder: [path.unlink() for path in folder.glob("test/pear/*")], "test/pear: the class"),
    "a control character": (
        lambda folder: [path.rename(path.with_name("a\x1b[2J")) for path in folder.glob("*/pear")],
        r"'a\\x1b\[2J' has unprintable characters",
    ),
    "text": (lambda folder: (folder / "test/pear/1.jpg").write_text("text"), "pear/1.jpg: the image cannot be read"),
    "an empty file": (
        lambda folder: (folder / "test/pear/1.jpg").write_text(""),
        "pear/1.jpg: the image cannot be read",
    ),
    "a folder": (lambda folder: (folder / "test/pear/more").mkdir(), "pear/more: .*it is not a file"),
    "a pipe": (lambda folder: os.mkfifo(folder / "test/pear/pipe"), "pear/pipe: .*it is not a file"),
    "a damaged image": (
        lambda folder: os.truncate(folder / "train/pear/2.bmp", 900),
        "pear/2.bmp: the image cannot be read",
    ),
    "another format": (
        lambda folder: Image.new("RGB", (9, 9)).save(folder / "test/pear/3.eps"),
        "3.eps: the image cannot be read",
    ),
    "a bomb": (lambda folder: write_bomb(folder / "train/pear/x.png", 60_000, 1_000), "x.png: .*60000 x 1000 pixels"),
    "a larger bomb": (
        lambda folder: write_bomb(folder / "train/pear/x.png", 60_000, 60_000),
        "x.png: the image cannot be read",
    ),
    "a huge file": (lambda folder: os.truncate(folder / "train/pear/0.png", 1 << 36), "0.png: .*100,000,000 bytes"),
}
"""What makes `fruit_folder` invalid, and what the message says then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.datasets.image_folder import read_images
from headstart.datasets.pictures import list_pictures, read_picture
from headstart.errors import InvalidRequest
from headstart.practical.image_folder import load_dataset
from support.pictures import png_bytes, write_picture

QUARTERS = np.kron(np.array([[250, 180], [90, 20]], dtype=np.uint8), np.ones((60, 60), dtype=np.uint8))
"""Grey, 120 x 120: bright at the top left, dark at the bottom right."""


def corners(pixels: np.ndarray) -> list[list[int]]:
    """The colours in the middle of the quarters: top left, top right, bottom left, bottom right."""
    return [pixels[row, column].tolist() for row in (8, 24) for column in (8, 24)]


def saved(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    """Save the image, and read it."""
    image.save(path, **options)
    pixels = read_picture(path)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    return pixels


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.jpg", "a.png", "a.ppm", "a.tif", "a.webp", "no-suffix"])
def test_every_common_format_is_read(name: str, tmp_path: Path) -> None:
    image = Image.fromarray(QUARTERS).convert("RGB")
    pixels = saved(tmp_path / name, image, **({} if "." in name else {"format": "PNG"}))
    expected = [[value] * 3 for value in (250, 180, 90, 20)]
    assert np.abs(np.array(corners(pixels)) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB", "RGBA", "LA", "YCbCr"])
def test_every_colour_mode_is_converted_to_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray((QUARTERS > 128).astype(np.uint8) * 255).convert("RGB").convert(mode)
    lossless = {"CMYK": "tif", "YCbCr": "tif"}.get(mode, "png")
    pixels = saved(tmp_path / f"a.{lossless}", image)
    assert pixels[8].min() > 250
    assert pixels[24].max() < 5


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (32, 32), (1, 500), (4000, 3), (640, 480)])
def test_any_size_is_resized_to_32_by_32(size: tuple[int, int], tmp_path: Path) -> None:
    assert (saved(tmp_path / "a.png", Image.new("RGB", size, (10, 200, 30))) == (10, 200, 30)).all()


def test_a_picture_is_read_as_in_an_image_folder(tmp_path: Path) -> None:
    """Turned, transparent, deep or small: `predict` shows a network the pixels that it was trained on."""
    exif = Image.Exif()
    exif[0x0112] = 6
    drawing = Image.new("RGBA", (50, 40), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (9, 9, 20, 30))
    pictures = {
        "turned.png": (Image.fromarray(QUARTERS), {"exif": exif}),
        "turned.jpg": (Image.fromarray(QUARTERS), {"exif": exif}),
        "drawing.png": (drawing, {}),
        "drawing.webp": (drawing, {"lossless": True}),
        "drawing.gif": (drawing, {}),
        "deep.png": (Image.fromarray(QUARTERS.astype(np.uint16) * 257), {}),
        "plain.bmp": (Image.fromarray(QUARTERS), {}),
    }
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for file, (image, options) in pictures.items():
                image.save(tmp_path / "data" / part / name / file, **options)
    trained_on = read_images(tmp_path / "data").x_train[: len(pictures)]
    files = list_pictures([tmp_path / "data" / "train" / "a"])
    assert [file.name for file in files] == sorted(pictures)
    assert np.array_equal(np.stack([read_picture(file) for file in files]), trained_on)
    assert np.array_equal(load_dataset(str(tmp_path / "data")).x_train[: len(pictures)], trained_on)


def test_a_folder_stands_for_its_pictures(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", ".hidden.png", "Thumbs.db"):
        write_picture(tmp_path / "mine" / name) if name.endswith("png") else (tmp_path / "mine" / name).touch()
    assert [path.name for path in list_pictures([tmp_path / "mine", tmp_path / "x.png"])] == [
        "9.png",
        "10.png",
        "x.png",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="the folder has no picture"):
        list_pictures([tmp_path / "empty"])


BAD: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing": ("no such file", lambda path: None),
    "folder": ("no such file", lambda path: path.mkdir()),
    "empty": ("not a picture in one of the formats BMP, GIF, JPEG", lambda path: path.write_bytes(b"")),
    "script": ("not a picture", lambda path: path.write_text("<svg onload=alert(1)>")),
    "PostScript": (
        "not a picture",
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ),
    "scan": ("exceeds limit", lambda path: path.write_bytes(png_bytes(20_000, 28_000))),
    "large": ("more than 80,000,000: make", lambda path: path.write_bytes(png_bytes(9_000, 9_000))),
    "bomb": ("exceeds limit", lambda path: path.write_bytes(png_bytes(2**31 - 1, 2**31 - 1))),
    "no pixels": ("cannot be read", lambda path: path.write_bytes(png_bytes(9, 9))),
    "huge file": ("more than 100,000,000 bytes", lambda path: (path.touch(), os.truncate(path, 1 << 36))),
}


@pytest.mark.parametrize("kind", BAD)
def test_file_that_is_not_a_picture_or_too_large_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rule, make = BAD[kind]
    make(path)
    with pytest.raises(InvalidRequest, match=rule) as refused:
        read_picture(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_file_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"cannot be read .*too long"):
        read_picture(tmp_path / f"{'x' * 300}.png")


def test_a_name_that_is_too_long_is_refused_among_several(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"cannot be read .*too long"):
        list_pictures([tmp_path / f"{'x' * 300}.png"])


def test_incomplete_picture_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", (64, 64))
    os.truncate(tmp_path / "a.jpg", (tmp_path / "a.jpg").stat().st_size // 2)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_picture(tmp_path / "a.jpg")

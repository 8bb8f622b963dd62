from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.errors import BadRequest
from headstart.pictures import read_picture

QUARTERS = np.kron(np.array([[250, 180], [90, 20]], dtype=np.uint8), np.ones((60, 60), dtype=np.uint8))
"""Grey, 120 x 120: bright at the top left, dark at the bottom right."""


def corners(pixels: np.ndarray) -> list[list[int]]:
    """The colours amid the four quarters: top left, top right, bottom left, bottom right."""
    return [pixels[row, column].tolist() for row in (8, 24) for column in (8, 24)]


def saved(path: Path, image: Image.Image, **options: object) -> np.ndarray:
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
def test_every_kind_of_colour_becomes_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray((QUARTERS > 128).astype(np.uint8) * 255).convert("RGB").convert(mode)
    lossless = {"CMYK": "tif", "YCbCr": "tif"}.get(mode, "png")
    pixels = saved(tmp_path / f"a.{lossless}", image)
    assert pixels[8].min() > 250
    assert pixels[24].max() < 5


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (32, 32), (1, 500), (4000, 3), (640, 480)])
def test_any_size_is_made_32_by_32(size: tuple[int, int], tmp_path: Path) -> None:
    assert (saved(tmp_path / "a.png", Image.new("RGB", size, (10, 200, 30))) == (10, 200, 30)).all()


def test_a_picture_is_read_as_an_image_folder_reads_it(tmp_path: Path) -> None:
    from headstart.practical.image_folder import read_image

    rng = np.random.default_rng(0)
    pixels = saved(tmp_path / "a.png", Image.fromarray(rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)))
    assert np.array_equal(pixels, read_image(tmp_path / "a.png"))


def test_a_photograph_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = saved(tmp_path / "a.png", Image.fromarray(QUARTERS), exif=exif)
    assert [corner[0] for corner in corners(pixels)] == [20, 90, 180, 250]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str, tmp_path: Path) -> None:
    if mode == "P":
        image = Image.new("P", (40, 40), 0)
        pixels = saved(tmp_path / "a.png", image, transparency=0)
    else:
        pixels = saved(tmp_path / "a.png", Image.new(mode, (40, 40), 0))
    assert (pixels == 255).all()


def test_16_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    pixels = saved(tmp_path / "a.png", Image.fromarray(QUARTERS.astype(np.uint16) * 257))
    assert [corner[0] for corner in corners(pixels)] == [250, 180, 90, 20]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_no_known_range_fill_it(dtype: type, tmp_path: Path) -> None:
    pixels = saved(tmp_path / "a.tif", Image.fromarray(QUARTERS.astype(dtype) * 1000))
    assert [corner[0] for corner in corners(pixels)] == [255, 177, 78, 0]


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    assert (saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:]) == (255, 0, 0)).all()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims to be so large."""
    size = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    chunks = [(len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) for chunk in (size, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


HOSTILE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "missing": ("no such file", lambda path: None),
    "folder": ("no such file", lambda path: path.mkdir()),
    "empty": ("no picture; give one of BMP, GIF, JPEG", lambda path: path.write_bytes(b"")),
    "script": ("no picture", lambda path: path.write_text("<svg onload=alert(1)>")),
    "PostScript": ("no picture", lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
    "scan": ("more than 50,000,000 pixels; make", lambda path: path.write_bytes(png_header(20_000, 28_000))),
    "large": ("more than 50,000,000 pixels; make", lambda path: path.write_bytes(png_header(10_000, 10_000))),
    "bomb": ("more than 50,000,000 pixels; make", lambda path: path.write_bytes(png_header(2**31 - 1, 2**31 - 1))),
    "torn": ("cannot be read", lambda path: path.write_bytes(png_header(9, 9))),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_picture_or_too_large_takes_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    words, make = HOSTILE[kind]
    make(path)
    with pytest.raises(BadRequest, match=words) as refused:
        read_picture(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_name_that_is_too_long_takes_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"cannot be read .*too long"):
        read_picture(tmp_path / f"{'x' * 300}.png")


def test_a_torn_picture_takes_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadRequest, match="cannot be read"):
        read_picture(tmp_path / "a.jpg")

"""Read a user's own picture of any size in the networks' format. Nothing in the file is trusted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.datasets.image_folder import FORMATS, MAX_BYTES, MAX_PIXELS
from headstart.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32
TOO_LARGE = f"more than {MAX_PIXELS:,} pixels; make it smaller"


def read_picture(path: Path, side: int = SIDE) -> np.ndarray:
    """Read a picture and resize it to a square, without cropping.

    The orientation in its metadata is applied. Transparent pixels become white. Of an animation, the first frame is
    read.

    Args:
        path: A file in one of FORMATS.
        side: The width and height of the result, in pixels.

    Returns:
        uint8 (side, side, 3) with values 0 to 255.

    Raises:
        InvalidRequest: It is not a picture, cannot be read, or is too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata and about sizes that are checked here
        try:
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:  # nothing is decoded yet
                    raise Image.DecompressionBombError
                small = in_colour(ImageOps.exif_transpose(image)).resize((side, side), Image.Resampling.LANCZOS)
        except UnidentifiedImageError as error:
            raise InvalidRequest(f"{path}: this is not a picture; give one of {', '.join(FORMATS)}") from error
        except Image.DecompressionBombError as error:
            raise InvalidRequest(f"{path}: {TOO_LARGE}") from error
        except Exception as error:  # Pillow's formats fail in many ways
            raise InvalidRequest(f"{path}: it cannot be read ({error!s:.200}); save it again as JPEG or PNG") from error
    return np.asarray(small)


def check_file(path: Path) -> None:
    """Raise InvalidRequest unless the path is a file of at most MAX_BYTES."""
    try:
        is_file = path.is_file()
        size = path.stat().st_size if is_file else 0
    except OSError as error:  # a name that is too long, or a folder without permission
        raise InvalidRequest(f"{path!s:.200}: it cannot be read ({error.strerror}); give pictures") from error
    if not is_file:
        raise InvalidRequest(f"{path}: there is no such file; give pictures")
    if size > MAX_BYTES:
        raise InvalidRequest(f"{path}: more than {MAX_BYTES:,} bytes; make it smaller")


def in_colour(image: Image.Image) -> Image.Image:
    """Return the picture in RGB with 8 bits per colour."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # more than 8 bits per pixel, of which Pillow would keep the lowest
        image = Image.fromarray(to_8_bits(np.asarray(image), full_range=image.mode.startswith("I;16")))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB")


def to_8_bits(grey: np.ndarray, full_range: bool) -> np.ndarray:
    """Scale grey values to 8 bits.

    Args:
        grey: Integers or floats (height, width).
        full_range: Whether the values are from 0 to 65,535. Otherwise their own range is used, from smallest to
            largest.

    Returns:
        uint8 (height, width).
    """
    low, high = (0, 65_535) if full_range else (float(np.nanmin(grey)), float(np.nanmax(grey)))
    scaled = (grey.astype(np.float32) - low) * (255 / max(high - low, 1e-9))
    return np.asarray(np.nan_to_num(scaled).clip(0, 255).round(), dtype=np.uint8)

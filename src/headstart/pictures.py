"""A user's own picture, as the networks take it. Nothing in it is trusted, and any size will do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.errors import BadRequest
from headstart.image_folder import FORMATS, MOST_BYTES, MOST_PIXELS

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32
TOO_LARGE = f"more than {MOST_PIXELS:,} pixels; make it smaller"


def read_picture(path: Path) -> np.ndarray:
    """The picture, whole, as uint8 (32, 32, 3). Raises BadRequest.

    It is turned as its camera says, laid on white where it is transparent, and of an animation it is the first frame.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's: about odd metadata, and about sizes that are refused here
        try:
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:  # nothing of it is decoded yet
                    raise Image.DecompressionBombError
                small = in_colour(ImageOps.exif_transpose(image)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        except UnidentifiedImageError as error:
            raise BadRequest(f"{path}: this is no picture; give one of {', '.join(FORMATS)}") from error
        except Image.DecompressionBombError as error:
            raise BadRequest(f"{path}: {TOO_LARGE}") from error
        except Exception as error:  # each of Pillow's formats fails in its own ways
            raise BadRequest(f"{path}: it cannot be read ({error!s:.200}); save it anew as JPEG or PNG") from error
    return np.asarray(small)


def check_file(path: Path) -> None:
    """BadRequest unless it is a file, and not too large."""
    try:
        is_file = path.is_file()
        size = path.stat().st_size if is_file else 0
    except OSError as error:  # a name that is too long, a folder that is not ours to look into
        raise BadRequest(f"{path!s:.200}: it cannot be read ({error.strerror}); give pictures") from error
    if not is_file:
        raise BadRequest(f"{path}: there is no such file; give pictures")
    if size > MOST_BYTES:
        raise BadRequest(f"{path}: more than {MOST_BYTES:,} bytes; make it smaller")


def in_colour(image: Image.Image) -> Image.Image:
    """The picture in RGB with 8 bits a colour."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # more than 8 bits a pixel, of which Pillow would keep the lowest
        image = Image.fromarray(to_8_bits(np.asarray(image), full=image.mode.startswith("I;16")))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB")


def to_8_bits(grey: np.ndarray, full: bool) -> np.ndarray:
    """Grey values as uint8: of the full 16-bit range, or, where that is not known, of the range that they take."""
    low, high = (0, 65_535) if full else (float(np.nanmin(grey)), float(np.nanmax(grey)))
    scaled = (grey.astype(np.float32) - low) * (255 / max(high - low, 1e-9))
    return np.asarray(np.nan_to_num(scaled).clip(0, 255).round(), dtype=np.uint8)

"""Read a user's own pictures as an image folder's are read. Nothing in a file is trusted."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from headstart.datasets.image_folder import explain
from headstart.errors import InvalidRequest
from headstart.practical import image_folder as practical

SIDE = 32


def read_picture(path: Path, side: int = SIDE) -> np.ndarray:
    """Read a picture and resize it to a square, without cropping, with the notebook's own reader.

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
    try:
        is_file = path.is_file()
    except OSError as error:  # a name that is too long, or a folder without permission
        raise InvalidRequest(f"{path!s:.200}: it cannot be read ({error.strerror}); give pictures") from error
    if not is_file:
        raise InvalidRequest(f"{path}: there is no such file; give pictures")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about odd metadata and about sizes that are checked here
        try:
            return practical.read_picture(path, side)
        except Exception as error:  # Pillow's formats fail in many ways
            raise InvalidRequest(f"{path}: the image cannot be read ({explain(error)})") from error


def list_pictures(paths: list[Path]) -> list[Path]:
    """Replace each folder by the pictures in it, in natural order; hidden files are left out.

    Args:
        paths: Files and folders.

    Raises:
        InvalidRequest: A folder has no file, or cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        try:
            if not path.is_dir():
                files.append(path)
                continue
            _, inside = practical.list_folder(path, [])
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{path!s:.200}: it cannot be read ({error!s:.200}); give pictures") from error
        if not inside:
            raise InvalidRequest(f"{path}: the folder has no picture; give pictures")
        files += [Path(file.path) for file in inside]
    return files

"""Read files that may be damaged or hostile.

Sizes and types are checked before anything is used. Every mismatch is a one-line ValueError. Nothing in a file is
executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import InvalidRequest

MAX_TEXT_BYTES = 10_000_000  # a run.json has 20,000
MAX_FILE_BYTES = 200_000_000  # the weights of a network have 11 million
MAX_ARRAY_BYTES = 400_000_000  # a checkpoint has 25,000,000


def read_json(path: Path, schema: Any) -> Any:
    """Read a JSON file and check its structure.

    Args:
        path: The file, at most 10 MB.
        schema: See `matches_schema`.

    Returns:
        The content.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large, not JSON, or does not match the schema.
    """
    try:
        content = json.loads(read_bytes(path, MAX_TEXT_BYTES))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not matches_schema(content, schema):
        raise ValueError("it does not have the structure that this version writes")
    return content


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an uncompressed .npz file.

    Together, they take no more memory than the file takes on the disk.

    Args:
        path: The file, at most 400 MB.

    Returns:
        Arrays by name; none contains Python objects.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large, damaged, compressed, or contains something other than arrays.
    """
    size = file_size(path, MAX_ARRAY_BYTES)
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > size:
                raise ValueError(f"it would grow to {unpacked:,} bytes")
            file.seek(0)
            with np.load(file, allow_pickle=False) as saved:
                arrays = dict(saved)
            if other := [name for name in arrays if not isinstance(arrays[name], np.ndarray)]:
                raise ValueError(f"{other[0]} is not an array")
            return arrays
        except Exception as error:  # a hostile archive can fail in any way
            raise ValueError(f"its arrays cannot be read ({error!s:.200})") from error


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a whole file.

    Args:
        path: A regular file.
        limit: The largest accepted size, in bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large or not a regular file.
    """
    file_size(path, limit)
    with path.open("rb") as file:
        return file.read(limit)


def file_size(path: Path, limit: int) -> int:
    """Return the size of a regular file in bytes.

    Args:
        path: The file.
        limit: The largest accepted size, in bytes.

    Raises:
        OSError: There is no such file.
        ValueError: It is larger than `limit`, or not a regular file. Reading a pipe or a device could block.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it is not a regular file")
    if size > limit:
        raise ValueError(f"it has {size:,} bytes, more than {limit:,}")
    return size


def matches_schema(value: Any, schema: Any) -> bool:
    """Check whether a value from JSON has a structure.

    Args:
        value: Any value.
        schema: A type. A string or None stands for itself. A tuple contains alternatives. A list contains one schema
            for all items, or one for each. A dictionary contains required keys, or `{str: schema}` for any keys.

    Returns:
        Whether it matches. Strings must be printable, because control characters change what a terminal displays.
        Integers must fit into 64 bits, and integers are accepted as floats.
    """
    if isinstance(schema, tuple):
        return any(matches_schema(value, one) for one in schema)
    if isinstance(schema, list):
        schemas = schema * len(value) if isinstance(value, list) and len(schema) == 1 else schema
        return isinstance(value, list) and len(value) == len(schemas) and all(map(matches_schema, value, schemas))
    if isinstance(schema, dict) and str in schema:
        return isinstance(value, dict) and all(
            matches_schema(key, str) and matches_schema(value[key], schema[str]) for key in value
        )
    if isinstance(schema, dict):
        return isinstance(value, dict) and all(
            key in value and matches_schema(value[key], schema[key]) for key in schema
        )
    if schema is str:
        return isinstance(value, str) and value.isprintable()
    if schema is int:
        return type(value) is int and abs(value) < 2**63
    if schema is float:
        return type(value) is float or matches_schema(value, int)
    return (
        value is schema or (isinstance(schema, str) and value == schema) or (schema is bool and isinstance(value, bool))
    )


@contextmanager
def invalid_if_unreadable(path: Path, what: str, remedy: str) -> Iterator[Path]:
    """Report every error while a file is read and checked as one InvalidRequest that names the file.

    Use this context for reading only. Otherwise, an error in our own calculations would be reported as a damaged file.

    Args:
        path: The file.
        what: What writes such files, such as "a run".
        remedy: What the user can do.

    Returns:
        A context, which gives the path.

    Raises:
        InvalidRequest: The file is missing, too large, damaged, or of another kind.
    """
    try:
        file_size(path, MAX_FILE_BYTES)
        yield path
    except InvalidRequest:
        raise
    except Exception as error:  # a damaged or hostile file can fail in any way
        raise InvalidRequest(f"{path}: not what {what} writes there ({error!s:.200}); {remedy}") from error

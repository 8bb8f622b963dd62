"""The code and the library versions that determine a network's weights, in addition to the request."""

from __future__ import annotations

import ast
import hashlib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import headstart

PACKAGE = Path(__file__).parents[1]
TRAINING_CODE = (  # all code that affects the weights and their measurements, except for values in the request
    *(f"practical/{name}.py" for name in ("__init__", "data", "network", "training", "transfer")),
    *(f"training/{name}.py" for name in ("strategies", "trainer")),
    *("runtime/memory.py", "storage/checkpoint.py", "study/subsets.py", "study/task.py"),
)
LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "numpy")


@cache
def provenance() -> str:
    """Return headstart's version, a hash of the code that trains, and the libraries' versions, as one line."""
    versions = [f"headstart {headstart.__version__}", hash_code(TRAINING_CODE)]
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return ", ".join(versions)


def hash_code(files: tuple[str, ...]) -> str:
    """Hash source files of the package, without comments and docstrings.

    Args:
        files: Paths relative to the package.

    Returns:
        The SHA-256 (hex).
    """
    sources = [strip_docstrings((PACKAGE / file).read_text(encoding="utf-8")) for file in files]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def strip_docstrings(source: str) -> str:
    """Return Python source without comments, docstrings and layout, which do not change what it computes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)

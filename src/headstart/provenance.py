"""What decides a network's numbers besides the request: the code that trains it, and the libraries."""

from __future__ import annotations

import ast
import hashlib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import headstart

HERE = Path(__file__).parent
TRAINS = {  # modules by folder; what a recipe says is in the request
    "practical": ("data", "network", "training", "transfer"),
    ".": ("strategies", "training"),
    "study": ("subsets", "work"),
}
LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "numpy")


@cache
def provenance() -> str:
    """The version, a hash (hex) of the code that trains, comments and docstrings aside, and the libraries' versions."""
    files = [HERE / folder / f"{name}.py" for folder, names in TRAINS.items() for name in names]
    code = hashlib.sha256("\n".join(bare(file.read_text(encoding="utf-8")) for file in files).encode()).hexdigest()
    parts = [f"headstart {headstart.__version__}", code]
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            parts.append(f"{name} {metadata.version(name)}")
    return ", ".join(parts)


def bare(source: str) -> str:
    """The source without comments, docstrings and layout: what the interpreter does with it stays."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)

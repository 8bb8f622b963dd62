from __future__ import annotations

import ast
from importlib import metadata

import pytest

from headstart.runtime.provenance import PACKAGE, TRAINING_CODE, hash_code, provenance, strip_docstrings

CODE = 'def double(x):\n    """Twice."""\n    return 2 * x  # not 3\n'

IN_THE_REQUEST = "its values are in the request"
NOT_HASHED = {
    "__init__.py": "exports only",
    "errors.py": "texts of errors",
    "options.py": "refuses requests",
    "practical/recipe.py": IN_THE_REQUEST,
    "runtime/environment.py": "describes the machine",
    "runtime/precision.py": IN_THE_REQUEST,
    "runtime/provenance.py": "the hash itself",
    "runtime/startup.py": "filters messages",
    "storage/files.py": "writes results",
    "storage/locks.py": "keeps processes apart",
    "storage/schema.py": "reads files and checks their structure",
    "study/plan.py": IN_THE_REQUEST,
    "study/results.py": "keeps rows and sources as they are",
    "training/parts.py": IN_THE_REQUEST,
    "training/recipes.py": IN_THE_REQUEST,
    **dict.fromkeys(
        (
            *(f"datasets/{name}.py" for name in ("cifar10", "download", "http", "image_folder", "sources")),
            *(f"practical/{name}.py" for name in ("cifar10", "digits", "image_folder")),
        ),
        "the hash of all images and labels is in the request",
    ),
}
"""Modules that a training imports, but that do not affect its weights and measurements, with the reasons."""


@pytest.mark.parametrize(
    "same", ["def double(x):\n    return 2 * x\n", '"""A module."""\n\n' + CODE.replace("  #", " #")]
)
def test_comments_docstrings_and_layout_do_not_change_the_hash(same: str) -> None:
    assert strip_docstrings(same) == strip_docstrings(CODE)


def test_different_number_is_different_code() -> None:
    assert strip_docstrings(CODE.replace("2 *", "3 *")) != strip_docstrings(CODE)


def test_function_with_only_a_docstring_stays_valid_code() -> None:
    assert strip_docstrings('def nothing():\n    """Only words."""\n') == strip_docstrings("def nothing():\n    pass\n")


def test_line_has_the_versions_that_determine_the_numbers() -> None:
    line = provenance()
    assert f"keras {metadata.version('keras')}" in line
    assert "tensorflow" in line
    assert hash_code(TRAINING_CODE) in line
    assert "\n" not in line


def test_every_file_of_the_training_code_is_hashed() -> None:
    hashes = {hash_code(tuple(file for file in TRAINING_CODE if file != left_out)) for left_out in TRAINING_CODE}
    assert len(hashes | {hash_code(TRAINING_CODE)}) == len(TRAINING_CODE) + 1


def imported(file: str) -> set[str]:
    """The package's files that a file imports, also inside functions, but not those for type checkers only."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    places = [name.replace(".", "/") for name in names if name.partition(".")[0] == "headstart"]
    files = {place.removeprefix("headstart").removeprefix("/") for place in places}
    candidates = {f"{file}.py" for file in files} | {f"{file}/__init__.py".removeprefix("/") for file in files}
    return {file for file in candidates if (PACKAGE / file).is_file() and has_code(file)}


def has_code(file: str) -> bool:
    """Whether a file contains more than a docstring, unlike the `__init__.py` of most packages."""
    return strip_docstrings((PACKAGE / file).read_text(encoding="utf-8")) != "pass"


def test_every_module_that_a_training_uses_is_hashed_or_listed() -> None:
    """Everything that a study's task and a checkpoint import, and what that imports."""
    found, todo = set(), {"study/task.py", "storage/checkpoint.py"}
    while todo:
        file = todo.pop()
        found.add(file)
        todo |= imported(file) - found
    assert found == {*TRAINING_CODE, *NOT_HASHED}
    assert not NOT_HASHED.keys() & {*TRAINING_CODE}

"""Build the hand-in, one stand-alone notebook, from the modules of `practical/`.

`walkthrough.py` determines the order of the cells. If it imports another module, that module's cells replace the
import: its docstring becomes a text cell, its code becomes code cells. The notebook does not import headstart.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from headstart.storage.files import write_text
from headstart.training.recipes import RECIPE_A, RECIPE_B, Recipe, Recipes

PACKAGE = "headstart.practical"
METADATA = {
    "accelerator": "GPU",  # for Colab, which then offers one; the notebook works without
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
LOADERS = ("cifar10", "digits")  # what `data` can name, and the modules that read it
DIGITS = "held_out_classes(REGISTRATION)"
CHOICES = "the notebook reads cifar10, digits, or an image folder train/<class>/*, test/<class>/*"


@dataclass(frozen=True)
class Parameters:
    """The values that a notebook is built from: its parameters cell, its images and its recipes."""

    registration: str = "2020387499"
    epochs: int = 20
    seed: int = 0
    precision: str = "float32"
    data: str = "cifar10"  # or "digits"
    folder: str | None = None  # an image folder instead; never a name, because a folder can be called digits
    test_share: float = 0.0  # of a folder that has no test part
    recipes: Recipes = (RECIPE_A, RECIPE_B)


def build_notebook(parameters: Parameters) -> nbformat.NotebookNode:
    """Build a notebook that is not executed yet. Equal parameters give equal notebooks, byte for byte.

    Args:
        parameters: Values that the caller has checked.
    """
    loader = parameters.data if parameters.folder is None else "image_folder"
    outline = source_of("walkthrough").replace(f"{PACKAGE}.cifar10", f"{PACKAGE}.{loader}")
    if loader == "image_folder":  # its classes may have numbers as names
        outline = outline.replace(DIGITS, f"class_numbers({DIGITS}, dataset.class_names)")
    modules: list[str] = []
    cells = [cell for part in read_cells(outline) for cell in inline(part, modules)]
    own = [cell.source for cell in read_cells(outline) if is_import_cell(cell)]
    imports = {line for source in (*own, *map(source_of, modules)) for line in import_lines(source)}
    cells = [with_imports(cell, imports) if is_import_cell(cell) else cell for cell in cells]
    cells[0].source = cells[0].source.replace(Parameters.registration, parameters.registration)
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            values = {name: getattr(parameters, name) for name in ("registration", "epochs", "seed", "precision")}
            cell.source = set_values(cell.source, {name.upper(): value for name, value in values.items()})
        elif loader == "image_folder" and "\nFOLDER = " in f"\n{cell.source}":
            folder = {"FOLDER": parameters.folder, "TEST_SHARE": parameters.test_share, "SPLIT_SEED": parameters.seed}
            cell.source = set_values(cell.source, folder)
        elif "class Recipe:" in cell.source:
            cell.source = set_recipes(cell.source, parameters.recipes)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:03d}"  # nbformat's and jupytext's are random
    return new_notebook(cells=cells, metadata=METADATA)


def write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Validate a notebook against its format, and write it atomically.

    Args:
        notebook: The notebook.
        path: The file.

    Raises:
        OSError: Writing failed. The old file is unchanged.
    """
    nbformat.validate(notebook)
    write_text(path, as_text(notebook))


def as_text(notebook: nbformat.NotebookNode) -> str:
    """Return the content of the notebook's file."""
    text: str = nbformat.writes(notebook)
    return f"{text}\n"


def source_of(module: str) -> str:
    """Return the source of a module of `practical/`."""
    return files(PACKAGE).joinpath(f"{module}.py").read_text(encoding="utf-8")


def read_cells(source: str) -> Iterator[nbformat.NotebookNode]:
    """Return the cells of a module's source: its docstring as text, then the parts between `# %%` marks."""
    docstring = ast.get_docstring(ast.parse(source))
    if docstring:
        yield new_markdown_cell(docstring)
        source = source.split('"""', 2)[2]
    for cell in jupytext.reads(source, fmt="py:percent").cells:
        text = cell.source.strip()
        if cell.cell_type == "markdown":
            yield new_markdown_cell(text)
        elif text:
            yield new_code_cell(text, metadata={key: cell.metadata[key] for key in ("tags",) if key in cell.metadata})


def inline(cell: nbformat.NotebookNode, seen: list[str]) -> Iterator[nbformat.NotebookNode]:
    """Return the cells of the modules that a cell imports, then the rest of the cell.

    If the cell imports the package itself, the package's code replaces it, because that must come before all imports.

    Args:
        cell: A cell of `walkthrough.py`.
        seen: The modules that were inlined before; new ones are appended.
    """
    if cell.source == f"import {PACKAGE}":
        yield list(read_cells(source_of("__init__")))[-1]
        return
    modules = siblings(cell.source) if cell.cell_type == "code" else []
    for module in modules:
        yield from module_cells(module, seen)
    if modules:
        cell.source = without_imports(cell.source)
    if cell.source:
        yield cell


def module_cells(module: str, seen: list[str]) -> Iterator[nbformat.NotebookNode]:
    """Return the cells of a module after those of the modules that it needs, each only once (see `inline`)."""
    if module in seen:
        return
    seen.append(module)
    for needed in siblings(source_of(module)):
        yield from module_cells(needed, seen)
    for cell in read_cells(source_of(module)):
        if cell.cell_type == "code":
            cell.source = without_imports(cell.source)
        if cell.source:
            yield cell


def siblings(source: str) -> list[str]:
    """Return the modules of `practical/` that this code imports from, in its order."""
    imports = [node.module or "" for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    return [module.removeprefix(f"{PACKAGE}.") for module in imports if module.startswith(f"{PACKAGE}.")]


def without_imports(source: str) -> str:
    """Return code without its imports."""
    lines = source.splitlines()
    for node in import_nodes(source):
        lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)  # type: ignore[operator]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip()


def import_nodes(source: str) -> list[ast.Import | ast.ImportFrom | ast.If]:
    """Return the imports at the top level of this code, and the `if` of imports for type checkers only."""

    def is_import(node: ast.stmt) -> bool:
        return isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )

    return [node for node in ast.parse(source).body if is_import(node)]  # type: ignore[misc]


def import_lines(source: str) -> Iterator[tuple[str, str]]:
    """Return (module, name) for each import from outside `practical/`; for `import x as y`, ("", "x as y")."""
    for node in import_nodes(source):
        if isinstance(node, ast.If) or ast.unparse(node) == "from typing import TYPE_CHECKING":
            continue
        names = [ast.unparse(name) for name in node.names]
        if isinstance(node, ast.Import):
            yield from (("", name) for name in names if name != PACKAGE)
        elif node.module != "__future__" and not (node.module or "").startswith(PACKAGE):
            yield from ((node.module or "", name) for name in names)


def is_import_cell(cell: nbformat.NotebookNode) -> bool:
    """Check whether a cell is code and consists of imports only."""
    return cell.cell_type == "code" and not without_imports(cell.source)


def with_imports(cell: nbformat.NotebookNode, imports: set[tuple[str, str]]) -> nbformat.NotebookNode:
    """Return a cell with the imports of all modules, each once.

    Args:
        cell: The cell that is replaced.
        imports: From `import_lines`.
    """
    modules = sorted({module for module, _ in imports if module})
    lines = [f"import {name}" for module, name in sorted(imports) if not module]
    lines += [f"from {module} import {', '.join(sorted(n for m, n in imports if m == module))}" for module in modules]
    return new_code_cell("\n".join(lines), metadata=cell.metadata)


def set_values(source: str, values: dict[str, Any]) -> str:
    """Assign values to names in a cell. Its comments stay.

    Args:
        source: The cell's code.
        values: Texts and numbers by name.

    Returns:
        The new code.

    Raises:
        AssertionError: A name is not assigned in exactly one line, which is an error in `practical/`.
    """
    for name, value in values.items():
        # Paths can contain undecodable bytes.
        text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
        pattern = rf'^{name} = ("[^"]*"|[\d.]+)'
        count = len(re.findall(pattern, source, flags=re.M))
        source = re.sub(pattern, f"{name} = {text}".replace("\\", r"\\"), source, flags=re.M)
        if count != 1:
            raise AssertionError(f"practical: {count} lines set {name}, not one")
    return source


def set_recipes(source: str, recipes: Recipes) -> str:
    """Replace the recipes in a cell with calls of Recipe, if one differs from the practical's.

    Args:
        source: The cell's code.
        recipes: Part A's and part B's.

    Returns:
        The new code.
    """
    if recipes == (RECIPE_A, RECIPE_B):
        return source
    default = Recipe()
    for name, recipe in zip(("RECIPE_A", "RECIPE_B"), recipes, strict=True):  # the practical's B is made from its A
        changes = [f"{key}={value!r}" for key, value in vars(recipe).items() if value != getattr(default, key)]
        source = re.sub(rf"^{name} = .*$", f"{name} = Recipe({', '.join(changes)})", source, flags=re.M)
    return source

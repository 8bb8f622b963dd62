"""The hand-in: one stand-alone notebook, made of `practical/`.

`walkthrough.py` is the spine. Where it imports a sibling module, that module takes the import's place: its docstring
becomes a text cell, its code code cells. Nothing of ours is imported by what comes out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from headstart.errors import BadRequest
from headstart.recipes import RECIPE_A, RECIPE_B, Recipe, Recipes, check_recipes
from headstart.store import write_text

PACKAGE = "headstart.practical"
METADATA = {
    "accelerator": "GPU",  # for Colab, which then offers one; the notebook works without
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
LOADERS = {"cifar10": "cifar10", "digits": "digits"}  # the module that reads what --data names; a path is a folder
TAKES = "the notebook reads cifar10, digits, or an image folder train/<class>/*, test/<class>/*"


@dataclass(frozen=True)
class Parameters:
    """What the notebook is made for: the values of its first code cell, its images and its recipes."""

    registration: str = "2020387499"
    epochs: int = 20
    seed: int = 0
    precision: str = "float32"
    data: str = "cifar10"  # "cifar10", "digits", or the path of an image folder
    recipes: Recipes = (RECIPE_A, RECIPE_B)


def check_parameters(
    registration: str | None,
    data: str,
    classes: str | None,
    seed: int,
    epochs: int,
    precision: str,
    recipes: Recipes,
    execute: bool,
    say: Callable[[str], None],
) -> Parameters:
    """The parameters of a request, which are checked as a run's are; to execute, the data must be at hand.

    Two class names become the digits that name them, since the notebook takes a registration number.
    Raises BadRequest.
    """
    from headstart.precision import choose_precision
    from headstart.request import check_options, held_out_in
    from headstart.sources import batches_in, open_dataset, printable, settled

    check_options(registration, classes, seed, epochs, precision)
    check_recipes(*recipes)
    is_path = data not in (*LOADERS, "auto")
    if execute or classes is not None or is_path:
        dataset, _ = open_dataset(data, say)  # what a run refuses is refused here, too
        if is_path:
            folder = Path(data).expanduser()
            if batches_in(folder) or not folder.is_dir():  # a run would read them, and the notebook could not
                raise BadRequest(printable(f"--data {data}: {TAKES}"))
            data = str(folder) if data[0] == "~" else data  # as it was given: "./digits" is a folder, "digits" is not
        held_out = held_out_in(dataset, registration, classes)
        if registration is None and max(held_out) > 9:
            raise BadRequest(
                f"--classes {classes}: the notebook can hold out the first ten classes only; use headstart run"
            )
        registration = registration or "".join(map(str, held_out))
        data = settled(data, dataset.name)
    if precision == "auto" and not execute:  # it will run on a machine that cannot be measured from here
        precision = "float32"
    elif precision == "auto":
        precision, reason = choose_precision(precision)
        say(f"Precision: {precision} ({reason})")
    return Parameters(str(registration), epochs, seed, precision, "cifar10" if data == "auto" else data, recipes)


def build_notebook(parameters: Parameters) -> nbformat.NotebookNode:
    """The notebook, not yet executed. Equal parameters give equal notebooks, byte for byte."""
    loader = LOADERS.get(parameters.data, "image_folder")
    spine = source_of("walkthrough").replace(f"{PACKAGE}.cifar10", f"{PACKAGE}.{loader}")
    modules: list[str] = []
    cells = [cell for part in read_cells(spine) for cell in inline(part, modules)]
    own = [cell.source for cell in read_cells(spine) if is_import_cell(cell)]
    imports = {line for source in (*own, *map(source_of, modules)) for line in import_lines(source)}
    cells = [with_imports(cell, imports) if is_import_cell(cell) else cell for cell in cells]
    cells[0].source = cells[0].source.replace(Parameters.registration, parameters.registration)
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            values = {name: getattr(parameters, name) for name in ("registration", "epochs", "seed", "precision")}
            cell.source = set_values(cell.source, {name.upper(): value for name, value in values.items()})
        elif loader == "image_folder" and "\nFOLDER = " in f"\n{cell.source}":
            cell.source = set_values(cell.source, {"FOLDER": parameters.data})
        elif "class Recipe:" in cell.source:
            cell.source = set_recipes(cell.source, parameters.recipes)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:03d}"  # nbformat's and jupytext's are random
    return new_notebook(cells=cells, metadata=METADATA)


def write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Check the notebook against its format and write it whole."""
    nbformat.validate(notebook)
    write_text(path, nbformat.writes(notebook) + "\n")


def source_of(module: str) -> str:
    """A module of `practical/` as text."""
    return files(PACKAGE).joinpath(f"{module}.py").read_text(encoding="utf-8")


def read_cells(source: str) -> Iterator[nbformat.NotebookNode]:
    """The cells of a module's source: its docstring as text, then what `# %%` marks divide."""
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
    """The cells of the modules that the cell imports, then what is left of the cell.

    Where the cell imports the package itself, that takes its place as it stands: it has to come before all imports.
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
    """The cells of a module behind those of the modules it needs, each only once: `seen` remembers them."""
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
    """The modules of `practical/` that this code imports from, in its order."""
    imports = [node.module or "" for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    return [module.removeprefix(f"{PACKAGE}.") for module in imports if module.startswith(f"{PACKAGE}.")]


def without_imports(source: str) -> str:
    """The code without its imports."""
    lines = source.splitlines()
    for node in import_nodes(source):
        lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)  # type: ignore[operator]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip()


def import_nodes(source: str) -> list[ast.Import | ast.ImportFrom]:
    """The imports at the top level of this code."""
    return [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]


def import_lines(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) for each name imported from elsewhere than `practical/`; for `import x as y`, ("", "x as y")."""
    for node in import_nodes(source):
        names = [ast.unparse(name) for name in node.names]
        if isinstance(node, ast.Import):
            yield from (("", name) for name in names if name != PACKAGE)
        elif node.module != "__future__" and not (node.module or "").startswith(PACKAGE):
            yield from ((node.module or "", name) for name in names)


def is_import_cell(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell is code and consists of imports alone."""
    return cell.cell_type == "code" and not without_imports(cell.source)


def with_imports(cell: nbformat.NotebookNode, imports: set[tuple[str, str]]) -> nbformat.NotebookNode:
    """The cell with these imports: every module's, once, at the place of the spine's own."""
    modules = sorted({module for module, _ in imports if module})
    lines = [f"import {name}" for module, name in sorted(imports) if not module]
    lines += [f"from {module} import {', '.join(sorted(n for m, n in imports if m == module))}" for module in modules]
    return new_code_cell("\n".join(lines), metadata=cell.metadata)


def set_values(source: str, values: dict[str, Any]) -> str:
    """The cell with these values assigned to these names; its comments stay."""
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()  # a path's odd bytes
        pattern = rf'^{name} = ("[^"]*"|\d+)'
        count = len(re.findall(pattern, source, flags=re.M))
        source = re.sub(pattern, f"{name} = {text}".replace("\\", r"\\"), source, flags=re.M)
        if count != 1:
            raise AssertionError(f"practical: {count} lines set {name}, not one")
    return source


def set_recipes(source: str, recipes: Recipes) -> str:
    """The cell with other recipes than the practical's, where one differs, as calls of Recipe."""
    if recipes == (RECIPE_A, RECIPE_B):
        return source
    default = Recipe()
    for name, recipe in zip(("RECIPE_A", "RECIPE_B"), recipes, strict=True):  # both: the practical's B is made of its A
        changes = [f"{key}={value!r}" for key, value in vars(recipe).items() if value != getattr(default, key)]
        source = re.sub(rf"^{name} = .*$", f"{name} = Recipe({', '.join(changes)})", source, flags=re.M)
    return source

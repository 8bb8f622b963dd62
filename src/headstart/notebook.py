"""The hand-in: one stand-alone notebook, made of `practical/`.

`walkthrough.py` is the spine. Where it imports a sibling module, that module takes the import's place: its docstring
becomes a text cell, its code code cells. Nothing of ours is imported by what comes out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from headstart.errors import BadRequest
from headstart.store import write_text

PACKAGE = "headstart.practical"
METADATA = {
    "accelerator": "GPU",  # for Colab, which then offers one; the notebook works without
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Parameters:
    """The values of the notebook's first code cell."""

    registration: str = "2020387499"
    data: str = "cifar10"
    epochs: int = 20
    seed: int = 0
    precision: str = "float32"
    precision_reason: str = "it is fast on every machine"


def check_parameters(
    registration: str | None,
    data: str,
    classes: str | None,
    seed: int,
    epochs: int,
    precision: str,
    execute: bool,
    say: Callable[[str], None],
) -> Parameters:
    """The parameters of a request, which are checked as a run's are; to execute, the data must be at hand.

    Two class names become the digits that name them, since the notebook takes a registration number.
    Raises BadRequest.
    """
    from headstart.precision import choose_precision
    from headstart.request import check_options, held_out_in
    from headstart.sources import open_dataset, settled

    check_options(registration, classes, seed, epochs, precision)
    is_folder = data not in ("cifar10", "digits", "auto")
    if is_folder:
        with suppress(RuntimeError):  # "~somebody" has no home, and there is no such folder
            data = str(Path(data).expanduser())
    if is_folder and not (Path(data) / "train").is_dir():
        raise BadRequest(
            f"--data {data}: the notebook reads cifar10, digits, or an image folder train/<class>/*, test/<class>/*"
        )
    if execute or classes is not None or is_folder:
        dataset, _ = open_dataset(data, say)
        held_out = held_out_in(dataset, registration, classes)
        if registration is None and max(held_out) > 9:
            raise BadRequest(
                f"--classes {classes}: the notebook can hold out the first ten classes only; use headstart run"
            )
        registration = registration or "".join(map(str, held_out))
        data = settled(data, dataset.name)
    elsewhere = precision == "auto" and not execute  # it will run on a machine that cannot be measured from here
    chosen = (Parameters.precision, Parameters.precision_reason) if elsewhere else choose_precision(precision)
    return Parameters(str(registration), "cifar10" if data == "auto" else data, epochs, seed, *chosen)


def build_notebook(parameters: Parameters) -> nbformat.NotebookNode:
    """The notebook, not yet executed. Equal parameters give equal notebooks, byte for byte."""
    modules: list[str] = []
    cells = [cell for part in read_cells("walkthrough") for cell in inline(part, modules)]
    imports = {line for name in ("walkthrough", *modules) for line in import_lines(source_of(name))}
    cells = [with_imports(cell, imports) if is_import_cell(cell) else cell for cell in cells]
    for cell in cells:
        if cell is cells[0]:
            cell.source = cell.source.replace(Parameters.registration, parameters.registration)
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = set_parameters(cell.source, parameters)
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


def read_cells(module: str) -> Iterator[nbformat.NotebookNode]:
    """A module's cells: its docstring as text, then what `# %%` marks divide."""
    source = source_of(module)
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
        yield list(read_cells("__init__"))[-1]
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
    for cell in read_cells(module):
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


def set_parameters(source: str, parameters: Parameters) -> str:
    """The parameter cell with these values; its remarks stay."""
    for name, value in vars(parameters).items():
        text = json.dumps(value, ensure_ascii=False)
        old = re.search(rf'^{name.upper()} = ("[^"]*"|\d+)', source, flags=re.MULTILINE)
        if not old:
            raise AssertionError(f"walkthrough.py: the parameter cell does not set {name.upper()}")
        source = f"{source[: old.start()]}{name.upper()} = {text}{source[old.end() :]}"
    return source

"""The built notebook: short, plain, complete and independent of the package."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

import headstart.practical
from headstart.datasets.sources import fingerprint, open_dataset
from headstart.notebook.build import Parameters, build_notebook, set_values, write_notebook
from headstart.practical.data import CIFAR10_CLASSES
from headstart.training.recipes import RECIPE_A, RECIPE_B
from support.notebooks import execute, folder_of, load_images, parameters_of, sources, values_in
from support.runs import HOSTILE, make_pictures

PRACTICAL = Path(headstart.practical.__file__).parent
LOADERS = ("cifar10", "digits", "image_folder")
SHARED = sorted({path.stem for path in PRACTICAL.glob("*.py")} - {"__init__", "walkthrough", *LOADERS})
RECIPES = (RECIPE_A, RECIPE_B)


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return build_notebook(Parameters())


@pytest.fixture(scope="module")
def notebooks(notebook) -> dict[str, nbformat.NotebookNode]:
    """The notebook with each of the three loaders."""
    return {
        "cifar10": notebook,
        "digits": build_notebook(Parameters(data="digits")),
        "image_folder": build_notebook(Parameters(folder="images")),
    }


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def code_lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def source_of(module: str) -> str:
    return (PRACTICAL / f"{module}.py").read_text(encoding="utf-8")


def is_import(node: ast.AST) -> bool:
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom) or is_for_types


def statements(source: str) -> list[str]:
    """Return the top-level statements as they are written, with comments at their ends, without imports and docstring.

    This uses `ast` only, because nothing that builds the notebook is trusted here.
    """
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body:
        if not is_import(node) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            found.append("\n".join(lines[first - 1 : node.end_lineno]))
    return found


# The limits of a plain notebook


def test_the_notebook_is_short(notebook) -> None:
    lines = {code.splitlines()[0]: len(code_lines(code)) for code in sources(notebook)}
    assert sum(lines.values()) <= 400
    assert {first: count for first, count in lines.items() if count > 30} == {}
    assert len(notebook.cells) <= 60


def test_the_first_training_is_within_200_lines(notebook) -> None:
    everything = "\n".join(line for code in sources(notebook) for line in code_lines(code))
    nodes = [node for node in ast.walk(ast.parse(everything)) if isinstance(node, ast.Call)]
    calls = [node.lineno for node in nodes if getattr(node.func, "id", None) == "train"]
    assert len(calls) == 4  # network A and three strategies
    assert min(calls) <= 200


@pytest.mark.parametrize("module", [*LOADERS, *SHARED])
def test_a_docstring_has_one_or_two_lines(module: str) -> None:
    nodes = [
        node for node in ast.walk(ast.parse(source_of(module))) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    for node in nodes:
        docstring = ast.get_docstring(node)
        assert docstring is None or len(docstring.splitlines()) <= 2, node.name
    top = [node for node in ast.parse(source_of(module)).body if node in nodes or isinstance(node, ast.FunctionDef)]
    assert [node.name for node in top if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("name", ["GradientTape", "raw_ops", "custom_gradient", "numpy_function", "dup2", "threading"])
def test_no_low_level_tool_is_used(name: str, notebooks) -> None:
    assert [code for notebook in notebooks.values() for code in sources(notebook) if name in code] == []


@pytest.mark.parametrize("module", [*LOADERS, *SHARED])
def test_only_callbacks_are_derived_from_a_class_of_keras(module: str) -> None:
    classes = [node for node in ast.parse(source_of(module)).body if isinstance(node, ast.ClassDef)]
    assert {ast.unparse(base) for node in classes for base in node.bases} <= {"keras.callbacks.Callback"}


# One source


def test_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_notebook(build_notebook(Parameters()), tmp_path / f"{name}.ipynb")
    assert (tmp_path / "one.ipynb").read_bytes() == (tmp_path / "other.ipynb").read_bytes()


@pytest.mark.parametrize(
    ("loader", "module"), [*((loader, loader) for loader in LOADERS), *(("cifar10", module) for module in SHARED)]
)
def test_every_statement_of_a_module_is_in_one_cell_exactly_once(loader: str, module: str, notebooks) -> None:
    everything = [statement for code in sources(notebooks[loader]) for statement in statements(code)]
    expected = statements(source_of(module))
    assert expected
    assert [everything.count(statement) for statement in expected] == [1] * len(expected)
    assert [statement for statement in everything if statement in expected] == expected  # in its order


@pytest.mark.parametrize("loader", LOADERS)
def test_the_cells_have_only_code_of_the_modules_and_walkthrough(loader: str, notebooks) -> None:
    everything = ("__init__", *SHARED, loader, "walkthrough")
    expected = [statement for module in everything for statement in statements(source_of(module))]
    if loader == "image_folder":
        expected = [as_for_a_folder(statement) for statement in expected]
    assert sorted(statement for code in sources(notebooks[loader]) for statement in statements(code)) == sorted(
        expected
    )


def as_for_a_folder(source: str) -> str:
    """The classes of a folder can have numbers as names, which the digits of a registration number then mean."""
    digits = "held_out_classes(REGISTRATION)"
    return source.replace(f"(dataset, {digits})", f"(dataset, class_numbers({digits}, dataset.class_names))")


@pytest.mark.parametrize("loader", LOADERS)
def test_the_notebooks_differ_in_the_loader_and_the_imports_only(loader: str, notebooks) -> None:
    def rest(name: str) -> list[tuple[str, str, str]]:
        own = {ast.get_docstring(ast.parse(source_of(name))), *statements(source_of(name))}
        return [
            (cell.cell_type, as_for_a_folder(cell.source), json.dumps(cell.metadata))
            for cell in notebooks[name].cells
            if not cell.source.startswith("import keras\n")
            and cell.source not in own
            and not (cell.cell_type == "code" and {*statements(cell.source)} <= own)
        ]

    assert rest(loader) == rest("cifar10")
    # All but the imports, and the loader's text, values and functions:
    assert len(rest(loader)) >= len(notebooks[loader].cells) - (8 if loader == "image_folder" else 4)


def test_no_comment_of_the_code_is_lost(notebook) -> None:
    originals = [line for module in ("cifar10", *SHARED, "walkthrough") for line in source_of(module).splitlines()]
    written = [line for line in originals if "  # " in line and "import" not in line]
    lines = [line for code in sources(notebook) for line in code.splitlines()]
    assert len(written) > 20
    assert [lines.count(line) for line in written] == [originals.count(line) for line in written]


@pytest.mark.parametrize(
    ("loader", "module"), [*((loader, loader) for loader in LOADERS), *(("cifar10", module) for module in SHARED)]
)
def test_the_docstring_of_a_module_is_the_text_above_its_code(loader: str, module: str, notebooks) -> None:
    docstring = ast.get_docstring(ast.parse(source_of(module)))
    if module == "evaluation":  # its cell follows that of `inference`, under the same text
        assert docstring is None
        return
    assert docstring
    assert docstring.startswith("## ")
    everything = [cell.source for cell in notebooks[loader].cells]
    [text] = [number for number, source in enumerate(everything) if source == docstring]
    [code] = [number for number, source in enumerate(everything) if statements(source_of(module))[0] in source]
    assert code == text + 1


def test_every_heading_and_text_of_a_source_is_a_text_cell(notebook) -> None:
    for module in ("cifar10", *SHARED, "walkthrough"):
        blocks = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", source_of(module), flags=re.MULTILINE)
        for block in blocks:
            text = "\n".join(line[2:] for line in block.splitlines())
            assert texts(notebook).count(text) == 1


# Stand-alone


def test_no_code_mentions_headstart(notebooks) -> None:
    assert not [code for notebook in notebooks.values() for code in sources(notebook) if "headstart" in code.lower()]


@pytest.mark.parametrize("loader", LOADERS)
def test_only_packages_that_colab_has_are_imported(loader: str, notebooks) -> None:
    names = set()
    for node in ast.walk(ast.parse("\n".join(sources(notebooks[loader])))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
    colab = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "keras", "tensorflow", "IPython", "PIL"}
    assert names - sys.stdlib_module_names <= colab


def test_nothing_is_installed_or_executed_in_a_shell(notebook) -> None:
    for code in sources(notebook):
        assert not re.search(r"^\s*[!%]|\bpip\b|\bconda\b|subprocess|os\.system|get_ipython", code, flags=re.MULTILINE)


def test_everything_is_imported_once_and_before_it_is_used(notebook) -> None:
    with_imports = [code for code in sources(notebook) if any(is_import(node) for node in ast.parse(code).body)]
    brief, _, environment, imports, *_ = sources(notebook)  # the second has the parameters
    assert with_imports == [brief, environment, imports]
    assert environment.endswith(statements(source_of("__init__"))[0])  # TensorFlow reads it when it is imported
    assert "keras" not in brief + environment
    lines = [line for code in with_imports for line in code.splitlines() if "import" in line]
    assert len(set(lines)) == len(lines)
    assert not [line for line in lines if "__future__" in line]  # it would have to be every cell's first line


@pytest.mark.parametrize("loader", LOADERS)
def test_every_name_is_defined_before_it_is_used(loader: str, notebooks) -> None:
    known = set(dir(__import__("builtins")))
    for code in sources(notebooks[loader]):
        tree = ast.parse(code)
        for node in tree.body:
            used = eager_names(node)
            assert used <= known, (sorted(used - known), code[:80])
            known |= bound_names(node)


def eager_names(node: ast.stmt) -> set[str]:
    """The names that a statement reads when it is executed: not those in the bodies of functions."""
    if isinstance(node, ast.FunctionDef):
        parts: list[ast.AST] = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
    elif isinstance(node, ast.ClassDef):
        inner = set().union(*(eager_names(part) for part in node.body))
        own = set().union(*(bound_names(part) for part in node.body))
        parts = [*node.decorator_list, *node.bases]
        return (inner - own) | visible_names(parts)
    else:
        parts = [node]
    return visible_names(parts)


def visible_names(parts: list[ast.AST]) -> set[str]:
    nodes = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Name | ast.arg)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    local = {node.id for node in names if isinstance(node.ctx, ast.Store)}  # of comprehensions, too
    arguments = {
        argument.arg
        for part in parts
        for node in ast.walk(part)
        if isinstance(node, ast.Lambda)
        for argument in node.args.args
    }
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - local - arguments


def bound_names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


@pytest.mark.parametrize("loader", LOADERS)
def test_no_module_or_cell_overwrites_names_of_another(loader: str, notebooks) -> None:
    nodes = [node for code in sources(notebooks[loader]) for node in ast.parse(code).body]
    defined = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    defined += [name for node in nodes if is_import(node) for name in bound_names(node)]
    constants = [
        target.id
        for module in (*SHARED, loader)
        for node in ast.parse(source_of(module)).body
        if isinstance(node, ast.Assign)
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    ]
    assert len(set(defined + constants)) == len(defined + constants)
    walked = set().union(
        *(bound_names(node) for node in ast.parse(source_of("walkthrough")).body if not is_import(node))
    )
    own = {"show", "progress", "report"}  # the functions of the walkthrough itself
    assert walked & {*defined, *constants} == own


# The format


def test_the_notebook_is_valid_and_requests_a_gpu_from_colab(notebook, tmp_path: Path) -> None:
    write_notebook(notebook, tmp_path / "a.ipynb")
    read = nbformat.read(tmp_path / "a.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(read)
    assert (read.nbformat, read.nbformat_minor >= 5) == (4, True)
    assert read.metadata.accelerator == "GPU"
    assert read.metadata.colab.gpuType == "T4"
    assert read.metadata.kernelspec.name == "python3"
    assert all(not cell.outputs and cell.execution_count is None for cell in read.cells if cell.cell_type == "code")


def test_cell_ids_are_unique_and_independent_of_the_parameters(notebook) -> None:
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", one) for one in ids)
    other = build_notebook(Parameters(registration="49", epochs=1, seed=5, precision="bfloat16"))
    assert [cell.id for cell in other.cells] == ids


def test_every_section_has_a_heading(notebook) -> None:
    kinds = [cell.cell_type for cell in notebook.cells]
    headings = [text.splitlines()[0] for text in texts(notebook) if text.startswith("#")]
    assert kinds[0] == "markdown"
    assert headings[0].startswith("# ")
    assert [heading for heading in headings[1:] if heading.startswith("# ")] == []
    assert len(set(headings)) == len(headings)
    for section in ("data", "recipe", "network", "Network A", "Strategy 1", "Strategy 2", "Strategy 3", "Comparison"):
        assert [heading for heading in headings if section in heading], section


# The text agrees with the images


@pytest.mark.parametrize("loader", ["digits", "image_folder"])
@pytest.mark.parametrize("words", ["60,000", "ten classes", "photographs of"])
def test_statements_about_cifar10_are_in_its_notebook_only(loader: str, words: str, notebooks) -> None:
    assert [cell.source for cell in notebooks[loader].cells if words in " ".join(cell.source.split())] == []


# The parameters


def test_the_parameters_are_set(notebook) -> None:
    parameters = Parameters("2021032577", data="digits", epochs=3, seed=7, precision="bfloat16")
    assert parameters_of(build_notebook(parameters)) == {
        "REGISTRATION": "2021032577",
        "EPOCHS": 3,
        "SEED": 7,
        "PRECISION": "bfloat16",
    }
    assert parameters_of(notebook) == {"REGISTRATION": "2020387499", "EPOCHS": 20, "SEED": 0, "PRECISION": "float32"}


PATHS = st.text(st.characters(codec=None), min_size=1)  # a path's undecodable bytes are surrogates in Python


@given(path=PATHS, seed=st.integers(0, 2**31 - 1))
@example(path='C:\\new "folder"\\x', seed=0)
@example(path="it's/größe/数据/\u2028\x85\x0c", seed=0)
@example(path="caf\udce9", seed=0)
@example(path="\\", seed=0)
@example(path="x/EPOCHS = 20", seed=0)
@example(path='"; import os; "', seed=0)
def test_any_path_is_written_unchanged(path: str, seed: int) -> None:
    """Only the cells are built, because a hundred whole notebooks would take minutes."""
    [parameters] = re.findall(r'# %% tags=\["parameters"\]\n(.*?)\n\n', source_of("walkthrough"), flags=re.DOTALL)
    cells = [set_values('FOLDER = "images"', {"FOLDER": path}), set_values(parameters, {"EPOCHS": 3, "SEED": seed})]
    read = [values_in(source.encode().decode()) for source in cells]
    assert read[0] == {"FOLDER": path}
    assert (read[1]["SEED"], read[1]["EPOCHS"]) == (seed, 3)


def test_the_folder_is_set_in_the_loaders_cell(notebooks) -> None:
    assert folder_of(build_notebook(Parameters(folder="my/pictures"))) == "my/pictures"
    assert [folder_of(notebooks[loader]) for loader in LOADERS] == [None, None, "images"]


def test_the_comments_behind_the_parameters_are_kept(notebook) -> None:
    def comments(notebook: nbformat.NotebookNode) -> list[str]:
        [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        return [line.partition("#")[2] for line in cell.source.splitlines()]

    assert comments(build_notebook(Parameters(precision="bfloat16"))) == comments(notebook)
    assert any(comments(notebook))


def test_the_title_has_the_registration_number() -> None:
    for number in ("2020387499", "007", "94"):
        title = build_notebook(Parameters(registration=number)).cells[0].source
        assert re.findall(r"Registration number (\d+)\.", title) == [number]
        assert title.count(Parameters.registration) == (number == Parameters.registration)


def test_another_number_changes_only_the_title_and_the_parameters(notebook) -> None:
    other = build_notebook(Parameters(registration="2021032577"))
    changed = [cell.id for cell, now in zip(notebook.cells, other.cells, strict=True) if cell.source != now.source]
    [parameters] = [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert changed == [notebook.cells[0].id, parameters]


# The recipes


def recipes_of(notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    """The values of both recipes, from their cell."""
    [cell] = [code for code in sources(notebook) if "class Recipe:" in code]
    names: dict[str, Any] = {"dataclass": dataclass, "replace": replace}
    execute(cell, names)
    return [vars(names["RECIPE_A"]), vars(names["RECIPE_B"])]


@pytest.mark.parametrize(
    "recipes",
    [
        RECIPES,
        (replace(RECIPE_A, shift=0, learning_rate=1.5e-3), RECIPE_B),
        (RECIPE_A, replace(RECIPE_B, weight_decay=0.0, dropout=(0.0, 0.3))),
        tuple(replace(recipe, widths=(4, 8, 8, 16), units=32) for recipe in RECIPES),
    ],
    ids=["the practical's", "another for A", "another for B", "a smaller network"],
)
def test_the_recipes_are_set(recipes, notebook) -> None:
    built = build_notebook(Parameters(recipes=recipes))
    assert recipes_of(built) == [vars(recipe) for recipe in recipes]
    changed = [cell.source for cell, now in zip(notebook.cells, built.cells, strict=True) if cell.source != now.source]
    assert len(changed) == (recipes != RECIPES)


# The images


def hidden_files(folder: Path, name: str) -> None:
    for place in (folder, folder / "train", folder / "train" / name):
        (place / ".DS_Store").write_text("no image")


def files_of_no_class(folder: Path, name: str) -> None:
    (folder / "train" / "readme.txt").write_text("no class")
    shutil.copytree(folder / "test", folder / "validation")


def names_that_sort_in_several_ways(folder: Path, name: str) -> None:
    for number, file in enumerate(("Z.png", "ä.png", "10.png", "9.png", "a-b.png")):
        (folder / "train" / name / f"{number}.png").rename(folder / "train" / name / file)


def links(folder: Path, name: str) -> None:
    (folder / "train" / name / "x.png").symlink_to(folder / "test" / name / "0.png")
    (folder / "test" / name).rename(folder / "elsewhere")
    (folder / "test" / name).symlink_to(folder / "elsewhere")


def several_kinds_of_pictures(folder: Path, name: str) -> None:
    place = folder / "train" / name
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 4), dtype=np.uint8)
    Image.fromarray(noise).save(place / "transparent.png")
    Image.fromarray(noise[..., 0]).save(place / "grey.jpg")
    Image.fromarray(noise[..., :3]).convert("P").save(place / "palette.gif")
    Image.fromarray(noise[:1, :, :3]).save(place / "flat.webp")


UNUSUAL = (hidden_files, files_of_no_class, names_that_sort_in_several_ways, links, several_kinds_of_pictures)


@pytest.mark.parametrize("change", UNUSUAL, ids=lambda change: change.__name__)
@pytest.mark.parametrize("names", [HOSTILE, CIFAR10_CLASSES[::-1]], ids=len)
def test_the_notebook_reads_the_same_images_as_a_run(
    change: Callable[..., None], names: tuple[str, ...], here: Path
) -> None:
    folder = make_pictures(here / "größe 'x'", names=names, train=5, test=2)
    change(folder, names[2])
    ours = open_dataset(str(folder)).dataset
    theirs = load_images(build_notebook(Parameters("01", folder=str(folder))))
    assert fingerprint(theirs) == fingerprint(ours)
    assert (theirs.name, theirs.class_names) == (ours.name, ours.class_names)
    assert len(ours.x_train) >= 5 * len(names)


def test_the_modules_only_define() -> None:
    """No cell of a module prints anything."""
    for module in (*LOADERS, *SHARED):
        nodes = ast.parse(source_of(module)).body[1:]
        assert [node for node in nodes if isinstance(node, ast.Expr)] == [], module


def test_the_digits_are_those_of_a_run() -> None:
    theirs = load_images(build_notebook(Parameters(data="digits")))
    assert fingerprint(theirs) == fingerprint(open_dataset("digits").dataset)
    assert np.bincount(theirs.y_test).min() > 70

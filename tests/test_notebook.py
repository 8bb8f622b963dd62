from __future__ import annotations

import ast
import contextlib
import io
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
from fixtures_runs import HOSTILE, command, make_pictures, the_one_line
from headstart.errors import BadRequest
from headstart.notebook import Parameters, build_notebook, check_parameters, set_values, write_notebook
from headstart.practical.data import CIFAR10_CLASSES, Dataset
from headstart.recipes import RECIPE_A, RECIPE_B
from headstart.sources import Opened, fingerprint, open_dataset
from test_batches import packed, unpacked
from test_image_folder import BAD

pytest_plugins = ["fixtures_runs"]

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
        "image_folder": build_notebook(Parameters(data="images")),
    }


def codes(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def code_lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def source_of(module: str) -> str:
    return (PRACTICAL / f"{module}.py").read_text(encoding="utf-8")


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def statements(source: str) -> list[str]:
    """The top-level statements but imports and docstring, each exactly as it is written, remarks at its end included.

    Found with `ast` alone, as nothing of what makes the notebook is to be trusted here.
    """
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body:
        if not is_import(node) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            found.append("\n".join(lines[first - 1 : node.end_lineno]))
    return found


def values_in(source: str) -> dict[str, object]:
    """What a cell of assignments sets, as Python understands it."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}


def execute(code: str, names: dict[str, Any]) -> None:
    """Execute a cell as a kernel does, without this file's `from __future__ import annotations`."""
    exec(compile(code, "cell", "exec", dont_inherit=True), names)


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, object]:
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return values_in(cell.source)


def folder_of(notebook: nbformat.NotebookNode) -> object:
    """The image folder that the notebook reads; None if it reads none."""
    return next((values_in(code)["FOLDER"] for code in codes(notebook) if code.startswith("FOLDER = ")), None)


# The limits of a plain notebook


def test_it_is_short(notebook) -> None:
    lines = {code.splitlines()[0]: len(code_lines(code)) for code in codes(notebook)}
    assert sum(lines.values()) <= 400
    assert {first: count for first, count in lines.items() if count > 30} == {}
    assert len(notebook.cells) <= 60


def test_the_first_training_is_within_200_lines(notebook) -> None:
    everything = "\n".join(line for code in codes(notebook) for line in code_lines(code))
    nodes = [node for node in ast.walk(ast.parse(everything)) if isinstance(node, ast.Call)]
    calls = [node.lineno for node in nodes if getattr(node.func, "id", None) == "train"]
    assert len(calls) == 4  # network A and three strategies
    assert min(calls) <= 200


@pytest.mark.parametrize("module", [*LOADERS, *SHARED])
def test_what_a_function_does_is_said_in_a_line_or_two(module: str) -> None:
    nodes = [
        node for node in ast.walk(ast.parse(source_of(module))) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    for node in nodes:
        said = ast.get_docstring(node)
        assert said is None or len(said.splitlines()) <= 2, node.name
    top = [node for node in ast.parse(source_of(module)).body if node in nodes or isinstance(node, ast.FunctionDef)]
    assert [node.name for node in top if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("name", ["GradientTape", "raw_ops", "custom_gradient", "numpy_function", "dup2", "threading"])
def test_nothing_custom_is_below_callbacks(name: str, notebooks) -> None:
    assert [code for notebook in notebooks.values() for code in codes(notebook) if name in code] == []


@pytest.mark.parametrize("module", [*LOADERS, *SHARED])
def test_only_callbacks_are_made_of_a_class_of_keras(module: str) -> None:
    classes = [node for node in ast.parse(source_of(module)).body if isinstance(node, ast.ClassDef)]
    assert {ast.unparse(base) for node in classes for base in node.bases} <= {"keras.callbacks.Callback"}


# One source


def test_built_twice_it_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_notebook(build_notebook(Parameters()), tmp_path / f"{name}.ipynb")
    assert (tmp_path / "one.ipynb").read_bytes() == (tmp_path / "other.ipynb").read_bytes()


@pytest.mark.parametrize(
    ("loader", "module"), [*((loader, loader) for loader in LOADERS), *(("cifar10", module) for module in SHARED)]
)
def test_every_statement_of_a_module_is_in_one_cell_exactly_once(loader: str, module: str, notebooks) -> None:
    everything = [statement for code in codes(notebooks[loader]) for statement in statements(code)]
    expected = statements(source_of(module))
    assert expected
    assert [everything.count(statement) for statement in expected] == [1] * len(expected)
    assert [statement for statement in everything if statement in expected] == expected  # in its order


@pytest.mark.parametrize("loader", LOADERS)
def test_the_cells_hold_nothing_but_the_modules_and_the_walkthrough(loader: str, notebooks) -> None:
    everything = ("__init__", *SHARED, loader, "walkthrough")
    sources = [statement for module in everything for statement in statements(source_of(module))]
    assert sorted(statement for code in codes(notebooks[loader]) for statement in statements(code)) == sorted(sources)


@pytest.mark.parametrize("loader", LOADERS)
def test_the_notebooks_differ_in_the_loader_and_the_imports_alone(loader: str, notebooks) -> None:
    def rest(name: str) -> list[tuple[str, str, str]]:
        own = {ast.get_docstring(ast.parse(source_of(name))), *statements(source_of(name))}
        return [
            (cell.cell_type, cell.source, json.dumps(cell.metadata))
            for cell in notebooks[name].cells
            if not cell.source.startswith("import keras\n")
            and cell.source not in own
            and not (cell.cell_type == "code" and {*statements(cell.source)} <= own)
        ]

    assert rest(loader) == rest("cifar10")
    assert len(rest(loader)) >= len(notebooks[loader].cells) - 4  # the imports, and the loader's text, code and values


def test_no_remark_of_the_code_is_lost(notebook) -> None:
    sources = [line for module in ("cifar10", *SHARED, "walkthrough") for line in source_of(module).splitlines()]
    written = [line for line in sources if "  # " in line and "import" not in line]
    lines = [line for code in codes(notebook) for line in code.splitlines()]
    assert len(written) > 20
    assert [lines.count(line) for line in written] == [sources.count(line) for line in written]


@pytest.mark.parametrize(
    ("loader", "module"), [*((loader, loader) for loader in LOADERS), *(("cifar10", module) for module in SHARED)]
)
def test_a_modules_docstring_is_the_text_above_its_code(loader: str, module: str, notebooks) -> None:
    docstring = ast.get_docstring(ast.parse(source_of(module)))
    assert docstring
    assert docstring.startswith("## ")
    sources = [cell.source for cell in notebooks[loader].cells]
    [text] = [number for number, source in enumerate(sources) if source == docstring]
    [code] = [number for number, source in enumerate(sources) if statements(source_of(module))[0] in source]
    assert code == text + 1


def test_every_heading_and_text_of_a_source_is_a_text_cell(notebook) -> None:
    for module in ("cifar10", *SHARED, "walkthrough"):
        blocks = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", source_of(module), flags=re.MULTILINE)
        for block in blocks:
            text = "\n".join(line[2:] for line in block.splitlines())
            assert texts(notebook).count(text) == 1


# Stand-alone


def test_no_code_names_us(notebooks) -> None:
    assert not [code for notebook in notebooks.values() for code in codes(notebook) if "headstart" in code.lower()]


@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_imported_colab_has(loader: str, notebooks) -> None:
    names = set()
    for node in ast.walk(ast.parse("\n".join(codes(notebooks[loader])))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
    colab = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "keras", "tensorflow", "IPython"}
    assert names - sys.stdlib_module_names <= colab


def test_nothing_is_installed_or_run_in_a_shell(notebook) -> None:
    for code in codes(notebook):
        assert not re.search(r"^\s*[!%]|\bpip\b|\bconda\b|subprocess|os\.system|get_ipython", code, flags=re.MULTILINE)


def test_everything_is_imported_once_and_before_it_is_used(notebook) -> None:
    with_imports = [code for code in codes(notebook) if any(is_import(node) for node in ast.parse(code).body)]
    brief, _, environment, imports, *_ = codes(notebook)  # the second holds the parameters
    assert with_imports == [brief, environment, imports]
    assert environment.endswith(statements(source_of("__init__"))[0])  # TensorFlow reads it when it is imported
    assert "keras" not in brief + environment
    lines = [line for code in with_imports for line in code.splitlines() if "import" in line]
    assert len(set(lines)) == len(lines)
    assert not [line for line in lines if "__future__" in line]  # it would have to be every cell's first line


@pytest.mark.parametrize("loader", LOADERS)
def test_every_name_is_there_before_it_is_used(loader: str, notebooks) -> None:
    known = set(dir(__import__("builtins")))
    for code in codes(notebooks[loader]):
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
        return (inner - own) | names_in(parts)
    else:
        parts = [node]
    return names_in(parts)


def names_in(parts: list[ast.AST]) -> set[str]:
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
def test_no_module_and_no_cell_overwrites_anothers_names(loader: str, notebooks) -> None:
    nodes = [node for code in codes(notebooks[loader]) for node in ast.parse(code).body]
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


def test_it_is_a_valid_notebook_that_asks_colab_for_a_gpu(notebook, tmp_path: Path) -> None:
    write_notebook(notebook, tmp_path / "a.ipynb")
    read = nbformat.read(tmp_path / "a.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(read)
    assert (read.nbformat, read.nbformat_minor >= 5) == (4, True)
    assert read.metadata.accelerator == "GPU"
    assert read.metadata.colab.gpuType == "T4"
    assert read.metadata.kernelspec.name == "python3"
    assert all(not cell.outputs and cell.execution_count is None for cell in read.cells if cell.cell_type == "code")


def test_the_cells_ids_differ_and_do_not_depend_on_the_parameters(notebook) -> None:
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", one) for one in ids)
    other = build_notebook(Parameters(registration="49", epochs=1, seed=5, precision="bfloat16"))
    assert [cell.id for cell in other.cells] == ids


def test_every_section_says_what_is_done_before_the_code(notebook) -> None:
    kinds = [cell.cell_type for cell in notebook.cells]
    headings = [text.splitlines()[0] for text in texts(notebook) if text.startswith("#")]
    assert kinds[0] == "markdown"
    assert headings[0].startswith("# ")
    assert [heading for heading in headings[1:] if heading.startswith("# ")] == []
    assert len(set(headings)) == len(headings)
    for section in ("data", "recipe", "network", "Network A", "Strategy 1", "Strategy 2", "Strategy 3", "Comparison"):
        assert [heading for heading in headings if section in heading], section


# The text fits the images


@pytest.mark.parametrize("loader", ["digits", "image_folder"])
@pytest.mark.parametrize("words", ["60,000", "ten classes", "photographs of"])
def test_what_is_true_of_cifar10_alone_is_said_of_cifar10_alone(loader: str, words: str, notebooks) -> None:
    assert [cell.source for cell in notebooks[loader].cells if words in " ".join(cell.source.split())] == []


# The parameters


def test_the_parameters_are_set(notebook) -> None:
    asked = Parameters("2021032577", data="digits", epochs=3, seed=7, precision="bfloat16")
    assert parameters_of(build_notebook(asked)) == {
        "REGISTRATION": "2021032577",
        "EPOCHS": 3,
        "SEED": 7,
        "PRECISION": "bfloat16",
    }
    assert parameters_of(notebook) == {"REGISTRATION": "2020387499", "EPOCHS": 20, "SEED": 0, "PRECISION": "float32"}


PATHS = st.text(st.characters(codec=None), min_size=1)  # lone surrogates are what Python makes of a path's odd bytes


@given(path=PATHS, seed=st.integers(0, 2**31 - 1))
@example(path='C:\\new "folder"\\x', seed=0)
@example(path="it's/größe/数据/\u2028\x85\x0c", seed=0)
@example(path="caf\udce9", seed=0)
@example(path="\\", seed=0)
@example(path="x/EPOCHS = 20", seed=0)
@example(path='"; import os; "', seed=0)
def test_any_path_arrives_in_the_notebook_as_it_is(path: str, seed: int) -> None:
    """In the cells alone: to build the whole notebook a hundred times would take minutes."""
    [parameters] = re.findall(r'# %% tags=\["parameters"\]\n(.*?)\n\n', source_of("walkthrough"), flags=re.DOTALL)
    cells = [set_values('FOLDER = "images"', {"FOLDER": path}), set_values(parameters, {"EPOCHS": 3, "SEED": seed})]
    read = [values_in(source.encode().decode()) for source in cells]
    assert read[0] == {"FOLDER": path}
    assert (read[1]["SEED"], read[1]["EPOCHS"]) == (seed, 3)


def test_a_folder_is_set_where_the_loader_reads_it(notebooks) -> None:
    assert folder_of(build_notebook(Parameters(data="my/pictures"))) == "my/pictures"
    assert [folder_of(notebooks[loader]) for loader in LOADERS] == [None, None, "images"]


def test_the_remarks_behind_the_parameters_stay(notebook) -> None:
    def remarks(notebook: nbformat.NotebookNode) -> list[str]:
        [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        return [line.partition("#")[2] for line in cell.source.splitlines()]

    assert remarks(build_notebook(Parameters(precision="bfloat16"))) == remarks(notebook)
    assert any(remarks(notebook))


def test_the_title_holds_the_registration_number() -> None:
    for number in ("2020387499", "007", "94"):
        title = build_notebook(Parameters(registration=number)).cells[0].source
        assert re.findall(r"Registration number (\d+)\.", title) == [number]
        assert title.count(Parameters.registration) == (number == Parameters.registration)


def test_another_number_changes_the_title_and_the_parameters_alone(notebook) -> None:
    other = build_notebook(Parameters(registration="2021032577"))
    changed = [cell.id for cell, now in zip(notebook.cells, other.cells, strict=True) if cell.source != now.source]
    [parameters] = [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert changed == [notebook.cells[0].id, parameters]


# The recipes


def recipes_of(notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    """The values of both recipes, from the cell that makes them."""
    [cell] = [code for code in codes(notebook) if "class Recipe:" in code]
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


# The images of a folder are the run's


def loaded(notebook: nbformat.NotebookNode) -> Any:
    """What the notebook's own code reads: its imports and all its cells up to the loader's last."""
    names: dict[str, Any] = {}
    last = next(place for place, code in enumerate(codes(notebook)) if "def load_dataset" in code)
    for code in codes(notebook)[: last + 1]:
        if code.startswith(("import keras\n", "CIFAR10_CLASSES", "FOLDER", "CLASS_NAMES", "def ")):
            execute(code, names)
    return names["load_dataset"]()


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


ODD = (hidden_files, files_of_no_class, names_that_sort_in_several_ways, links, several_kinds_of_pictures)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
@pytest.mark.parametrize("names", [HOSTILE, CIFAR10_CLASSES[::-1]], ids=len)
def test_the_notebook_reads_what_a_run_reads(odd: Callable[..., None], names: tuple[str, ...], here: Path) -> None:
    folder = make_pictures(here / "größe 'x'", names=names, train=5, test=2)
    odd(folder, names[2])
    ours = open_dataset(str(folder), str).dataset
    theirs = loaded(build_notebook(asked("01", data=str(folder))))
    assert fingerprint(theirs) == fingerprint(ours)
    assert (theirs.name, theirs.class_names) == (ours.name, ours.class_names)
    assert len(ours.x_train) >= 5 * len(names)


def asked(registration: str | None = "49", data: str = "cifar10", **given: Any) -> Parameters:
    defaults = {"classes": None, "seed": 0, "epochs": 20, "precision": "float32", "recipes": RECIPES, "execute": False}
    return check_parameters(registration, data, say=str, **defaults | given)


@pytest.mark.parametrize("name", ["digits", "cifar10", "auto"])
def test_a_folder_that_is_called_like_a_dataset_is_read_nevertheless(name: str, here: Path) -> None:
    make_pictures(here / name, train=1, test=1)
    built = build_notebook(asked("01", data=f"./{name}"))
    assert folder_of(built) == f"./{name}"
    assert fingerprint(loaded(built)) == fingerprint(open_dataset(f"./{name}", str).dataset)


@pytest.mark.parametrize("kind", BAD)
def test_a_folder_that_a_run_refuses_is_refused_in_the_same_words(kind: str, here: Path) -> None:
    folder = make_pictures(here / "fruit", names=("apple", "pear"), train=3, test=2)
    for path in folder.rglob("1.png"):
        path.rename(path.with_suffix(".jpg"))
    for path in folder.rglob("2.png"):
        path.rename(path.with_suffix(".bmp"))
    BAD[kind][0](folder)
    with pytest.raises(BadRequest) as of_run:
        open_dataset(str(folder), str)
    with pytest.raises(BadRequest) as of_notebook:
        asked("01", data=str(folder))
    assert str(of_notebook.value) == str(of_run.value)


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-py"])
def test_a_folder_of_which_a_run_reads_the_batches_is_refused(inside: str, here: Path) -> None:
    folder = make_pictures(here / "both", train=1, test=1)
    unpacked(here / "batches")
    shutil.copytree(here / "batches", folder / inside, dirs_exist_ok=True)
    assert open_dataset(str(folder), str).dataset.name == "CIFAR-10"
    assert "the notebook reads cifar10, digits, or an image folder" in the_one_line(
        command("notebook", "01", "--data", folder)
    )


def test_an_archive_is_refused(here: Path, monkeypatch) -> None:
    file = packed(here / "cifar-10-python.tar.gz", unpacked(here / "batches"))
    monkeypatch.setattr("headstart.sources.holds", lambda *_: True)  # as if it were the official one
    assert "the notebook reads cifar10, digits, or an image folder" in the_one_line(
        command("notebook", "01", "--data", file)
    )


# The command


@pytest.fixture
def written(here: Path) -> Callable[..., nbformat.NotebookNode]:
    def write(*arguments: object) -> nbformat.NotebookNode:
        ended = command("notebook", *arguments)
        assert (ended.status, ended.errors) == (0, "")
        [path] = here.glob("*.ipynb")
        assert str(path.name) in ended.output
        return nbformat.read(path, as_version=4)

    return write


def test_the_command_needs_no_data_to_make_a_notebook(written, here: Path) -> None:
    assert parameters_of(written("2020387499", "--epochs", 5))["EPOCHS"] == 5
    assert [path.name for path in here.glob("[!.]*")] == ["practical-2020387499.ipynb"]


def reads_cifar10(notebook: nbformat.NotebookNode) -> bool:
    return any("cifar10.load_data()" in code for code in codes(notebook))


def test_auto_becomes_cifar10_unless_it_is_executed(written) -> None:
    assert reads_cifar10(written("49", "--data", "auto"))


def test_auto_becomes_what_was_found_where_it_is_executed(digits: Dataset, monkeypatch) -> None:
    monkeypatch.setattr("headstart.sources.open_dataset", lambda *_: Opened(digits, "no network"))
    assert asked(data="auto", execute=True).data == "digits"


def test_without_options_it_is_twenty_epochs_of_cifar10_and_never_digits_instead(written, monkeypatch) -> None:
    built = written("49")
    assert reads_cifar10(built)
    assert (parameters_of(built)["EPOCHS"], parameters_of(built)["SEED"]) == (20, 0)
    asked_for = []

    def opened(data: str, *_: object) -> None:
        asked_for.append(data)
        raise BadRequest("there is no network")

    monkeypatch.setattr("headstart.sources.open_dataset", opened)
    assert "there is no network" in the_one_line(command("notebook", "49", "--execute"))
    assert asked_for == ["cifar10"]


def test_the_precision_is_measured_only_where_the_notebook_is_executed(written, monkeypatch) -> None:
    """Otherwise it will run on a machine that nothing is known of."""
    monkeypatch.setattr("headstart.precision.choose_precision", lambda given: ("bfloat16", f"measured for {given}"))
    executed: list[nbformat.NotebookNode] = []
    monkeypatch.setattr("headstart.execution.execute_notebook", lambda notebook, *_: executed.append(notebook))
    made = written("49", "--data", "digits")
    assert "bfloat16 (measured for auto)" in command("notebook", "49", "--data", "digits", "--execute").output
    assert [parameters_of(notebook)["PRECISION"] for notebook in (made, *executed)] == ["float32", "bfloat16"]


def test_class_names_become_the_number_that_names_them(written) -> None:
    assert parameters_of(written("--classes", "nine,four", "--data", "digits"))["REGISTRATION"] == "94"


def test_recipe_files_change_the_recipes(written, here: Path) -> None:
    (here / "a.json").write_text('{"a": {"weight_decay": 0.07, "shift": 2}}')
    (here / "b.json").write_text('{"b": {"dropout": [0, 0.25]}}')
    changed = written("49", "--recipe", "a.json", "--recipe", "b.json")
    expected = (replace(RECIPE_A, weight_decay=0.07, shift=2), replace(RECIPE_B, dropout=(0, 0.25)))
    assert recipes_of(changed) == [vars(recipe) for recipe in expected]


@pytest.mark.parametrize("name", ['it\'s "quoted" größe', "pictures", "my digits"])
def test_the_folder_that_was_named_is_the_folder_that_is_read(name: str, written, here: Path) -> None:
    folder = make_pictures(here / name, train=1, test=1)
    made = written("--classes", ",".join(HOSTILE[1:3]), "--data", folder)
    assert folder_of(made) == str(folder)
    assert parameters_of(made)["REGISTRATION"] == "12"


def test_a_folder_at_home_is_named_in_full(written, here: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    make_pictures(here / "pictures", train=1, test=1)
    assert folder_of(written("01", "--data", "~/pictures")) == str(here / "pictures")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("11",),
        ("49", "--classes", "cat,dog"),
        ("--classes", "cat,cat", "--data", "digits"),
        ("--classes", "cat,dog", "--data", "digits"),
        ("49", "--epochs", "0"),
        ("49", "--seed", "-1"),
        ("49", "--precision", "float16"),
        ("49", "--data", "imagenet"),
        ("49", "--data", "no/such/folder"),
        ("49", "--data", "x" * 500),
        ("49", "--data", "~nobody-of-this-name/x"),
        ("49", "--data", "a\x1b[2J"),
        ("49", "--data", ""),
        ("49", "--recipe", "no/such.json"),
        ("49", "--out", "notebook.txt"),
        ("49", "--out", "."),
        ("49", "--out", "/proc/no-such-folder/notebook.ipynb"),
        ("49", "--out", "/dev/null/notebook.ipynb"),
        ("49", "--out", f"{'x' * 300}.ipynb"),
        ("49", "--execute", "--timeout", "0", "--data", "digits"),
        ("49", "--execute", "--timeout", "-5", "--data", "digits"),
        ("49", "--timeout", "soon"),
    ],
    ids=lambda arguments: ascii(" ".join(arguments))[:60],
)
def test_a_wrong_request_takes_one_line_and_writes_nothing(arguments: tuple[str, ...], here: Path, monkeypatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was executed")

    monkeypatch.setattr("headstart.execution.execute_notebook", never)
    assert "Error" not in the_one_line(command("notebook", *arguments))
    assert list(here.rglob("*.ipynb")) == []


def test_a_folder_with_too_many_classes_is_named_by_its_first_ten(here: Path) -> None:
    folder = make_pictures(here / "many", names=tuple("abcdefghijkl"), train=1, test=1)
    assert "ten classes" in the_one_line(command("notebook", "--classes", "a,l", "--data", folder))
    assert list(here.glob("*.ipynb")) == []


def test_a_full_disk_leaves_the_old_notebook(here: Path, monkeypatch) -> None:
    path = here / "practical-49.ipynb"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        line = the_one_line(command("notebook", "49"))
    assert "No space left on device" in line
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [("practical-49.ipynb", "old")]


def test_the_modules_print_nothing_by_themselves() -> None:
    """Importing a sibling for the notebook prints nothing: its cells only define."""
    for module in (*LOADERS, *SHARED):
        nodes = ast.parse(source_of(module)).body[1:]
        assert [node for node in nodes if isinstance(node, ast.Expr)] == [], module
    with contextlib.redirect_stdout(io.StringIO()) as output:
        build_notebook(Parameters())
    assert output.getvalue() == ""


def test_the_digits_are_the_runs(here: Path) -> None:
    theirs = loaded(build_notebook(Parameters(data="digits")))
    assert fingerprint(theirs) == fingerprint(open_dataset("digits").dataset)
    assert np.bincount(theirs.y_test).min() > 70

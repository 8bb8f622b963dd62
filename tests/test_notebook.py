from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import headstart.practical
from fixtures_runs import HOSTILE, command, make_pictures, the_one_line
from headstart.errors import BadRequest
from headstart.notebook import Parameters, build_notebook, check_parameters, set_parameters, write_notebook
from headstart.practical.data import Dataset
from headstart.sources import Opened

pytest_plugins = ["fixtures_runs"]

PRACTICAL = Path(headstart.practical.__file__).parent
MODULES = sorted({path.stem for path in PRACTICAL.glob("*.py")} - {"__init__", "walkthrough"})


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return build_notebook(Parameters())


def codes(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


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


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """What the parameter cell sets, as Python understands it."""
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert cell is notebook.cells[1]  # at the top, right below the title
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}


# One source


def test_built_twice_it_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_notebook(build_notebook(Parameters()), tmp_path / f"{name}.ipynb")
    assert (tmp_path / "one.ipynb").read_bytes() == (tmp_path / "other.ipynb").read_bytes()


@pytest.mark.parametrize("module", MODULES)
def test_every_statement_of_a_module_is_in_one_cell_exactly_once(module: str, notebook) -> None:
    everything = [statement for code in codes(notebook) for statement in statements(code)]
    expected = statements(source_of(module))
    assert expected
    assert [everything.count(statement) for statement in expected] == [1] * len(expected)
    assert [statement for statement in everything if statement in expected] == expected  # in its order


def test_the_cells_hold_nothing_but_the_modules_and_the_walkthrough(notebook) -> None:
    everything = ("__init__", *MODULES, "walkthrough")
    sources = [statement for module in everything for statement in statements(source_of(module))]
    assert sorted(statement for code in codes(notebook) for statement in statements(code)) == sorted(sources)


def test_no_remark_of_the_code_is_lost(notebook) -> None:
    sources = [line for module in (*MODULES, "walkthrough") for line in source_of(module).splitlines()]
    written = [line for line in sources if "  # " in line and "import" not in line and not line.startswith("DATA")]
    lines = [line for code in codes(notebook) for line in code.splitlines()]
    assert len(written) > 20
    assert [lines.count(line) for line in written] == [sources.count(line) for line in written]


@pytest.mark.parametrize("module", MODULES)
def test_a_modules_docstring_is_the_text_above_its_code(module: str, notebook) -> None:
    docstring = ast.get_docstring(ast.parse(source_of(module)))
    assert docstring
    assert docstring.startswith("## ")
    sources = [cell.source for cell in notebook.cells]
    [text] = [number for number, source in enumerate(sources) if source == docstring]
    [code] = [number for number, source in enumerate(sources) if statements(source_of(module))[0] in source]
    assert code == text + 1


def test_every_heading_and_text_of_a_source_is_a_text_cell(notebook) -> None:
    for module in (*MODULES, "walkthrough"):
        blocks = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", source_of(module), flags=re.MULTILINE)
        for block in blocks:
            text = "\n".join(line[2:] for line in block.splitlines())
            assert texts(notebook).count(text) == 1


# Stand-alone


def test_no_code_names_us(notebook) -> None:
    assert not [code for code in codes(notebook) if "headstart" in code.lower()]


def test_what_is_imported_colab_has(notebook) -> None:
    names = set()
    for node in ast.walk(ast.parse("\n".join(codes(notebook)))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
    colab = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "keras", "tensorflow", "IPython"}
    import sys

    assert names - sys.stdlib_module_names <= colab


def test_nothing_is_installed_or_run_in_a_shell(notebook) -> None:
    for code in codes(notebook):
        assert not re.search(r"^\s*[!%]|\bpip\b|\bconda\b|subprocess|os\.system|get_ipython", code, flags=re.MULTILINE)


def test_everything_is_imported_once_and_before_it_is_used(notebook) -> None:
    with_imports = [code for code in codes(notebook) if any(is_import(node) for node in ast.parse(code).body)]
    _, first, imports, *_ = codes(notebook)  # right below the parameters
    assert with_imports == [first, imports]
    assert first.endswith(
        ast.unparse(ast.parse(source_of("__init__")).body[-1])
    )  # TensorFlow before all that imports it
    lines = imports.splitlines()
    assert len(set(lines)) == len(lines)
    assert not [line for line in lines if "__future__" in line]  # it would have to be every cell's first line


def test_every_name_is_there_before_it_is_used(notebook) -> None:
    known = set(dir(__import__("builtins")))
    for code in codes(notebook):
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
    nodes = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)]
    local = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}  # of comprehensions, too
    return {node.id for node in nodes if isinstance(node.ctx, ast.Load)} - local


def bound_names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


def test_no_module_overwrites_anothers_names(notebook) -> None:
    defined = [
        node.name
        for code in codes(notebook)
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    constants = [
        target.id
        for module in MODULES
        for node in ast.parse(source_of(module)).body
        if isinstance(node, ast.Assign)
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    ]
    assert len(set(defined + constants)) == len(defined + constants)


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
    other = build_notebook(Parameters(registration="49", data="digits", epochs=1, seed=5, precision="bfloat16"))
    assert [cell.id for cell in other.cells] == ids


def test_no_cell_has_more_than_45_lines_of_code(notebook) -> None:
    lines = {code.splitlines()[0]: sum(bool(line.strip()) for line in code.splitlines()) for code in codes(notebook)}
    assert {first: count for first, count in lines.items() if count > 45} == {}


def test_every_section_says_what_is_done_before_the_code(notebook) -> None:
    kinds = [cell.cell_type for cell in notebook.cells]
    headings = [text.splitlines()[0] for text in texts(notebook) if text.startswith("#")]
    assert kinds[0] == "markdown"
    assert headings[0].startswith("# ")
    assert [heading for heading in headings[1:] if heading.startswith("# ")] == []
    assert len(set(headings)) == len(headings)
    for section in ("data", "recipe", "network", "Network A", "Strategy 1", "Strategy 2", "Strategy 3", "comparison"):
        assert [heading for heading in headings if section in heading], section


# The parameters


def test_the_parameters_are_set(notebook) -> None:
    asked = Parameters("2021032577", data="digits", epochs=3, seed=7, precision="bfloat16", precision_reason="so")
    assert parameters_of(build_notebook(asked)) == {
        "REGISTRATION": "2021032577",
        "DATA": "digits",
        "EPOCHS": 3,
        "SEED": 7,
        "PRECISION": "bfloat16",
        "PRECISION_REASON": "so",
    }
    assert parameters_of(notebook) == {
        "REGISTRATION": "2020387499",
        "DATA": "cifar10",
        "EPOCHS": 20,
        "SEED": 0,
        "PRECISION": "float32",
        "PRECISION_REASON": "it is fast on every machine",
    }


@given(data=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), seed=st.integers(0, 2**31 - 1))
@example(data='C:\\new "folder"\\x', seed=0)
@example(data="it's/größe/数据/\u2028\x85\x0c", seed=0)
@example(data="\\", seed=0)
@example(data="x/EPOCHS = 20", seed=0)
@example(data='"; import os; "', seed=0)
def test_any_path_arrives_in_the_notebook_as_it_is(data: str, seed: int) -> None:
    written = nbformat.writes(parameter_cell(Parameters(data=data, seed=seed, epochs=3)))
    read = parameters_of(nbformat.reads(written, as_version=4))
    assert (read["DATA"], read["SEED"], read["EPOCHS"]) == (data, seed, 3)


def parameter_cell(parameters: Parameters) -> nbformat.NotebookNode:
    """A notebook whose only code is the parameter cell: to build all of it a hundred times would take minutes."""
    [source] = re.findall(r'# %% tags=\["parameters"\]\n(.*?)\n\n', source_of("walkthrough"), flags=re.DOTALL)
    cell = new_code_cell(set_parameters(source, parameters), id="a", metadata={"tags": ["parameters"]})
    return new_notebook(cells=[new_markdown_cell("# A title", id="b"), cell])


def test_the_remarks_beside_the_parameters_stay() -> None:
    built = build_notebook(Parameters(data="digits", precision="bfloat16"))
    remarks = [line.partition("#")[2] for line in built.cells[1].source.splitlines()]
    assert remarks == [line.partition("#")[2] for line in build_notebook(Parameters()).cells[1].source.splitlines()]
    assert any(remarks)


def test_the_title_holds_the_registration_number() -> None:
    for number in ("2020387499", "007", "94"):
        title = build_notebook(Parameters(registration=number)).cells[0].source
        assert re.findall(r"Registration number (\d+)\.", title) == [number]
        assert title.count(Parameters.registration) == (number == Parameters.registration)


def test_another_number_changes_the_title_and_the_parameters_alone(notebook) -> None:
    other = build_notebook(Parameters(registration="2021032577"))
    changed = [cell.id for cell, now in zip(notebook.cells, other.cells, strict=True) if cell.source != now.source]
    assert changed == [notebook.cells[0].id, notebook.cells[1].id]


# The command


@pytest.fixture
def parameters_written(here: Path) -> Callable[..., dict[str, object]]:
    def written(*arguments: object) -> dict[str, object]:
        ended = command("notebook", *arguments)
        assert (ended.status, ended.errors) == (0, "")
        [path] = here.glob("*.ipynb")
        assert str(path.name) in ended.output
        return parameters_of(nbformat.read(path, as_version=4))

    return written


def test_the_command_needs_no_data_to_make_a_notebook(parameters_written, here: Path) -> None:
    assert parameters_written("2020387499", "--epochs", 5)["EPOCHS"] == 5
    assert [path.name for path in here.glob("[!.]*")] == ["practical-2020387499.ipynb"]


def test_auto_becomes_cifar10_unless_it_is_executed(parameters_written) -> None:
    assert parameters_written("49", "--data", "auto")["DATA"] == "cifar10"


def test_auto_becomes_what_was_found_where_it_is_executed(digits: Dataset, monkeypatch) -> None:
    monkeypatch.setattr("headstart.sources.open_dataset", lambda *_: Opened(digits, "no network"))
    found = check_parameters("49", "auto", None, 0, 20, "float32", True, print)
    assert found.data == "digits"


def test_without_options_it_is_twenty_epochs_of_cifar10_and_never_digits_instead(
    parameters_written, here: Path, monkeypatch
) -> None:
    written = parameters_written("49")
    assert (written["DATA"], written["EPOCHS"], written["SEED"]) == ("cifar10", 20, 0)
    asked = []

    def opened(data: str, *_: object) -> None:
        asked.append(data)
        raise BadRequest("there is no network")

    monkeypatch.setattr("headstart.sources.open_dataset", opened)
    assert "there is no network" in the_one_line(command("notebook", "49", "--execute"))
    assert asked == ["cifar10"]


def test_the_precision_is_measured_only_where_the_notebook_is_executed(here: Path, monkeypatch) -> None:
    """Otherwise it will run on a machine that nothing is known of."""
    monkeypatch.setattr("headstart.precision.choose_precision", lambda asked: ("bfloat16", f"measured for {asked}"))
    executed: list[nbformat.NotebookNode] = []
    monkeypatch.setattr("headstart.execution.execute_notebook", lambda notebook, *_: executed.append(notebook))
    assert command("notebook", "49", "--data", "digits").status == 0
    assert "bfloat16 (measured for auto)" in command("notebook", "49", "--data", "digits", "--execute").output
    [written] = here.glob("*.ipynb")
    chosen = [parameters_of(notebook) for notebook in (nbformat.read(written, as_version=4), *executed)]
    assert [(values["PRECISION"], values["PRECISION_REASON"]) for values in chosen] == [
        ("float32", "it is fast on every machine"),
        ("bfloat16", "measured for auto"),
    ]


def test_class_names_become_the_number_that_names_them(parameters_written) -> None:
    assert parameters_written("--classes", "nine,four", "--data", "digits")["REGISTRATION"] == "94"


@pytest.mark.parametrize("name", ['it\'s "quoted" größe', "pictures", "my digits"])
def test_the_folder_that_was_named_is_the_folder_that_is_read(name: str, parameters_written, here: Path) -> None:
    folder = make_pictures(here / name, train=1, test=1)
    values = parameters_written("--classes", ",".join(HOSTILE[1:3]), "--data", folder)
    assert values["DATA"] == str(folder)
    assert values["REGISTRATION"] == "12"


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
        ("49", "--out", "notebook.txt"),
        ("49", "--out", "."),
        ("49", "--out", "/proc/no-such-folder/notebook.ipynb"),
        ("49", "--out", "/dev/null/notebook.ipynb"),
        ("49", "--out", f"{'x' * 300}.ipynb"),
        ("49", "--execute", "--timeout", "0", "--data", "digits"),
        ("49", "--execute", "--timeout", "-5", "--data", "digits"),
        ("49", "--timeout", "soon"),
    ],
    ids=" ".join,
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


def test_walkthroughs_own_output_says_nothing_by_itself() -> None:
    """Importing a sibling for the notebook prints nothing: its cells only define."""
    for module in MODULES:
        nodes = ast.parse(source_of(module)).body[1:]
        calls = [node for node in nodes if isinstance(node, ast.Expr)]
        assert calls == [], module
    with contextlib.redirect_stdout(io.StringIO()) as output:
        build_notebook(Parameters())
    assert output.getvalue() == ""

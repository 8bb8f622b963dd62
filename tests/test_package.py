"""The structure of the package: who imports whom, and what `import headstart` gives."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import headstart

SOURCE = Path(headstart.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
PRACTICAL = sorted((SOURCE / "practical").glob("*.py"))
COLAB_HAS = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "keras", "tensorflow", "IPython", "PIL"}
HEAVY = ("tensorflow", "keras", "sklearn", "pandas", "matplotlib", "jupytext", "nbclient", "distributed", "optuna")
SMALL_INSTALL = {"filelock", "jupytext", "nbformat", "numpy", "platformdirs", "rich", "typer"}
LAYERS = (  # a module imports from its own package and from lower layers only
    {"cli"},
    {"workflows"},
    {"report"},
    {"comparison", "tuning"},
    {"study", "runs"},
    {"options"},
    {"statistics", "notebook"},
    {"training"},
    {"datasets"},
    {"storage", "runtime"},
    {"practical"},
    {"errors", "style"},
)


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def imported(module: Path) -> set[str]:
    """The modules that are imported anywhere in this file, also inside functions and for types only."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: relative imports do not work in the notebook"
            package = SOURCE.parent.joinpath(*str(node.module).split("."))
            is_package = package.is_dir()
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if is_package else {str(node.module)}
    return names


def packages_of(names: set[str]) -> set[str]:
    """The packages or top-level modules of headstart among these modules; the package itself is not counted."""
    return {name.split(".")[1] for name in names if name.startswith("headstart.")}


def name_of(module: Path) -> str:
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(SOURCE).as_posix())
def test_imports_point_down(module: Path) -> None:
    name = name_of(module)
    if name == "__init__":  # the public API, loaded lazily
        return
    (layer,) = (number for number, names in enumerate(LAYERS) if name in names)
    below = set().union(*LAYERS[layer + 1 :])
    assert packages_of(imported(module)) - {name} <= below


def test_every_package_has_a_layer() -> None:
    assert {name_of(module) for module in MODULES} - {"__init__"} == set().union(*LAYERS)


def test_no_two_modules_import_each_other() -> None:
    def dotted(module: Path) -> str:
        return ".".join(("headstart", *module.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")

    needs = {dotted(module): imported(module) for module in MODULES if module != SOURCE / "__init__.py"}
    done: set[str] = set()
    while ready := {name for name in needs.keys() - done if needs[name] & needs.keys() <= done | {name}}:
        done |= ready
    assert needs.keys() - done == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.name == "__init__.py"], ids=lambda m: m.parent.name)
def test_init_files_contain_no_code(module: Path) -> None:
    if module.parent in (SOURCE, SOURCE / "practical"):  # the lazy API, and the notebook's first code cell
        return
    docstring, *rest = ast.parse(module.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in rest)


@pytest.mark.parametrize(
    "code",
    [
        "import headstart",
        "import headstart.cli",
        "from headstart.cli import status_of; assert status_of(['--help']) == 0",
        "from headstart.cli import status_of; assert status_of(['--version']) == 0",
        "from headstart.cli import status_of; assert status_of(['run', '--help']) == 0",
        "from headstart.cli import status_of; assert status_of(['run', '1', '--epochs', 'x']) == 2",
        "from headstart.cli import status_of; assert status_of(['run', '11', '--data', 'digits']) == 2",
        "from headstart import RECIPE_A, STRATEGIES, Recipe, held_out_classes; held_out_classes('2020387499')",
    ],
)
def test_what_needs_no_tensorflow_loads_none(code: str) -> None:
    loaded = python(f"{code}\nimport sys\nprint(); print(*sys.modules)").splitlines()[-1].split()
    assert "headstart" in loaded
    assert [module for module in HEAVY if module in loaded] == []


def test_a_notebook_is_made_with_the_small_install(tmp_path: Path) -> None:
    """Everything that an extra installs is hidden from the interpreter."""
    code = f"""
import sys
SMALL = {SMALL_INSTALL!r}
EXTRA = {{"tensorflow", "keras", "sklearn", "scipy", "pandas", "matplotlib", "PIL", "plotly", "jinja2", "h5py",
         "nbclient", "ipykernel", "IPython", "distributed", "dask", "optuna"}}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRA:
            raise ModuleNotFoundError(f"hidden: {{name}}", name=name)
sys.meta_path.insert(0, Hidden())
from headstart.cli import status_of
assert status_of(["notebook", "2020387499", "--out", {str(tmp_path / "hand-in.ipynb")!r}]) == 0
assert status_of(["run", "2020387499", "--data", "digits"]) == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (tmp_path / "hand-in.ipynb").is_file()
    assert done.stderr.startswith("headstart: run: "), done.stderr
    assert done.stderr.endswith("is not installed; in headstart's folder: pip install '.[cpu]'\n")


def test_help_takes_less_than_half_a_second() -> None:
    """Of processor time, which does not count other programs."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([Path(sys.executable).with_name("headstart"), "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


@pytest.mark.parametrize("module", PRACTICAL, ids=lambda module: module.stem)
def test_the_practical_imports_what_colab_has_and_its_siblings(module: Path) -> None:
    foreign = {name for name in imported(module) if name.partition(".")[0] not in COLAB_HAS | sys.stdlib_module_names}
    siblings = {f"headstart.practical.{sibling.stem}" for sibling in PRACTICAL}
    assert foreign <= {"headstart.practical", *siblings}


@pytest.mark.parametrize("name", headstart.__all__)
def test_every_name_of_the_package_is_there(name: str) -> None:
    value = getattr(headstart, name)
    if name != "__version__":
        assert value is getattr(import_module(f"headstart.{headstart._MODULES[name]}"), name)


def test_the_names_that_others_build_on_are_there() -> None:
    functions = {"held_out_classes", "load_dataset", "split_classes", "colour_statistics", "build_network"}
    functions |= {"train", "transfer", "run", "run_study", "read_run", "read_recipes"}
    types = {"Dataset", "HeadstartError", "InvalidRequest", "Recipe", "Strategy", "Trained"}
    assert functions | types | {"RECIPE_A", "RECIPE_B", "STRATEGIES"} <= set(headstart.__all__)


def test_recipe_and_result_extend_those_of_the_practical() -> None:
    from headstart.practical import recipe, training

    assert issubclass(headstart.Recipe, recipe.Recipe)
    assert issubclass(headstart.Trained, training.Trained)
    assert [vars(headstart.RECIPE_A), vars(headstart.RECIPE_B)] == [vars(recipe.RECIPE_A), vars(recipe.RECIPE_B)]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = headstart.nothing
    assert not hasattr(headstart, "practise")


def test_the_package_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()

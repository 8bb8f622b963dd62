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
PRACTICAL = sorted((SOURCE / "practical").glob("*.py"))
COLAB_HAS = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "keras", "tensorflow", "IPython"}
HEAVY = ("tensorflow", "keras", "sklearn", "pandas", "matplotlib", "jupytext", "nbclient", "distributed", "optuna")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def imported(module: Path) -> set[str]:
    """The modules that are imported anywhere in this file, functions included."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: relative imports do not survive in the notebook"
            names.add(str(node.module))
            if node.module == "headstart":
                names |= {f"headstart.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    "code",
    [
        "import headstart",
        "import headstart.cli",
        "from headstart.cli import status_of; assert status_of(['--help']) == 0",
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


def test_help_takes_less_than_half_a_second() -> None:
    """Of the processor's time, which counts no neighbours."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([Path(sys.executable).with_name("headstart"), "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


@pytest.mark.parametrize("module", PRACTICAL, ids=lambda module: module.stem)
def test_the_practical_imports_what_colab_has_and_its_siblings_alone(module: Path) -> None:
    foreign = {name for name in imported(module) if name.partition(".")[0] not in COLAB_HAS | sys.stdlib_module_names}
    siblings = {f"headstart.practical.{sibling.stem}" for sibling in PRACTICAL}
    assert foreign <= {
        "headstart.practical",
        *siblings,
    }  # and so nothing from the rest of headstart: arrows go down only


def test_no_sibling_imports_one_that_imports_it() -> None:
    needs = {module.stem: {name.rpartition(".")[2] for name in imported(module)} for module in PRACTICAL}
    done: set[str] = set()
    while ready := {name for name in needs.keys() - done if needs[name] & needs.keys() <= done}:
        done |= ready
    assert done == needs.keys()


def test_the_store_and_what_reads_data_know_nothing_of_commands() -> None:
    for name in (
        "store",
        "sources",
        "download",
        "fetch",
        "batches",
        "image_folder",
        "artefacts",
        "precision",
        "recipes",
        "parts",
    ):
        above = {f"headstart.{module}" for module in ("cli", "runs", "display", "notebook", "execution", "report")}
        assert not imported(SOURCE / f"{name}.py") & above, name


@pytest.mark.parametrize("name", headstart.__all__)
def test_every_name_of_the_package_is_there(name: str) -> None:
    value = getattr(headstart, name)
    if name != "__version__":
        assert value is getattr(import_module(f"headstart.{headstart._HOMES[name]}"), name)


def test_the_names_that_others_build_on_are_there() -> None:
    functions = {"held_out_classes", "load_dataset", "split_classes", "colour_statistics", "build_network"}
    functions |= {"train", "transfer", "run"}
    types = {"Dataset", "Recipe", "Strategy", "Trained"}
    assert functions | types | {"RECIPE_A", "RECIPE_B", "STRATEGIES"} <= set(headstart.__all__)


def test_the_packages_recipe_and_result_are_the_practicals_with_more() -> None:
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

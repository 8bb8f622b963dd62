"""The notebook on Colab's versions. `make test-colab` makes an environment with them."""

import os
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from headstart.notebook.build import Parameters, build_notebook, write_notebook
from support.notebooks import (
    CIFAR10_PARAMETERS,
    SMALL_RECIPES,
    check_cifar10,
    check_executed,
    generated_cifar10,
    printed,
)

COLAB = os.environ.get("HEADSTART_COLAB")

pytestmark = pytest.mark.skipif(COLAB is None, reason="needs an environment of its own: make test-colab")


def executed(parameters: Parameters, folder: Path, **environment: str) -> nbformat.NotebookNode:
    """Execute the notebook on Colab's versions, which are checked in a last cell that is removed again."""
    notebook = build_notebook(parameters)
    versions = "import sys; print(keras.__version__, tf.__version__, 'headstart' in sys.modules, sys.prefix)"
    notebook.cells.append(new_code_cell(versions, id="versions"))
    write_notebook(notebook, folder / "practical.ipynb")
    own = {**os.environ, "PATH": f"{COLAB}/bin:{os.environ['PATH']}", **environment}
    own.pop("MPLBACKEND", None)  # with another backend, a notebook has no figures
    command = [Path(str(COLAB)) / "bin" / "jupyter", "execute", "--inplace", "practical.ipynb"]
    subprocess.run(command, check=True, cwd=folder, env=own, timeout=600)
    notebook = nbformat.read(folder / "practical.ipynb", as_version=4)
    assert printed(notebook.cells.pop()).split() == ["3.13.2", "2.20.0", "False", str(COLAB)]
    return notebook


def test_the_notebook_of_digits_is_executed_on_colabs_versions(tmp_path: Path) -> None:
    check_executed(executed(Parameters(data="digits", epochs=2, recipes=SMALL_RECIPES), tmp_path))


def test_the_notebook_of_cifar10_is_executed_on_colabs_versions(tmp_path: Path) -> None:
    check_cifar10(executed(CIFAR10_PARAMETERS, tmp_path, **generated_cifar10(tmp_path)))

"""The notebook on Colab's versions. `make test-colab` makes their environment and says where it is."""

import os
import subprocess
from pathlib import Path

import nbformat
import pytest

from headstart.notebook import Parameters, build_notebook, write_notebook

COLAB = os.environ.get("HEADSTART_COLAB")


@pytest.mark.skipif(COLAB is None, reason="needs an environment of its own: make test-colab")
def test_the_notebook_runs_unmodified_on_colabs_versions(tmp_path: Path) -> None:
    path = tmp_path / "practical.ipynb"
    write_notebook(build_notebook(Parameters(data="digits", epochs=2)), path)
    command = [Path(str(COLAB)) / "bin" / "jupyter", "execute", "--inplace", path]
    environment = {**os.environ, "PATH": f"{COLAB}/bin:{os.environ['PATH']}"}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=600)

    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(
        str(output.get("data", {}).get("text/markdown", output.get("data", {}).get("text/plain", "")))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    holding, rules = next(line.split()[0:3:2] for line in text.splitlines() if line.endswith("rules hold."))
    assert holding == rules
    assert "keras" in text
    assert "3.13.2" in text

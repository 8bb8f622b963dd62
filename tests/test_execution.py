from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fixtures_runs import FinishedRun, command
from headstart.errors import Failed
from headstart.execution import Client, execute_notebook

pytest_plugins = ["fixtures_runs"]

PYTHON3 = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}

# The kernel's own look at its sockets, on which Ctrl-C and a kill may come: not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def tiny(*codes: str) -> nbformat.NotebookNode:
    cells = [new_markdown_cell("# A title"), *(new_code_cell(code) for code in codes)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:03d}"
    return new_notebook(cells=cells, metadata=PYTHON3)


def silent(*_: str) -> None: ...


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def failure(notebook: nbformat.NotebookNode, path: Path, timeout: int | None = 60) -> str:
    """How the execution fails; the file itself must stay as it was, and what was reached must lie whole beside it."""
    path.write_text("an older notebook")
    with pytest.raises(Failed) as caught:
        execute_notebook(notebook, path, timeout, silent)
    partial = path.with_name(f"{path.stem}.partial.ipynb")
    assert path.read_text() == "an older notebook"
    assert sorted(path.parent.iterdir()) == [path, partial]
    assert str(caught.value).endswith(f"; what was reached is in {partial}")
    first = read(partial).cells[1]
    assert (first.execution_count, printed(first)) == (1, "reached\n")
    return str(caught.value).partition(";")[0]


def test_the_cells_are_run_in_order_and_the_result_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text("an older notebook")
    (tmp_path / "a.partial.ipynb").write_text("what an older failure left")
    said: list[tuple[str, str]] = []
    notebook = tiny("\n  # first\nx = 20", "print(x + 1)")
    execute_notebook(notebook, path, None, lambda *line: said.append(line))
    cells = read(path).cells
    assert [cell.execution_count for cell in cells[1:]] == [1, 2]
    assert printed(cells[2]) == "21\n"
    assert said == [("cell", "cell 1 of 2:   # first"), ("cell", "cell 2 of 2: print(x + 1)")]
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_that_a_cell_renews_is_passed_on_and_kept_once(tmp_path: Path) -> None:
    code = (
        "from IPython.display import Markdown, display\n"
        "line = display(Markdown('epoch 0'), display_id=True)\n"
        "for epoch in range(1, 21): line.update(Markdown(f'epoch {epoch}'))"
    )
    said: list[tuple[str, str]] = []
    execute_notebook(tiny(code), tmp_path / "a.ipynb", 60, lambda *line: said.append(line))
    assert [line for about, line in said if about == "training"] == [f"  epoch {epoch}" for epoch in range(1, 21)]
    [output] = read(tmp_path / "a.ipynb").cells[1].outputs
    assert output.data["text/markdown"] == "epoch 20"


def test_a_failing_cell_is_named_with_its_error(tmp_path: Path) -> None:
    notebook = tiny("print('reached')", "raise ValueError('two\\nlines')", "print('never')")
    assert failure(notebook, tmp_path / "a.ipynb") == "cell 2 of 3: ValueError: two lines"
    [error] = read(tmp_path / "a.partial.ipynb").cells[2].outputs
    assert (error.output_type, error.ename) == ("error", "ValueError")
    assert read(tmp_path / "a.partial.ipynb").cells[3].execution_count is None


def test_a_kernel_that_is_killed_is_noticed(tmp_path: Path) -> None:
    notebook = tiny("print('reached')", "import os; os.kill(os.getpid(), 9)")
    start = time.monotonic()
    assert failure(notebook, tmp_path / "a.ipynb", None) == "cell 2 of 2: its kernel died (out of memory, or killed)"
    assert time.monotonic() - start < 30


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Client._get_timeout  # for the first cell, a kernel that has just started may take longer on a busy machine
    monkeypatch.setattr(
        Client, "_get_timeout", lambda client, cell: limit(client, cell) if cell and "sleep" in cell.source else None
    )
    notebook = tiny("print('reached')", "import time; time.sleep(120)")
    start = time.monotonic()
    said = failure(notebook, tmp_path / "a.ipynb", timeout=1)
    assert said == "cell 2 of 2: it took longer than --timeout 1 seconds"
    assert time.monotonic() - start < 30


def test_a_kernel_that_cannot_start_is_a_failure_in_words(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": [sys.executable, "-c", "raise SystemExit(1)"], "display_name": "broken", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    (tmp_path / "out").mkdir()
    with pytest.raises(Failed, match=r"^cell 0 of 1: its kernel could not start;"):
        execute_notebook(tiny("1"), tmp_path / "out" / "a.ipynb", 60, silent)


def test_a_kernel_cannot_import_our_package_where_a_stub_stands_before_it(stub, tmp_path: Path, monkeypatch) -> None:
    """So that the real notebook, executed below in such a kernel, is known to do without it."""
    monkeypatch.setenv("PYTHONPATH", str(stub))
    with pytest.raises(Failed, match=r"cell 1 of 1: ImportError: the package is not to be imported"):
        execute_notebook(tiny("import headstart"), tmp_path / "a.ipynb", 60, silent)


# Ctrl-C

TINY_COMMAND = """
import sys
from nbformat.v4 import new_code_cell, new_notebook
import headstart.notebook
from headstart.cli import status_of

cells = [new_code_cell("print('reached')"), new_code_cell("import time; time.sleep(120)")]
headstart.notebook.check_parameters = lambda *_: headstart.notebook.Parameters()
headstart.notebook.build_notebook = lambda _: new_notebook(cells=cells)
sys.exit(status_of(sys.argv[1:]))
"""  # headstart notebook with a tiny notebook in the real one's place


@contextmanager
def started(folder: Path, first: str = "") -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-u", "-c", first + TINY_COMMAND, "notebook", "49", "--execute", "--out", "a.ipynb"]
    process = subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What the process still says to Ctrl-C, after which it ends as it should."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)  # undisturbed, the cell takes 120 s
    assert process.returncode == 130
    assert "Traceback" not in output + errors
    [line] = [line for line in errors.splitlines() if line]
    assert line.startswith("headstart: interrupted. To begin anew: headstart notebook ")
    return output, errors


def children(pid: int) -> list[int]:
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = []
    for process in processes:
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found += [int(process.name)] * (parent == pid)
    return found


@pytest.mark.parametrize("apart", [0.02, 0.1])
def test_ctrl_c_twice_is_ctrl_c(apart: float, tmp_path: Path) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        while "cell 2 of 2" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        time.sleep(apart)
        interrupted(process)


def test_ctrl_c_ends_the_kernel_and_keeps_what_was_reached(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("an older notebook")
    with started(tmp_path) as process:
        assert process.stdout is not None
        while "cell 2 of 2" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.3)  # the cell is at work
        [kernel] = children(process.pid)
        output, _ = interrupted(process)
    assert not Path(f"/proc/{kernel}").exists()
    assert "a.partial.ipynb" in output
    assert (tmp_path / "a.ipynb").read_text() == "an older notebook"
    assert printed(read(tmp_path / "a.partial.ipynb").cells[0]) == "reached\n"


SLOW_START = """
import asyncio
from headstart.execution import Client
start = Client.async_start_new_kernel

async def start_slowly(client, **options):
    print("about to start", flush=True)
    await asyncio.sleep(1)
    await start(client, **options)

Client.async_start_new_kernel = start_slowly
"""


def test_ctrl_c_before_the_kernel_has_started_is_heard_too(tmp_path: Path) -> None:
    with started(tmp_path, SLOW_START) as process:
        assert process.stdout is not None
        while "about to start" not in process.stdout.readline():
            assert process.poll() is None
        interrupted(process)
    assert not (tmp_path / "a.ipynb").exists()


# The real notebook


@pytest.fixture
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of our name that cannot be imported."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "headstart").mkdir()
    text = "raise ImportError('the package is not to be imported')"
    (folder / "headstart" / "__init__.py").write_text(text)
    return folder


def percentages(text: str) -> list[str]:
    return re.findall(r"\d+\.\d%", text)


def test_the_real_notebook_stands_alone_and_has_the_runs_numbers(
    stub: Path, digits_run: FinishedRun, here: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(stub))
    ended = command("notebook", *digits_run.arguments, "--execute", "--timeout", 300)
    assert (ended.status, ended.errors) == (0, "")
    assert [path.name for path in here.glob("*.ipynb")] == ["practical-2020387499.ipynb"]

    notebook = read(here / "practical-2020387499.ipynb")
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    outputs = [output for cell in codes for output in cell.outputs]
    assert not [output for output in outputs if output.output_type in ("error", "stream")]  # nor warnings
    run = json.loads((digits_run.folder / "run.json").read_text(encoding="utf-8"))
    said = [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]

    [spoken] = [text for text in said if "Limits:" in text]
    timeless = [
        re.sub(r"Training took .*? not counted\.", "", text) for text in (spoken, "\n\n".join(run["conclusions"]))
    ]
    assert timeless[0] == timeless[1]

    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    [summary] = [table for table in tables if "test accuracy" in table and "Network A" in table]
    cells = [[cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in summary.split("<tr>")]
    for row, network in zip([row for row in cells if row], run["networks"].values(), strict=True):
        low, high = network["test_accuracy_ci95"]
        shares = (network["train_accuracy"], network["test_accuracy"], low, high)
        assert percentages(" ".join(row)) == [f"{share:.1%}" for share in shares]
        assert f"{network['train_loss']:.3f}" in row
        assert f"{network['test_loss']:.3f}" in row

    with (digits_run.folder / "history.csv").open(encoding="utf-8") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    lines = {text.partition(":")[0]: percentages(text) for text in said if "epoch 2 of 2, loss" in text}
    titles = {
        "a": "Network A",
        "scratch": "From scratch",
        "last_layer": "Fine-tuning one layer",
        "two_layers": "Fine-tuning two layers",
    }
    for name, row in rows.items():
        assert lines[titles[name]] == [f"{float(row[f'{part}_accuracy']):.1%}" for part in ("train", "test")]

    assert any("digits" in text for text in said)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 6
    assert (here / "practical-2020387499.ipynb").stat().st_size < 2_000_000

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from headstart.errors import TrainingFailed
from headstart.notebook.build import Parameters, build_notebook
from headstart.notebook.execute import execute_notebook
from support.notebooks import CIFAR10_PARAMETERS, check_cifar10, check_executed, code_cells, generated_cifar10, printed
from support.runs import SMALL, Ended, FinishedRun, at, command, write_recipe

PYTHON3 = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}

# Ctrl-C or a kill can arrive while the kernel's client uses its sockets: not headstart's to fix.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def tiny(*codes: str) -> nbformat.NotebookNode:
    cells = [new_markdown_cell("# A title"), *(new_code_cell(code) for code in codes)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:03d}"
    return new_notebook(cells=cells, metadata=PYTHON3)


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def lines_about(topic: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The logged lines with this topic."""
    return [record.getMessage() for record in caplog.records if getattr(record, "topic", "") == topic]


def failure(notebook: nbformat.NotebookNode, path: Path, timeout: int | None = 60) -> str:
    """Execute a notebook that fails, and return the message.

    Its file must be unchanged, and all outputs so far must be in another file.
    """
    path.write_text("an older notebook")
    with pytest.raises(TrainingFailed) as caught:
        execute_notebook(notebook, path, timeout)
    partial = path.with_name(f"{path.stem}.partial.ipynb")
    assert path.read_text() == "an older notebook"
    assert sorted(path.parent.iterdir()) == [path, partial]
    assert str(caught.value).endswith(f"; all outputs so far are in {partial}")
    first = read(partial).cells[1]
    assert (first.execution_count, printed(first)) == (1, "reached\n")
    return str(caught.value).partition(";")[0]


def test_cells_are_executed_in_order_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text("an older notebook")
    (tmp_path / "a.partial.ipynb").write_text("of an earlier failure")
    caplog.set_level(logging.INFO, "headstart")
    execute_notebook(tiny("\n  # first\nx = 20", "print(x + 1)"), path)
    cells = read(path).cells
    assert [cell.execution_count for cell in cells[1:]] == [1, 2]
    assert printed(cells[2]) == "21\n"
    assert lines_about("cell", caplog) == ["cell 1 of 2:   # first", "cell 2 of 2: print(x + 1)"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_updated_line_is_logged_each_time_and_stored_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = (
        "from IPython.display import Markdown, display\n"
        "line = display(Markdown('epoch 0'), display_id=True)\n"
        "for epoch in range(1, 21): line.update(Markdown(f'epoch {epoch}'))"
    )
    caplog.set_level(logging.INFO, "headstart")
    execute_notebook(tiny(code), tmp_path / "a.ipynb", 60)
    assert lines_about("training", caplog) == [f"  epoch {epoch}" for epoch in range(1, 21)]
    [output] = read(tmp_path / "a.ipynb").cells[1].outputs
    assert output.data["text/markdown"] == "epoch 20"


def test_a_failed_cell_is_reported_with_its_error(tmp_path: Path) -> None:
    notebook = tiny("print('reached')", "raise ValueError('two\\nlines')", "print('never')")
    assert failure(notebook, tmp_path / "a.ipynb") == "cell 2 of 3: ValueError: two lines"
    [error] = read(tmp_path / "a.partial.ipynb").cells[2].outputs
    assert (error.output_type, error.ename) == ("error", "ValueError")
    assert read(tmp_path / "a.partial.ipynb").cells[3].execution_count is None


def test_a_killed_kernel_is_reported(tmp_path: Path) -> None:
    notebook = tiny("print('reached')", "import os; os.kill(os.getpid(), 9)")
    start = time.monotonic()
    assert failure(notebook, tmp_path / "a.ipynb", None) == "cell 2 of 2: its kernel died (out of memory, or killed)"
    assert time.monotonic() - start < 30


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    notebook = tiny("print('reached')", "import time; time.sleep(120)")
    start = time.monotonic()
    message = failure(notebook, tmp_path / "a.ipynb", timeout=5)  # a new kernel may be slow on a busy machine
    assert message == "cell 2 of 2: it took longer than 5 seconds (timeout)"
    assert time.monotonic() - start < 60


def test_a_kernel_that_cannot_start_is_reported(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ipykernel_launcher.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    (tmp_path / "out").mkdir()
    with pytest.raises(TrainingFailed, match=r"^cell 0 of 1: its kernel could not start;"):
        execute_notebook(tiny("1"), tmp_path / "out" / "a.ipynb", 60)


def test_with_the_stub_a_kernel_cannot_import_headstart(stub, tmp_path: Path, monkeypatch) -> None:
    """So the real notebook, which is executed with it below, does not import headstart."""
    monkeypatch.setenv("PYTHONPATH", str(stub))
    with pytest.raises(TrainingFailed, match=r"cell 1 of 1: ImportError: the package is not to be imported"):
        execute_notebook(tiny("import headstart"), tmp_path / "a.ipynb", 60)


# Ctrl-C

TINY_COMMAND = """
import sys
from nbformat.v4 import new_code_cell, new_notebook
import headstart.notebook.build
from headstart.cli import status_of

cells = [new_code_cell("print('reached')"), new_code_cell("import time; time.sleep(120)")]
headstart.notebook.build.build_notebook = lambda _: new_notebook(cells=cells)
sys.exit(status_of(sys.argv[1:]))
"""  # the command, with a tiny notebook instead of the real one
ARGUMENTS = [
    "notebook",
    "49",
    *["--data", "digits", "--precision", "float32", "--execute", "--force", "--out", "a.ipynb"],
]


@contextmanager
def started(folder: Path, first: str = "") -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-u", "-c", first + TINY_COMMAND, *ARGUMENTS]
    process = subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Send Ctrl-C, and return what the process prints until it ends, as it should."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)  # without Ctrl-C, the cell takes 120 s
    assert process.returncode == 130
    assert "Traceback" not in output + errors
    [line] = [line for line in errors.splitlines() if line]
    assert line == f"headstart: interrupted. To start again: headstart {' '.join(ARGUMENTS)}"
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
def test_ctrl_c_twice_has_the_effect_of_one(apart: float, tmp_path: Path) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        while "cell 2 of 2" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        time.sleep(apart)
        interrupted(process)


def test_ctrl_c_stops_the_kernel_and_saves_what_was_reached(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("an older notebook")
    with started(tmp_path) as process:
        assert process.stdout is not None
        while "cell 2 of 2" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.3)  # the cell is running
        [kernel] = children(process.pid)
        output, _ = interrupted(process)
    assert not Path(f"/proc/{kernel}").exists()
    assert "a.partial.ipynb" in output
    assert (tmp_path / "a.ipynb").read_text() == "an older notebook"
    assert printed(read(tmp_path / "a.partial.ipynb").cells[0]) == "reached\n"


SLOW_START = """
import asyncio
from headstart.notebook.execute import LoggingClient
start = LoggingClient.async_start_new_kernel

async def start_slowly(client, **options):
    print("about to start", flush=True)
    await asyncio.sleep(1)
    await start(client, **options)

LoggingClient.async_start_new_kernel = start_slowly
"""


def test_ctrl_c_works_before_the_kernel_has_started(tmp_path: Path) -> None:
    with started(tmp_path, SLOW_START) as process:
        assert process.stdout is not None
        while "about to start" not in process.stdout.readline():
            assert process.poll() is None
        interrupted(process)
    assert not (tmp_path / "a.ipynb").exists()


SIGNAL_TO_A_THREAD = """
import asyncio, signal, threading
from headstart.notebook.execute import LoggingClient

async def interrupt_this_thread(client, **options):
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    await asyncio.sleep(120)

LoggingClient.async_start_new_kernel = interrupt_this_thread
"""


def test_ctrl_c_works_if_another_thread_receives_it(tmp_path: Path) -> None:
    """The system gives the signal of a process to any of its threads."""
    with started(tmp_path, SIGNAL_TO_A_THREAD) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors


def test_the_kernel_has_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel that is named python3 can be that of another environment."""
    spec = {"argv": ["/bin/false"], "display_name": "Python 3", "language": "python"}
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    path = tmp_path / "folder" / "a.ipynb"
    path.parent.mkdir()
    execute_notebook(tiny("import os, sys; print(sys.executable)", "print(os.getcwd())"), path)
    outputs = [printed(cell) for cell in code_cells(read(path))]
    assert outputs == [f"{sys.executable}\n", f"{path.parent}\n"]


# What libraries write directly to the process' output


def noisy(then: str = "") -> nbformat.NotebookNode:
    return tiny("print('reached')", f"import os; os.write(2, b'noise'); os.write(1, b'noise'); print('printed'){then}")


def test_direct_output_is_neither_in_the_notebook_nor_printed(tmp_path: Path, capfd) -> None:
    execute_notebook(noisy(), tmp_path / "a.ipynb", 60)
    assert [output.text for output in read(tmp_path / "a.ipynb").cells[2].outputs] == ["printed\n"]
    assert capfd.readouterr() == ("", "")


def test_direct_output_is_printed_if_the_kernel_dies(tmp_path: Path, capfd) -> None:
    failure(noisy("; os.abort()"), tmp_path / "a.ipynb")
    output, errors = capfd.readouterr()
    assert output == ""
    assert "noise" in errors


def test_direct_output_is_not_printed_if_a_cell_fails(tmp_path: Path, capfd) -> None:
    failure(noisy("; 1 / 0"), tmp_path / "a.ipynb")
    assert capfd.readouterr() == ("", "")


# The real notebook


@contextmanager
def redirected(descriptor: int, file: IO[str]) -> Iterator[None]:
    """Write to a file what libraries and other processes write to this descriptor."""
    before = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(before, descriptor)
        os.close(before)


ALL = """\
import json as _json
everything = {
    trained.name: {
        "probabilities": trained.probabilities.tolist(),
        "history": trained.history.drop(columns="seconds").to_dict("list"),
        "train_accuracy": trained.train_accuracy,
    }
    for trained in (source, scratch, last_layer, two_layers)
}
print(_json.dumps(everything))
"""  # a cell that prints all numbers except the seconds


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package `headstart` that cannot be imported."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "headstart").mkdir()
    text = "raise ImportError('the package is not to be imported')"
    (folder / "headstart" / "__init__.py").write_text(text)
    return folder


@dataclass(frozen=True)
class Executed:
    """The real notebook, executed by the command with cells after its own."""

    ended: Ended
    written: tuple[str, str]  # what reached the process' standard output and error directly
    notebooks: list[Path]
    notebook: nbformat.NotebookNode  # without the additional cells
    numbers: list[dict[str, Any]]  # all numbers, and those after its networks were trained again in another order


@pytest.fixture(scope="module")
def executed(stub: Path, tmp_path_factory: pytest.TempPathFactory) -> Executed:
    place = tmp_path_factory.mktemp("executed")

    def build_longer(parameters: Parameters) -> nbformat.NotebookNode:
        notebook = build_notebook(parameters)
        trainings = {
            cell.source.split(" = train(")[0].split()[-1]: cell for cell in notebook.cells if " = train(" in cell.source
        }
        again = [trainings[name].source for name in ("two_layers", "source", "last_layer", "scratch")]
        notebook.cells += [new_code_cell(code, id=f"more-{number}") for number, code in enumerate((ALL, *again, ALL))]
        return notebook

    options = ("--data", "digits", "--epochs", 2, "--precision", "float32")
    recipe = ("--recipe", write_recipe(place / "a.json", SMALL))
    with at(place) as patch, (place / "out").open("w+") as out, (place / "err").open("w+") as err:
        patch.setenv("PYTHONPATH", str(stub))
        patch.setattr("headstart.notebook.build.build_notebook", build_longer)
        with redirected(1, out), redirected(2, err):
            ended = command("notebook", "2020387499", *options, *recipe, "--execute", "--timeout", 300)
        written = (place / "out").read_text(), (place / "err").read_text()
    assert (ended.status, ended.errors) == (0, "")
    notebooks = list(place.glob("*.ipynb"))
    notebook = read(notebooks[0])
    own = [cell for cell in notebook.cells if not cell.id.startswith("more-")]
    texts = [printed(cell) for cell in notebook.cells if cell.source == ALL]
    notebook.cells = own
    return Executed(ended, written, notebooks, notebook, [json.loads(text) for text in texts])


def test_the_command_executes_the_notebook_of_digits(executed: Executed, tmp_path: Path) -> None:
    assert executed.written == ("", "")  # nothing that TensorFlow writes in the kernel
    assert [path.name for path in executed.notebooks] == ["practical-2020387499.ipynb"]
    check_executed(executed.notebook)
    own, _, more = executed.ended.output.partition(ALL.splitlines()[0])
    assert more
    lines = [line.strip() for line in own.splitlines()]
    for name in ("Network A", "From scratch", "One layer", "Two layers"):
        assert [line.partition(":")[0] for line in lines if line.startswith(f"{name}, ")] == [
            f"{name}, epoch {epoch}" for epoch in (1, 2)
        ]
    nbformat.write(executed.notebook, tmp_path / "own.ipynb")
    assert (tmp_path / "own.ipynb").stat().st_size < 2_000_000


def test_the_notebook_and_the_run_have_equal_numbers(executed: Executed, digits_run: FinishedRun) -> None:
    numbers = executed.numbers[0]
    with np.load(digits_run.folder / "predictions.npz") as predictions:
        for name in ("a", "scratch", "last_layer", "two_layers"):
            assert np.array_equal(np.float32(numbers[name]["probabilities"]), predictions[name])
    with (digits_run.folder / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == [name for name in numbers for _ in range(2)]
    for place, row in enumerate(rows):
        history = numbers[row.pop("network")]["history"]
        assert {column: float(value) for column, value in row.items()} == {
            column: history[column][place % 2] for column in row
        }
    run = json.loads((digits_run.folder / "run.json").read_text(encoding="utf-8"))
    assert {name: network["train_accuracy"] for name, network in run["networks"].items()} == {
        name: values["train_accuracy"] for name, values in numbers.items()
    }


def test_cells_executed_again_in_another_order_give_equal_numbers(executed: Executed) -> None:
    first, second = executed.numbers
    assert second == first


def test_the_notebook_of_cifar10_is_executed_with_keras_archive(tmp_path: Path, monkeypatch) -> None:
    for name, value in generated_cifar10(tmp_path).items():
        monkeypatch.setenv(name, value)
    execute_notebook(build_notebook(CIFAR10_PARAMETERS), tmp_path / "a.ipynb", 300)
    check_cifar10(read(tmp_path / "a.ipynb"))

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fixtures_runs import SMALL, FinishedRun, command, write_recipe
from headstart.batches import BATCHES
from headstart.download import CIFAR10
from headstart.errors import Failed
from headstart.execution import Client, execute_notebook
from headstart.notebook import Parameters, build_notebook
from headstart.practical.data import CIFAR10_CLASSES
from headstart.recipes import RECIPE_A, RECIPE_B, from_json
from test_batches import batch, packed

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
    """How the execution fails; the file itself must stay as it was, and what was reached is whole in another."""
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
    assert re.match(r"headstart: interrupted\..*: headstart notebook 49 --execute --out a\.ipynb$", line)
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


# What libraries write past Python


def noisy(then: str = "") -> nbformat.NotebookNode:
    return tiny("print('reached')", f"import os; os.write(2, b'noise'); os.write(1, b'noise'); print('said'){then}")


def test_what_is_written_past_python_is_neither_in_the_notebook_nor_in_the_terminal(tmp_path: Path, capfd) -> None:
    execute_notebook(noisy(), tmp_path / "a.ipynb", 60, silent)
    assert [output.text for output in read(tmp_path / "a.ipynb").cells[2].outputs] == ["said\n"]
    assert capfd.readouterr() == ("", "")


def test_what_is_written_past_python_is_passed_on_if_the_kernel_dies(tmp_path: Path, capfd) -> None:
    failure(noisy("; os.abort()"), tmp_path / "a.ipynb")
    output, errors = capfd.readouterr()
    assert output == ""
    assert "noise" in errors


def test_what_is_written_past_python_is_not_passed_on_if_a_cell_fails(tmp_path: Path, capfd) -> None:
    failure(noisy("; 1 / 0"), tmp_path / "a.ipynb")
    assert capfd.readouterr() == ("", "")


# The real notebook

SMALL_RECIPES = tuple(replace(recipe, **from_json(SMALL)) for recipe in (RECIPE_A, RECIPE_B))

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
"""  # a cell that prints all numbers but the seconds


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of our name that cannot be imported."""
    folder = tmp_path_factory.mktemp("stub")
    (folder / "headstart").mkdir()
    text = "raise ImportError('the package is not to be imported')"
    (folder / "headstart" / "__init__.py").write_text(text)
    return folder


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook: nbformat.NotebookNode, kind: str) -> list[Any]:
    """All that the cells have displayed of this kind."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def check_executed(notebook: nbformat.NotebookNode) -> None:
    """What holds for the real notebook, whatever its images are, after all its cells have run."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"display_data"}  # no errors, no warnings, nothing printed
    figures = [output for output in outputs if "image/png" in output.data]
    assert len(figures) == 8  # the images, a figure for each network, three of the comparison
    descriptions = [figure.metadata["image/png"]["alt"] for figure in figures]
    assert len({*descriptions}) == 8
    assert all(len(description) > 20 for description in descriptions)
    said = outputs_of(notebook, "text/markdown")
    assert sum("classifies" in text for text in said) == 4
    [held, rules] = re.findall(r"^(\d+) of (\d+) rules hold\.$", said[-1])[0]
    assert held == rules
    assert "broken" not in said[-1]
    in_brief = cells[0].outputs[0].data["text/markdown"]  # where a placeholder was
    conclusions = next(text for text in said[1:] if "the best test accuracy" in text)
    assert in_brief == f"{conclusions.splitlines()[0]} {said[-1]}"


def test_the_command_executes_the_notebook_of_digits(stub: Path, here: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("PYTHONPATH", str(stub))
    options = (
        "--data",
        "digits",
        "--epochs",
        2,
        "--precision",
        "float32",
        "--recipe",
        write_recipe(here / "a.json", SMALL),
    )
    ended = command("notebook", "2020387499", *options, "--execute", "--timeout", 300)
    assert (ended.status, ended.errors) == (0, "")
    assert capfd.readouterr() == ("", "")  # TensorFlow's lines, of the kernel's process, are not in the terminal
    assert [path.name for path in here.glob("*.ipynb")] == ["practical-2020387499.ipynb"]
    check_executed(read(here / "practical-2020387499.ipynb"))
    lines = [line.strip() for line in ended.output.splitlines()]
    for name in ("Network A", "From scratch", "One layer", "Two layers"):
        assert [line.partition(":")[0] for line in lines if line.startswith(f"{name}, ")] == [
            f"{name}, epoch {epoch}" for epoch in (1, 2)
        ]
    assert (here / "practical-2020387499.ipynb").stat().st_size < 2_000_000


@pytest.fixture(scope="module")
def printed_numbers(stub: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The numbers of the real notebook, and those after its trainings are done a second time in another order."""
    notebook = build_notebook(Parameters("2020387499", epochs=2, data="digits", recipes=SMALL_RECIPES))
    trainings = {
        cell.source.split(" = train(")[0].split()[-1]: cell for cell in notebook.cells if " = train(" in cell.source
    }
    again = [
        trainings[name].source for name in ("two_layers", "source", "two_layers", "last_layer", "scratch", "last_layer")
    ]
    notebook.cells += [new_code_cell(code, id=f"more-{number}") for number, code in enumerate((ALL, *again, ALL))]
    path = tmp_path_factory.mktemp("numbers") / "a.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(stub))
        execute_notebook(notebook, path, 300, silent)
    texts = [printed(cell) for cell in code_cells(read(path)) if cell.source == ALL]
    return [json.loads(text) for text in texts]


def test_the_notebook_has_the_runs_numbers(printed_numbers, digits_run: FinishedRun) -> None:
    numbers = printed_numbers[0]
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


def test_cells_that_are_run_twice_and_in_another_order_give_the_same_numbers(printed_numbers) -> None:
    first, second = printed_numbers
    assert second == first


# CIFAR-10

HASH = """
import importlib.machinery, sys

class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        text = self.get_data(self.path).decode()
        assert text.count("{known}") == 1
        return compile(text.replace("{known}", "{ours}"), self.path, "exec")

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "keras.src.datasets.cifar10":
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            spec.loader = Loader(name, spec.origin)
            return spec

sys.meta_path.insert(0, Finder)
"""  # a sitecustomize.py: Keras then expects the hash of another archive than the official one, and is itself otherwise


def generated_cifar10(place: Path) -> dict[str, str]:
    """CIFAR-10's archive where Keras looks for it, with made-up images; what a kernel's environment needs to load it.

    It has as many images as CIFAR-10, because Keras takes no others: 30 of each class in a batch, again and again. They
    are noise, brighter from class to class.
    """
    folder, archive = place / "batches", place / "keras" / "datasets" / "cifar-10-batches-py-target_archive"
    folder.mkdir()
    labels = np.arange(10_000) % 10
    for seed, name in enumerate(BATCHES):
        noise = np.random.default_rng(seed).integers(0, 60, (300, 3072)) + 19 * labels[:300, None]
        images = np.resize(noise.astype(np.uint8), (10_000, 3072))
        (folder / name).write_bytes(batch(10_000, data=images, labels=labels.tolist()))
    meta = {b"label_names": [name.encode() for name in CIFAR10_CLASSES], b"num_cases_per_batch": 10_000}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    ours = hashlib.sha256(packed(archive, folder, mode="w").read_bytes()).hexdigest()
    (place / "sitecustomize.py").write_text(HASH.format(known=CIFAR10.sha256, ours=ours))
    return {"KERAS_HOME": str(place / "keras"), "PYTHONPATH": str(place)}


CIFAR10_PARAMETERS = Parameters(epochs=1, recipes=tuple(replace(recipe, batch_size=128) for recipe in SMALL_RECIPES))


def check_cifar10(notebook: nbformat.NotebookNode) -> None:
    """What is special about the executed notebook of CIFAR-10."""
    check_executed(notebook)
    [counts] = [text for text in outputs_of(notebook, "text/plain") if "training images" in text]
    assert [line.split()[-2:] for line in counts.splitlines()[1:]] == [["40000", "8000"], ["10000", "2000"]]
    words = [text for text in outputs_of(notebook, "text/markdown") if "classifies" in text]
    assert ["of 8,000 test images" in text for text in words] == [True, False, False, False]
    assert all("of 2,000 test images" in text for text in words[1:])
    accuracies = [float(re.findall(r"classifies (.*?)%", text)[0]) for text in words]
    assert accuracies[0] > 25  # guessing: 12.5
    [answers] = [text for text in outputs_of(notebook, "text/plain") if text.startswith("answer of A")]
    assert re.findall(r"^(deer|truck)", answers, re.MULTILINE) == ["deer", "truck"]


def test_the_notebook_of_cifar10_runs_on_an_archive_as_keras_has_it(tmp_path: Path, monkeypatch) -> None:
    for name, value in generated_cifar10(tmp_path).items():
        monkeypatch.setenv(name, value)
    execute_notebook(build_notebook(CIFAR10_PARAMETERS), tmp_path / "a.ipynb", 300, silent)
    check_cifar10(read(tmp_path / "a.ipynb"))

"""Execute a command with a fault at one of its file-system operations, for one operation after the other.

In `tests/`, `python -m support.faults WORK:FAULT:EVERY ...` executes WORK (see WORKS) without faults and counts its
operations. These are: each file that is opened for writing, each write to it, each fsync, chmod, rename and removal,
and each folder that is created or removed. For every EVERY-th operation, it then executes WORK in a new folder, where
this operation meets FAULT:

kill   the process is killed (SIGKILL)
full   the disk is full from there on
slow   each operation takes 20 ms longer from there on

Then the same command is given again. The output is a line of JSON for each argument: how many operations there are, how
many met the fault, and all problems.

Except with `real`, nothing is trained: a network is a series of numbers, so that a work takes less than a second. All
the rest is the real command. TensorFlow is imported once, and never starts in the process that forks.
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headstart.cli import status_of
from headstart.notebook import execute
from headstart.practical import figures
from headstart.runs import audit
from headstart.runtime import environment
from headstart.study import outputs, runner, scheduler, worker
from headstart.study.results import Source
from headstart.training import trainer
from support.runs import TINY, contents, write_recipe

DIGITS = ("--data", "digits", "--epochs", "2", "--precision", "float32")
RUN = ("run", "49", *DIGITS, "--out", "run")
NOTEBOOK = ("notebook", "49", "--data", "digits", "--precision", "float32", "--force", "--out", "a.ipynb")
PLAN = ("--pairs", "4,9", "--seeds", "1", "--strategies", "last_layer,B2B", "--train-sizes", "1.0,10")
REPRODUCIBLE = ("history.csv", "predictions.npz")  # of a real run: its other files contain times


# What replaces a training


class Variable:
    """As much of a Keras variable as a checkpoint uses."""

    def __init__(self, start: int) -> None:
        self.value = np.arange(start, start + 600, dtype=np.float32)
        self.shape, self.dtype = self.value.shape, "float32"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value.copy()

    def assign(self, value: np.ndarray) -> None:
        self.value = value


class Network:
    """Numbers, which every epoch changes."""

    def __init__(self, name: str) -> None:
        self.variables = [Variable(len(name)), Variable(2 * len(name))]
        self.trainable_variables = self.trainable_weights = self.variables
        self.optimizer = SimpleNamespace(variables=[Variable(0)], build=lambda variables: None)

    def get_layer(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(get_config=lambda: {"mean": [0.0] * 3, "variance": [1.0] * 3})

    def save(self, path: Path) -> None:
        path.write_bytes(b"".join(variable.value.tobytes() for variable in self.variables))


def note(line: str) -> None:
    """Note a training outside the folder with faults, in one write that no fault meets."""
    descriptor = os.open("../trained", os.O_APPEND | os.O_CREAT | os.O_RDWR, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def train(_: Any, part: Any, recipe: Any, **given: Any) -> trainer.Trained:
    """Do to files and rows what `trainer.train` does."""
    name, model = given.get("name", "a"), Network(given.get("name", "a"))
    rows = given["resume"](model)
    for epoch in range(len(rows), recipe.epochs):
        note(f"{name} {epoch + 1}")
        for variable in (*model.variables, *model.optimizer.variables):
            variable.assign(np.sin(variable.value + epoch))
        curves = dict.fromkeys(("train_loss", "train_accuracy", "test_loss"), float(model.variables[0].value[0]))
        logs = {"epoch": epoch + 1, **curves, "test_accuracy": 0.5, "seconds": 1.0}
        rows.append(logs)
        for callback in given["callbacks"][:1]:
            callback.set_model(model)
            callback.on_epoch_end(epoch, logs)
    answers = np.resize(np.abs(model.variables[1].value), (len(part.y_test), len(part.class_names)))
    return trainer.Trained(
        *(name, model, [], part.class_names, part.y_test),
        probabilities=(answers + 1e-3) / (answers + 1e-3).sum(axis=1, keepdims=True),
        history=pd.DataFrame(rows),
        **dict.fromkeys(("train_loss", "train_accuracy", "test_accuracy"), 0.5),
        feature_seconds=0.0,
        recipe=recipe,
        copied=given.get("copied", 0),
        frozen=given.get("frozen", 0),
        features="",
        hashes_before={},
        hashes_after={},
    )


def transfer(_: Any, strategy: Any, part: Any, recipe: Any, **given: Any) -> trainer.Trained:
    return train(None, part, recipe, name=strategy.name, copied=strategy.copied, frozen=strategy.frozen, **given)


def train_network(spec: Any, dataset: Any, source: Source | None) -> worker.Outcome:
    """Return a row and weights that are determined by the network's key and its source's weights."""
    note(spec.key)
    number = float(int(spec.key[:4], 16) + (source.weights[0].sum() if source else 0))
    row = dict.fromkeys(("copied", "frozen", "train_images", "test_images"), 5) | {"curve": [0.5], "seconds": 1.0}
    row |= dict.fromkeys(("test_accuracy", "test_loss", "train_accuracy", "train_loss"), 1 / (1 + number))
    result = Source(8, spec.recipe, (0.0, 1.0), [np.full(900, number)]) if spec.strategy is None else None
    return row, result


class Future:
    """A task that is executed when its result is needed."""

    status = "finished"

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.function, self.given, self.results = function, given, []

    def result(self) -> Any:
        if not self.results:
            given = [one.result() if isinstance(one, Future) else one for one in self.given]
            self.results.append(self.function(*given))
        return self.results[0]


class Completed(list[Future]):
    """Replaces Dask's `as_completed`: tasks are completed in the order in which they were submitted."""

    add = list.append

    def __next__(self) -> Future:
        return self.pop(0)


@contextmanager
def connect(*_: Any) -> Iterator[Any]:
    """Replace the cluster by one without processes."""
    yield SimpleNamespace(
        status="running",
        cluster=None,
        nthreads=dict,
        register_plugin=lambda plugin: worker.STUDIES.update({plugin.name: (plugin.load(), train_network)}),
        unregister_worker_plugin=worker.STUDIES.pop,
        scheduler_info=lambda n_workers: {"n_workers": 1},
        submit=lambda function, *given, **_: Future(function, *given),
    )


def pretend() -> None:
    """Replace the real functions by these."""
    trainer.train, trainer.transfer, trainer.build_network = train, transfer, lambda *_, **__: None
    audit.audit = lambda *_: pd.DataFrame([{"rule": "none", "holds": True, "evidence": "none"}])
    environment.describe_environment = lambda: {"python": "3"}
    runner.connect, scheduler.as_completed = connect, Completed
    for name in ("plot_depth", "plot_sizes", "plot_map", "plot_predictors"):
        setattr(outputs, name, lambda *_: Figure(figsize=(1, 1)))


def printing(client: execute.LoggingClient, _: Any) -> None:
    """Replace the kernel by one in which the first code cell prints."""
    client.nb.cells[2].outputs = [nbformat.v4.new_output("stream", text="printed\n" * 999)]


def failing(client: execute.LoggingClient, written: Any) -> None:
    """Replace the kernel by one that prints and dies."""
    printing(client, written)
    raise execute.DeadKernelError


def executed(run_cells: Callable[[execute.LoggingClient, Any], None]) -> Callable[[], int]:
    def work() -> int:
        execute.run_interruptibly = run_cells
        return status_of([*NOTEBOOK, "--execute"])

    return work


def really_run() -> int:
    return status_of([*RUN, "--recipe", str(write_recipe(Path("../tiny.json"), TINY))])


WORKS: dict[str, Callable[[], int]] = {
    "run": lambda: status_of(list(RUN)),
    "report": lambda: status_of(["report", "run"]) if Path("run/run.json").exists() else status_of(list(RUN)),
    "study": lambda: status_of(["study", *PLAN, *DIGITS, "--out", "study"]),
    "notebook": lambda: status_of(list(NOTEBOOK)),
    "executed": executed(printing),
    "failed": executed(failing),
    "real": really_run,
}


# The faults


class Operations:
    """Counts the operations on files in the working directory. The one with the number `at` meets the fault."""

    def __init__(self, fault: str, at: int) -> None:
        self.fault, self.at, self.count = fault, at, 0
        self.place = str(Path.cwd())
        self.versions: list[list[str]] = []

    def watch(self) -> None:
        fsync, opened = os.fsync, io.open

        def watched(descriptor: int) -> None:
            self.operation(f"/proc/self/fd/{descriptor}", needs_room=True)
            fsync(descriptor)

        def open_watched(file: Any, mode: str = "r", *given: Any, **options: Any) -> Any:
            return File(file, self) if mode == "wb" else opened(file, mode, *given, **options)

        os.fsync, io.open, builtins.open = watched, open_watched, open_watched  # type: ignore[assignment]
        sys.addaudithook(self.audit)

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        """Count an operation; Python calls this before it executes one."""
        writes = event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR) and not isinstance(given[0], int)
        if writes or event == "os.mkdir":
            self.operation(given[0], needs_room=True)
        elif event in ("os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate"):
            self.operation(given[0], needs_room=False)
            if event == "os.rename" and not self.at:
                self.versions.append([os.path.relpath(given[1], self.place), digest(Path(given[0]).read_bytes())])

    def operation(self, path: Any, needs_room: bool) -> None:
        path = os.path.realpath(os.fspath(path))
        if not path.startswith(self.place):
            return
        self.count += 1
        if self.fault == "kill" and self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "full" and needs_room and 0 < self.at <= self.count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "slow" and 0 < self.at <= self.count:
            time.sleep(0.02)


class File(io.BufferedWriter):
    """A file to which at most 4,096 bytes are written, then at most 8,192, and so on: a page has two million."""

    def __init__(self, file: Any, operations: Operations) -> None:
        class Raw(io.FileIO):
            most = 4096

            def write(self, data: Any) -> int:
                operations.operation(f"/proc/self/fd/{self.fileno()}", needs_room=True)
                written = super().write(data[: self.most])
                self.most *= 2
                return written

        super().__init__(Raw(file, "wb"))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def execute_once(work: str, place: Path) -> None:
    """Execute the work in this process, so that all that it imports and computes once is there for its children."""
    place.mkdir()
    before = Path.cwd()
    os.chdir(place)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        WORKS[work]()
    os.chdir(before)


def in_child(work: str, place: Path, fault: str = "", at: int = 0) -> tuple[int, Operations | Any]:
    """Execute the work in another process with a fault. Return its status, and its counts if it was not killed."""
    place.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        os.chdir(place)
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"../{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        operations = Operations(fault, at)
        operations.watch()
        status = WORKS[work]()
        sys.stderr.flush()
        counted = json.dumps({"count": operations.count, "versions": operations.versions})
        descriptor = os.open("../counted", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, counted.encode())
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    counted = place.parent / "counted"
    return status, json.loads(counted.read_text()) if counted.exists() else None


def visible(folder: Path) -> dict[str, bytes]:
    """Return all files except for hidden ones, which nothing reads."""
    return {path: content for path, content in contents(folder).items() if "/." not in f"/{path}"}


def trained(place: Path) -> list[str]:
    noted = place.parent / "trained"
    return noted.read_text().splitlines() if noted.exists() else []


def inject(what: str, fault: str, every: int, home: Path) -> dict[str, Any]:
    """Execute the work without faults, then with a fault at every so many operations."""
    usual, before = home / "usual" / "place", dict[str, bytes]()
    if what in ("notebook", "executed", "failed"):
        before = {"a.ipynb": b"an older notebook", "a.partial.ipynb": b"the notebook of an older failure"}
    if what == "report":
        in_child("run", home / "before" / "place")
        before = contents(home / "before" / "place")

    def new(name: str) -> Path:
        for path, content in before.items():
            (home / name / "place" / path).parent.mkdir(parents=True, exist_ok=True)
            (home / name / "place" / path).write_bytes(content)
        return home / name / "place"

    right, counted = in_child(what, new("usual"))
    if counted is None:
        sys.exit((home / "usual" / "err").read_text())
    expected, work_done = results(what, usual), len(trained(usual))
    complete = {(path, known) for path, known in counted["versions"]}
    complete |= {(path, digest(content)) for path, content in before.items()}
    problems, numbers = [], range(1, counted["count"] + 1, every)
    for at in numbers:
        place = new(str(at))
        status, _ = in_child(what, place, fault, at)
        expected_status = {"kill": -signal.SIGKILL, "slow": right}.get(fault, status)
        left, printed = visible(place), (place.parent / "err").read_text()
        again, _ = in_child(what, place)
        after = results(what, place)
        wrong = {
            "incomplete": [
                path for path, content in left.items() if (path, digest(content)) not in complete and what != "real"
            ],
            "first status": f"{status}" if status != expected_status else None,
            "not reported": printed if fault == "full" and not reported(status, printed, right) else None,
            "partial files": [path for path in contents(place) if ".part/" in f"{path}/"]
            if fault == "full" or what in ("run", "study")
            else None,
            "second status": f"{again}" if again != right else None,
            "differs": [path for path in {*after, *expected} if after.get(path) != expected.get(path)],
            "trained again": len(trained(place)) > work_done + 1,
        }
        problems += [f"{at}: {name}: {problem}" for name, problem in wrong.items() if problem]
        shutil.rmtree(place.parent)
    shutil.rmtree(home)
    return {"work": what, "fault": fault, "operations": counted["count"], "faults": len(numbers), "problems": problems}


def main() -> None:
    mpl.use("Agg")
    figures.plot_network = figures.plot_comparison = lambda *_: Figure(figsize=(1, 1))
    wanted = [argument.split(":") for argument in sys.argv[1:]]
    if wanted[0][0] != "real":
        pretend()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        for what in {what for what, *_ in wanted} - {"real"}:
            execute_once(what, home / f"first-{what}")
        for what, fault, every in wanted:
            print(json.dumps(inject(what, fault, int(every), home / f"{what}-{fault}")), flush=True)


def results(what: str, place: Path) -> dict[str, bytes]:
    """Return the files that must be the same after every fault."""
    found = visible(place)
    return {path: found[path] for path in found if what != "real" or Path(path).name in REPRODUCIBLE}


def reported(status: int, printed: str, right: int) -> bool:
    """Whether a full disk was reported in one line, or did not matter."""
    return (status == 1 and printed.count("\n") == 1 and "No space left on device" in printed) or status == right


if __name__ == "__main__":
    main()

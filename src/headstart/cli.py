"""The commands: parse, call, print. Exit status 0 done, 2 the request was wrong, 130 interrupted, 1 anything else."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.errors import BadRequest, Failed

# TensorFlow's C++ side reports every instruction set it finds; what matters it raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WRONG_REQUEST, INTERRUPTED = 2, 130
RUN_KEYS = {"registration", "seed", "dataset", "classes", "recipe", "networks", "comparison", "audit"}
RUN_KEYS |= {"conclusions", "environment", "request"}
UsageError: Any = typer.BadParameter.__mro__[1]  # the parser's own class, wherever this version of typer keeps it

app = typer.Typer(
    help="Does a network that has seen other classes get a head start on new ones? A practical on transfer learning.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Registration = Annotated[
    str | None, typer.Argument(help="Registration number: its last two different digits name the held-out classes.")
]
Data = Annotated[
    str, typer.Option(help="cifar10, digits, auto, or a path: cifar-10-python.tar.gz, its folder, or an image folder.")
]
Classes = Annotated[str | None, typer.Option(help="NAME,NAME: the held-out classes, instead of a registration number.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training images, for each network.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
Out = Annotated[
    Path | None, typer.Option(help="The folder for the results. [default: runs/<number>-<data>-seed<seed>]")
]


@app.command("run")
def run_command(
    registration: Registration = None,
    data: Data = "auto",
    classes: Classes = None,
    seed: Seed = 0,
    epochs: Epochs = 20,
    precision: Precision = "auto",
    out: Out = None,
) -> None:
    """Do the whole practical: train four networks, compare them, and leave a folder with all results.

    Started again with the same arguments, an interrupted run goes on where it stopped.
    """
    from rich.console import Console
    from rich.text import Text

    from headstart.display import Display
    from headstart.request import check_request
    from headstart.runs import run_request

    console = Console(soft_wrap=True, highlight=False)

    def say(line: str) -> None:
        console.print(Text(line))

    request = check_request(
        registration, data=data, classes=classes, seed=seed, epochs=epochs, precision=precision, out=out, say=say
    )
    say(f"Data: {request.dataset.name} ({request.source})")
    say(f"Precision: {request.recipe_a.precision} ({request.precision_reason})")
    say(f"Folder: {request.folder}")
    run_request(request, Display(console))
    show_results(request.folder, console)


@app.command("notebook")
def notebook_command(
    registration: Registration = None,
    data: Annotated[str, typer.Option(help="cifar10, digits, auto, or the path of an image folder.")] = "cifar10",
    classes: Classes = None,
    seed: Seed = 0,
    epochs: Epochs = 20,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: float32, or with --execute whichever is faster here.")
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="The file. [default: practical-<number>.ipynb]")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Run all cells, too.")] = False,
    timeout: Annotated[int | None, typer.Option(help="Seconds that one cell may take. [default: no limit]")] = None,
) -> None:
    """Make the hand-in: one notebook that holds all the code and imports nothing of ours."""
    from rich.console import Console
    from rich.text import Text

    from headstart.display import Display
    from headstart.execution import execute_notebook
    from headstart.notebook import build_notebook, check_parameters, write_notebook
    from headstart.store import check_writable, mendable

    console = Console(soft_wrap=True, highlight=False)
    if timeout is not None and timeout < 1:
        raise BadRequest(f"--timeout {timeout}: give at least 1 second, or leave it out for no limit")
    parameters = check_parameters(registration, data, classes, seed, epochs, precision, execute, typer.echo)
    path = out or Path(f"practical-{parameters.registration}.ipynb")
    if path.suffix != ".ipynb":
        raise BadRequest(f"--out {path}: name a file that ends in .ipynb")
    check_writable(path)
    notebook = build_notebook(parameters)
    if execute:
        console.print(Text(f"Precision: {parameters.precision} ({parameters.precision_reason})"))
    with mendable(path):
        if execute:
            with Display(console) as display:
                execute_notebook(notebook, path, timeout, display.show)
        else:
            write_notebook(notebook, path)
    console.print(Text(f"The notebook is {path}"))


@app.command("data")
def data_command(data: Data = "cifar10") -> None:
    """Get the data ready (download or decode it once) and say what is there."""
    from headstart.sources import open_dataset

    dataset, source = open_dataset(data, typer.echo)
    typer.echo(f"{dataset.name} ({source})")
    train, test, classes = len(dataset.x_train), len(dataset.x_test), len(dataset.class_names)
    typer.echo(f"{train:,} training and {test:,} test images in {classes} classes")
    typer.echo(", ".join(f"{number} {name}" for number, name in enumerate(dataset.class_names)))


@app.command("report")
def report_command(folder: Annotated[Path, typer.Argument(help="A finished run's folder.")]) -> None:
    """Make a run's report.html anew."""
    from headstart.report import write_report
    from headstart.store import mendable

    content = read_run(folder)
    with mendable(folder):
        typer.echo(write_report(folder, content))


def read_run(folder: Path) -> dict[str, Any]:
    """What a finished run has in its `run.json`."""
    try:
        content: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    if not isinstance(content, dict) or not content.keys() >= RUN_KEYS:
        raise BadRequest(f"{folder}: no finished run here (run.json is missing, torn or another's); give one's folder")
    return content


def show_results(folder: Path, console: Any) -> None:
    """The table, the conclusions, and where everything lies."""
    from rich.table import Table
    from rich.text import Text

    content = read_run(folder)
    table = Table(title=Text(f"{' or '.join(content['classes']['b'])}? ({content['dataset']['name']})"))
    for heading in ("network", "copied", "frozen", "training", "test", "95% interval", "seconds"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, network in content["networks"].items():
        low, high = network["test_accuracy_ci95"]
        table.add_row(
            name,
            str(network["copied"]),
            str(network["frozen"]),
            f"{network['train_accuracy']:.1%}",
            f"{network['test_accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{network['seconds']:.0f}",
        )
    console.print(table)
    for paragraph in content["conclusions"]:
        console.print(Text(paragraph + "\n"))
    broken = [finding["rule"] for finding in content["audit"] if not finding["holds"]]
    console.print(Text(f"Audit: {len(content['audit']) - len(broken)} of {len(content['audit'])} rules hold."))
    for rule in broken:
        console.print(Text(f"  does not hold: {rule}"))
    console.print(Text(f"Everything is in {folder}; open {folder / 'report.html'}"))


def main() -> None:
    """The console script: run a command and end with its status."""
    sys.exit(status_of(sys.argv[1:]))


def status_of(arguments: list[str]) -> int:
    """Run the command line and return its exit status; errors that are the user's to mend take one line."""
    try:
        status = app(arguments or ["--help"], standalone_mode=False)
    except BadRequest as error:
        complain(error)
        return WRONG_REQUEST
    except UsageError as error:
        complain(f"{error.format_message()} See headstart --help.")
        return WRONG_REQUEST
    except Failed as error:
        complain(error)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # typer turns Ctrl-C into this
        complain(f"interrupted. To go on where it stopped: headstart {shlex.join(arguments)}")
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # TensorFlow's threads would be waited for
    return status if isinstance(status, int) else 0


def complain(message: object) -> None:
    """One line on standard error."""
    print("headstart:", " ".join(str(message).split()), file=sys.stderr)

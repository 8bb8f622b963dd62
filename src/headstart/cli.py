"""The commands: parse, call, print. Exit status: 0 success, 1 failure, 2 invalid request, 130 interrupted."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import headstart
from headstart.errors import HeadstartError, InvalidRequest

if TYPE_CHECKING:
    from rich.console import Console

# TensorFlow's C++ code reports every instruction set that it finds. What matters is raised as an error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "Agg"  # commands only write files, and a user's backend may be missing here

FAILURE, INVALID_REQUEST, INTERRUPTED = 1, 2, 130
RESUMABLE = {"run", "study", "tune", "data"}
EXTRAS = {  # the extra that installs each optional package
    **dict.fromkeys(("dask", "distributed"), "study"),
    **dict.fromkeys(("ipykernel", "nbclient"), "notebook"),
    "optuna": "tune",
    "pyarrow": "compare",
    **dict.fromkeys(
        ("h5py", "jinja2", "keras", "matplotlib", "pandas", "PIL", "plotly", "scipy", "sklearn", "tensorflow"), "cpu"
    ),
}
UsageError: Any = typer.BadParameter.__mro__[1]  # its module depends on the version of typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def show_version(wanted: bool) -> None:
    """Print the version, and exit."""
    if wanted:
        typer.echo(f"headstart {headstart.__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Does a network that has seen other classes get a head start on new ones? A practical on transfer learning."""


Registration = Annotated[
    str | None, typer.Argument(help="Registration number. Its last two different digits name the held-out classes.")
]
Data = Annotated[
    str, typer.Option(help="cifar10, digits, auto, or a path: cifar-10-python.tar.gz, its folder, or an image folder.")
]
Classes = Annotated[
    str | None,
    typer.Option(help="The held-out classes by name or number, such as cat,dog, instead of a registration number."),
]
TestShare = Annotated[
    float | None,
    typer.Option(
        help="The share of each class to use as test images if an image folder has no test part, such as 0.2."
    ),
]
Seed = Annotated[int, typer.Option(help="Determines all random numbers.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training images, for each network.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
RecipeFiles = Annotated[
    list[Path] | None,
    typer.Option("--recipe", help='JSON: {"a": {...}}, {"b": {...}} or both; repeatable. tune writes best.json.'),
]


@app.command("run")
def run_command(
    registration: Registration = None,
    data: Data = "auto",
    test_share: TestShare = None,
    classes: Classes = None,
    seed: Seed = 0,
    epochs: Epochs = 20,
    precision: Precision = "auto",
    recipe: RecipeFiles = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder for the results.", show_default="runs/<number>-<data>-seed<seed>")
    ] = None,
) -> None:
    """Do the whole practical: train four networks, compare them, and write a folder with all results.

    With the same arguments, an interrupted run resumes where it stopped.
    """
    from headstart.runtime.display import Display
    from headstart.training.recipes import read_recipes
    from headstart.workflows import run

    console = make_console()
    options: dict[str, Any] = {"data": data, "test_share": test_share, "classes": classes, "seed": seed}
    options |= {"epochs": epochs, "precision": precision, "recipes": read_recipes(recipe or ())}
    with Display(console):
        folder = run(registration, out=out, **options)
    from headstart.report.terminal import show_results  # imports TensorFlow, which is imported by now

    show_results(folder, console)


@app.command("notebook")
def notebook_command(
    registration: Registration = None,
    data: Annotated[str, typer.Option(help="cifar10, digits, auto, or the path of an image folder.")] = "cifar10",
    test_share: TestShare = None,
    classes: Classes = None,
    seed: Seed = 0,
    epochs: Epochs = 20,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: float32, or with --execute the faster one on this machine.")
    ] = "auto",
    recipe: RecipeFiles = None,
    out: Annotated[Path | None, typer.Option(help="The file.", show_default="practical-<number>.ipynb")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Execute all cells, too.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that may have been edited or executed.")
    ] = False,
    timeout: Annotated[
        int | None, typer.Option(help="Seconds that one cell may take.", show_default="no limit")
    ] = None,
) -> None:
    """Make the hand-in: one notebook with all the code, which does not import headstart."""
    from rich.text import Text

    from headstart.runtime.display import Display
    from headstart.training.recipes import read_recipes
    from headstart.workflows import make_notebook

    console = make_console()
    options: dict[str, Any] = {"data": data, "test_share": test_share, "classes": classes, "seed": seed}
    options |= {"epochs": epochs, "precision": precision, "recipes": read_recipes(recipe or ())}
    with Display(console):
        path = make_notebook(registration, out=out, execute=execute, timeout=timeout, force=force, **options)
    console.print(Text(f"The notebook is {path}"))


@app.command("study")
def study_command(
    pairs: Annotated[str, typer.Option(help="all, N-random, or pairs of classes such as 4,9+cat,dog.")] = "all",
    seeds: Annotated[int, typer.Option(help="How many seeds; 3 means seeds 0, 1 and 2.")] = 5,
    strategies: Annotated[
        str, typer.Option(help="practical, depth (AnB, AnB+, BnB, BnB+), or names such as two_layers,A3B+.")
    ] = "practical",
    train_sizes: Annotated[
        str, typer.Option(help="Of part B, joined by commas: fractions (0.25) or images per class (100).")
    ] = "1.0",
    data: Data = "auto",
    test_share: TestShare = None,
    images: Annotated[
        float, typer.Option(help="The fraction of all training images to use, part A's and part B's.")
    ] = 1.0,
    epochs: Epochs = 20,
    precision: Precision = "auto",
    recipe: RecipeFiles = None,
    out: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("study"),
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes on this machine, with one thread each.", show_default="one per core"),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="tcp://HOST:PORT of a running Dask cluster, instead of local workers.")
    ] = None,
    worker_data: Annotated[
        str | None, typer.Option(help="What each worker loads, as --data; by default the images are sent to them.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be trained, and how long it would take.")
    ] = False,
) -> None:
    """Train many networks: pairs of classes x seeds x strategies x sizes of the training set.

    The same command again, with the same plan or another one, trains only what is missing.
    """
    from rich.text import Text

    from headstart.runtime.display import Display
    from headstart.training.recipes import read_recipes
    from headstart.workflows import describe_study_plan, run_study

    console = make_console()
    options: dict[str, Any] = {"pairs": pairs, "seeds": seeds, "strategies": strategies, "train_sizes": train_sizes}
    options |= {"data": data, "test_share": test_share, "images": images, "epochs": epochs, "precision": precision}
    options |= {"recipes": read_recipes(recipe or ()), "out": out, "workers": workers, "scheduler": scheduler}
    with Display(console):
        if dry_run:
            console.print(Text(describe_study_plan(**options)))
            return
        run_study(worker_data=worker_data, **options)
    console.print(Text((out / "conclusions.md").read_text(encoding="utf-8")))
    console.print(Text(f"Everything is in {out}; open {out / 'report.html'}"))


@app.command("tune")
def tune_command(
    part: Annotated[str, typer.Option(help="a: network A's recipe; b: the one that the strategies on B share.")] = "a",
    pairs: Annotated[
        str, typer.Option(help="The held-out pairs of classes to search on.", show_default="4,9 for a, 3,5+1,8 for b")
    ] = "",
    trials: Annotated[int, typer.Option(help="How many recipes to try, including those of earlier calls.")] = 40,
    candidates: Annotated[
        list[str] | None,
        typer.Option(
            "--try", help='JSON, repeatable: changes of the current recipe to try first, such as {"shift": 2}.'
        ),
    ] = None,
    images: Annotated[float, typer.Option(help="The fraction of the training images to train on.")] = 0.25,
    epochs: Epochs = 20,
    seed: Annotated[int, typer.Option(help="Determines every training, but not which recipes are tried.")] = 0,
    precision: Precision = "auto",
    data: Data = "auto",
    test_share: TestShare = None,
    out: Annotated[Path | None, typer.Option(help="The folder for the results.", show_default="tuning-<part>")] = None,
) -> None:
    """Search a recipe on validation images, which are taken from the training images. Test images are not used.

    The same command continues the search. Several processes can execute it at the same time.
    """
    from rich.text import Text

    from headstart.runtime.display import Display
    from headstart.workflows import tune

    console = make_console()
    options: dict[str, Any] = {"images": images, "epochs": epochs, "seed": seed, "precision": precision}
    options |= {"data": data, "test_share": test_share}
    with Display(console):
        folder = tune(part, pairs=pairs, trials=trials, candidates=candidates, out=out, **options)
    from headstart.tuning.results import read_best

    console.print(Text(json.dumps(read_best(folder), indent=2)))


@app.command("compare")
def compare_command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=FILE...", help="Predictions as .csv, .npz or .parquet. The same name again adds seeds."
        ),
    ],
    smallest_effect: Annotated[float, typer.Option(help="The smallest difference that matters, in points.")] = 1.0,
    paired: Annotated[
        bool,
        typer.Option(
            "--paired", help="The k-th seeds of all classifiers belong together, although they have no names."
        ),
    ] = False,
    images: Annotated[Path | None, typer.Option(help="A folder with pictures that are named by id.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("comparison"),
) -> None:
    """Compare the predictions of any classifiers, paired by item: is one really better, and what would settle it?

    A file has the columns id, label, and prediction or p_<class> for each class; optionally seed and cluster.
    """
    from rich.text import Text

    from headstart.runtime.display import Display
    from headstart.workflows import compare

    files: dict[str, list[str | Path]] = {}
    for model in models:
        name, sign, file = model.partition("=")
        if not (name and sign and file):
            raise InvalidRequest(f"{model!r}: give NAME=FILE, such as mine=predictions.csv")
        files.setdefault(name, []).append(file)
    console = make_console()
    with Display(console):
        content = compare(files, smallest_effect=smallest_effect, paired=paired, images=images, out=out)
    for name, model in content["models"].items():
        low, high = model["ci95"]
        interval = "" if low is None else f" (95% interval {low:.1%} to {high:.1%})"
        console.print(Text(f"{name}: accuracy {model['accuracy']:.1%}{interval}"))
    for pair in content["pairs"]:
        console.print(Text(pair["words"]))
    console.print(Text(f"{content['limits']}\nEverything is in {out}; open {out / 'report.html'}"))


@app.command("data")
def data_command(
    data: Data = "cifar10",
    test_share: TestShare = None,
    contact_sheet: Annotated[Path | None, typer.Option(help="Draw some images of each class into this PNG.")] = None,
) -> None:
    """Prepare the data (download or decode it once), describe it, and report what is wrong with it."""
    from rich.text import Text

    from headstart.datasets.health import describe_dataset, draw_contact_sheet
    from headstart.datasets.sources import open_dataset
    from headstart.runtime.display import Display

    console = make_console()
    with Display(console):
        dataset, source = open_dataset(data, test_share)
    console.print(Text(f"{dataset.name} ({source})"))
    for line in describe_dataset(dataset):
        console.print(Text(line))
    if contact_sheet is not None:
        draw_contact_sheet(dataset, contact_sheet)
        console.print(Text(f"The contact sheet is {contact_sheet}"))


@app.command("report")
def report_command(folder: Annotated[Path, typer.Argument(help="The folder of a run or a study.")]) -> None:
    """Write the report.html of a run or a study again."""
    from rich.text import Text

    from headstart.workflows import write_page

    make_console().print(Text(str(write_page(folder))))


@app.command("predict")
def predict_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of any size (JPEG, PNG...), or folders of them.")
    ],
) -> None:
    """Predict the classes of your own pictures with a run's four networks.

    A picture's orientation is applied, transparency is put on white, and it is resized to 32 x 32 without cropping.
    """
    from headstart.workflows import predict

    content, networks, pictures = predict(run, images)
    from headstart.report.terminal import show_predictions  # imports TensorFlow, which is imported by now

    show_predictions(content, networks, pictures, make_console(soft_wrap=False))


def make_console(soft_wrap: bool = True) -> Console:
    """Return the console for standard output."""
    from rich.console import Console

    return Console(soft_wrap=soft_wrap, highlight=False)


def main() -> None:
    """Run a command, and exit with its status."""
    if sys.stderr is None:  # it is closed, so the next file to be opened would receive its output
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    output = sys.stdout = Output(sys.stdout)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C, so that workers end, too
    status = status_of(sys.argv[1:])
    sys.stdout.flush()
    if output.error and not isinstance(output.error, BrokenPipeError):
        complain(f"standard output: {output.error.strerror}; only what should have been printed is lost")
        status = status or FAILURE
    sys.exit(status)


class Output:
    """Standard output that never ends a command: what cannot be encoded or written is replaced or dropped.

    Args:
        stream: The process' own; None if it is closed.
    """

    def __init__(self, stream: Any):
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115, PTH123  # it is open until the process ends
        self.stream.reconfigure(errors="backslashreplace")
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text, or drop it after an error."""
        try:
            return int(self.stream.write(text))
        except OSError as error:
            self.error = self.error or error
            return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what is in its buffer."""
        try:
            self.stream.flush()
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def status_of(arguments: list[str]) -> int:
    """Run the command line, and print errors that the user can fix as one line.

    Args:
        arguments: The command and its options.

    Returns:
        The exit status: 0 success, 1 failure, 2 invalid request. An interruption ends the process with 130.
    """
    try:
        status = app(arguments or ["--help"], standalone_mode=False)
    except InvalidRequest as error:
        complain(in_terms_of_the_command(error))
        return INVALID_REQUEST
    except HeadstartError as error:
        complain(error)
        return FAILURE
    except UsageError as error:
        complain(f"{error.format_message()} See headstart --help.")
        return INVALID_REQUEST
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        complain(f"{arguments[0]}: {package} is not installed; in headstart's folder: pip install '.[{extra}]'")
        return INVALID_REQUEST
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # typer returns it for Ctrl-C
        again = "To resume" if RESUMABLE & {*arguments[:1]} else "To start again"
        complain(f"interrupted. {again}: headstart {shlex.join(arguments)}")
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # without waiting for TensorFlow's threads
    return status if isinstance(status, int) else 0


def in_terms_of_the_command(error: InvalidRequest) -> str:
    """Return an error's message with the option in the form of the command line: `--epochs 0`, not `epochs=0`."""
    if not error.option:
        return str(error)
    return f"--{error.option.replace('_', '-')} {error.value}: {error.rule}"


def complain(message: object) -> None:
    """Print one line to standard error."""
    line = " ".join(str(message).split())
    print("headstart:", "".join(letter if letter.isprintable() else "?" for letter in line), file=sys.stderr)

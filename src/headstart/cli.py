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
from headstart.quiet import import_tensorflow

# TensorFlow's C++ side reports every instruction set it finds; what matters it raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WRONG_REQUEST, INTERRUPTED = 2, 130
RESUMABLE = {"run", "study", "tune", "data"}  # commands that go on where they were stopped
EXTRAS = {  # of what may not be installed
    **dict.fromkeys(("dask", "distributed"), "study"),
    **dict.fromkeys(("jupytext", "nbclient", "nbformat"), "notebook"),
    "optuna": "tune",
    "tensorflow": "cpu",
}
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
RecipeFiles = Annotated[
    list[Path] | None,
    typer.Option("--recipe", help='JSON: {"a": {...}}, {"b": {...}} or both; may be repeated. tune writes best.json.'),
]
Out = Annotated[
    Path | None, typer.Option(help="The folder for the results.", show_default="runs/<number>-<data>-seed<seed>")
]


@app.command("run")
def run_command(
    registration: Registration = None,
    data: Data = "auto",
    classes: Classes = None,
    seed: Seed = 0,
    epochs: Epochs = 20,
    precision: Precision = "auto",
    recipe: RecipeFiles = None,
    out: Out = None,
) -> None:
    """Do the whole practical: train four networks, compare them, and leave a folder with all results.

    Started again with the same arguments, an interrupted run goes on where it stopped.
    """
    from rich.console import Console
    from rich.text import Text

    from headstart.display import Display
    from headstart.recipes import read_recipes
    from headstart.request import check_request
    from headstart.runs import run_request

    console = Console(soft_wrap=True, highlight=False)

    def say(line: str) -> None:
        console.print(Text(line))

    recipes = read_recipes(recipe or ())
    choices: dict[str, Any] = {"classes": classes, "seed": seed, "epochs": epochs, "precision": precision}
    request = check_request(registration, data=data, out=out, recipes=recipes, say=say, **choices)
    say(f"Data: {request.dataset.name} ({request.source})")
    say(f"Precision: {request.recipe_a.precision} ({request.precision_reason})")
    say(f"Folder: {request.folder}")
    run_request(request, Display(console))
    from headstart.tables import show_results  # with TensorFlow, which is imported by now

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
    recipe: RecipeFiles = None,
    out: Annotated[Path | None, typer.Option(help="The file.", show_default="practical-<number>.ipynb")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Run all cells, too.")] = False,
    timeout: Annotated[
        int | None, typer.Option(help="Seconds that one cell may take.", show_default="no limit")
    ] = None,
) -> None:
    """Make the hand-in: one notebook that holds all the code and imports nothing of ours."""
    from rich.console import Console
    from rich.text import Text

    from headstart.display import Display
    from headstart.execution import execute_notebook
    from headstart.notebook import build_notebook, check_parameters, write_notebook
    from headstart.recipes import read_recipes
    from headstart.store import check_writable, mendable

    console = Console(soft_wrap=True, highlight=False)
    if timeout is not None and timeout < 1:
        raise BadRequest(f"--timeout {timeout}: give at least 1 second, or leave it out for no limit")
    recipes = read_recipes(recipe or ())
    parameters = check_parameters(registration, data, classes, seed, epochs, precision, recipes, execute, typer.echo)
    path = out or Path(f"practical-{parameters.registration}.ipynb")
    if path.suffix != ".ipynb":
        raise BadRequest(f"--out {path}: name a file that ends in .ipynb")
    check_writable(path)
    notebook = build_notebook(parameters)
    with mendable(path):
        if execute:
            with Display(console) as display:
                execute_notebook(notebook, path, timeout, display.show)
        else:
            write_notebook(notebook, path)
    console.print(Text(f"The notebook is {path}"))


@app.command("study")
def study_command(
    pairs: Annotated[str, typer.Option(help="all, N-random, or pairs of classes such as 4,9+cat,dog.")] = "all",
    seeds: Annotated[int, typer.Option(help="How many seeds: 3 are the seeds 0, 1 and 2.")] = 5,
    strategies: Annotated[
        str, typer.Option(help="practical, depth (AnB, AnB+, BnB, BnB+), or names such as two_layers,A3B+.")
    ] = "practical",
    train_sizes: Annotated[
        str, typer.Option(help="Of part B, joined by commas: fractions (0.25) or images per class (100).")
    ] = "1.0",
    data: Data = "auto",
    images: Annotated[
        float, typer.Option(help="The fraction of all training images to study with, A's and B's.")
    ] = 1.0,
    epochs: Epochs = 20,
    precision: Precision = "auto",
    recipe: RecipeFiles = None,
    out: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("study"),
    workers: Annotated[
        int | None, typer.Option(help="Worker processes on this machine, a thread each.", show_default="one a core")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="tcp://HOST:PORT of a running Dask cluster, instead.")] = None,
    worker_data: Annotated[
        str | None, typer.Option(help="What each worker loads, as --data; by default the images are sent to them.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be trained and how long.")] = False,
) -> None:
    """Many runs: pairs of classes x seeds x strategies x training-set sizes.

    Started again, with the same plan or another, it trains only what is not there yet.
    """
    from rich.console import Console
    from rich.text import Text

    from headstart.display import Display
    from headstart.recipes import read_recipes
    from headstart.study import check_study, run_study
    from headstart.study.cluster import usual_workers

    console = Console(soft_wrap=True, highlight=False)

    def say(line: str) -> None:
        console.print(Text(line))

    if workers is not None and workers < 1:
        raise BadRequest(f"--workers {workers}: give at least 1")
    if scheduler and workers:
        raise BadRequest(
            f"--workers {workers}: the workers are those of --scheduler {scheduler}; leave one of the two out"
        )
    study = check_study(
        data=data,
        images=images,
        out=out,
        precision=precision,
        elsewhere=scheduler is not None,
        say=say,
        pairs=pairs,
        seeds=seeds,
        strategies=strategies,
        train_sizes=train_sizes,
        epochs=epochs,
        recipes=read_recipes(recipe or ()),
    )
    say(f"Data: {study.dataset.name} ({study.source})")
    if study.others:
        say(f"Left alone, for they are of another plan, other data or other code: {study.others} rows in {out}")
    if dry_run:
        from headstart.study.reckon import reckon

        say(reckon(study.plan, study.missing, study.dataset, 1 if scheduler else workers or usual_workers()))
        return
    say(f"Precision: {study.asked['precision']} ({study.asked['precision_reason']})")
    say(f"To train: {len(study.missing):,} of {len(study.plan.networks):,} networks, into {out}")
    import_tensorflow()
    with Display(console) as display:
        run_study(study, workers, scheduler, display.show, worker_data)
    say((out / "conclusions.md").read_text(encoding="utf-8"))
    say(f"Everything is in {out}")


@app.command("tune")
def tune_command(
    part: Annotated[str, typer.Option(help="a: network A's recipe; b: the one that the strategies on B share.")] = "a",
    pairs: Annotated[
        str, typer.Option(help="The held-out pairs of classes to search on.", show_default="4,9 for a, 3,5+1,8 for b")
    ] = "",
    trials: Annotated[int, typer.Option(help="How many recipes to try, those of earlier sittings included.")] = 40,
    candidates: Annotated[
        list[str] | None,
        typer.Option("--try", help='JSON, may be repeated: try the standing recipe so changed first, as {"shift": 2}.'),
    ] = None,
    images: Annotated[float, typer.Option(help="The part of the training images to train on.")] = 0.25,
    epochs: Epochs = 20,
    seed: Annotated[
        int, typer.Option(help="Every training follows from it; which recipes are tried is left to chance.")
    ] = 0,
    precision: Precision = "auto",
    data: Data = "auto",
    out: Annotated[Path | None, typer.Option(help="The folder for the results.", show_default="tuning-<part>")] = None,
) -> None:
    """Search the recipe on validation images, which are taken from the training images; the test images are not read.

    Started again, or several times at once, it goes on where it stopped.
    """
    import_tensorflow()
    from headstart.precision import check_precision
    from headstart.request import check_training
    from headstart.sources import open_dataset
    from headstart.store import mendable
    from headstart.study.plan import check_images, parse_pairs
    from headstart.tuning import Search, check_folder, hide_test_images, tune
    from headstart.tuning.results import read_best

    if part not in ("a", "b"):
        raise BadRequest(f"--part {part}: give a or b")
    if trials < 1:
        raise BadRequest(f"--trials {trials}: give at least 1")
    check_training(epochs, seed)
    check_images(images)
    check_precision(precision)
    folder = out or Path(f"tuning-{part}")
    check_folder(folder)
    dataset, source = open_dataset(data, typer.echo)
    typer.echo(f"{dataset.name} ({source})")
    chosen = parse_pairs(pairs or {"a": "4,9", "b": "3,5+1,8"}[part], dataset.class_names)
    search = Search(part, hide_test_images(dataset, images=images), chosen, epochs, seed, precision)
    with mendable(folder):
        tune(search, folder, trials, typer.echo, candidates or [])
    typer.echo(json.dumps(read_best(folder), indent=2))


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
def report_command(folder: Annotated[Path, typer.Argument(help="The folder of a run or a study.")]) -> None:
    """Make the report.html of a run or a study anew."""
    import_tensorflow()
    from headstart.finished import read_run
    from headstart.report import write_report, write_study_report
    from headstart.store import mendable

    with mendable(folder):
        if (folder / "study.json").exists():
            typer.echo(write_study_report(folder))
        else:
            typer.echo(write_report(folder, read_run(folder)))


@app.command("predict")
def predict_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of any size: JPEG, PNG, WebP...")],
) -> None:
    """Ask a run's four networks what they see in pictures of your own.

    Each picture is turned as its camera says, laid on white where it is transparent, and resized, whole, to 32 x 32.
    """
    from rich.console import Console

    import_tensorflow()
    from headstart.finished import load_network, read_run
    from headstart.pictures import read_picture
    from headstart.tables import show_predictions

    content = read_run(run)
    pictures = [read_picture(image) for image in images]
    networks = {name: load_network(run, content, name) for name in content["networks"]}
    show_predictions(content, networks, dict(zip(images, pictures, strict=True)), Console(highlight=False))


def main() -> None:
    """The console script: run a command and end with its status."""
    if sys.stderr is None:  # it is closed: else the next file that is opened would get whatever is written there
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
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
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        extra = EXTRAS[error.name]
        complain(f"{arguments[0]}: {error.name} is not installed; in headstart's folder: pip install '.[{extra}]'")
        return WRONG_REQUEST
    except Failed as error:
        complain(error)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # typer turns Ctrl-C into this
        again = "To go on where it stopped" if RESUMABLE & {*arguments[:1]} else "To begin anew"
        complain(f"interrupted. {again}: headstart {shlex.join(arguments)}")
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # TensorFlow's threads would be waited for
    return status if isinstance(status, int) else 0


def complain(message: object) -> None:
    """One line on standard error."""
    print("headstart:", " ".join(str(message).split()), file=sys.stderr)

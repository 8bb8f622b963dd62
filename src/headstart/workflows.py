"""The functions behind the command line and the Python API: check a request, execute it, and write its page.

Modules that import TensorFlow, pandas or other large packages are imported inside functions, after the request was
checked. So `--help` and a refused request take less than a second.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.datasets.duplicates import warn_about_duplicates
from headstart.datasets.sources import find_batches, open_dataset, printable, resolve_auto
from headstart.errors import HeadstartError, InvalidRequest
from headstart.options import (
    check_count,
    check_folder,
    check_held_out,
    check_images,
    check_precision,
    check_replaceable,
    check_training,
    describe_pair,
    digits_of,
    held_out_in,
    resolve_precision,
)
from headstart.practical.data import CIFAR10_CLASSES
from headstart.runs.reader import load_network, read_results, read_run
from headstart.runs.request import check_request
from headstart.runtime.startup import import_tensorflow
from headstart.storage.files import check_writable, user_fixable
from headstart.training.parts import held_out_classes
from headstart.training.recipes import PRECISIONS, RECIPE_A, RECIPE_B, Recipes, check_recipes

if TYPE_CHECKING:
    import keras
    import numpy as np

    from headstart.notebook.build import Parameters
    from headstart.study.summary import Analysis

logger = logging.getLogger(__name__)


def run(
    registration: str | None = None,
    *,
    data: str = "auto",
    classes: str | None = None,
    seed: int = 0,
    epochs: int = 20,
    precision: str = "auto",
    out: str | Path | None = None,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
    test_share: float | None = None,
) -> Path:
    """Do the whole practical, and write a folder with all results. An interrupted run resumes.

    Args:
        registration: The registration number, whose last two different digits name the held-out classes.
        data: "cifar10", "digits", "auto" or a path: see `load_dataset`.
        classes: Two classes by name or number, such as "cat,dog" or "3,5", instead of a registration number.
        seed: From 0 to 2**31 - 1. Everything random is determined by it.
        epochs: Passes over the training images, for each network, at least 1.
        precision: "float32", "bfloat16", or "auto": the faster one on this machine.
        out: The folder; by default `runs/<number>-<data>-seed<seed>`.
        recipes: Part A's and part B's; `epochs`, `seed` and `precision` replace theirs.
        test_share: The share of each class that becomes the test part of an image folder without one, such as 0.2.

    Returns:
        The folder. `read_run` reads it.

    Raises:
        InvalidRequest: An argument is invalid, or the folder contains something else.
        ResourceError: The disk is full, the download failed, or a checkpoint is damaged.
    """
    options: dict[str, Any] = {"classes": classes, "seed": seed, "epochs": epochs, "precision": precision}
    request = check_request(registration, data=data, out=out, recipes=recipes, test_share=test_share, **options)
    import_tensorflow()
    from headstart.runs.runner import execute_run

    folder = execute_run(request)
    from headstart.report.run import write_run_page  # imports TensorFlow, which is imported by now
    from headstart.runs.artefacts import write_figures

    if not (folder / "report.html").exists():
        content = read_run(folder)
        with user_fixable(folder):
            with optional("the figures", folder):
                write_figures(folder / "figures", read_results(folder, content), content["dataset"]["name"])
            with optional("the page", folder):
                write_run_page(folder, content)
    return folder


@contextmanager
def optional(what: str, folder: Path) -> Iterator[None]:
    """Report what cannot be drawn as a warning, because all numbers are saved by now.

    Args:
        what: What is drawn.
        folder: The folder of the run or study.
    """
    try:
        yield
    except (HeadstartError, OSError):
        raise
    except Exception as error:
        logger.warning("%s: %s failed (%s: %s)", folder, what, type(error).__name__, error, exc_info=True)
        logger.warning("All results are saved. To try again: headstart report %s", shlex.quote(str(folder)))


def write_page(folder: str | Path) -> Path:
    """Write the figures and `report.html` of a finished run, or of a study, from the files in its folder.

    Args:
        folder: The folder of a run or of a study.

    Returns:
        The page.

    Raises:
        InvalidRequest: The folder contains neither, or a file is missing or damaged.
        ResourceError: The page cannot be written.
    """
    folder = Path(folder)
    is_study = (folder / "study.json").exists()
    content = {} if is_study else read_run(folder)
    import_tensorflow()
    with user_fixable(folder):
        if is_study:
            from headstart.report.study import rewrite_study_page

            return rewrite_study_page(folder)
        from headstart.report.run import write_run_page
        from headstart.runs.artefacts import write_figures

        write_figures(folder / "figures", read_results(folder, content), content["dataset"]["name"])
        return write_run_page(folder, content)


def predict(folder: str | Path, pictures: list[Path]) -> tuple[dict[str, Any], dict[str, keras.Model], dict[Path, Any]]:
    """Load a run's networks and a user's own pictures.

    Args:
        folder: A finished run's folder.
        pictures: Files of any size: JPEG, PNG, WebP, GIF, BMP, TIFF or PPM; or folders of them.

    Returns:
        The run (see `read_run`), its networks by name, and the pictures as uint8 (32, 32, 3) by file.

    Raises:
        InvalidRequest: There is no finished run, or a picture cannot be read.
    """
    from headstart.datasets.pictures import list_pictures, read_picture

    content = read_run(folder)
    images: dict[Path, np.ndarray] = {picture: read_picture(picture) for picture in list_pictures(pictures)}
    import_tensorflow()
    return content, {name: load_network(Path(folder), content, name) for name in content["networks"]}, images


def check_notebook(
    registration: str | None = None,
    *,
    data: str = "cifar10",
    classes: str | None = None,
    seed: int = 0,
    epochs: int = 20,
    precision: str = "auto",
    recipes: Recipes = (RECIPE_A, RECIPE_B),
    test_share: float | None = None,
    execute: bool = False,
) -> Parameters:
    """Check a notebook's options by the same rules as those of a run, and return its parameters.

    The dataset is opened only if it is needed: to execute the notebook, to find class names, or to check a folder.

    Args:
        registration: The registration number.
        data: "cifar10", "digits", "auto" or the path of an image folder.
        classes: Two classes by name or number, instead of a registration number; they become the digits that mean them.
        seed: From 0 to 2**31 - 1.
        epochs: At least 1.
        precision: "float32", "bfloat16" or "auto": float32 or, if it is executed, the faster one on this machine.
        recipes: Part A's and part B's.
        test_share: As in `load_dataset`.
        execute: Whether the notebook will be executed here.

    Returns:
        The notebook's parameters.

    Raises:
        InvalidRequest: An option is invalid, or `data` is something that the notebook cannot read.
    """
    from headstart.notebook.build import CHOICES, LOADERS, Parameters  # jupytext is slow to import

    check_held_out(registration, classes)
    check_training(epochs, seed)
    check_precision(precision)
    check_recipes(*recipes)
    is_path = data not in (*LOADERS, "auto")
    if execute or classes is not None or test_share is not None or is_path:
        dataset, _ = open_dataset(data, test_share, seed)  # so that data which a run refuses is refused here, too
        if is_path:
            folder = Path(data).expanduser()
            if find_batches(folder) or not folder.is_dir():  # a run would read them, and the notebook cannot
                raise InvalidRequest(CHOICES, option="data", value=printable(data))
        held_out = held_out_in(dataset, registration, classes)
        registration = registration or digits_of(held_out, dataset.class_names)
        logger.info("Held out: %s", describe_pair(held_out, dataset.class_names))
        warn_about_duplicates(dataset)
        data = resolve_auto(data, dataset.name)  # a path is not changed
    else:
        names = CIFAR10_CLASSES if data != "digits" else tuple(f"the digit {digit}" for digit in range(10))
        logger.info("Held out: %s", describe_pair(held_out_classes(str(registration)), names))
    if precision == "auto" and not execute:  # it will run on a machine that cannot be measured here
        precision = "float32"
    elif precision == "auto":
        precision, reason = resolve_precision(precision)
        logger.info("Precision: %s (%s)", precision, reason)
    options: dict[str, Any] = {"epochs": epochs, "seed": seed, "precision": precision, "recipes": recipes}
    if is_path:
        return Parameters(str(registration), folder=str(folder), test_share=test_share or 0.0, **options)
    return Parameters(str(registration), data="cifar10" if data == "auto" else data, **options)


def make_notebook(
    registration: str | None = None,
    *,
    out: str | Path | None = None,
    execute: bool = False,
    timeout: int | None = None,
    force: bool = False,
    **options: Any,
) -> Path:
    """Write the hand-in: one notebook with all the code, which does not import headstart.

    Args:
        registration: The registration number.
        out: The file; by default `practical-<number>.ipynb`.
        execute: Whether to execute all cells.
        timeout: Seconds that one cell may take; no limit by default.
        force: Whether a file that has other content may be replaced.
        options: data, classes, seed, epochs, precision, recipes and test_share: see `check_notebook`.

    Returns:
        The file.

    Raises:
        InvalidRequest: An option is invalid, or the file exists and may have been edited or executed.
        ResourceError: The file cannot be written.
        TrainingFailed: A cell failed. The outputs of the cells before it are in `<name>.partial.ipynb`.
    """
    if execute:
        from headstart.notebook.execute import execute_notebook  # first, because nbclient may not be installed
    if timeout is not None:
        check_count("timeout", timeout, " second, or leave it out for no limit")
    parameters = check_notebook(registration, execute=execute, **options)
    path = Path(out) if out is not None else Path(f"practical-{parameters.registration}.ipynb")
    if path.suffix != ".ipynb":
        raise InvalidRequest("name a file that ends in .ipynb", option="out", value=path)
    check_writable(path)

    from headstart.notebook.build import as_text, build_notebook, write_notebook

    if parameters.folder is not None and not Path(parameters.folder).is_absolute():  # the notebook is started elsewhere
        parameters = replace(parameters, folder=os.path.relpath(parameters.folder, path.parent))
    notebook = build_notebook(parameters)
    # The same notebook that was not executed may have another precision, which is measured before the execution.
    same = [as_text(build_notebook(replace(parameters, precision=precision))) for precision in PRECISIONS]
    check_replaceable(path, same, force)
    with user_fixable(path):
        if execute:
            execute_notebook(notebook, path, timeout)
        else:
            write_notebook(notebook, path)
    return path


def run_study(
    *,
    out: str | Path = "study",
    workers: int | None = None,
    scheduler: str | None = None,
    worker_data: str | None = None,
    **options: Any,
) -> Path:
    """Train many networks: pairs of classes x seeds x strategies x sizes of the training set.

    If it is called again, with the same plan or a larger one, it trains only what is missing.

    Args:
        out: The folder for the results.
        workers: Processes on this machine; one per core by default.
        scheduler: "tcp://HOST:PORT" of a running Dask cluster, instead.
        worker_data: What each worker loads, as in `load_dataset`; by default the images are sent to the workers.
        options: data, images, test_share, precision, recipes, pairs, seeds, strategies, train_sizes and epochs: see
            `check_study` and `make_plan`.

    Returns:
        The folder.

    Raises:
        InvalidRequest: An option is invalid.
        ResourceError: The disk is full, or another process is working in the folder.
        TrainingFailed: Networks failed, or the scheduler was lost. Everything else is completed.
    """
    from headstart.study.runner import check_study, check_workers, execute_study

    check_workers(workers, scheduler)
    study = check_study(out=out, on_cluster=scheduler is not None, **options)
    if study.unrelated:
        logger.info("%s rows in %s are of another plan, other data or other code: ignored", study.unrelated, out)
    logger.info("To train: %s of %s networks, into %s", f"{len(study.missing):,}", f"{len(study.plan.networks):,}", out)
    import_tensorflow()
    from headstart.report.study import write_study_page
    from headstart.study.outputs import write_figures

    def draw(folder: Path, content: dict[str, Any], analysis: Analysis) -> None:
        """Write the figures and the page."""
        with optional("the figures", folder):
            write_figures(folder / "figures", content["dataset"], analysis)
        with optional("the page", folder):
            write_study_page(folder, content, analysis)

    return execute_study(study, draw, workers, scheduler, worker_data)


def describe_study_plan(
    *, out: str | Path = "study", workers: int | None = None, scheduler: str | None = None, **options: Any
) -> str:
    """Describe what a study would train, and estimate how long it would take on this machine.

    Args:
        out: The folder for the results.
        workers: Processes on this machine; one per core by default.
        scheduler: "tcp://HOST:PORT" of a running Dask cluster, instead. The estimate is then for one worker.
        options: As in `run_study`.

    Returns:
        The description, one paragraph.

    Raises:
        InvalidRequest: An option is invalid.
        ResourceError: The dataset cannot be downloaded.
    """
    from headstart.study.runner import check_study, check_workers
    from headstart.study.scheduler import default_workers

    check_workers(workers, scheduler)
    study = check_study(out=out, on_cluster=scheduler is not None, **options)
    import_tensorflow()
    from headstart.study.estimate import describe_plan, measure_speed

    count = 1 if scheduler else workers or default_workers()
    recipe = next(iter(study.plan.networks.values())).recipe
    speed = measure_speed(study.dataset, recipe, count)
    return describe_plan(study.plan, study.missing, count, speed, study.dataset)


def tune(
    part: str = "a",
    *,
    pairs: str = "",
    trials: int = 40,
    candidates: list[str] | None = None,
    images: float = 0.25,
    epochs: int = 20,
    seed: int = 0,
    precision: str = "auto",
    data: str = "auto",
    test_share: float | None = None,
    out: str | Path | None = None,
) -> Path:
    """Search a recipe on validation images, which are taken from the training images. Test images are not used.

    If it is called again, or by several processes at the same time, it continues the search.

    Args:
        part: "a" for network A's recipe, "b" for the one that the strategies on B share.
        pairs: The held-out pairs of classes to search on; by default "4,9" for a, "3,5+1,8" for b.
        trials: How many recipes to try, including those of earlier calls.
        candidates: Changes of the current recipe in JSON, such as '{"shift": 2}', which are tried first.
        images: The fraction of the training images to train on, above 0 and at most 1.
        epochs: At least 1.
        seed: Determines every training, but not which recipes are tried.
        precision: "auto", "float32" or "bfloat16".
        data: As in `load_dataset`.
        test_share: As in `load_dataset`.
        out: The folder for the results; by default `tuning-<part>`.

    Returns:
        The folder; `best.json` is a recipe file.

    Raises:
        InvalidRequest: An option is invalid.
        ResourceError: The disk is full.
        TrainingFailed: No recipe was trained to its end.
    """
    if part not in ("a", "b"):
        raise InvalidRequest("give a or b", option="part", value=part)
    check_count("trials", trials)
    check_training(epochs, seed)
    check_images(images)
    check_precision(precision)
    folder = Path(out) if out is not None else Path(f"tuning-{part}")
    import_tensorflow()
    from headstart.study.plan import parse_pairs
    from headstart.tuning.objective import Search
    from headstart.tuning.search import check_search_folder, hide_test_images, search_recipe

    check_search_folder(folder)
    dataset, source = open_dataset(data, test_share)
    logger.info("Data: %s (%s)", dataset.name, source)
    chosen = parse_pairs(pairs or {"a": "4,9", "b": "3,5+1,8"}[part], dataset.class_names)
    search = Search(part, hide_test_images(dataset, images=images), chosen, epochs, seed, precision)
    with user_fixable(folder):
        return search_recipe(search, folder, trials, candidates or [])


def compare(
    models: Mapping[str, str | Path | Sequence[str | Path]],
    *,
    smallest_effect: float = 1.0,
    paired: bool = False,
    images: str | Path | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Compare the predictions of any classifiers, paired by item.

    Args:
        models: A file for each name, or a list of files: several seeds. Each is a .csv, .npz or .parquet file with the
            columns `id`, `label`, and `prediction` or `p_<class>` for each class, and optionally `seed` and `cluster`.
        smallest_effect: The smallest difference of accuracy that matters, in points, above 0 and below 100.
        paired: Whether the k-th seeds of all classifiers belong together although they have no names.
        images: A folder with pictures that are named by id, for the page.
        out: A folder for `comparison.json`, `comparison.csv`, `accuracies.png` and `report.html`; none by default.

    Returns:
        The content of `comparison.json`: accuracies and log losses with 95% intervals, and every pair of classifiers. A
        pair has its difference, interval, test and p-value, corrected by Holm's method. It also has the conclusion in
        words, and what would settle it.

    Raises:
        InvalidRequest: A file cannot be read, the files contradict each other, or the folder contains something else.
        ResourceError: The results cannot be written.
    """
    from headstart.comparison.comparison import compare_models, describe
    from headstart.comparison.predictions import read_models

    if out is not None:
        check_folder(Path(out), "a comparison", lambda folder: (folder / "comparison.json").is_file())
    files: list[tuple[str, str | Path]] = []
    for name, given in models.items():
        files += [(name, file) for file in ([given] if isinstance(given, str | Path) else given)]
    comparison = compare_models(read_models(files), smallest_effect / 100, paired)
    if out is None:
        return describe(comparison)
    from headstart.comparison.outputs import write_outputs
    from headstart.report.comparison import write_comparison_page

    with user_fixable(Path(out)):
        content = write_outputs(Path(out), comparison)
        write_comparison_page(Path(out), comparison, content, Path(images) if images is not None else None)
    return content

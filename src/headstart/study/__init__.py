"""Many runs: pairs of classes x seeds x strategies x training-set sizes, on one machine or many, never losing work.

plan       which networks, each once;  subsets  fewer images
work       one network, on a worker
cluster    all of them, on Dask;  worker  what a worker has in it
rows       what is on the disk
summary    what it says;  conclusions  in words;  figures  shows it
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.download import to_stderr
from headstart.errors import BadRequest, Failed
from headstart.reading import read_json
from headstart.recipes import RECIPE_A, RECIPE_B, RECIPE_FILE, Recipes, as_file
from headstart.sources import Opened, fingerprint, open_dataset, printable
from headstart.store import locked, mendable, names_in, sweep, write_json, write_text, write_whole

if TYPE_CHECKING:
    import pandas as pd

    from headstart.practical.data import Dataset
    from headstart.study.plan import Network, Plan

Show = Callable[[str, str], object]
WRITE_EVERY = 600  # seconds between two writings of the results so far


@dataclass(frozen=True)
class Study:
    """A study that can be done: checked, with its dataset loaded."""

    plan: Plan
    dataset: Dataset
    source: str
    asked: dict[str, Any]  # what the plan was made from, with the precision and its reason
    recipes: Recipes
    folder: Path

    @property
    def missing(self) -> list[Network]:
        """What has no row in the folder yet."""
        from headstart.study.rows import Rows

        rows = Rows(self.folder)
        return [network for key, network in self.plan.networks.items() if rows.read(key) is None]

    @property
    def others(self) -> int:
        """How many rows of the folder are another plan's, other data's or other code's."""
        return sum(path.stem not in self.plan.networks for path in (self.folder / "rows").glob("*.json"))


def check_study(
    *,
    data: str = "auto",
    images: float = 1.0,
    out: str | Path = "study",
    precision: str = "auto",
    elsewhere: bool = False,
    say: Callable[[str], None] = print,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
    **asked: Any,
) -> Study:
    """The study, or BadRequest. `images` is the part of the training images that it knows of, A's and B's.

    With `elsewhere` other machines will train, which cannot be measured: "auto" takes what is slow on none.
    `asked` goes to make_plan: pairs, seeds, strategies, train_sizes, epochs.
    """
    from headstart.precision import check_precision, choose_precision
    from headstart.study.plan import check_images, make_plan

    folder = Path(out)
    check_images(images)
    check_precision(precision)
    with mendable(folder):
        held = names_in(folder)
        if folder.is_file() or (held and not held & {"rows", "study.json"}):
            raise BadRequest(
                f"--out {folder}: it holds something else; name a folder that is new, empty or holds a study"
            )
    dataset, source = load_images(data, images, say)
    stored = stored_precision(folder)
    if precision == "auto" and (stored or elsewhere):
        chosen, reason = stored or ("float32", "it is fast on every machine, and the workers' were not measured")
    else:
        chosen, reason = choose_precision(precision)
    plan = make_plan(dataset, fingerprint(dataset), precision=chosen, recipes=recipes, **asked)
    asked |= {"data": printable(data), "images": images, "precision": chosen, "precision_reason": reason}
    return Study(plan, dataset, source, asked, recipes, folder)


def load_images(data: str, images: float, say: Callable[[str], None] = to_stderr) -> Opened:
    """The dataset that `data` names, with this part of its training images, and where it came from, in words."""
    from headstart.study.subsets import few_images

    dataset, source = open_dataset(data, say)
    if images < 1:
        few = few_images(dataset, f"{images:f}", seed=0)
        dataset = replace(few, name=f"{dataset.name}, {images:.3g} of its training images")
    return Opened(dataset, source)


def stored_precision(folder: Path) -> tuple[str, str] | None:
    """What a study in this folder has measured already: a second probe might choose otherwise, and train all anew."""
    path = folder / "study.json"
    if not path.exists():
        return None
    try:
        asked = read_json(path, {"asked": {"precision": ("float32", "bfloat16"), "precision_reason": str}})["asked"]
        return asked["precision"], asked["precision_reason"]
    except (OSError, ValueError) as error:
        remedy = "remove it to go on from the rows that are there"
        raise BadRequest(f"{path}: not of this version ({error}); {remedy}") from None


def run_study(
    study: Study,
    workers: int | None = None,
    scheduler: str | None = None,
    show: Show = lambda name, line: None,
    worker_data: str | None = None,
) -> Path:
    """Train what is not yet trained, and leave tables, `figures/`, `report.html`, `study.json` and `recipe.json`.

    `workers` on this machine, one a core unless told, or those of `scheduler`. `worker_data` is what each worker
    loads, in the words of `--data`; without it, the images are sent to the workers.
    Raises Failed if networks failed (all others are there), or if the scheduler was lost.
    """
    from headstart.study.cluster import connect, execute, usual_workers
    from headstart.study.rows import Rows
    from headstart.study.worker import own_copy

    folder, load = study.folder, None
    if worker_data is not None:
        load = partial(own_copy, fingerprint(study.dataset), worker_data, study.asked["images"])
    with mendable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            sweep(folder)
            rows = Rows(folder)
            write_json(folder / "study.json", describe(study))  # first: by it the folder is known to hold a study
            write_json(folder / RECIPE_FILE, as_file(study.recipes))
            progress = Progress(study.plan, study.dataset, rows, show)
            failures, written = progress.failures, time.monotonic()

            def count(network: Network, error: str) -> None:
                """Counts it, and now and then lets the results so far be looked at."""
                nonlocal written
                progress.count(network, error)
                if progress.left and time.monotonic() - written > WRITE_EVERY:
                    write_everything(study, rows, failures)
                    written = time.monotonic()

            try:
                if progress.left:
                    with connect(workers or usual_workers(), scheduler) as client:
                        execute(study.plan, rows, study.dataset, client, count, load, lambda line: show(line, line))
            finally:
                write_everything(study, rows, failures)
    if failures:
        last = next(iter(failures.values())).strip().splitlines()[-1]
        raise Failed(
            f"{len(failures)} of {len(study.plan.networks)} networks failed (the first: {last}); all others are done; "
            f"the tracebacks are in {folder / 'results.csv'}"
        )
    return folder


class Progress:
    """Counts the networks, keeps the tracebacks of those that failed, and reckons the time that is left."""

    def __init__(self, plan: Plan, dataset: Dataset, rows: Any, show: Show):
        from headstart.study.reckon import START, passes

        self.all = len(plan.networks)
        self.work = {key: START + passes(network, dataset) for key, network in plan.networks.items()}
        self.left = {key for key in plan.networks if not rows.path(key).exists()}
        self.show, self.done, self.start = show, 0.0, time.monotonic()  # done: the work
        self.failures: dict[str, str] = {}  # by key

    def count(self, network: Network, error: str) -> None:
        """One more has ended."""
        self.done += self.work[network.key]
        self.left.discard(network.key)  # a source whose weights are gone is trained once more, and was not left
        if error:
            self.failures[network.key] = error
        left_over = sum(self.work[key] for key in self.left) / self.done
        minutes, seconds = divmod(round((time.monotonic() - self.start) * left_over), 60)
        left = f"{minutes} min {seconds:02} s left"
        what = network.strategy.name if network.strategy else f"source {network.part}"
        which = f"classes {network.classes}, size {network.train_size}, seed {network.seed}"
        ended = "FAILED" if error else "done"
        self.show("study", f"{self.all - len(self.left)} of {self.all} networks: {what}, {which}: {ended} | {left}")


def describe(study: Study) -> dict[str, Any]:
    """`study.json`: what was asked for."""
    import headstart

    dataset = study.dataset
    return {
        "headstart": headstart.__version__,
        "dataset": {"name": dataset.name, "source": study.source, "class_names": list(dataset.class_names)},
        "asked": study.asked,
        "recipe": as_file(study.recipes),
        "cells": len(study.plan.cells),
        "networks": len(study.plan.networks),
    }


def write_everything(study: Study, rows: Any, failures: dict[str, str]) -> None:
    """All that is made from the rows."""
    from headstart.report import write_study_report
    from headstart.study.conclusions import conclude
    from headstart.study.rows import table, write_results
    from headstart.study.summary import differences, summarise, verdicts

    results = table(study.plan, rows, failures, study.dataset.class_names)
    write_results(study.folder / "results.csv", results)
    summary, judged = summarise(results), verdicts(differences(results))
    for name, found in (("summary.csv", summary), ("pairs.csv", judged)):
        write_text(study.folder / name, found.to_csv(index=False, lineterminator="\n"))
    dataset = study.dataset
    words = conclude(results, dataset.class_names, len(study.plan.networks), dataset.name)
    write_text(study.folder / "conclusions.md", "\n\n".join(words) + "\n")
    write_figures(study, summary, judged)
    write_study_report(study.folder)


def write_figures(study: Study, summary: pd.DataFrame, judged: pd.DataFrame) -> None:
    """`figures/`: by depth, size and predictor, and a map of several pairs for every strategy and size; no others."""
    from headstart.study.figures import plot_depth, plot_map, plot_predictors, plot_sizes

    name, names = study.dataset.name, study.dataset.class_names
    figures = {"depth": plot_depth(summary, name), "sizes": plot_sizes(summary, name)}
    figures["predictors"] = plot_predictors(judged, names, name)
    for (strategy, size), pairs in judged.groupby(["strategy", "train_size"], sort=False):
        if len(pairs) > 1:
            figures[f"map-{strategy}-{size}"] = plot_map(pairs, names, name, str(strategy), str(size))
    drawn = {study.folder / "figures" / f"{stem}.png": figure for stem, figure in figures.items() if figure}
    for path, figure in drawn.items():
        write_whole(path, partial(figure.savefig, format="png", dpi=110))
    for path in (study.folder / "figures").glob("*.png"):
        if path not in drawn:  # an earlier plan's, in a folder whose tables are this one's
            path.unlink()

"""Write the files of a study's folder except for its rows: the plan, tables, conclusions and figures."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from headstart.storage.files import write_atomically, write_text
from headstart.storage.schema import read_json
from headstart.study.conclusions import conclude
from headstart.study.figures import plot_depth, plot_map, plot_predictors, plot_sizes
from headstart.study.results import reading, write_results
from headstart.study.summary import Analysis
from headstart.style import drawing
from headstart.training.recipes import PRECISIONS, RECIPE_SCHEMA

OWN_FIGURE = re.compile(r"(depth|sizes|predictors|map-.+)\.png")  # other files in the folder are the user's

STUDY_SCHEMA = {
    "dataset": {"name": str, "source": str, "class_names": [str]},
    "options": {"data": str, "precision": PRECISIONS, "precision_reason": str},
    "recipe": {"a": RECIPE_SCHEMA, "b": RECIPE_SCHEMA},
    "networks": int,
}
"""The structure of `study.json`, for `matches_schema`."""


def read_plan(folder: Path) -> dict[str, Any]:
    """Read `study.json`. Raises InvalidRequest if it is missing or damaged."""
    with reading(folder / "study.json") as path:
        content: dict[str, Any] = read_json(path, STUDY_SCHEMA)
    return content


def write_outputs(folder: Path, content: dict[str, Any], analysis: Analysis) -> None:
    """Write the tables and `conclusions.md`.

    Args:
        folder: The study's folder.
        content: That of `study.json`.
        analysis: The study's tables.

    Raises:
        OSError: Writing failed.
    """
    dataset = content["dataset"]
    write_results(folder / "results.csv", analysis.results)
    for name, table in (("summary.csv", analysis.summary), ("pairs.csv", analysis.pairs)):
        write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    words = conclude(analysis, dataset["class_names"], content["networks"], dataset["name"])
    write_text(folder / "conclusions.md", "\n\n".join(map(escape_markdown, words)) + "\n")


def escape_markdown(text: str) -> str:
    """Escape what Markdown would read as a mark, because class names can contain anything."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)


def write_figures(folder: Path, dataset: dict[str, Any], analysis: Analysis) -> None:
    """Write the figures by depth, size and predictor, and a map of the pairs for each strategy and size.

    Figures of an earlier plan are removed.

    Args:
        folder: The folder for the figures.
        dataset: The dataset's name and class names, from `study.json`.
        analysis: The study's tables.
    """
    name, names = dataset["name"], tuple(dataset["class_names"])
    summary, pairs = analysis.summary, analysis.pairs
    with drawing([*names, name]):
        figures = {"depth": plot_depth(summary, name), "sizes": plot_sizes(summary, name)}
        figures["predictors"] = plot_predictors(pairs, names, name)
        for (strategy, size), group in pairs.groupby(["strategy", "train_size"], sort=False):
            if len(group) > 1:
                figures[f"map-{strategy}-{size}"] = plot_map(group, names, name, str(strategy), str(size))
        drawn = {folder / f"{stem}.png": figure for stem, figure in figures.items() if figure}
        for path, figure in drawn.items():
            write_atomically(path, partial(figure.savefig, format="png", dpi=110))
    for path in folder.glob("*.png"):
        if path not in drawn and OWN_FIGURE.fullmatch(path.name):
            path.unlink()  # it is from an earlier plan, but the tables are from this one

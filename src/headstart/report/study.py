"""The page of a study, made from its tables and rows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headstart.datasets.sources import resolve_auto
from headstart.report import charts
from headstart.report.page import data_url, write_page
from headstart.study.conclusions import conclude, describe_effect
from headstart.study.outputs import read_plan, write_figures
from headstart.study.results import ResultStore, read_results, reading
from headstart.study.summary import Analysis, analyse, largest_by_depth, predictor_values
from headstart.training.recipes import recipe_option

TABLES = ("results.csv", "summary.csv", "pairs.csv")
MAX_BYTES_INSIDE = 1_000_000  # of results.csv: 4,000 networks; a page with many figures then stays below 6 MB


def write_study_page(folder: Path, content: dict[str, Any], analysis: Analysis) -> Path:
    """Write `report.html` of a study.

    Args:
        folder: The study's folder, with its tables and rows.
        content: That of `study.json`.
        analysis: The study's tables.

    Returns:
        The page.

    Raises:
        InvalidRequest: A table is missing.
        ResourceError: A row is damaged.
    """
    return write_page(folder, "study.html", describe_study(folder, content, analysis))


def rewrite_study_page(folder: Path) -> Path:
    """Write the figures and `report.html` of a study from its folder alone.

    Raises:
        InvalidRequest: A file is missing or damaged.
        ResourceError: A row is damaged.
    """
    content = read_plan(folder)
    analysis = analyse(read_results(folder / "results.csv", content["dataset"]["class_names"]))
    write_figures(folder / "figures", content["dataset"], analysis)
    return write_study_page(folder, content, analysis)


def describe_study(
    folder: Path, content: dict[str, Any], analysis: Analysis, max_bytes: int = MAX_BYTES_INSIDE
) -> dict[str, Any]:
    """Return everything that the template `study.html` uses.

    Args:
        folder: The study's folder.
        content: That of `study.json`.
        analysis: The study's tables.
        max_bytes: Tables with more bytes are not inside the page.

    Raises:
        InvalidRequest: A table is missing.
        ResourceError: A row is damaged.
    """
    class_names, results, summary = content["dataset"]["class_names"], analysis.results, analysis.summary
    sizes = summary.groupby("train_size")["train_images"].mean()
    effects = analysis.pairs.assign(train_images=analysis.pairs["train_size"].map(sizes))
    pairs = list(dict.fromkeys(effects["classes_b"]))
    numbers = {pair: number for number, pair in enumerate(pairs)}
    maps = list(effects.groupby(["strategy", "train_size"], sort=False))
    predictors = predictor_values(effects, class_names) if len(pairs) >= 5 else {}
    figures = {"overview": by_strategy(summary)} if len(summary) else {}
    figures |= {**by_depth(summary), **by_size(summary)}
    for n, (_, group) in enumerate(maps):
        figures[f"map-{n}"] = charts.map_of_pairs(group, class_names, numbers)
        for k, (name, values) in enumerate(predictors.items()):
            figures[f"predictor-{k}-{n}"] = charts.by_predictor(group, values[group.index], name)
    store = ResultStore(folder)
    for pair, number in numbers.items():
        for kind, figure in figures_of_pair(store, results, effects, pair).items():
            figures[f"{kind}-{number}"] = figure
    return {
        "study": content,
        "command": command(content),
        "lead": describe_extremes(summary),
        "conclusions": conclude(analysis, class_names, content["networks"], content["dataset"]["name"]),
        "summary": summary.to_dict("records"),
        "effects": effects.to_dict("records"),
        "pairs": [pair.split(",") for pair in pairs],
        "lines": list(dict.fromkeys(results.loc[~results["strategy"].isin(["a", "b"]), "strategy"])),
        "most_lines": len(charts.STYLES),
        "maps": [key for key, _ in maps],
        "predictors": list(predictors),
        "failed": int(results.loc[results["error"] != "", "key"].nunique()),
        "trained": int(results.loc[results["error"] == "", "key"].nunique()),
        "files": {name: embed(folder / name, max_bytes) for name in TABLES},
        "figures": figures,
    }


def describe_extremes(summary: pd.DataFrame) -> list[str]:
    """Describe the largest and the smallest gain, a sentence each."""
    if summary.empty:
        return []
    most, least = (summary.loc[getattr(summary["difference"], end)()] for end in ("idxmax", "idxmin"))
    if len(summary) == 1:
        return [describe_effect(most)]
    return [f"The largest of {len(summary)} gains: {describe_effect(most)}", f"The smallest: {describe_effect(least)}"]


def by_strategy(table: pd.DataFrame) -> go.Figure:
    """Draw the gain of each strategy at each size."""
    groups = {f"size {size}": group for size, group in table.groupby("train_size", sort=False)}
    return charts.gains(groups, list(dict.fromkeys(table["strategy"])))


def by_depth(summary: pd.DataFrame) -> dict[str, go.Figure]:
    """Draw gain and accuracy by the number of copied layers, from the largest training set. Empty without depths."""
    table = largest_by_depth(summary)
    if table.empty:
        return {}
    curves = {
        f"{part}nB{plus}: {'trained further' if plus else 'frozen'}": curve
        for (part, plus), curve in table.groupby(["part", "plus"])
    }
    depths = table.drop_duplicates("n").sort_values("n")
    scratch = depths.assign(test_accuracy=depths["scratch_accuracy"])
    axis = {"title": "copied layers", "dtick": 1}
    gain = charts.lines(curves, "n", "gain", **axis)
    return {"depth-gain": gain, "depth-accuracy": charts.lines({**curves, "scratch": scratch}, "n", "accuracy", **axis)}


def by_size(summary: pd.DataFrame) -> dict[str, go.Figure]:
    """Draw gain and accuracy by the number of training images. Empty if there is one size."""
    if summary["train_size"].nunique() < 2:
        return {}
    curves = {str(strategy): curve for strategy, curve in summary.groupby("strategy", sort=False)}
    scratch = summary.drop_duplicates("train_size").assign(test_accuracy=lambda table: table["scratch_accuracy"])
    images = sorted(summary.groupby("train_size")["train_images"].max())
    axis = {"title": "training images", "type": "log", "tickvals": images, "ticktext": [f"{n:,.0f}" for n in images]}
    gain = charts.lines(curves, "train_images", "gain", **axis)
    accuracy = charts.lines({**curves, "scratch": scratch}, "train_images", "accuracy", **axis)
    return {"sizes-gain": gain, "sizes-accuracy": accuracy}


def figures_of_pair(
    store: ResultStore, results: pd.DataFrame, effects: pd.DataFrame, pair: str
) -> dict[str, go.Figure]:
    """Draw a pair's gains with intervals over its seeds, and its mean test accuracy by epoch.

    Args:
        store: The study's rows, which contain the curves.
        results: `results.csv`.
        effects: `pairs.csv`.
        pair: The names of the two classes, joined by a comma.
    """
    networks = results[(results["classes_b"] == pair) & ~results["strategy"].isin(["a", "b"])]
    largest = networks[networks["train_images"] == networks["train_images"].max()]
    curves = {}
    for strategy, group in largest.groupby("strategy", sort=False):
        stored = [row["curve"] for key in group["key"] if (row := store.read(key)) is not None]
        if stored:
            mean = np.mean(stored, axis=0)
            curves[str(strategy)] = pd.DataFrame({"epoch": range(1, len(mean) + 1), "test_accuracy": mean})
    accuracy = charts.lines(curves, "epoch", "accuracy", title="epoch")
    return {"pair-gain": by_strategy(effects[effects["classes_b"] == pair]), "pair-curves": accuracy}


def embed(path: Path, max_bytes: int) -> str:
    """Return a CSV file as an address in the page.

    Args:
        path: The file.
        max_bytes: The largest file that is embedded.

    Returns:
        The address; empty if the file is too large.

    Raises:
        InvalidRequest: The file is missing.
    """
    with reading(path):
        content = path.read_bytes()
    return data_url("text/csv", content) if len(content) <= max_bytes else ""


def command(content: dict[str, Any]) -> str:
    """Return the command that executes this study again."""
    options = {key: value for key, value in content["options"].items() if key != "precision_reason" and value}
    options["data"] = resolve_auto(options["data"], content["dataset"]["name"])
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return shlex.join(["headstart", "study", *words, *recipe_option(content["recipe"])])

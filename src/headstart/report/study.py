"""What the page of a study shows, from its `results.csv` and rows."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headstart import finished
from headstart.finished import RECIPE
from headstart.reading import read_json
from headstart.recipes import recipe_option
from headstart.report import charts, data_url
from headstart.sources import settled
from headstart.study.conclusions import conclude, describe
from headstart.study.rows import Rows
from headstart.study.summary import differences, largest_by_depth, may_predict, summarise, verdicts

STUDY = {
    "dataset": {"name": str, "source": str, "class_names": [str]},
    "asked": {"data": str, "precision": str, "precision_reason": str},
    "recipe": {"a": RECIPE, "b": RECIPE},
    "networks": int,
}
"""What `study.json` must hold, in the words of reading.fits."""
REMEDY = "give the command of the study again, which goes on from its rows"
readable = partial(finished.readable, what="a study", remedy=REMEDY)
NUMBERS = [
    *("seed", "copied", "frozen", "train_images", "test_images"),
    *("test_accuracy", "test_loss", "train_accuracy", "train_loss", "seconds"),
]
TABLES = ("results.csv", "summary.csv", "pairs.csv")
MOST_BYTES_INSIDE = 1_000_000  # of results.csv: 4,000 trained networks; with it a page of many figures stays below 6 MB


def describe_study(folder: Path) -> dict[str, Any]:
    """All that the template `study.html` names. Raises BadRequest if a file is missing or torn."""
    study, results = read_study(folder), read_table(folder / "results.csv")
    class_names = study["dataset"]["class_names"]
    with readable(folder / "results.csv"):
        summary = summarise(results)
        judged = verdicts(differences(results))
        judged["train_images"] = judged["train_size"].map(summary.groupby("train_size")["train_images"].mean())
        pairs = list(dict.fromkeys(judged["classes_b"]))
        maps = list(judged.groupby(["strategy", "train_size"], sort=False))
        numbers = {pair: number for number, pair in enumerate(pairs)}
        predictors = may_predict(judged, class_names) if len(pairs) >= 5 else {}
        drawn = {}
        for n, (_, group) in enumerate(maps):
            drawn[f"map-{n}"] = charts.map_of_pairs(group, class_names, numbers)
            for k, (name, values) in enumerate(predictors.items()):
                drawn[f"predictor-{k}-{n}"] = charts.by_predictor(group, values[group.index], name)
        by_pair = {
            f"{kind}-{number}": figure
            for pair, number in numbers.items()
            for kind, figure in figures_of_pair(Rows(folder), results, judged, pair).items()
        }
        mean = {"overview": by_strategy(summary)} if len(summary) else {}
        conclusions = conclude(results, class_names, study["networks"], study["dataset"]["name"])
    return {
        "study": study,
        "command": command(study),
        "lead": describe_extremes(summary),
        "conclusions": conclusions,
        "summary": summary.to_dict("records"),
        "judged": judged.to_dict("records"),
        "pairs": [pair.split(",") for pair in pairs],
        "lines": list(dict.fromkeys(results.loc[~results["strategy"].isin(["a", "b"]), "strategy"])),
        "most_lines": len(charts.STYLES),
        "maps": [key for key, _ in maps],
        "predictors": list(predictors),
        "failed": int(results.loc[results["error"] != "", "key"].nunique()),
        "trained": int(results.loc[results["error"] == "", "key"].nunique()),
        "files": {name: inside(folder / name) for name in TABLES},
        "figures": {**mean, **by_depth(summary), **by_size(summary), **drawn, **by_pair},
    }


def read_study(folder: Path) -> dict[str, Any]:
    """`study.json`, or BadRequest."""
    path = folder / "study.json"
    with readable(path):
        content: dict[str, Any] = read_json(path, STUDY)
        return content


def read_table(path: Path) -> pd.DataFrame:
    """`results.csv`, or BadRequest. (A class may be called "null": only a number can be missing.)"""
    with readable(path):
        missing = {column: [""] for column in NUMBERS}
        texts = dict.fromkeys(["classes_b", "strategy", "train_size", "error", "key"], str)
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=missing)
        table[NUMBERS] = table[NUMBERS].astype(float)
        return table


def describe_extremes(summary: pd.DataFrame) -> list[str]:
    """What gains most and what least, in words."""
    if summary.empty:
        return []
    most, least = (summary.loc[getattr(summary["difference"], end)()] for end in ("idxmax", "idxmin"))
    if len(summary) == 1:
        return [describe(most)]
    return [f"The largest of {len(summary)} gains: {describe(most)}", f"The smallest: {describe(least)}"]


def by_strategy(table: pd.DataFrame) -> go.Figure:
    """The gain of each strategy at each size."""
    groups = {f"size {size}": group for size, group in table.groupby("train_size", sort=False)}
    return charts.gains(groups, list(dict.fromkeys(table["strategy"])))


def by_depth(summary: pd.DataFrame) -> dict[str, go.Figure]:
    """By the number of layers copied, from all training images, as Yosinski's figure has it."""
    table = largest_by_depth(summary)
    if table.empty:
        return {}
    curves = {
        f"{part}nB{plus}: {'trained on' if plus else 'frozen'}": curve
        for (part, plus), curve in table.groupby(["part", "plus"])
    }
    depths = table.drop_duplicates("n").sort_values("n")
    scratch = depths.assign(test_accuracy=depths["scratch_accuracy"])
    axis = {"title": "layers copied", "dtick": 1}
    gain = charts.lines(curves, "n", "gain", **axis)
    return {"depth-gain": gain, "depth-accuracy": charts.lines({**curves, "scratch": scratch}, "n", "accuracy", **axis)}


def by_size(summary: pd.DataFrame) -> dict[str, go.Figure]:
    """By the number of training images."""
    if summary["train_size"].nunique() < 2:
        return {}
    curves = {str(strategy): curve for strategy, curve in summary.groupby("strategy", sort=False)}
    scratch = summary.drop_duplicates("train_size").assign(test_accuracy=lambda table: table["scratch_accuracy"])
    images = sorted(summary.groupby("train_size")["train_images"].max())
    axis = {"title": "training images", "type": "log", "tickvals": images, "ticktext": [f"{n:,.0f}" for n in images]}
    gain = charts.lines(curves, "train_images", "gain", **axis)
    accuracy = charts.lines({**curves, "scratch": scratch}, "train_images", "accuracy", **axis)
    return {"sizes-gain": gain, "sizes-accuracy": accuracy}


def figures_of_pair(rows: Rows, results: pd.DataFrame, judged: pd.DataFrame, pair: str) -> dict[str, go.Figure]:
    """A pair's gains with their intervals over the seeds, and its mean test accuracy by epoch."""
    of_pair = judged[judged["classes_b"] == pair]
    gains = by_strategy(of_pair)
    networks = results[(results["classes_b"] == pair) & ~results["strategy"].isin(["a", "b"])]
    largest = networks[networks["train_images"] == networks["train_images"].max()]
    curves = {}
    for strategy, group in largest.groupby("strategy", sort=False):
        kept = [row["curve"] for key in group["key"] if (row := rows.read(key)) is not None]
        if kept:
            mean = np.mean(kept, axis=0)
            curves[str(strategy)] = pd.DataFrame({"epoch": range(1, len(mean) + 1), "test_accuracy": mean})
    return {"pair-gain": gains, "pair-curves": charts.lines(curves, "epoch", "accuracy", title="epoch")}


def inside(path: Path) -> str:
    """A CSV file as an address in the page; empty if it is too large for that. BadRequest if it is missing."""
    with readable(path):
        content = path.read_bytes()
    return data_url("text/csv", content) if len(content) <= MOST_BYTES_INSIDE else ""


def command(study: dict[str, Any]) -> str:
    """What does this study again."""
    asked = {key: value for key, value in study["asked"].items() if key != "precision_reason"}
    asked["data"] = settled(asked["data"], study["dataset"]["name"])
    options = [word for key, value in asked.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return shlex.join(["headstart", "study", *options, *recipe_option(study["recipe"])])

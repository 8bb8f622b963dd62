"""A study's figures: gain by depth, by training-set size, and by pair of classes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.practical.figures import STYLES, finish
from headstart.study.summary import largest_by_depth

CURVES = {"A": "copied from A", "B": "copied from another network on B"}


def plot_depth(summary: pd.DataFrame, data: str) -> Figure | None:
    """Yosinski's figure for this network: gain over scratch by the number of layers copied; None without depths."""
    table = largest_by_depth(summary)
    if table.empty:
        return None
    curves = list(table.groupby(["part", "plus"]))
    figure, ax = plt.subplots(figsize=(8, 4.8))
    for number, ((part, plus), curve) in enumerate(curves):
        colour, mark, dash = STYLES[number]
        label = f"{part}nB{plus}: {CURVES[str(part)]}, {'trained on' if plus else 'frozen'}"
        beside = 0.06 * (number - (len(curves) - 1) / 2)  # so that intervals do not hide one another
        draw(ax, curve["n"] + beside, curve, {"color": colour, "marker": mark, "linestyle": dash, "label": label})
    ax.set(xlabel="n: layers copied", xticks=sorted(table["n"].unique()))
    return complete(figure, ax, f"Gain by depth ({table['train_images'].mean():,.0f} training images)", data)


def plot_sizes(summary: pd.DataFrame, data: str) -> Figure | None:
    """Gain over scratch by the number of training images; None from one size."""
    if summary["train_size"].nunique() < 2:
        return None
    figure, ax = plt.subplots(figsize=(8, 4.8))
    for number, (strategy, curve) in enumerate(summary.groupby("strategy", sort=False)):
        colour, mark, dash = STYLES[number % len(STYLES)]
        ordered = curve.sort_values("train_images")
        style = {"color": colour, "marker": mark, "linestyle": dash, "label": str(strategy)}
        draw(ax, ordered["train_images"], ordered, style)
    ax.set(xlabel="training images of part B", xscale="log")
    return complete(figure, ax, "Gain by the number of training images", data)


def plot_map(judged: pd.DataFrame, class_names: tuple[str, ...], data: str, strategy: str, size: str) -> Figure:
    """Gain over scratch of one strategy at one size, for every pair of classes that was studied."""
    gain = np.full((len(class_names), len(class_names)), np.nan)
    for row in judged.to_dict("records"):
        i, j = (class_names.index(name) for name in row["classes_b"].split(","))
        gain[i, j] = gain[j, i] = 100 * row["mean"]
    reach = max(0.1, float(np.nanmax(np.abs(gain))))
    figure, ax = plt.subplots(figsize=(8, 7))
    picture = ax.imshow(gain, cmap="PuOr_r", vmin=-reach, vmax=reach)
    for i, j in np.argwhere(~np.isnan(gain)):
        shade = "white" if abs(gain[i, j]) > 0.6 * reach else "black"
        ax.text(j, i, f"{gain[i, j]:+.1f}", ha="center", va="center", fontsize=8, color=shade)
    ax.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right", parse_math=False)
    ax.set_yticks(range(len(class_names)), class_names, parse_math=False)
    figure.colorbar(picture, label="points of test accuracy against scratch", shrink=0.8)
    return finish(figure, f"Gain of “{strategy}” by pair of classes, size {size}", data)


def draw(ax: Axes, x: pd.Series, curve: pd.DataFrame, style: dict[str, Any]) -> None:
    """A curve of mean differences in points, with its 95% intervals."""
    mean = 100 * curve["difference"]
    reach = [mean - 100 * curve["low"], 100 * curve["high"] - mean]
    ax.errorbar(x, mean, yerr=np.array(reach), capsize=4, markersize=5, **style)


def complete(figure: Figure, ax: Axes, heading: str, data: str) -> Figure:
    """The line that scratch is, legend and heading."""
    ax.axhline(0, color="black", linewidth=1)
    ax.set_ylabel("points of test accuracy against scratch\n(mean, 95% interval)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9)
    return finish(figure, heading, data)

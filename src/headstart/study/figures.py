"""A study's PNG figures: the gain by depth, training-set size, pair of classes, and possible predictor."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.study.summary import largest_by_depth, predictor_values
from headstart.style import STYLES, add_heading, legible

CURVES = {"A": "copied from A", "B": "copied from another network on B"}


def plot_depth(summary: pd.DataFrame, data_name: str) -> Figure | None:
    """Plot gain over scratch by the number of copied layers, like Yosinski et al. (2014).

    Args:
        summary: `summary.csv`.
        data_name: The dataset's name, for the heading.

    Returns:
        The figure; None without strategies by depth.
    """
    table = largest_by_depth(summary)
    if table.empty:
        return None
    curves = list(table.groupby(["part", "plus"]))
    figure, ax = plt.subplots(figsize=(8, 4.8))
    for number, ((part, plus), curve) in enumerate(curves):
        colour, mark, dash = STYLES[number]
        label = f"{part}nB{plus}: {CURVES[str(part)]}, {'trained on' if plus else 'frozen'}"
        offset = 0.06 * (number - (len(curves) - 1) / 2)  # so that intervals do not overlap
        draw(ax, curve["n"] + offset, curve, {"color": colour, "marker": mark, "linestyle": dash, "label": label})
    ax.set(xlabel="n: layers copied", xticks=sorted(table["n"].unique()))
    images, scratch = table["train_images"].mean(), table["scratch_accuracy"].mean()
    return finish(figure, ax, f"Gain by depth ({images:,.0f} training images; scratch {scratch:.1%})", data_name)


def plot_sizes(summary: pd.DataFrame, data_name: str) -> Figure | None:
    """Plot gain over scratch by the number of training images.

    Args:
        summary: `summary.csv`.
        data_name: The dataset's name, for the heading.

    Returns:
        The figure; None for one size or too many strategies.
    """
    if summary["train_size"].nunique() < 2 or summary["strategy"].nunique() > len(STYLES):
        return None
    curves = list(summary.groupby("strategy", sort=False))
    figure, ax = plt.subplots(figsize=(8, 4.8))
    for number, (strategy, curve) in enumerate(curves):
        colour, mark, dash = STYLES[number]
        ordered = curve.sort_values("train_images")
        style = {"color": colour, "marker": mark, "linestyle": dash, "label": str(strategy)}
        offset = 1.06 ** (number - (len(curves) - 1) / 2)  # as in plot_depth
        draw(ax, offset * ordered["train_images"], ordered, style)
    images = summary.groupby("train_size")["train_images"].max()
    ax.set(xlabel="training images of part B, of both classes", xscale="log")
    ax.minorticks_off()
    ax.set_xticks(images, [f"{count:,.0f}" for count in images])
    return finish(figure, ax, "Gain by the number of training images", data_name)


def plot_map(pairs: pd.DataFrame, class_names: tuple[str, ...], data_name: str, strategy: str, size: str) -> Figure:
    """Plot the gain over scratch of one strategy at one size, for every pair of classes in the study.

    Args:
        pairs: Rows of `pairs.csv` for this strategy and size.
        class_names: All classes of the dataset.
        data_name: The dataset's name, for the heading.
        strategy: The strategy's name.
        size: The size of the training set.
    """
    gain = np.full((len(class_names), len(class_names)), np.nan)
    for row in pairs.to_dict("records"):
        i, j = (class_names.index(name) for name in row["classes_b"].split(","))
        gain[i, j] = gain[j, i] = 100 * row["difference"]
    reach = max(0.1, float(np.nanmax(np.abs(gain))))
    figure, ax = plt.subplots(figsize=(8, 7))
    picture = ax.imshow(gain, cmap="PuOr_r", vmin=-reach, vmax=reach)
    for i, j in np.argwhere(~np.isnan(gain)):
        shade = "white" if abs(gain[i, j]) > 0.6 * reach else "black"
        ax.text(j, i, f"{gain[i, j]:+.1f}", ha="center", va="center", fontsize=8, color=shade)
    labels = legible(class_names)
    ax.set_xticks(range(len(labels)), labels, rotation=45, ha="right", parse_math=False)
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    bar = ax.inset_axes((1.03, 0, 0.04, 1))  # as high as the map, which does not fill the figure
    figure.colorbar(picture, cax=bar, label="points of test accuracy against scratch")
    return add_heading(figure, f"Gain of “{strategy}” by pair of classes, size {size}", data_name)


def plot_predictors(pairs: pd.DataFrame, class_names: Collection[str], data_name: str) -> Figure | None:
    """Plot each pair's gain by its error from scratch and, for CIFAR-10, by its closeness to part A's classes.

    Args:
        pairs: `pairs.csv`.
        class_names: All classes of the dataset.
        data_name: The dataset's name, for the heading.

    Returns:
        The figure; None for fewer than five pairs or too many strategies.
    """
    if pairs["classes_b"].nunique() < 5 or pairs["strategy"].nunique() > len(STYLES):
        return None
    predictors = predictor_values(pairs, class_names)
    sizes, styles = pairs["train_size"].unique(), dict(zip(pairs["strategy"].unique(), STYLES, strict=False))
    shape = (len(sizes), len(predictors))
    figure, axes = plt.subplots(*shape, figsize=(9, 3.2 * shape[0]), sharex="col", sharey="row", squeeze=False)
    for row, size in zip(axes, sizes, strict=True):
        for ax, (predictor, values) in zip(row, predictors.items(), strict=True):
            of_size = pairs[pairs["train_size"] == size]
            for strategy, (colour, mark, _) in styles.items():
                group = of_size[of_size["strategy"] == strategy]
                style = {"color": colour, "marker": mark, "linestyle": "none", "markersize": 4, "alpha": 0.7}
                ax.plot(values[group.index], 100 * group["difference"], label=strategy, **style)
            ax.axhline(0, color="black", linewidth=1)
            ax.grid(alpha=0.3)
            if ax in axes[-1]:
                ax.set_xlabel(predictor)
        row[0].set_ylabel(f"size {size}\npoints against scratch")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STYLES))
    return add_heading(figure, "Gain by pair of classes, and what may predict it", data_name)


def draw(ax: Axes, x: pd.Series, curve: pd.DataFrame, style: dict[str, Any]) -> None:
    """Plot mean differences in points with 95% intervals.

    Args:
        ax: Where to plot.
        x: The horizontal positions.
        curve: Rows with difference, low and high, from -1 to 1.
        style: Matplotlib's options.
    """
    mean = 100 * curve["difference"]
    reach = [mean - 100 * curve["low"], 100 * curve["high"] - mean]
    ax.errorbar(x, mean, yerr=np.array(reach), capsize=4, markersize=5, **style)


def finish(figure: Figure, ax: Axes, heading: str, data_name: str) -> Figure:
    """Add a line at zero (scratch), the legend and the heading."""
    ax.axhline(0, color="black", linewidth=1)
    ax.set_ylabel("points of test accuracy against scratch\n(mean, 95% interval)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9)
    return add_heading(figure, heading, data_name)

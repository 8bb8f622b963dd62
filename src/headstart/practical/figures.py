"""
## The figures

Lines differ in dash and mark as well as in colour (Okabe and Ito's palette), so that they can be told apart in grey
print and by colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.practical.evaluation import accuracy_interval
from headstart.practical.training import Trained

BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
STYLES = [(BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":"), (SKY, "v", "-")]


def plot_network(trained: Trained, data: str) -> Figure:
    """One network's convergence: loss, and accuracy on training and test images, by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.3))
    epochs = trained.history["epoch"]
    for part, (colour, mark, dash) in zip(("train", "test"), STYLES, strict=False):
        label = {"train": "training images (a sample until the last epoch)", "test": "test images"}[part]
        style = {"color": colour, "marker": mark, "linestyle": dash, "markersize": 4, "label": label}
        left.plot(epochs, trained.history[f"{part}_loss"], **style)
        right.plot(epochs, 100 * trained.history[f"{part}_accuracy"], **style)
    label_axes(left, "cross-entropy loss (lower is better)", len(epochs))
    label_axes(right, "accuracy (% classified correctly)", len(epochs))
    left.set_ylim(bottom=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    final = f"{trained.title}: test accuracy {trained.test_accuracy:.1%} after epoch {len(trained.history)}"
    return finish(figure, final, data)


# %% [markdown]
# ### The comparison


# %%
def plot_comparison(strategies: Sequence[Trained], data: str) -> Figure:
    """The strategies side by side: test accuracy by epoch, and after the last epoch with its 95% interval."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), width_ratios=(3, 2))
    for place, (trained, (colour, mark, dash)) in enumerate(zip(strategies, cycle(STYLES), strict=False)):
        accuracies = 100 * trained.history["test_accuracy"]
        style = {"color": colour, "marker": mark, "linestyle": dash}
        left.plot(trained.history["epoch"], accuracies, markersize=4, label=trained.title, **style)
        low, high = accuracy_interval(trained)
        final = 100 * trained.test_accuracy
        reach = [[final - 100 * low], [100 * high - final]]
        right.errorbar(place, final, yerr=reach, color=colour, marker=mark, markersize=8, capsize=8, linewidth=2)
        right.annotate(f"{final:.1f}%", (place, final), xytext=(12, 0), textcoords="offset points", va="center")
    label_axes(left, "test accuracy (%)", len(strategies[0].history))
    right.set_xticks(range(len(strategies)), [trained.title.replace(" ", "\n", 1) for trained in strategies])
    right.set_xlim(-0.5, len(strategies) - 0.2)
    right.set_ylabel("test accuracy after the last epoch (%)\nwith its 95% interval")
    right.grid(axis="y", alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    names = " or ".join(strategies[0].class_names)
    return finish(figure, f"{len(strategies)} ways to learn “{names}?”", data)


def label_axes(ax: Axes, quantity: str, epochs: int) -> None:
    """Epochs below, the first and the last among them, the quantity beside, and a light grid."""
    ax.set_xlabel("epoch (one pass over the training images)")
    ax.set_ylabel(quantity)
    ax.set_xticks(np.unique(np.linspace(1, epochs, 6).round()))
    ax.grid(alpha=0.3)


def finish(figure: Figure, heading: str, data: str) -> Figure:
    """The heading, and below it whose images these are."""
    figure.suptitle(f"{heading}\nData: {data}", fontsize=11, parse_math=False)
    figure.set_layout_engine("constrained")
    plt.close(figure)  # it is shown where it is displayed, not once more at the end of a cell
    return figure

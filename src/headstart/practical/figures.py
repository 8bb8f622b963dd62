"""
## Figures

Each strategy has one colour in all figures. Solid lines are test images, dashed lines training images.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from headstart.practical.data import Dataset
from headstart.practical.inference import accuracy_interval
from headstart.practical.training import TITLES, Trained

COLOURS = {"a": "#555555", "scratch": "#0072B2", "last_layer": "#D55E00", "two_layers": "#009E73"}


def label_axes(ax, quantity: str, digits: str) -> None:
    """Label the axes: whole epochs below, the quantity at the side with so many digits; add a grid and a legend."""
    ax.set(xlabel="epoch", ylabel=quantity)
    ax.locator_params("x", integer=True, min_n_ticks=1)
    ax.yaxis.set_major_formatter(digits)
    ax.grid(alpha=0.3)
    ax.legend()


def plot_network(trained: Trained):
    """Plot the loss, and the accuracies, by epoch; both axes reach from guessing to perfect."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    for kind, images, dash in (("train", "training images (a sample)", "--"), ("test", "test images", "-")):
        style = {"color": COLOURS[trained.name], "linestyle": dash, "label": images, "marker": "."}
        left.plot(trained.history["epoch"], trained.history[f"{kind}_loss"], **style)
        right.plot(trained.history["epoch"], trained.history[f"{kind}_accuracy"], **style)
    left.set_ylim(0, max(np.log(len(trained.class_names)), left.get_ylim()[1]))
    right.set_ylim(min(1 / len(trained.class_names), right.get_ylim()[0]), 1.01)
    label_axes(left, "cross-entropy loss", "{x:.2f}")
    label_axes(right, "accuracy", "{x:.0%}")
    return figure


# %%
def plot_comparison(strategies: list):
    """Plot the test accuracy by epoch; behind the last epoch with its 95% confidence interval."""
    figure, ax = plt.subplots(figsize=(10, 4))
    for place, trained in enumerate(strategies, start=1):
        colour, curve = COLOURS[trained.name], trained.history["test_accuracy"]
        ax.plot(trained.history["epoch"], curve, marker=".", color=colour, label=TITLES[trained.name])
        reach = [[abs(trained.test_accuracy - bound)] for bound in accuracy_interval(trained)]
        ax.errorbar(len(curve) + place / 2, trained.test_accuracy, reach, fmt="o", capsize=4, color=colour)
    label_axes(ax, "test accuracy", "{x:.1%}")
    return figure


def plot_confusions(strategies: list):
    """Plot for each strategy how many test images of each class are classified as which class."""
    figure, axes = plt.subplots(1, len(strategies), figsize=(10, 3.4))
    for ax, trained in zip(axes, strategies, strict=True):
        counts = confusion_matrix(trained.labels, trained.probabilities.argmax(axis=1))
        ConfusionMatrixDisplay(counts, display_labels=trained.class_names).plot(ax=ax, cmap="Blues", colorbar=False)
        ax.set(title=TITLES[trained.name], xlabel="predicted class", ylabel="true class")
    return figure


def plot_mistakes(trained: Trained, part: Dataset):
    """Show the eight test images that are misclassified with the highest probability."""
    answers, certainty = trained.probabilities.argmax(axis=1), trained.probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != trained.labels)
    figure, axes = plt.subplots(1, 8, figsize=(10, 2), subplot_kw={"xticks": [], "yticks": [], "frame_on": False})
    for ax, i in zip(axes, wrong[np.argsort(-certainty[wrong])], strict=False):
        ax.imshow(part.x_test[i])
        ax.set_title(f"{part.class_names[answers[i]]}, {certainty[i]:.0%}?\nNo: {part.class_names[trained.labels[i]]}")
    return figure

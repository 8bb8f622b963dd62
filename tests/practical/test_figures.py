from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from headstart.practical.data import Dataset
from headstart.practical.evaluation import accuracy_interval
from headstart.practical.figures import COLOURS, plot_comparison, plot_confusions, plot_mistakes, plot_network
from headstart.practical.training import TITLES
from headstart.training.trainer import Trained
from support.tiny import TinyRun

Make = Callable[..., Trained]


@pytest.fixture(autouse=True)
def as_in_the_notebook() -> Iterator[None]:
    """The notebook's settings; the notebook closes its figures, and so do the tests."""
    settings = {"figure.constrained_layout.use": True, "axes.titlesize": "small", "text.parse_math": False}
    with plt.rc_context(settings):
        yield
    plt.close("all")


@pytest.fixture
def three(make_trained: Make) -> list[Trained]:
    return [make_trained("scratch", 70), make_trained("last_layer", 80), make_trained("two_layers", 92)]


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def curves(ax: Axes) -> list[Line2D]:
    """The lines with a point for each epoch; the bars of intervals are lines, too."""
    return [line for line in ax.lines if len(line.get_xdata()) == 5]


def tick_labels(axis: Axis) -> list[str]:
    axis.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label.get_text() for place, label in labels if low <= place <= high]


# One network


def test_a_networks_figure_has_its_losses_and_accuracies(make_trained: Make) -> None:
    trained = make_trained("last_layer", 81)
    left, right = plot_network(trained).axes
    assert left.get_ylabel() == "cross-entropy loss"
    assert right.get_ylabel() == "accuracy"
    assert {label[-1] for label in tick_labels(right.yaxis)} == {"%"}
    for ax, quantity in ((left, "loss"), (right, "accuracy")):
        assert ax.get_xlabel() == "epoch"
        assert [label.split()[0] for label in legend(ax)] == ["training", "test"]
        for line, part in zip(ax.lines, ("train", "test"), strict=True):
            np.testing.assert_allclose(line.get_xdata(), [1, 2, 3, 4, 5])
            np.testing.assert_allclose(line.get_ydata(), trained.history[f"{part}_{quantity}"])


def test_training_images_are_dashed_and_test_images_solid(three: list[Trained]) -> None:
    for trained in three:
        for ax in plot_network(trained).axes:
            assert [line.get_linestyle() for line in ax.lines] == ["--", "-"]


def test_each_strategy_has_its_own_colour_in_all_figures(three: list[Trained], make_trained: Make) -> None:
    comparison = plot_comparison(three).axes[0]
    colours = [line.get_color() for line in curves(comparison)]
    assert legend(comparison) == [TITLES[trained.name] for trained in three]
    for trained, colour in zip(three, colours, strict=True):
        [drawn] = {to_hex(line.get_color()) for ax in plot_network(trained).axes for line in ax.lines}
        assert drawn == to_hex(colour)
    of_a = {to_hex(line.get_color()) for ax in plot_network(make_trained("a")).axes for line in ax.lines}
    assert len({*COLOURS.values()}) == 4
    assert of_a == {to_hex(COLOURS["a"])}


def test_the_accuracy_axes_reach_from_guessing_to_100_percent(make_trained: Make) -> None:
    curves = {"train_accuracy": [0.9] * 5}
    three = [
        make_trained(name, right, curves={**curves, "test_accuracy": [begin, 0.8, 0.8, 0.8, right / 100]})
        for name, right, begin in (("scratch", 70, 0.55), ("last_layer", 95, 0.9), ("two_layers", 100, 0.99))
    ]
    ranges = [plot_network(trained).axes[1].get_ylim() for trained in three]
    assert ranges == [(0.5, 1.01)] * 3
    assert "100%" in tick_labels(plot_network(three[0]).axes[1].yaxis)


def is_within(ax: Axes) -> bool:
    """Whether the y-axis is long enough for all lines."""
    low, high = ax.get_ylim()
    return all(
        (low <= np.asarray(line.get_ydata())).all() and (np.asarray(line.get_ydata()) <= high).all()
        for line in ax.lines
    )


@pytest.mark.parametrize(
    "curves",
    [
        {"test_loss": [0.9, 0.5, 2.5, 3.0, 7.0]},  # far above log(2), the loss of guessing
        {"train_loss": [5.0, 0.5, 0.4, 0.3, 0.2]},
        {"test_accuracy": [0.1, 0.2, 0.3, 0.4, 0.5], "train_accuracy": [0.05] * 5},  # worse than guessing
        {"test_accuracy": [1.0] * 5, "train_accuracy": [1.0] * 5, "test_loss": [0.0] * 5, "train_loss": [0.0] * 5},
    ],
    ids=["test loss", "training loss", "below guessing", "perfect"],
)
def test_no_line_is_cut_off(curves: dict[str, list[float]], make_trained: Make) -> None:
    figure = plot_network(make_trained("scratch", 50, curves=curves))
    assert all(is_within(ax) for ax in figure.axes)
    assert figure.axes[0].get_ylim()[0] == 0
    assert figure.axes[0].get_ylim()[1] >= np.log(2)


# The strategies


def test_the_comparison_has_curves_and_last_accuracies_with_intervals(three: list[Trained]) -> None:
    [ax] = plot_comparison(three).axes
    assert ax.get_xlabel() == "epoch"
    assert ax.get_ylabel() == "test accuracy"
    assert legend(ax) == ["From scratch", "One layer", "Two layers"]
    for trained, line, bar in zip(three, curves(ax), ax.containers, strict=True):
        np.testing.assert_allclose(line.get_ydata(), trained.history["test_accuracy"])
        (segment,) = bar[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 1], accuracy_interval(trained))
        assert (segment[:, 0] > 5).all()  # to the right of the last epoch
        assert to_hex(bar[0].get_color()) == to_hex(line.get_color())
        assert [float(place) for place in bar[0].get_ydata()] == [trained.test_accuracy]
    low, high = ax.get_ylim()
    assert all(low <= bound <= high for trained in three for bound in accuracy_interval(trained))


@pytest.mark.parametrize("epochs", [1, 2, 5, 20, 100])
def test_the_epochs_on_the_axis_are_whole_numbers(epochs: int, make_trained: Make) -> None:
    curves = {f"{part}_{quantity}": [0.5] * epochs for part in ("train", "test") for quantity in ("loss", "accuracy")}
    trained = make_trained(curves=curves)
    for ax in (*plot_network(trained).axes, *plot_comparison([trained]).axes):
        labels = tick_labels(ax.xaxis)
        assert labels
        assert all(label.lstrip("−").isdigit() for label in labels)


def test_confusions_are_counted_by_true_and_predicted_class(make_trained: Make) -> None:
    """Labels 0, 1, 0, 1, 0, 1: one of the three cats is classified as a dog, all dogs correctly."""
    first = make_trained("scratch", [False, True, True, True, True, True])
    second = make_trained("last_layer", [True] * 6)
    left, right = plot_confusions([first, second]).axes
    assert [text.get_text() for text in left.texts] == ["2", "1", "0", "3"]
    assert [text.get_text() for text in right.texts] == ["3", "0", "0", "3"]
    assert (left.get_title(), right.get_title()) == ("From scratch", "One layer")
    assert (left.get_xlabel(), left.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in left.get_xticklabels()] == ["cat", "dog"]


def shades(n: int) -> Dataset:
    """Every pixel of test image i has the value i."""
    images = np.full((n, 32, 32, 3), np.arange(n)[:, None, None, None], np.uint8)
    labels = np.arange(n) % 2
    return Dataset(images, labels, images, labels, ("cat", "dog"), "shades")


def test_the_mistakes_are_those_with_the_highest_probability(make_trained: Make) -> None:
    trained = make_trained("scratch", [False] * 10)
    certainty = np.array([0.6, 0.9, 0.7, 0.99, 0.55, 0.8, 0.95, 0.65, 0.75, 0.85])
    answers = trained.probabilities.argmax(axis=1)
    probabilities = np.where(np.arange(2) == answers[:, None], certainty[:, None], 1 - certainty[:, None])
    figure = plot_mistakes(make_trained("scratch", [False] * 10, probabilities=probabilities), shades(10))
    drawn = [int(np.asarray(ax.images[0].get_array())[0, 0, 0]) for ax in figure.axes]
    assert drawn == [3, 6, 1, 9, 5, 8, 2, 7]
    assert figure.axes[0].get_title() == "cat, 99%?\nNo: dog"
    assert figure.axes[1].get_title() == "dog, 95%?\nNo: cat"


def test_with_fewer_than_eight_mistakes_the_other_places_are_empty(make_trained: Make) -> None:
    for right, wrong in (([True] * 8 + [False] * 2, 2), ([True] * 10, 0)):
        figure = plot_mistakes(make_trained("scratch", right), shades(10))
        figure.draw_without_rendering()
        assert [bool(ax.images) for ax in figure.axes] == [True] * wrong + [False] * (8 - wrong)


# All figures


def all_figures(strategies: list[Trained], part: Dataset) -> list[Figure]:
    three = [plot_comparison(strategies), plot_confusions(strategies), plot_mistakes(strategies[0], part)]
    return [*three, *map(plot_network, strategies)]


@pytest.mark.parametrize("names", [("$a_b$", "<b>"), ("$x^", "a_b"), ("50% off", "{x}"), ("ключ", r"\frac{1}")])
def test_class_names_are_drawn_unchanged(names: tuple[str, str], make_trained: Make) -> None:
    three = [make_trained(name, 60, class_names=names) for name in ("scratch", "last_layer", "two_layers")]
    part = replace(shades(100), class_names=names)
    for figure in all_figures(three, part):
        figure.canvas.draw()
    titles = [ax.get_title() for ax in plot_mistakes(three[0], part).axes]
    assert {title.split(", ")[0] for title in titles} <= {*names}
    assert [label.get_text() for label in plot_confusions(three).axes[0].get_yticklabels()] == list(names)


@pytest.mark.parametrize(
    ("right", "curves"),
    [
        (0, {"train_loss": [np.nan] * 5, "test_loss": [np.nan] * 5}),
        (50, {"train_loss": [0.5]}),
        (100, {"train_loss": [0.0] * 5, "test_loss": [0.0] * 5, "test_accuracy": [1.0] * 5}),
        (50, {"train_loss": [3e5, 2e5, 1e5, 1e4, 1e3]}),
        (50, {"train_loss": [0.5, np.inf, np.inf, np.nan, np.nan]}),
    ],
    ids=["not a number", "one epoch", "perfect", "huge", "infinite"],
)
def test_unusual_numbers_are_drawn_without_a_warning(
    right: int, curves: dict[str, list[float]], make_trained: Make
) -> None:
    three = [make_trained(name, right, curves=dict(curves)) for name in ("scratch", "last_layer", "two_layers")]
    for figure in all_figures(three, shades(100)):
        figure.draw_without_rendering()
        for ax in figure.axes:
            assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()


def test_the_figures_of_a_real_run_are_neither_cut_off_nor_blank(tiny_run: TinyRun, tmp_path: Path) -> None:
    for number, figure in enumerate(all_figures([*tiny_run.strategies], tiny_run.part_b)):
        figure.savefig(tmp_path / f"{number}.png", dpi=100)
        with Image.open(tmp_path / f"{number}.png") as picture:
            pixels = np.asarray(picture.convert("L"))
        assert pixels.shape[1] == 1000
        assert pixels.std() > 5
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        assert all((edge == 255).all() for edge in edges)

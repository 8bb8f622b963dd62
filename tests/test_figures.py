from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from conftest import TinyRun
from headstart.practical.data import plot_examples
from headstart.practical.evaluation import accuracy_interval
from headstart.practical.figures import plot_comparison, plot_network
from headstart.practical.training import Trained

DATA = "scikit-learn digits, not CIFAR-10"


@pytest.fixture
def three(make_trained: Callable[..., Trained]) -> list[Trained]:
    return [make_trained("scratch", 70), make_trained("last_layer", 80), make_trained("two_layers", 92)]


def words(figure: Figure) -> str:
    return figure.get_suptitle()


def legend(figure: Figure) -> list[str]:
    (drawn,) = figure.legends
    return [text.get_text() for text in drawn.get_texts()]


def test_a_networks_figure_shows_loss_and_accuracy_of_training_and_test(make_trained: Callable[..., Trained]) -> None:
    trained = make_trained("last_layer", 81)
    figure = plot_network(trained, DATA)
    left, right = figure.axes
    assert "loss" in left.get_ylabel()
    assert "accuracy" in right.get_ylabel()
    assert "%" in right.get_ylabel()
    for ax, quantity, scale in ((left, "loss", 1), (right, "accuracy", 100)):
        assert "epoch" in ax.get_xlabel()
        for line, part in zip(ax.lines, ("train", "test"), strict=True):
            np.testing.assert_allclose(line.get_xdata(), [1, 2, 3, 4, 5])
            np.testing.assert_allclose(line.get_ydata(), scale * trained.history[f"{part}_{quantity}"])
    assert [label.split()[0] for label in legend(figure)] == ["training", "test"]
    assert "Fine-tuning one layer" in words(figure)
    assert "81.0%" in words(figure)


def test_the_comparison_shows_every_strategys_curve_and_its_last_accuracy_with_its_interval(
    three: list[Trained],
) -> None:
    figure = plot_comparison(three, DATA)
    left, right = figure.axes
    assert "epoch" in left.get_xlabel()
    assert "accuracy" in left.get_ylabel()
    assert "95% interval" in right.get_ylabel()
    assert legend(figure) == ["From scratch", "Fine-tuning one layer", "Fine-tuning two layers"]
    assert [label.get_text().split() for label in right.get_xticklabels()] == [name.split() for name in legend(figure)]
    for trained, line, bar in zip(three, left.lines, right.containers, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100 * trained.history["test_accuracy"])
        (segment,) = bar[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 1], 100 * np.array(accuracy_interval(trained)))
    assert [text.get_text() for text in right.texts] == ["70.0%", "80.0%", "92.0%"]
    assert "cat or dog" in words(figure)


def test_lines_differ_in_dash_and_in_mark_so_that_grey_print_tells_them_apart(three: list[Trained]) -> None:
    for ax in (*plot_network(three[0], DATA).axes, plot_comparison(three, DATA).axes[0]):
        assert len(ax.lines) >= 2
        for looks in (
            [line.get_linestyle() for line in ax.lines],
            [line.get_marker() for line in ax.lines],
            [line.get_color() for line in ax.lines],
        ):
            assert len(set(looks)) == len(looks)


def test_every_figure_says_whose_images_these_are(three: list[Trained]) -> None:
    assert DATA in words(plot_network(three[0], DATA))
    assert DATA in words(plot_comparison(three, DATA))


def test_five_strategies_are_all_drawn(make_trained: Callable[..., Trained]) -> None:
    five = [make_trained(f"A{n}B", 60 + n) for n in range(1, 6)]
    figure = plot_comparison(five, DATA)
    assert legend(figure) == [trained.name for trained in five]
    assert len(figure.axes[1].containers) == 5


@pytest.mark.parametrize(
    ("right", "curves"),
    [
        (0, {"train_loss": [np.nan] * 5, "test_loss": [np.nan] * 5}),
        (50, {"train_loss": [0.5]}),
        (100, {"train_loss": [0.0] * 5, "test_loss": [0.0] * 5, "test_accuracy": [1.0] * 5}),
        (50, {"train_loss": [3e5, 2e5, 1e5, 1e4, 1e3]}),
    ],
    ids=["not a number", "one epoch", "perfect", "huge"],
)
def test_odd_numbers_are_drawn_without_a_warning(
    right: int, curves: dict[str, list[float]], make_trained: Callable[..., Trained]
) -> None:
    trained = make_trained("scratch", right, curves=curves)
    for figure in (plot_network(trained, DATA), plot_comparison([trained, trained], DATA)):
        figure.draw_without_rendering()
        for ax in figure.axes:
            assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()


@pytest.mark.parametrize("epochs", [1, 5, 20, 100])
def test_the_epochs_on_the_axis_are_whole_the_first_and_the_last_among_them(
    epochs: int, make_trained: Callable[..., Trained]
) -> None:
    curves = {f"{part}_{quantity}": [0.5] * epochs for part in ("train", "test") for quantity in ("loss", "accuracy")}
    trained = make_trained(curves=curves)
    for ax in (*plot_network(trained, DATA).axes, plot_comparison([trained], DATA).axes[0]):
        ticks = ax.get_xticks()
        assert all(float(tick).is_integer() for tick in ticks)
        assert {1, epochs} <= set(ticks)
        assert len(ticks) <= 6


def test_the_legend_hides_nothing(three: list[Trained]) -> None:
    for figure in (plot_network(three[0], DATA), plot_comparison(three, DATA)):
        figure.draw_without_rendering()
        below = figure.legends[0].get_window_extent()
        assert all(below.y1 < ax.get_tightbbox().y0 for ax in figure.axes)


def test_nothing_is_cut_off_and_the_saved_picture_is_not_blank(three: list[Trained], tmp_path: Path) -> None:
    for number, figure in enumerate((plot_network(three[0], DATA), plot_comparison(three, DATA))):
        figure.savefig(tmp_path / f"{number}.png", dpi=100)
        with Image.open(tmp_path / f"{number}.png") as picture:
            pixels = np.asarray(picture.convert("L"))
        assert pixels.shape[1] == 1000
        assert pixels.std() > 5
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        assert all((edge == 255).all() for edge in edges)


def test_figures_are_left_closed_so_that_a_notebook_does_not_show_them_twice(three: list[Trained]) -> None:
    before = plt.get_fignums()
    assert plot_network(three[0], DATA) is not plot_network(three[0], DATA)
    plot_comparison(three, DATA)
    assert plt.get_fignums() == before


def test_the_examples_show_images_of_every_class_in_its_own_column(tiny_run: TinyRun) -> None:
    part_a, part_b = tiny_run.part_a, tiny_run.part_b
    figure = plot_examples(part_a, part_b, rows=3)
    assert DATA in words(figure)
    columns = {ax.get_title().split()[0]: ax.get_subplotspec().colspan.start for ax in figure.axes if ax.get_title()}
    assert list(columns) == [*part_a.class_names, *part_b.class_names]
    shown = {(*ax.get_subplotspec().colspan, *ax.get_subplotspec().rowspan): ax for ax in figure.axes if ax.images}
    assert len(shown) == 10 * 3
    for part in (part_a, part_b):
        for label, name in enumerate(part.class_names):
            pictures = {image.tobytes() for image in part.x_train[part.y_train == label]}
            for row in range(3):
                assert np.asarray(shown[columns[name], row].images[0].get_array()).tobytes() in pictures


def test_a_class_of_few_images_leaves_the_rest_of_its_column_empty(tiny_run: TinyRun) -> None:
    few = replace(tiny_run.part_b, x_train=tiny_run.part_b.x_train[:3], y_train=np.array([0, 1, 1]))
    figure = plot_examples(tiny_run.part_a, few, rows=4)
    figure.draw_without_rendering()
    assert sum(bool(ax.images) for ax in figure.axes) == 8 * 4 + 3

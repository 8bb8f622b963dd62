"""A study's figures show the numbers of its tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from headstart.practical.data import CIFAR10_CLASSES
from headstart.study.closeness import closeness
from headstart.study.figures import plot_depth, plot_map, plot_predictors, plot_sizes

NUMBERS = {"train_images": 1000.0, "train_size": "1.0", "scratch_accuracy": 0.9}


def summary(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{**NUMBERS, **row} for row in rows])


def intervals(ax: Axes) -> dict[str, list[tuple[float, float, float]]]:
    """Each curve's (low, mean, high) from left to right, in points, by the first word of its legend."""
    found = {}
    for bars, label in zip(*ax.get_legend_handles_labels(), strict=True):
        segments = bars.lines[2][0].get_segments()
        of_curve = zip(bars.lines[0].get_ydata(), segments, strict=True)
        found[label.split(":")[0]] = [(min(ends[:, 1]), mean, max(ends[:, 1])) for mean, ends in of_curve]
    return found


def test_the_depth_figure_has_a_curve_for_each_kind_of_copy() -> None:
    figure = plot_depth(
        summary(
            {"strategy": "A1B", "difference": 0.01, "low": -0.02, "high": 0.03},
            {"strategy": "A5B", "difference": -0.04, "low": -0.07, "high": 0.01},
            {"strategy": "A1B+", "difference": 0.02, "low": 0.01, "high": 0.04},
            {"strategy": "last_layer", "difference": 0.5, "low": 0.5, "high": 0.5},
        ),
        "made-up images",
    )
    assert figure is not None
    [ax] = figure.axes
    found = intervals(ax)
    assert list(found) == ["AnB", "AnB+"]
    assert found["AnB"] == [pytest.approx((-2, 1, 3)), pytest.approx((-7, -4, 1))]
    assert found["AnB+"] == [pytest.approx((1, 2, 4))]
    assert list(ax.get_xticks()) == [1, 5]
    assert "1,000 training images; scratch 90.0%" in figure.get_suptitle()
    assert "made-up images" in figure.get_suptitle()


def test_the_figure_of_sizes_goes_from_few_images_to_many() -> None:
    few = {"train_images": 20.0, "train_size": "10"}
    figure = plot_sizes(
        summary(
            {"strategy": "two_layers", "difference": 0.01, "low": 0.0, "high": 0.03},
            {"strategy": "two_layers", "difference": 0.1, "low": 0.07, "high": 0.12, **few},
        ),
        "made-up images",
    )
    assert figure is not None
    [ax] = figure.axes
    assert intervals(ax) == {"two_layers": [pytest.approx((7, 10, 12)), pytest.approx((0, 1, 3))]}
    assert ax.get_xscale() == "log"
    [bars] = ax.containers
    assert bars.lines[0].get_xdata().tolist() == [20, 1000]
    assert sorted(tick.get_text() for tick in ax.get_xticklabels(which="both")) == ["1,000", "20"]


def test_one_size_too_many_lines_or_no_depths_give_no_figure() -> None:
    alone = summary({"strategy": "last_layer", "difference": 0.01, "low": 0.0, "high": 0.03})
    assert plot_sizes(alone, "made-up images") is None
    sizes = [{"train_size": "1.0", "train_images": 1000.0}, {"train_size": "10", "train_images": 20.0}]
    gain = {"difference": 0.01, "low": 0.0, "high": 0.03}
    for names, drawn in ((["A1B", "A2B", "A3B", "A4B", "A5B"], True), ([f"A{n}B+" for n in range(6)], False)):
        rows = [{"strategy": name, **gain, **size} for name in names for size in sizes]
        assert (plot_sizes(summary(*rows), "made-up images") is not None) is drawn  # more would look alike
    assert plot_depth(alone, "made-up images") is None


def test_the_map_is_symmetric_and_shows_the_gain_in_points() -> None:
    effects = pd.DataFrame({"classes_b": ["cat,dog", "cat,ship"], "difference": [-0.021, 0.034]})
    figure = plot_map(effects, ("cat", "dog", "$ship$", "ship"), "made-up images", "two_layers", "1.0")
    [ax] = figure.axes
    [bar] = ax.child_axes
    [picture] = ax.images
    gain = np.ma.filled(picture.get_array(), np.nan)
    expected = np.full((4, 4), np.nan)
    expected[0, 1] = expected[1, 0] = -2.1
    expected[0, 3] = expected[3, 0] = 3.4
    np.testing.assert_allclose(gain, expected)
    assert picture.get_clim() == pytest.approx((-3.4, 3.4))  # white means no difference
    texts = {tuple(int(at) for at in text.get_position()): text.get_text() for text in ax.texts}
    assert texts == {(1, 0): "-2.1", (0, 1): "-2.1", (3, 0): "+3.4", (0, 3): "+3.4"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "$ship$", "ship"]
    assert "points of test accuracy" in bar.get_ylabel()
    assert "two_layers" in figure.get_suptitle()


def test_the_gain_is_plotted_by_error_from_scratch_and_closeness() -> None:
    pairs = ["cat,dog", "cat,ship", "deer,truck", "bird,frog", "automobile,truck"]
    one = {"train_size": "1.0", "classes_b": pairs, "scratch_accuracy": [0.8, 0.9, 0.95, 0.85, 0.9]}
    gain = [-0.08, 0.01, 0.02, -0.01, -0.07]
    effects = pd.concat(
        [
            pd.DataFrame({"strategy": "last_layer", "difference": gain, **one}),
            pd.DataFrame({"strategy": "two_layers", "difference": [0.0] * 5, **one}),
        ],
        ignore_index=True,
    )
    figure = plot_predictors(effects, CIFAR10_CLASSES, "made-up images")
    assert figure is not None
    by_error, by_closeness = figure.axes
    assert by_error.get_xlabel() == "error from scratch (%)"
    last_layer, two_layers, _ = by_error.get_lines()
    assert last_layer.get_xdata() == pytest.approx([20, 10, 5, 15, 10])
    assert last_layer.get_ydata() == pytest.approx([-8, 1, 2, -1, -7])
    assert two_layers.get_ydata() == pytest.approx([0] * 5)
    expected = [closeness(pair.split(","), CIFAR10_CLASSES) for pair in pairs]
    assert by_closeness.get_lines()[0].get_xdata() == pytest.approx(expected)
    other_data = plot_predictors(effects, (*CIFAR10_CLASSES, "cow"), "made-up images")
    assert other_data is not None
    assert len(other_data.axes) == 1
    assert plot_predictors(effects[effects["classes_b"] != "cat,dog"], CIFAR10_CLASSES, "made-up images") is None

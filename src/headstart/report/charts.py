"""The charts of all pages, made with plotly. Text is escaped, because plotly interprets some HTML in it.

Colours are Okabe and Ito's. Markers and dashes carry the same information as colours. Everything that depends on light
or dark mode is in the page's style sheet.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from sklearn.metrics import confusion_matrix

from headstart.runs.reader import Result
from headstart.style import BLUE, GREEN, ORANGE, PURPLE, SKY

COLOURS = {"scratch": BLUE, "last_layer": ORANGE, "two_layers": GREEN, "a": PURPLE}  # the strategies' as in figures/
MARKS = {"scratch": "circle", "last_layer": "square", "two_layers": "triangle-up", "a": "diamond"}
STYLES = [(BLUE, "circle", "solid"), (ORANGE, "square", "dash"), (GREEN, "triangle-up", "dashdot")]
STYLES += [(PURPLE, "diamond", "dot"), (SKY, "triangle-down", "longdash")]
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
GRID = "rgba(128, 128, 128, 0.3)"  # visible on white and on black
MAX_LETTERS = 14  # of a class name next to a chart


def chart(traces: Sequence[Any], height: int, **layout: Any) -> go.Figure:
    """Return a figure in the page's style.

    Args:
        traces: Plotly's traces.
        height: Pixels.
        layout: Plotly's layout, which overrides the style.
    """
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
    axes = {name: {**axis, **layout.pop(name, {})} for name in ("xaxis", "yaxis")}
    style: dict[str, Any] = {
        "template": "none",
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "showlegend": False,
        "dragmode": False,
    }
    return go.Figure(list(traces), {**style, **axes, **layout})


def plain(text: object, longest: int | None = None) -> str:
    """Return text as plotly needs it, shortened to at most `longest` letters."""
    words = str(text)
    if longest and len(words) > longest:
        words = words[: longest - 1] + "…"
    return html.escape(words, quote=False)


def final_accuracies(strategies: Sequence[Result]) -> go.Figure:
    """Draw each strategy's test accuracy after the last epoch with its 95% interval, a row for each strategy."""
    rows = [(trained.title, trained.test_accuracy, *trained.interval) for trained in strategies]
    return accuracies(rows, [(COLOURS[trained.name], MARKS[trained.name]) for trained in strategies])


def accuracies(rows: Sequence[tuple[str, float, float, float]], marks: Sequence[tuple[str, str]]) -> go.Figure:
    """Draw accuracies with their 95% intervals, a row for each.

    Args:
        rows: Name, accuracy, and the ends of its interval, from 0 to 1; the ends are NaN without an interval.
        marks: Colour and symbol for each.
    """
    traces = []
    for (name, accuracy, low, high), (colour, symbol) in zip(rows, marks, strict=False):
        value, text = 100 * accuracy, f"{100 * accuracy:.1f}%"
        reach, words = None, f"{plain(name)}: {text}"
        if np.isfinite(low):
            reach = {"array": [100 * high - value], "arrayminus": [value - 100 * low], "thickness": 2, "width": 8}
            words += f", 95% interval {low:.1%} to {high:.1%}"
        shown = {"x": [value], "y": [plain(name)], "text": [text], "hovertext": [words]}
        style = {"mode": "markers+text", "textposition": "top center", "cliponaxis": False, "hoverinfo": "text"}
        traces.append(
            go.Scatter(**shown, **style, error_x=reach, marker={"color": colour, "symbol": symbol, "size": 13})
        )
    x, y = {"title": "test accuracy (%)"}, {"autorange": "reversed", "type": "category"}
    return chart(traces, 70 * len(rows) + 60, xaxis=x, yaxis=y)


def curves(networks: Sequence[Result], quantity: str) -> go.Figure:
    """Draw accuracy or loss by epoch, on training and test images.

    Args:
        networks: The networks of a run.
        quantity: "accuracy" or "loss".

    Returns:
        The figure. The `meta` of a trace has its network and part, for the page's switches.
    """
    traces, factor = [], 100 if quantity == "accuracy" else 1
    for trained in networks:
        for part, dash in (("train", "dot"), ("test", "solid")):
            values = factor * trained.history[f"{part}_{quantity}"]
            images = "test images" if part == "test" else "training images"
            traces.append(
                go.Scatter(
                    x=trained.history["epoch"].tolist(),
                    y=[float(value) if np.isfinite(value) else None for value in values],
                    name=f"{plain(trained.title)}, {images}",
                    meta={"network": trained.name, "part": part},
                    mode="lines+markers",
                    line={"color": COLOURS[trained.name], "dash": dash, "width": 2 if part == "test" else 1.5},
                    marker={"symbol": MARKS[trained.name] + ("" if part == "test" else "-open"), "size": 6},
                    hovertemplate="%{y:.1f}%" if quantity == "accuracy" else "%{y:.3f}",
                )
            )
    title = "accuracy (%)" if quantity == "accuracy" else "cross-entropy loss"
    x = {"title": "epoch", "rangemode": "tozero", "tickformat": "d", "hoverformat": "d"}
    y = {"title": title, **({} if quantity == "accuracy" else {"rangemode": "tozero"})}
    return chart(traces, 380, xaxis=x, yaxis=y, hovermode="x")


def confusion(trained: Result) -> tuple[go.Figure, list[list[int]]]:
    """Draw a confusion matrix.

    Args:
        trained: One network of a run.

    Returns:
        The figure and the counts: a row for each true class, a column for each predicted class.
    """
    k = len(trained.class_names)
    counts = confusion_matrix(trained.labels, trained.probabilities.argmax(axis=1), labels=range(k))
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names, of = [plain(name) for name in trained.class_names], counts.sum(axis=1)
    words = [
        [f"{names[i]} classified as {names[j]}: {counts[i, j]:,} of {of[i]:,} ({share[i, j]:.1%})" for j in range(k)]
        for i in range(k)
    ]
    ticks = {"tickvals": list(range(k)), "ticktext": [plain(name, MAX_LETTERS) for name in trained.class_names]}
    grid = go.Heatmap(
        z=share.tolist(),
        text=[[f"{count:,}" for count in row] for row in counts],
        texttemplate="%{text}",
        hovertext=words,
        hoverinfo="text",
        textfont={"color": "black"},
        colorscale=[[0, "#f3f7fb"], [1, "#6cb0dc"]],  # blue, light enough for black text
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    x = {**ticks, "title": "predicted class", "showgrid": False, "zeroline": False, "tickangle": 0 if k == 2 else -45}
    y = {**ticks, "title": "true class", "showgrid": False, "zeroline": False, "autorange": "reversed"}
    return chart([grid], 300 if k == 2 else 460, xaxis=x, yaxis=y), counts.tolist()


def styles() -> Iterator[tuple[str, str, str]]:
    """Return 25 different styles (colour, marker, dash), in the order in which lines use them."""
    for number in range(len(STYLES) ** 2):
        shift = number + number // len(STYLES)
        yield STYLES[number % len(STYLES)][0], *STYLES[shift % len(STYLES)][1:]


def gains(groups: dict[str, pd.DataFrame], heights: Sequence[str]) -> go.Figure:
    """Draw the gain over scratch with its interval: a row for each strategy, a marker for each group.

    Args:
        groups: Tables with the columns strategy, difference, low and high, by the group's name.
        heights: The strategies, from top to bottom.
    """
    traces = []
    for (colour, symbol, _), (name, table) in zip(cycle(styles()), groups.items(), strict=False):
        traces.append(
            go.Scatter(
                x=in_points(table["difference"]),
                y=[plain(strategy) for strategy in table["strategy"]],
                error_x=error_bars(table),
                name=plain(name),
                orientation="h",  # so that markers of several groups do not overlap
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 10},
                hovertext=[f"{plain(row.strategy)}, {plain(name)}: {describe_gain(row)}" for row in table.itertuples()],
                hoverinfo="text",
            )
        )
    x = {"title": "gain over scratch (points)"}
    y = {"type": "category", "categoryarray": [plain(name) for name in heights], "autorange": "reversed"}
    height = 30 * len(heights) + 110
    figure = chart(traces, height, xaxis=x, yaxis=y, showlegend=len(groups) > 1, legend=LEGEND, scattermode="group")
    return figure.add_vline(x=0, line={"color": "gray", "width": 1.5})


def in_points(shares: Any) -> list[float]:
    """Convert shares to points with two digits, because a page of many pairs has many numbers."""
    return [round(100 * float(share), 2) for share in shares]


def describe_gain(row: Any) -> str:
    """Write a difference and its interval."""
    interval = f" (95% interval {100 * row.low:+.1f} to {100 * row.high:+.1f})" if np.isfinite(row.low) else ""
    return f"{100 * row.difference:+.1f} points{interval}"


def error_bars(table: pd.DataFrame) -> dict[str, Any]:
    """Return symmetric error bars in points; 0 if there is no interval."""
    reach = in_points((table["high"] - table["difference"]).fillna(0))
    return {"type": "data", "array": reach, "thickness": 1.5, "width": 5}


def lines(curves: dict[str, pd.DataFrame], x: str, quantity: str, **axis: Any) -> go.Figure:
    """Draw a line for each table: the gain over scratch with intervals, or the mean test accuracy.

    Args:
        curves: Tables by the line's name, with the column `x`, and `difference`, `low`, `high` or `test_accuracy`.
        x: The column for the horizontal axis.
        quantity: "gain" or "accuracy".
        axis: Plotly's options of the horizontal axis.
    """
    traces = []
    for (colour, symbol, dash), (name, curve) in zip(cycle(styles()), curves.items(), strict=False):
        table = curve.sort_values(x)
        gain = quantity == "gain"
        words = [describe_gain(row) for row in table.itertuples()] if gain else None
        traces.append(
            go.Scatter(
                x=[float(value) for value in table[x]],
                y=in_points(table["difference" if gain else "test_accuracy"]),
                error_y=error_bars(table) if gain else None,
                name=plain(name),
                meta={"line": name},
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                marker={"symbol": symbol, "size": 7},
                text=words,
                hovertemplate="%{text}" if gain else "%{y:.1f}%",
            )
        )
    title = "gain over scratch (points)" if quantity == "gain" else "test accuracy (%)"
    figure = chart(traces, 460, xaxis=axis, yaxis={"title": title}, showlegend=True, legend=LEGEND)
    return figure.add_hline(y=0, line={"color": "gray", "width": 1.5}) if quantity == "gain" else figure


def by_predictor(pairs: pd.DataFrame, predictor: pd.Series, name: str) -> go.Figure:
    """Draw a marker for each pair of classes: its gain over scratch, by a possible predictor.

    Args:
        pairs: Rows of `pairs.csv`.
        predictor: Its value for each row.
        name: Its name, for the axis.
    """
    words = [f"{plain(str(row.classes_b).replace(',', ' or '))}: {describe_gain(row)}" for row in pairs.itertuples()]
    marks = {"color": ORANGE, "symbol": "circle", "size": 8, "opacity": 0.8}
    places = {"x": [round(float(value), 4) for value in predictor], "y": in_points(pairs["difference"])}
    points = go.Scatter(**places, mode="markers", marker=marks, hovertext=words, hoverinfo="text")
    figure = chart([points], 380, xaxis={"title": plain(name)}, yaxis={"title": "gain over scratch (points)"})
    return figure.add_hline(y=0, line={"color": "gray", "width": 1.5})


def map_of_pairs(pairs: Any, class_names: Sequence[str], numbers: dict[str, int]) -> go.Figure:
    """Draw the gain over scratch by pair of classes.

    Args:
        pairs: Rows of `pairs.csv` for one strategy and size.
        class_names: All classes of the dataset.
        numbers: A number for each pair, by its names in `classes_b`.

    Returns:
        The figure. The `customdata` of a cell is its pair's number, or -1.
    """
    k = len(class_names)
    gain: list[list[float | None]] = [[None] * k for _ in range(k)]
    words, chosen = [[""] * k for _ in range(k)], [[-1] * k for _ in range(k)]
    for row in pairs.itertuples():
        i, j = (class_names.index(name) for name in row.classes_b.split(","))
        text = f"{plain(class_names[i])} or {plain(class_names[j])}: {describe_gain(row)}, {row.verdict}"
        for a, b in ((i, j), (j, i)):
            gain[a][b], words[a][b], chosen[a][b] = 100 * row.difference, text, numbers[row.classes_b]
    largest = max([0.1, *(abs(cell) for row in gain for cell in row if cell is not None)])
    ticks = {"tickvals": list(range(k)), "ticktext": [plain(name, MAX_LETTERS) for name in class_names]}
    grid = go.Heatmap(
        z=gain,
        text=[["" if cell is None else f"{cell:+.1f}" for cell in row] for row in gain],
        texttemplate="%{text}",
        customdata=chosen,
        hovertext=words,
        hoverinfo="text",
        hoverongaps=False,
        textfont={"color": "black"},
        colorscale=[[0, "#a895cf"], [0.5, "#f7f7f7"], [1, "#f2a65a"]],  # purple and orange
        zmin=-largest,
        zmax=largest,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    x = {**ticks, "showgrid": False, "zeroline": False, "tickangle": -45, "range": [-0.5, k - 0.5]}
    y = {**ticks, "showgrid": False, "zeroline": False, "range": [k - 0.5, -0.5]}
    return chart([grid], 520, xaxis=x, yaxis=y)

"""The charts of both pages, by plotly. Text is escaped: plotly reads some HTML in it.

Colours are Okabe and Ito's, and what colour tells, marks and dashes tell, too. What depends on light or dark mode is
left to the page's style sheet.
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

from headstart.finished import Result
from headstart.plots import BLUE, GREEN, ORANGE, PURPLE, SKY

COLOURS = {"scratch": BLUE, "last_layer": ORANGE, "two_layers": GREEN, "a": PURPLE}  # the strategies' as in figures/
MARKS = {"scratch": "circle", "last_layer": "square", "two_layers": "triangle-up", "a": "diamond"}
STYLES = [(BLUE, "circle", "solid"), (ORANGE, "square", "dash"), (GREEN, "triangle-up", "dashdot")]
STYLES += [(PURPLE, "diamond", "dot"), (SKY, "triangle-down", "longdash")]
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
GRID = "rgba(128, 128, 128, 0.3)"  # to be seen on white and on black
LONGEST = 14  # letters of a class name beside a chart


def chart(traces: Sequence[Any], height: int, **layout: Any) -> go.Figure:
    """A figure in the page's style."""
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
    """Text as plotly is to be given it; shortened where it would leave no room for the chart."""
    words = str(text)
    if longest and len(words) > longest:
        words = words[: longest - 1] + "…"
    return html.escape(words, quote=False)


def final_accuracies(strategies: Sequence[Result]) -> go.Figure:
    """Test accuracy after the last epoch with its 95% interval, a line a strategy."""
    traces = []
    for trained in strategies:
        final, (low, high) = 100 * trained.test_accuracy, trained.interval
        reach = {"array": [100 * high - final], "arrayminus": [final - 100 * low], "thickness": 2, "width": 8}
        mark = {"color": COLOURS[trained.name], "symbol": MARKS[trained.name], "size": 13}
        words = f"{plain(trained.title)}: {final:.1f}%, 95% interval {low:.1%} to {high:.1%}"
        shown = {"x": [final], "y": [plain(trained.title)], "text": [f"{final:.1f}%"], "hovertext": [words]}
        style = {"mode": "markers+text", "textposition": "top center", "cliponaxis": False, "hoverinfo": "text"}
        traces.append(go.Scatter(**shown, **style, error_x=reach, marker=mark))
    x, y = {"title": "test accuracy (%)"}, {"autorange": "reversed", "type": "category"}
    return chart(traces, 70 * len(strategies) + 60, xaxis=x, yaxis=y)


def curves(networks: Sequence[Result], quantity: str) -> go.Figure:
    """ "accuracy" or "loss" by epoch, on training and test images; a trace's `meta` names its network and its part."""
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
    """How often each true class (a row) was taken for each class (a column), as a map and as counts."""
    k = len(trained.class_names)
    counts = confusion_matrix(trained.labels, trained.probabilities.argmax(axis=1), labels=range(k))
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names, of = [plain(name) for name in trained.class_names], counts.sum(axis=1)
    words = [
        [f"{names[i]} taken for {names[j]}: {counts[i, j]:,} of {of[i]:,} ({share[i, j]:.1%})" for j in range(k)]
        for i in range(k)
    ]
    ticks = {"tickvals": list(range(k)), "ticktext": [plain(name, LONGEST) for name in trained.class_names]}
    grid = go.Heatmap(
        z=share.tolist(),
        text=[[f"{count:,}" for count in row] for row in counts],
        texttemplate="%{text}",
        hovertext=words,
        hoverinfo="text",
        textfont={"color": "black"},
        colorscale=[[0, "#f3f7fb"], [1, "#6cb0dc"]],  # blue, light enough for black on it
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    x = {**ticks, "title": "taken for", "showgrid": False, "zeroline": False, "tickangle": 0 if k == 2 else -45}
    y = {**ticks, "title": "is", "showgrid": False, "zeroline": False, "autorange": "reversed"}
    return chart([grid], 300 if k == 2 else 460, xaxis=x, yaxis=y), counts.tolist()


def styles() -> Iterator[tuple[str, str, str]]:
    """(colour, mark, dash) of line after line: 25 differ."""
    for number in range(len(STYLES) ** 2):
        shift = number + number // len(STYLES)
        yield STYLES[number % len(STYLES)][0], *STYLES[shift % len(STYLES)][1:]


def gains(groups: dict[str, pd.DataFrame], heights: Sequence[str]) -> go.Figure:
    """A line a strategy, in this order, and on it a mark a group: the `difference` to scratch with its interval."""
    traces = []
    for (colour, symbol, _), (name, table) in zip(cycle(styles()), groups.items(), strict=False):
        traces.append(
            go.Scatter(
                x=in_points(table["difference"]),
                y=[plain(strategy) for strategy in table["strategy"]],
                error_x=reach_of(table),
                name=plain(name),
                orientation="h",  # groups' marks are set apart along the strategies, not along the gain
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 10},
                hovertext=[f"{plain(row.strategy)}, {plain(name)}: {words_of(row)}" for row in table.itertuples()],
                hoverinfo="text",
            )
        )
    x = {"title": "gain over scratch (points)"}
    y = {"type": "category", "categoryarray": [plain(name) for name in heights], "autorange": "reversed"}
    height = 30 * len(heights) + 110
    figure = chart(traces, height, xaxis=x, yaxis=y, showlegend=len(groups) > 1, legend=LEGEND, scattermode="group")
    return figure.add_vline(x=0, line={"color": "gray", "width": 1.5})


def in_points(shares: Any) -> list[float]:
    """Shares as points, to two digits: nobody sees more, and a page of many pairs has many numbers."""
    return [round(100 * float(share), 2) for share in shares]


def words_of(row: Any) -> str:
    """A difference and its interval, in words."""
    interval = f" (95% interval {100 * row.low:+.1f} to {100 * row.high:+.1f})" if np.isfinite(row.low) else ""
    return f"{100 * row.difference:+.1f} points{interval}"


def reach_of(table: pd.DataFrame) -> dict[str, Any]:
    """Error bars in points, the same both ways; none where there is no interval."""
    reach = in_points((table["high"] - table["difference"]).fillna(0))
    return {"type": "data", "array": reach, "thickness": 1.5, "width": 5}


def lines(curves: dict[str, pd.DataFrame], x: str, quantity: str, **axis: Any) -> go.Figure:
    """A line a table of `curves`, over its column `x`: "gain" with intervals, or mean test "accuracy"."""
    traces = []
    for (colour, symbol, dash), (name, curve) in zip(cycle(styles()), curves.items(), strict=False):
        table = curve.sort_values(x)
        gain = quantity == "gain"
        told = [words_of(row) for row in table.itertuples()] if gain else None
        traces.append(
            go.Scatter(
                x=[float(value) for value in table[x]],
                y=in_points(table["difference" if gain else "test_accuracy"]),
                error_y=reach_of(table) if gain else None,
                name=plain(name),
                meta={"line": name},
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                marker={"symbol": symbol, "size": 7},
                text=told,
                hovertemplate="%{text}" if gain else "%{y:.1f}%",
            )
        )
    title = "gain over scratch (points)" if quantity == "gain" else "test accuracy (%)"
    figure = chart(traces, 460, xaxis=axis, yaxis={"title": title}, showlegend=True, legend=LEGEND)
    return figure.add_hline(y=0, line={"color": "gray", "width": 1.5}) if quantity == "gain" else figure


def by_predictor(judged: pd.DataFrame, predictor: pd.Series, name: str) -> go.Figure:
    """A mark a pair of classes: its gain over scratch, by what may predict it."""
    told = [f"{plain(str(row.classes_b).replace(',', ' or '))}: {words_of(row)}" for row in judged.itertuples()]
    marks = {"color": ORANGE, "symbol": "circle", "size": 8, "opacity": 0.8}
    places = {"x": [round(float(value), 4) for value in predictor], "y": in_points(judged["difference"])}
    pairs = go.Scatter(**places, mode="markers", marker=marks, hovertext=told, hoverinfo="text")
    figure = chart([pairs], 380, xaxis={"title": plain(name)}, yaxis={"title": "gain over scratch (points)"})
    return figure.add_hline(y=0, line={"color": "gray", "width": 1.5})


def map_of_pairs(judged: Any, class_names: Sequence[str], numbers: dict[str, int]) -> go.Figure:
    """Gain by pair of classes; the `customdata` of a cell is the pair's number."""
    k = len(class_names)
    gain: list[list[float | None]] = [[None] * k for _ in range(k)]
    words, chosen = [[""] * k for _ in range(k)], [[-1] * k for _ in range(k)]
    for row in judged.itertuples():
        i, j = (class_names.index(name) for name in row.classes_b.split(","))
        told = f"{plain(class_names[i])} or {plain(class_names[j])}: {words_of(row)}, {row.verdict}"
        for a, b in ((i, j), (j, i)):
            gain[a][b], words[a][b], chosen[a][b] = 100 * row.difference, told, numbers[row.classes_b]
    largest = max([0.1, *(abs(cell) for row in gain for cell in row if cell is not None)])
    ticks = {"tickvals": list(range(k)), "ticktext": [plain(name, LONGEST) for name in class_names]}
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

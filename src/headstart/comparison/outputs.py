"""Write the files of a comparison: `comparison.json`, `comparison.csv` and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headstart.comparison.comparison import Comparison, describe
from headstart.storage.files import write_atomically, write_json, write_text
from headstart.style import STYLES, drawing, legible

COLUMNS = [
    *("first", "second", "metric", "difference", "low", "high", "p_value", "p_uncorrected", "significant"),
    *("test", "se", "df", "paired", "settle_seeds", "settle_items", "words"),
]


def write_outputs(folder: Path, comparison: Comparison) -> dict[str, Any]:
    """Write all files of a comparison.

    Args:
        folder: The folder, which is created.
        comparison: The classifiers and their pairs.

    Returns:
        The content of `comparison.json`.

    Raises:
        OSError: Writing failed.
    """
    content = describe(comparison)
    write_json(folder / "comparison.json", content)
    rows = [
        {
            **pair,
            "low": pair["ci95"][0],
            "high": pair["ci95"][1],
            **{f"settle_{kind}": pair["settle"][kind] for kind in ("seeds", "items")},
        }
        for pair in content["pairs"]
    ]
    table = pd.DataFrame(rows)[COLUMNS].astype({"settle_seeds": "Int64", "settle_items": "Int64"})
    write_text(folder / "comparison.csv", table.to_csv(index=False, lineterminator="\n"))
    with drawing(comparison.accuracies):
        figure = plot_accuracies(comparison)
        write_atomically(folder / "accuracies.png", lambda file: figure.savefig(file, format="png", dpi=120))
    return content


def plot_accuracies(comparison: Comparison) -> Figure:
    """Plot each classifier's accuracy with its 95% interval."""
    names = list(comparison.accuracies)
    figure, ax = plt.subplots(figsize=(8, 0.5 * len(names) + 1.3), layout="constrained")
    for place, name in enumerate(names):
        value, low, high = comparison.accuracies[name]
        reach = [[value - low], [high - value]] if np.isfinite(low) else None
        colour, mark, _ = STYLES[place % len(STYLES)]
        ax.errorbar(value, place, xerr=reach, fmt=mark, color=colour, capsize=4)
        ax.annotate(f"{value:.1%}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    ax.set_yticks(range(len(names)), legible(names), parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.7)
    ax.xaxis.set_major_formatter("{x:.0%}" if ax.get_xlim()[1] - ax.get_xlim()[0] > 0.05 else "{x:.1%}")
    ax.set_xlabel("accuracy with 95% interval")
    ax.grid(axis="x", alpha=0.3)
    plt.close(figure)
    return figure

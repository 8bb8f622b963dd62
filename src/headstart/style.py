"""Colours, markers and the heading that all PNG figures share."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"  # Okabe and Ito's palette
STYLES = [(BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":"), (SKY, "v", "-")]


def add_heading(figure: Figure, heading: str, data_name: str) -> Figure:
    """Add a heading and the source of the images, and close the figure in pyplot.

    Args:
        figure: The figure, which stays usable.
        heading: The first line.
        data_name: The dataset's name, for the second line.

    Returns:
        The same figure.
    """
    figure.suptitle(f"{heading}\nData: {data_name}", fontsize=11, parse_math=False)
    figure.set_layout_engine("constrained")
    plt.close(figure)
    return figure

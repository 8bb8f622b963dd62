"""What the PNG figures of runs, studies and searches share."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"  # Okabe and Ito's
STYLES = [(BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":"), (SKY, "v", "-")]


def finish(figure: Figure, heading: str, data: str) -> Figure:
    """Add the heading, and below it the images' origin; the figure is taken from matplotlib's list of open ones."""
    figure.suptitle(f"{heading}\nData: {data}", fontsize=11, parse_math=False)
    figure.set_layout_engine("constrained")
    plt.close(figure)
    return figure

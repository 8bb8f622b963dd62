"""Colours, markers and the heading that all PNG figures share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.pyplot as plt
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

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
    _, missing = choose_fonts(f"{heading}{data_name}")
    text = "".join("?" if letter in missing else letter for letter in f"{heading}\nData: {data_name}")
    figure.suptitle(text, fontsize=11, parse_math=False)
    figure.set_layout_engine("constrained")
    plt.close(figure)
    return figure


@contextmanager
def drawing(names: Iterable[str] = ()) -> Iterator[None]:
    """Draw with matplotlib's default settings, whatever the user's are, in fonts that have all characters of names.

    Args:
        names: Names in a figure, such as those of classes in Chinese or Korean.
    """
    families, _ = choose_fonts("".join(names))
    with plt.style.context("default"), rc_context({"font.family": families}):
        yield


def legible(names: Sequence[str]) -> list[str]:
    """Return the names, but "class 3" instead of the fourth one if no installed font has its characters."""
    _, missing = choose_fonts("".join(names))
    return [f"class {number}" if missing & set(name) else name for number, name in enumerate(names)]


def choose_fonts(text: str) -> tuple[list[str], set[str]]:
    """Choose the fonts for a text.

    Args:
        text: What will be drawn.

    Returns:
        Font families, matplotlib's default first; and the characters that no installed font has.
    """
    families = ["DejaVu Sans"]
    missing = set(text) - characters_of(findfont(families[0]))
    for font in fontManager.ttflist if missing else ():
        if found := missing & characters_of(font.fname):
            families.append(font.name)
            missing -= found
    return families, missing


@cache
def characters_of(font: str) -> set[str]:
    """Return the characters that a font file has; none if it cannot be read."""
    try:
        return set(map(chr, get_font(font).get_charmap()))
    except (OSError, RuntimeError):
        return set()

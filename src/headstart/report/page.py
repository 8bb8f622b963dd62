"""Write one offline HTML page. Everything that it shows is inside the file, and so is plotly."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from headstart.storage.files import write_text


def write_page(folder: Path, template: str, content: dict[str, Any]) -> Path:
    """Write `report.html`.

    Args:
        folder: Where.
        template: A file in `templates/`.
        content: What the template uses; plotly's figures are in `figures`, by name.

    Returns:
        The file.
    """
    pages = Environment(
        loader=PackageLoader("headstart.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    pages.policies["json.dumps_function"] = json.dumps
    pages.policies["json.dumps_kwargs"] = {"cls": PlotlyJSONEncoder, "separators": (",", ":")}
    pages.filters |= {"percent": percent, "points": points, "zip": zip}
    write_text(folder / "report.html", pages.get_template(template).render(plotly=packed_plotly(), **content))
    return folder / "report.html"


@cache
def packed_plotly() -> str:
    """Return plotly.js, compressed to a third and in base64. The page unpacks it."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")


def data_url(kind: str, content: bytes) -> str:
    """Return a file as an address, such as that of an image inside the page.

    Args:
        kind: The MIME type.
        content: The whole file.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def percent(share: float) -> str:
    """Write 0.9125 as 91.2%."""
    return f"{share:.1%}"


def points(difference: float) -> str:
    """Write 0.0125 as +1.2 (percentage points)."""
    return f"{100 * difference:+.1f}"

"""One offline HTML page of a run: everything it shows is inside the file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from headstart.store import write_text


def write_report(folder: Path, content: dict[str, Any]) -> Path:
    """Write `report.html` of the run in `folder`, whose figures are there and whose `run.json` holds `content`."""
    pages = Environment(loader=PackageLoader("headstart.report", "templates"), autoescape=True)
    figures = {path.stem: embed(path) for path in sorted((folder / "figures").glob("*.png"))}
    page = pages.get_template("run.html").render(run=content, figures=figures)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def embed(picture: Path) -> str:
    """A PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")

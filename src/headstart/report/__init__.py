"""One offline HTML page of a run or a study: everything that it shows, and plotly to show it, is inside the file.

charts   plotly figures;  run, study   what each page says;  templates/   how
"""

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

from headstart.store import write_text


def write_report(folder: Path, content: dict[str, Any]) -> Path:
    """Write `report.html` of the run whose files are in `folder` and whose `run.json` holds `content`.

    Raises BadRequest if a file is missing or torn.
    """
    from headstart.report.run import describe_run

    return write_page(folder, "run.html", describe_run(folder, content))


def write_study_report(folder: Path) -> Path:
    """Write `report.html` of the study in `folder`, from its `results.csv` and rows. Raises BadRequest."""
    from headstart.report.study import describe_study

    return write_page(folder, "study.html", describe_study(folder))


def write_page(folder: Path, template: str, shown: dict[str, Any]) -> Path:
    """Fill in a template; `shown` holds plotly's figures by name as `figures`."""
    pages = Environment(
        loader=PackageLoader("headstart.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    pages.policies["json.dumps_function"] = json.dumps
    pages.policies["json.dumps_kwargs"] = {"cls": PlotlyJSONEncoder, "separators": (",", ":")}
    pages.filters |= {"percent": percent, "points": points}
    write_text(folder / "report.html", pages.get_template(template).render(plotly=packed_plotly(), **shown))
    return folder / "report.html"


@cache
def packed_plotly() -> str:
    """plotly.js, compressed to a third and in base64; the page unpacks it."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")


def data_url(kind: str, content: bytes) -> str:
    """A file as an address, such as an image inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def percent(share: float) -> str:
    """0.9125 as 91.2%."""
    return f"{share:.1%}"


def points(difference: float) -> str:
    """0.0125 as +1.2 (percentage points)."""
    return f"{100 * difference:+.1f}"

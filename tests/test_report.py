from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fixtures_runs import NETWORKS
from headstart.report import write_report

EVIL = "<script>alert(1)</script>&\"'"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
URL_ATTRIBUTES = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping", "cite"}


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


def content(text: str = "plain") -> dict[str, Any]:
    """A run.json whose every text is this one."""
    network = {"copied": 5, "frozen": 4, "trainable_parameters": 1234567, "epochs": 20, "seconds": 61.6}
    network |= {"train_accuracy": 0.987, "test_accuracy": 0.9125, "test_accuracy_ci95": [0.9, 0.925]}
    pair = {"first": text, "second": "scratch", "difference": 0.0125, "ci95": [-0.001, 0.03], "p_value": 0.04}
    return {
        "registration": text,
        "seed": 7,
        "dataset": {"name": text, "source": text, "class_names": [text, "b", "c", "d"]},
        "classes": {"a": ["c", "d"], "b": [text, "b"]},
        "recipe": {"a": {"epochs": 20, "precision": text}, "b": {"epochs": 20, "precision": text}},
        "networks": {name: network | {"train_loss": 0.1, "test_loss": None} for name in NETWORKS},
        "comparison": {"best": "two_layers", "pairs": [pair | {"significant": True}]},
        "audit": [{"rule": text, "holds": False, "evidence": text}, {"rule": "r", "holds": True, "evidence": "e"}],
        "conclusions": [f"first {text}", f"second {text}"],
        "environment": {"python": text},
        "request": {"identity": "0", "precision": "float32", "precision_reason": text},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    for name in (*NETWORKS, "comparison"):
        (tmp_path / "figures" / f"{name}.png").write_bytes(PNG + name.encode())
    return tmp_path


def page_of(folder: Path, text: str = "plain") -> Page:
    return Page(write_report(folder, content(text)).read_text(encoding="utf-8"))


def test_no_text_of_a_run_becomes_html(folder: Path) -> None:
    page = page_of(folder, EVIL)
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    plain = page_of(folder)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text.replace(EVIL, "plain") == plain.text  # every occurrence is there, as text


def test_the_page_says_what_the_run_found(folder: Path) -> None:
    text = " ".join(page_of(folder).text.split())
    assert "first plain second plain" in text
    assert "two_layers 5 4 1,234,567 98.7% 91.2% 90.0% to 92.5% 62" in text
    assert "plain minus scratch +1.2 -0.1 to +3.0 0.04 yes" in text
    assert "plain NO plain" in text
    assert "Registration number plain, seed 7" in text


def test_a_run_of_named_classes_has_no_registration_number(folder: Path) -> None:
    write_report(folder, content() | {"registration": None})
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Registration" not in page
    assert "None" not in page


def test_every_figure_is_inside_the_page(folder: Path) -> None:
    pictures = [attributes for tag, attributes in page_of(folder).elements if tag == "img"]
    embedded = [base64.b64decode(str(picture["src"]).removeprefix("data:image/png;base64,")) for picture in pictures]
    assert embedded == [PNG + name.encode() for name in ("comparison", *NETWORKS)]
    assert all(picture["alt"] for picture in pictures)


def test_the_page_requests_nothing(folder: Path) -> None:
    page = page_of(folder)
    addresses = [
        address for _, attributes in page.elements for name, address in attributes.items() if name in URL_ATTRIBUTES
    ]
    assert addresses
    assert all(str(address).startswith("data:image/png;base64,") for address in addresses)
    style = (folder / "report.html").read_text(encoding="utf-8").partition("<style>")[2].partition("</style>")[0]
    assert not re.findall(r"url\(|@import|//", style)
    assert not {"link", "script", "base"} & {tag for tag, _ in page.elements}


def test_equal_runs_have_equal_pages(folder: Path) -> None:
    first = write_report(folder, content()).read_bytes()
    assert write_report(folder, content()).read_bytes() == first


def test_a_page_that_cannot_be_written_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_report(folder, content()).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(folder, content("new"))
    assert (folder / "report.html").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]

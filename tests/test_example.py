"""The executed notebook in `examples/`: today's code, really run, on all images."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from headstart.notebook import Parameters, build_notebook

EXAMPLE = Path(__file__).parents[1] / "examples" / "practical-2020387499.ipynb"
README = EXAMPLE.parents[1] / "README.md"


@pytest.fixture(scope="module")
def example() -> nbformat.NotebookNode:
    return nbformat.read(EXAMPLE, as_version=4)


def codes(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def set_to(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The parameters."""
    lines = ast.parse(codes(notebook)[0].source).body
    return {line.targets[0].id.lower(): ast.literal_eval(line.value) for line in lines}


def shown(notebook: nbformat.NotebookNode) -> str:
    """All text that the cells have displayed."""
    outputs = [output for cell in codes(notebook) for output in cell.outputs]
    kinds = ("text/markdown", "text/html", "text/plain")
    return "\n".join(output.data[kind] for output in outputs for kind in kinds if kind in output.get("data", {}))


def htmls(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in codes(notebook) for output in cell.outputs]
    return [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]


def test_its_cells_are_todays(example) -> None:
    """Fails when `practical/` has changed since: execute it anew (README, "A worked example")."""
    today = build_notebook(Parameters(**set_to(example)))
    assert [(cell.cell_type, cell.id, cell.source) for cell in example.cells] == [
        (cell.cell_type, cell.id, cell.source) for cell in today.cells
    ]
    parameters = set_to(example)
    assert (parameters["registration"], parameters["epochs"], parameters["seed"]) == ("2020387499", 20, 0)


def test_every_cell_was_run_in_order_and_none_failed_or_warned(example) -> None:
    assert [cell.execution_count for cell in codes(example)] == list(range(1, len(codes(example)) + 1))
    outputs = [output for cell in codes(example) for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"display_data"}
    assert EXAMPLE.stat().st_size < 2_000_000


def test_it_saw_all_images_and_says_which_copy(example) -> None:
    text = shown(example)
    for count in ("40,000", "10,000", "8,000", "2,000"):
        assert f">{count}</td>" in text
    assert set_to(example)["data"] == "cifar10-jpeg-quality-75"  # and no path of any machine


def test_every_rule_of_the_audit_holds(example) -> None:
    [(held, rules)] = re.findall(r"(\d+) of (\d+) rules hold", shown(example))
    assert held == rules


def test_what_the_readme_says_of_it_is_what_it_shows(example) -> None:
    readme = README.read_text(encoding="utf-8").partition("## A worked example")[2].partition("\n## ")[0]
    quoted = [re.sub(r"\n?> ", " ", quote).strip() for quote in re.findall(r"(?:^> .+\n)+", readme, re.MULTILINE)]
    said = re.sub(r"\s+", " ", shown(example))
    assert len(quoted) >= 2
    assert [quote for quote in quoted if quote not in said] == []
    [table] = [html for html in htmls(example) if "trained weights" in html]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
    rows = [line.strip("| ") for line in readme.splitlines() if re.match(r"\|.*\d \|$", line)]
    assert re.findall(r"[\d.]+%", " ".join(rows)) == [cell for cell in cells if cell.endswith("%")]
    assert [row.split()[-1] for row in rows] == cells[len(cells) // len(rows) - 1 :: len(cells) // len(rows)]  # seconds

"""The notebooks in `examples/` have the current code. One of them was executed with all images."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from headstart.notebook.build import Parameters, build_notebook

EXAMPLES = Path(__file__).parents[2] / "examples"
EXECUTED = EXAMPLES / "practical-2020387499.ipynb"
README = EXAMPLES / "README.md"
FOLDER = "cifar10-jpeg-quality-75"  # not the path of a machine


@pytest.fixture(scope="module")
def example() -> nbformat.NotebookNode:
    return nbformat.read(EXECUTED, as_version=4)


def codes(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The values of the parameter cell."""
    [cell] = [cell for cell in codes(notebook) if "parameters" in cell.metadata.get("tags", [])]
    return {line.targets[0].id.lower(): ast.literal_eval(line.value) for line in ast.parse(cell.source).body}


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in codes(notebook) for output in cell.outputs]


def displayed(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for output in outputs(notebook) if "data" in output]


def texts(notebook: nbformat.NotebookNode) -> str:
    """All text that the cells have displayed."""
    kinds = ("text/markdown", "text/html", "text/plain")
    return "\n".join(output.data[kind] for output in displayed(notebook) for kind in kinds if kind in output.data)


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str, str]]:
    return [(cell.cell_type, cell.id, cell.source) for cell in notebook.cells]


def test_the_notebook_for_cifar10_is_current_and_not_executed() -> None:
    notebook = nbformat.read(EXAMPLES / "practical.ipynb", as_version=4)
    assert cells(notebook) == cells(build_notebook(Parameters()))
    assert outputs(notebook) == []


def test_the_executed_notebook_is_current(example) -> None:
    """If this fails, `practical/` has changed: execute the example again (`examples/README.md`)."""
    values = parameters(example)
    assert cells(example) == cells(build_notebook(Parameters(**values, folder=FOLDER)))
    assert (values["registration"], values["epochs"], values["seed"]) == ("2020387499", 20, 0)


def test_all_cells_were_executed_in_order_without_a_warning(example) -> None:
    assert [cell.execution_count for cell in codes(example)] == list(range(1, len(codes(example)) + 1))
    others = [output for output in outputs(example) if output.output_type != "display_data"]
    assert [(output.name, output.text) for output in others] == [("stdout", "Skipped: .complete\n")]  # a hidden file
    assert EXECUTED.stat().st_size < 2_000_000


def test_all_images_were_used(example) -> None:
    for count in ("40000", "10000", "8000", "2000"):
        assert re.search(rf"<td[^>]*>{count}</td>", texts(example))


def test_every_rule_holds(example) -> None:
    found = re.findall(r"(\d+) of (\d+) rules hold", texts(example))
    assert len(found) == 2  # in brief, and in the checks
    assert all(held == rules for held, rules in found)


def test_every_figure_has_a_description(example) -> None:
    figures = [output for output in displayed(example) if "image/png" in output.data]
    assert len(figures) == 8
    assert all(output.metadata["image/png"]["alt"] for output in figures)


def test_the_readme_quotes_the_example_exactly(example) -> None:
    readme = README.read_text(encoding="utf-8").partition("## A worked example")[2].partition("\n## ")[0]
    quoted = [re.sub(r"\n?> ", " ", quote).strip() for quote in re.findall(r"(?:^> .+\n)+", readme, re.MULTILINE)]
    shown_text = re.sub(r"\s+", " ", texts(example).replace("**", ""))
    assert len(quoted) >= 2
    assert [quote for quote in quoted if quote not in shown_text] == []
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in readme.splitlines()
        if re.match(r"\|.*\d \|$", line)
    ]
    [table] = [
        output.data["text/html"]
        for output in outputs(example)
        if "trained weights" in output.get("data", {}).get("text/html", "")
    ]
    values = re.findall(r"<td[^>]*>([^<]*)</td>", table)
    shown = [values[start : start + 6] for start in range(0, len(values), 6)]
    assert rows == [
        [
            name,
            weights,
            f"{float(train):.1f}%",
            f"{float(test):.1f}%",
            interval,
            f"{float(seconds.replace(',', '')):,.0f}",
        ]
        for name, weights, train, test, interval, seconds in shown
    ]

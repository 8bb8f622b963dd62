"""Executed notebooks: small ones for any kernel, and what must be true of them."""

from __future__ import annotations

import ast
import hashlib
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from headstart.datasets.cifar10 import BATCHES
from headstart.datasets.download import CIFAR10
from headstart.notebook.build import Parameters
from headstart.practical.data import CIFAR10_CLASSES
from headstart.training.recipes import RECIPE_A, RECIPE_B, from_json
from support.cifar10 import batch, packed
from support.runs import SMALL

SMALL_RECIPES = tuple(replace(recipe, **from_json(SMALL)) for recipe in (RECIPE_A, RECIPE_B))
CIFAR10_PARAMETERS = Parameters(epochs=1, recipes=tuple(replace(recipe, batch_size=128) for recipe in SMALL_RECIPES))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def sources(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of all code cells."""
    return [cell.source for cell in code_cells(notebook)]


def values_in(source: str) -> dict[str, object]:
    """The values that a cell of assignments sets."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}


def execute(code: str, names: dict[str, Any]) -> None:
    """Execute a cell as a kernel does, without this file's `from __future__ import annotations`."""
    exec(compile(code, "cell", "exec", dont_inherit=True), names)


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """The values in the parameters cell."""
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return values_in(cell.source)


def folder_of(notebook: nbformat.NotebookNode) -> object:
    """The image folder that the notebook reads; None if it reads none."""
    return next((values_in(code)["FOLDER"] for code in sources(notebook) if code.startswith("FOLDER = ")), None)


def load_images(notebook: nbformat.NotebookNode) -> Any:
    """Execute the notebook's own loader: its imports and all definitions up to the loader's last cell."""
    names: dict[str, Any] = {}
    last = next(place for place, code in enumerate(sources(notebook)) if "def load_dataset" in code)
    for code in sources(notebook)[: last + 1]:
        if code.startswith(("import keras\n", "CIFAR10_CLASSES", "FOLDER", "CLASS_NAMES", "def ")):
            execute(code, names)
    return names["load_dataset"]()


def printed(cell: nbformat.NotebookNode) -> str:
    """What a cell has printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def outputs_of(notebook: nbformat.NotebookNode, kind: str) -> list[Any]:
    """Everything of this kind that the cells have displayed."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def check_executed(notebook: nbformat.NotebookNode) -> None:
    """Check what must be true of the executed notebook with any images."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"display_data"}  # no errors, no warnings, nothing printed
    figures = [output for output in outputs if "image/png" in output.data]
    assert len(figures) == 8  # the images, a figure for each network, three of the comparison
    descriptions = [figure.metadata["image/png"]["alt"] for figure in figures]
    assert len({*descriptions}) == 8
    assert all(len(description) > 20 for description in descriptions)
    texts = outputs_of(notebook, "text/markdown")
    assert sum("classifies" in text for text in texts) == 4
    [held, rules] = re.findall(r"^(\d+) of (\d+) rules hold\.$", texts[-1])[0]
    assert held == rules
    assert "broken" not in texts[-1]
    in_brief = cells[0].outputs[0].data["text/markdown"]  # it replaced a placeholder
    conclusions = next(text for text in texts[1:] if "the best test accuracy" in text)
    assert in_brief == f"{conclusions.splitlines()[0]} {texts[-1]}"


HASH = """
import importlib.machinery, sys

class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        text = self.get_data(self.path).decode()
        assert text.count("{known}") == 1
        return compile(text.replace("{known}", "{ours}"), self.path, "exec")

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "keras.src.datasets.cifar10":
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            spec.loader = Loader(name, spec.origin)
            return spec

sys.meta_path.insert(0, Finder)
"""  # a sitecustomize.py: Keras then expects the hash of the generated archive, and is not changed otherwise


def generated_cifar10(place: Path) -> dict[str, str]:
    """Write an archive like CIFAR-10's into a cache of Keras.

    It has as many images as CIFAR-10, because Keras accepts no others: 30 of each class in a batch, repeated. They are
    noise, brighter from class to class.

    Returns:
        The environment variables with which a kernel loads it.
    """
    folder, archive = place / "batches", place / "keras" / "datasets" / "cifar-10-batches-py-target_archive"
    folder.mkdir()
    labels = np.arange(10_000) % 10
    for seed, name in enumerate(BATCHES):
        noise = np.random.default_rng(seed).integers(0, 60, (300, 3072)) + 19 * labels[:300, None]
        images = np.resize(noise.astype(np.uint8), (10_000, 3072))
        (folder / name).write_bytes(batch(10_000, data=images, labels=labels.tolist()))
    meta = {b"label_names": [name.encode() for name in CIFAR10_CLASSES], b"num_cases_per_batch": 10_000}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    ours = hashlib.sha256(packed(archive, folder, mode="w").read_bytes()).hexdigest()
    (place / "sitecustomize.py").write_text(HASH.format(known=CIFAR10.sha256, ours=ours))
    return {"KERAS_HOME": str(place / "keras"), "PYTHONPATH": str(place)}


def check_cifar10(notebook: nbformat.NotebookNode) -> None:
    """Check what must be true of the executed notebook with these images."""
    check_executed(notebook)
    [counts] = [text for text in outputs_of(notebook, "text/html") if "training images" in text]
    assert re.findall(r">(\d+)</td>", counts) == ["40000", "8000", "10000", "2000"]
    words = [text for text in outputs_of(notebook, "text/markdown") if "classifies" in text]
    assert ["of 8,000 test images" in text for text in words] == [True, False, False, False]
    assert all("of 2,000 test images" in text for text in words[1:])
    accuracies = [float(re.findall(r"classifies (.*?)%", text)[0]) for text in words]
    assert accuracies[0] > 25  # guessing: 12.5
    [answers] = [text for text in outputs_of(notebook, "text/plain") if text.startswith("answer of A")]
    assert re.findall(r"^(deer|truck)", answers, re.MULTILINE) == ["deer", "truck"]

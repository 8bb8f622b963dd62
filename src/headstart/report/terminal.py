"""Tables and sentences in the terminal, after a command has finished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from headstart.practical.training import TITLES, predict
from headstart.runs.reader import has_unequal_classes, read_run

if TYPE_CHECKING:
    from rich.console import Console


def show_results(folder: Path, console: Console) -> None:
    """Print a run's table, its conclusions, and the folder of all results.

    Args:
        folder: The folder of a finished run.
        console: Where to print.
    """
    content = read_run(folder)
    table = Table(title=Text(f"{' or '.join(content['classes']['b'])}? ({content['dataset']['name']})"))
    balanced = ["balanced"] if has_unequal_classes(content) else []
    for heading in ("network", "train", "test", "95% interval", "largest class", *balanced, "sec."):
        table.add_column(
            heading, justify="left" if heading == "network" else "right", no_wrap=heading in ("network", "95% interval")
        )
    for name, network in content["networks"].items():
        low, high = network["test_accuracy_ci95"]
        table.add_row(
            Text(name),
            f"{network['train_accuracy']:.1%}",
            f"{network['test_accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{network['largest_class']:.1%}",
            *(f"{network['balanced_accuracy']:.1%}" for _ in balanced),
            f"{network['seconds']:.0f}",
        )
    console.print(table)
    for paragraph in [*content["cautions"], *content["conclusions"]]:
        console.print(Text(paragraph + "\n"))
    broken = [finding["rule"] for finding in content["audit"] if not finding["holds"]]
    console.print(Text(f"Audit: {len(content['audit']) - len(broken)} of {len(content['audit'])} rules hold."))
    for rule in broken:
        console.print(Text(f"  broken: {rule}"))
    console.print(Text(f"Everything is in {folder}; open {folder / 'report.html'}"))


def show_predictions(
    content: dict[str, Any], networks: dict[str, Any], pictures: dict[Path, Any], console: Console
) -> None:
    """Print a table for each picture: what each network predicts, and its three most probable classes.

    Args:
        content: The run, from `read_run`.
        networks: Keras networks by name.
        pictures: uint8 (32, 32, 3) by file.
        console: Where to print.
    """
    predicted = {name: predict(network, np.stack(list(pictures.values()))) for name, network in networks.items()}
    for number, picture in enumerate(pictures):
        columns = ("network", "knows", "predicts", "probability", "then")
        table = Table(*columns, title=Text(str(picture)), title_justify="left")
        for name, probabilities in predicted.items():
            classes = content["classes"]["a" if name == "a" else "b"]
            first, *others = probabilities[number].argsort()[::-1][:3]
            then = [f"{classes[other]} {probabilities[number][other]:.1%}" for other in others]
            row = (TITLES[name], f"{len(classes)} classes", classes[first], f"{probabilities[number][first]:.1%}")
            table.add_row(*map(Text, (*row, ", ".join(then))))
        console.print(table)
    console.print(Text("A network only knows its own classes: whatever a picture shows, it predicts one of them."))

"""What a person reads when a command has ended: tables and words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from headstart.finished import read_run
from headstart.practical.training import TITLES, predict

if TYPE_CHECKING:
    from rich.console import Console


def show_results(folder: Path, console: Console) -> None:
    """The table, the conclusions, and where everything lies."""
    content = read_run(folder)
    table = Table(title=Text(f"{' or '.join(content['classes']['b'])}? ({content['dataset']['name']})"))
    for heading in ("network", "copied", "frozen", "training", "test", "95% interval", "seconds"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, network in content["networks"].items():
        low, high = network["test_accuracy_ci95"]
        table.add_row(
            Text(name),
            str(network["copied"]),
            str(network["frozen"]),
            f"{network['train_accuracy']:.1%}",
            f"{network['test_accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{network['seconds']:.0f}",
        )
    console.print(table)
    for paragraph in [*content["cautions"], *content["conclusions"]]:
        console.print(Text(paragraph + "\n"))
    broken = [finding["rule"] for finding in content["audit"] if not finding["holds"]]
    console.print(Text(f"Audit: {len(content['audit']) - len(broken)} of {len(content['audit'])} rules hold."))
    for rule in broken:
        console.print(Text(f"  does not hold: {rule}"))
    console.print(Text(f"Everything is in {folder}; open {folder / 'report.html'}"))


def show_predictions(
    content: dict[str, Any], networks: dict[str, Any], pictures: dict[Path, Any], console: Console
) -> None:
    """A table a picture: what each network says, and the three classes that it finds most probable."""
    told = {name: predict(network, np.stack(list(pictures.values()))) for name, network in networks.items()}
    for number, picture in enumerate(pictures):
        table = Table("network", "knows", "says", "sure", "and then", title=Text(str(picture)), title_justify="left")
        for name, probabilities in told.items():
            classes = content["classes"]["a" if name == "a" else "b"]
            first, *others = probabilities[number].argsort()[::-1][:3]
            then = [f"{classes[other]} {probabilities[number][other]:.1%}" for other in others]
            row = (TITLES[name], f"{len(classes)} classes", classes[first], f"{probabilities[number][first]:.1%}")
            table.add_row(*map(Text, (*row, ", ".join(then))))
        console.print(table)
    console.print(Text("A network knows its own classes only: whatever else a picture shows, it names one of them."))

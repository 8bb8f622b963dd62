"""A study with made-up numbers.

PYTEST_DONT_REWRITE: the test files import from it before pytest loads it as their plugin.
"""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstart.recipes import RECIPE_A, RECIPE_B, Recipes, as_file
from headstart.store import write_json

GAINS = {"last_layer": -0.03, "two_layers": 0.005, "A3B": -0.01, "A3B+": 0.01, "A5B+": 0.006, "B3B": -0.02}


def make_study(
    folder: Path,
    classes: tuple[str, ...] = ("cat", "dog", "frog", "ship"),
    strategies: tuple[str, ...] = tuple(GAINS),
    sizes: tuple[str, ...] = ("1.0", "5"),
    pairs: int = 3,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
) -> Path:
    """A few pairs of classes, three seeds; transfer gains four points more from few images."""
    from headstart.study.rows import COLUMNS
    from headstart.study.summary import differences, summarise, verdicts

    rng = np.random.default_rng(0)
    lines = []
    for pair, seed, size in product(list(combinations(classes, 2))[:pairs], range(3), sizes):
        for name in ("scratch", *strategies):
            few = size != "1.0"
            mean = 0.9 - 0.2 * few + GAINS.get(name, 0) + 0.04 * few * (name != "scratch")
            accuracy = mean + rng.normal(scale=0.004)
            key = f"{len(lines):064x}"
            row = {"copied": 0, "frozen": 0, "train_images": 10 if few else 1000, "test_images": 200, "seconds": 1.5}
            row |= {"test_accuracy": accuracy, "test_loss": 0.2, "train_accuracy": 0.99, "train_loss": 0.1}
            write_json(folder / "rows" / f"{key}.json", {"key": key, **row, "curve": [0.5, accuracy]})
            names = {"classes_b": ",".join(pair), "seed": seed, "strategy": name, "train_size": size}
            lines.append({**row, **names, "error": "", "key": key})
    results = pd.DataFrame(lines, columns=COLUMNS)
    results.to_csv(folder / "results.csv", index=False)
    summarise(results).to_csv(folder / "summary.csv", index=False)
    verdicts(differences(results)).to_csv(folder / "pairs.csv", index=False)
    asked = {"pairs": "cat,dog+a b", "seeds": 3, "strategies": "practical", "train_sizes": ",".join(sizes), "epochs": 2}
    asked |= {"data": "digits", "precision": "float32", "precision_reason": "float32 was asked for"}
    dataset = {"name": "made-up images", "source": "nowhere", "class_names": list(classes)}
    counts = {"cells": len(lines), "networks": len(lines)}
    write_json(folder / "study.json", {"dataset": dataset, "asked": asked, "recipe": as_file(recipes), **counts})
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study")

"""A study with invented numbers."""

from __future__ import annotations

import shutil
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstart.storage.files import write_json
from headstart.training.recipes import RECIPE_A, RECIPE_B, Recipes, as_file

GAINS = {"last_layer": -0.03, "two_layers": 0.005, "A3B": -0.01, "A3B+": 0.01, "A5B+": 0.006, "B3B": -0.02}


def make_study(
    folder: Path,
    classes: tuple[str, ...] = ("cat", "dog", "frog", "ship"),
    strategies: tuple[str, ...] = tuple(GAINS),
    sizes: tuple[str, ...] = ("1.0", "5"),
    pairs: int = 3,
    recipes: Recipes = (RECIPE_A, RECIPE_B),
) -> Path:
    """Write a study of a few pairs of classes with three seeds; transfer gains four points more from few images."""
    from headstart.study.results import COLUMNS, ResultStore, write_results
    from headstart.study.summary import analyse

    rng = np.random.default_rng(0)
    store, lines = ResultStore(folder), []
    for pair, seed, size in product(list(combinations(classes, 2))[:pairs], range(3), sizes):
        for name in ("scratch", *strategies):
            few = size != "1.0"
            mean = 0.9 - 0.2 * few + GAINS.get(name, 0) + 0.04 * few * (name != "scratch")
            accuracy = mean + rng.normal(scale=0.004)
            key = f"{len(lines):064x}"
            row = {"copied": 0, "frozen": 0, "train_images": 10 if few else 1000, "test_images": 200, "seconds": 1.5}
            row |= {"test_accuracy": accuracy, "test_loss": 0.2, "train_accuracy": 0.99, "train_loss": 0.1}
            store.write(key, {**row, "curve": [0.5, accuracy]})
            names = {"classes_b": ",".join(pair), "seed": seed, "strategy": name, "train_size": size}
            lines.append({**row, **names, "error": "", "key": key})
    analysis = analyse(pd.DataFrame(lines, columns=COLUMNS))
    write_results(folder / "results.csv", analysis.results)
    analysis.summary.to_csv(folder / "summary.csv", index=False)
    analysis.pairs.to_csv(folder / "pairs.csv", index=False)
    options = {"pairs": "cat,dog+a b", "seeds": 3, "strategies": "practical", "train_sizes": ",".join(sizes)}
    options |= {"epochs": 2, "data": "digits", "images": 1.0}
    options |= {"precision": "float32", "precision_reason": "float32 was requested"}
    dataset = {"name": "invented images", "source": "nowhere", "class_names": list(classes)}
    counts = {"conditions": len(lines), "networks": len(lines)}
    write_json(folder / "study.json", {"dataset": dataset, "options": options, "recipe": as_file(recipes), **counts})
    return folder


@pytest.fixture(scope="session")
def shared_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the default study, which no test may change."""
    return make_study(tmp_path_factory.mktemp("shared-study") / "study")


@pytest.fixture
def study(shared_study: Path, tmp_path: Path) -> Path:
    """A copy of the default study."""
    return Path(shutil.copytree(shared_study, tmp_path / "study"))

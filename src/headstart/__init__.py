"""headstart: does a network that has seen other classes get a head start on new ones?

The names below are loaded when they are first used, so that `import headstart` stays free of TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import headstart.practical  # noqa: F401  # it sets what TensorFlow reads when it is imported

if TYPE_CHECKING:
    from headstart.parts import held_out_classes as held_out_classes
    from headstart.parts import split_classes as split_classes
    from headstart.practical.data import Dataset as Dataset
    from headstart.practical.network import colour_statistics as colour_statistics
    from headstart.recipes import RECIPE_A as RECIPE_A
    from headstart.recipes import RECIPE_B as RECIPE_B
    from headstart.recipes import Recipe as Recipe
    from headstart.runs import run as run
    from headstart.sources import load_dataset as load_dataset
    from headstart.strategies import STRATEGIES as STRATEGIES
    from headstart.strategies import Strategy as Strategy
    from headstart.training import Trained as Trained
    from headstart.training import build_network as build_network
    from headstart.training import train as train
    from headstart.training import transfer as transfer

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "practical.data",
    "RECIPE_A": "recipes",
    "RECIPE_B": "recipes",
    "Recipe": "recipes",
    "STRATEGIES": "strategies",
    "Strategy": "strategies",
    "Trained": "training",
    "build_network": "training",
    "colour_statistics": "practical.network",
    "held_out_classes": "parts",
    "load_dataset": "sources",
    "run": "runs",
    "split_classes": "parts",
    "train": "training",
    "transfer": "training",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

"""headstart: does a network that has seen other classes get a head start on new ones?

The names below are loaded when they are first used, so that `import headstart` stays free of TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.practical.data import Dataset as Dataset
    from headstart.practical.data import held_out_classes as held_out_classes
    from headstart.practical.data import split_classes as split_classes
    from headstart.practical.network import build_network as build_network
    from headstart.practical.network import colour_statistics as colour_statistics
    from headstart.practical.recipe import RECIPE_A as RECIPE_A
    from headstart.practical.recipe import RECIPE_B as RECIPE_B
    from headstart.practical.recipe import Recipe as Recipe
    from headstart.practical.training import Trained as Trained
    from headstart.practical.training import train as train
    from headstart.practical.transfer import STRATEGIES as STRATEGIES
    from headstart.practical.transfer import Strategy as Strategy
    from headstart.practical.transfer import transfer as transfer
    from headstart.runs import run as run
    from headstart.sources import load_dataset as load_dataset

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "practical.data",
    "RECIPE_A": "practical.recipe",
    "RECIPE_B": "practical.recipe",
    "Recipe": "practical.recipe",
    "STRATEGIES": "practical.transfer",
    "Strategy": "practical.transfer",
    "Trained": "practical.training",
    "build_network": "practical.network",
    "colour_statistics": "practical.network",
    "held_out_classes": "practical.data",
    "load_dataset": "sources",
    "run": "runs",
    "split_classes": "practical.data",
    "train": "practical.training",
    "transfer": "practical.transfer",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

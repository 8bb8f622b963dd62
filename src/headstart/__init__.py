"""headstart: does a network that has seen other classes get a head start on new ones?

The names below are imported when they are first used, so that `import headstart` does not import TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import headstart.practical  # it sets what TensorFlow reads when it is imported
import headstart.runtime.startup  # noqa: F401  # it sets Keras' backend

if TYPE_CHECKING:
    from headstart.datasets.sources import load_dataset as load_dataset
    from headstart.errors import HeadstartError as HeadstartError
    from headstart.errors import InvalidRequest as InvalidRequest
    from headstart.errors import ResourceError as ResourceError
    from headstart.errors import TrainingFailed as TrainingFailed
    from headstart.practical.data import Dataset as Dataset
    from headstart.practical.network import colour_statistics as colour_statistics
    from headstart.runs.reader import read_run as read_run
    from headstart.training.parts import held_out_classes as held_out_classes
    from headstart.training.parts import split_classes as split_classes
    from headstart.training.recipes import RECIPE_A as RECIPE_A
    from headstart.training.recipes import RECIPE_B as RECIPE_B
    from headstart.training.recipes import Recipe as Recipe
    from headstart.training.recipes import read_recipes as read_recipes
    from headstart.training.strategies import STRATEGIES as STRATEGIES
    from headstart.training.strategies import Strategy as Strategy
    from headstart.training.trainer import Trained as Trained
    from headstart.training.trainer import build_network as build_network
    from headstart.training.trainer import train as train
    from headstart.training.trainer import transfer as transfer
    from headstart.workflows import compare as compare
    from headstart.workflows import run as run
    from headstart.workflows import run_study as run_study

__version__ = "0.1.0"

_MODULES = {
    "Dataset": "practical.data",
    "HeadstartError": "errors",
    "InvalidRequest": "errors",
    "RECIPE_A": "training.recipes",
    "RECIPE_B": "training.recipes",
    "Recipe": "training.recipes",
    "ResourceError": "errors",
    "STRATEGIES": "training.strategies",
    "Strategy": "training.strategies",
    "Trained": "training.trainer",
    "TrainingFailed": "errors",
    "build_network": "training.trainer",
    "colour_statistics": "practical.network",
    "compare": "workflows",
    "held_out_classes": "training.parts",
    "load_dataset": "datasets.sources",
    "read_recipes": "training.recipes",
    "read_run": "runs.reader",
    "run": "workflows",
    "run_study": "workflows",
    "split_classes": "training.parts",
    "train": "training.trainer",
    "transfer": "training.trainer",
}

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

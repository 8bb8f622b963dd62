"""
## The environment, and how tables look

The same seed gives the same numbers on the same machine with the same versions. Another processor adds up in another
order, and 20 epochs make visible differences out of invisible ones.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from pandas.io.formats.style import Styler


def describe_environment() -> dict[str, str]:
    """The versions and the machine that these numbers come from."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "gpu": ", ".join(gpu.name for gpu in tf.config.list_physical_devices("GPU")) or "none",
    }


FORMATS = {
    **dict.fromkeys(("train_accuracy", "test_accuracy", "low", "high"), "{:.1%}"),
    **dict.fromkeys(("difference (points)", "from", "to"), "{:+.1f}"),
    **dict.fromkeys(("train_loss", "test_loss"), "{:.3f}"),
    "p_value": "{:.2g}",
    **dict.fromkeys(("trained weights", "parameters", "training images", "test images", "seconds"), "{:,.0f}"),
}


def readable(table: pd.DataFrame) -> Styler:
    """A table for the eye: shares as percentages, rounded numbers, text to the left."""
    formats: Any = {column: form for column, form in FORMATS.items() if column in table}
    left: Any = [{"selector": "th, td", "props": "text-align: left"}]
    styled = table.style.hide(axis="index").format(formats).set_table_styles(left)
    return styled.format_index(lambda name: str(name).replace("_", " "), axis="columns")


def in_points(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs' differences in points, so that none is read as a share of the other accuracy."""
    columns = {"difference": "difference (points)", "low": "from", "high": "to"}
    return pairs.assign(**{column: 100 * pairs[column] for column in columns}).rename(columns=columns)


def set_up() -> None:
    """Only errors from TensorFlow's log: it remarks on compiling each new network, which is meant."""
    tf.get_logger().setLevel("ERROR")

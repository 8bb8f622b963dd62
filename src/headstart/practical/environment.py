"""
## The environment

The same seed gives the same numbers on the same machine with the same versions. Another processor adds up in another
order, and 20 epochs make visible differences out of invisible ones.
"""

from __future__ import annotations

import os
import platform

import keras
import numpy as np
import tensorflow as tf


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


def set_up() -> None:
    """Only errors from TensorFlow's log: it remarks on compiling each new network, which is meant."""
    tf.get_logger().setLevel("ERROR")

"""The versions and the machine that a result comes from."""

from __future__ import annotations

import os
import platform

import keras
import numpy as np
import tensorflow as tf

import headstart


def describe_environment() -> dict[str, str]:
    """Return versions, system, number of cores and names of GPUs, each as text by name."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "gpu": ", ".join(gpu.name for gpu in tf.config.list_physical_devices("GPU")) or "none",
        "headstart": headstart.__version__,
    }

"""float32 or bfloat16: decided by the hardware and a measurement, not by hope.

A processor without bfloat16 instructions emulates them, fifteen times slower (measured on AVX2 with TensorFlow 2.21).
So `auto` takes bfloat16 only where the processor has it and a short training step proves faster with it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from headstart.errors import BadRequest
from headstart.quiet import import_tensorflow

FASTER = 1.15  # what bfloat16 must gain, so that noise does not choose
IMAGES = 32  # of a step: its ratio is a whole batch's, within chance, for a third of the time
LONGEST = 300  # seconds that the measurement may take; it takes some ten

CHOICES = ("auto", "float32", "bfloat16")


def check_precision(asked: str) -> None:
    """Raises BadRequest if it is none of CHOICES."""
    if asked not in CHOICES:
        raise BadRequest(f"--precision {asked}: give one of {', '.join(CHOICES)}")


def choose_precision(asked: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, str]:
    """The precision to train in, and the reason in words."""
    if asked != "auto":
        return asked, f"{asked} was asked for"
    import_tensorflow()
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return (
            "float32",
            "a GPU is used, for which bfloat16 has not been measured; ask for it with --precision bfloat16",
        )
    if not has_bfloat16(cpuinfo):
        return "float32", "the processor has no bfloat16 instructions and would emulate them"
    try:
        ratio = measure_apart()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return "float32", f"whether bfloat16 is faster could not be measured ({error!s:.200})"
    verdict = f"a training step in bfloat16 is {ratio:.2f} times as fast as in float32"
    return ("bfloat16" if ratio >= FASTER else "float32"), f"{verdict} (measured; {FASTER} is asked for)"


def has_bfloat16(cpuinfo: Path) -> bool:
    """Whether Linux lists AVX-512 or AMX instructions for bfloat16; where it cannot be read, no."""
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure_apart() -> float:
    """`measure_gain` in a process of its own: in this one, TensorFlow would keep some 120 MB of it to the end.

    Raises OSError, SubprocessError or ValueError where that fails.
    """
    code = "from headstart.precision import measure_gain; print(measure_gain())"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-P", "-c", code]  # -P: what the folder that this is called in holds is not imported
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=True, timeout=LONGEST)
    return float(done.stdout)


def measure_gain(steps: int = 4, rounds: int = 3) -> float:
    """The median ratio float32 : bfloat16 of the time of some training steps, measured in turn."""
    from dataclasses import replace

    import numpy as np

    from headstart.recipes import RECIPE_A
    from headstart.training import build_network

    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(IMAGES, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(8, size=IMAGES)
    networks = []
    for precision in ("float32", "bfloat16"):
        network = build_network(8, replace(RECIPE_A, precision=precision), ([127.5] * 3, [4096.0] * 3), seed=0)
        network.compile("sgd", "sparse_categorical_crossentropy")
        network.train_on_batch(images, labels)  # compiling is not counted
        networks.append(network)
    ratios = []
    for _ in range(rounds):
        times = []
        for network in networks:
            start = time.perf_counter()
            for _ in range(steps):
                network.train_on_batch(images, labels)
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)

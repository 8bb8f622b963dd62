"""Choose float32 or bfloat16, by the hardware and a measurement.

A processor without bfloat16 instructions emulates them, fifteen times slower (measured on AVX2 with TensorFlow 2.21).
So `auto` takes bfloat16 only if the processor has the instructions and a short training is faster with them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headstart.practical.recipe import RECIPE_A, Recipe
from headstart.runtime.startup import import_tensorflow

MIN_SPEEDUP = 1.15  # bfloat16 must be this much faster, so that noise does not decide
BATCH_SIZE = 32  # gives the same ratio as a whole batch, within the noise, in a third of the time
TIMEOUT = 300  # seconds; the measurement takes about ten

CHOICES = ("auto", "float32", "bfloat16")


def choose_precision(precision: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, str]:
    """Choose the precision to train in.

    Args:
        precision: One of CHOICES.
        cpuinfo: Where Linux lists the processor's instructions.

    Returns:
        "float32" or "bfloat16", and the reason in words.
    """
    if precision != "auto":
        return precision, f"{precision} was requested"
    import_tensorflow()
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return "float32", "a GPU is used, for which bfloat16 has not been measured; it can be requested"
    if not has_bfloat16(cpuinfo):
        return "float32", "the processor has no bfloat16 instructions and would emulate them"
    try:
        ratio = measure_in_subprocess()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return "float32", f"whether bfloat16 is faster could not be measured ({error!s:.200})"
    reason = f"a training step in bfloat16 is {ratio:.2f} times as fast as in float32 (measured; {MIN_SPEEDUP} needed)"
    return "bfloat16" if ratio >= MIN_SPEEDUP else "float32", reason


def has_bfloat16(cpuinfo: Path) -> bool:
    """Check whether Linux lists AVX-512 or AMX instructions for bfloat16; False if the file cannot be read."""
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure_in_subprocess(steps: int = 4, rounds: int = 3) -> float:
    """Run `measure_speedup` in another process, because TensorFlow would keep 120 MB of it in this one.

    Args:
        steps: As in `measure_speedup`.
        rounds: As in `measure_speedup`.

    Returns:
        The ratio of times, float32 / bfloat16.

    Raises:
        OSError, subprocess.SubprocessError, ValueError: The process failed.
    """
    code = f"from headstart.runtime.precision import measure_speedup as measure; print(measure({steps=}, {rounds=}))"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-P", "-c", code]  # -P: do not import from the current folder
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    return float(done.stdout)


def measure_speedup(
    recipe: Recipe = RECIPE_A, steps: int = 4, rounds: int = 3, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measure how much faster training steps are in bfloat16 than in float32.

    Args:
        recipe: The network's sizes.
        steps: Training steps in each measurement.
        rounds: Measurements of each precision, in alternation.
        clock: Returns seconds.

    Returns:
        The median ratio of times, float32 / bfloat16.
    """
    import keras  # takes seconds to import
    import numpy as np

    from headstart.practical.network import build_network

    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(BATCH_SIZE, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(8, size=BATCH_SIZE)
    networks = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)  # for this process, which ends after the measurement
        network = build_network(8, recipe, ([127.5] * 3, [4096.0] * 3), seed=0)
        network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        network.train_on_batch(images, labels)  # the first step compiles
        networks.append(network)
    ratios = []
    for _ in range(rounds):
        times = []
        for network in networks:
            start = clock()
            for _ in range(steps):
                network.train_on_batch(images, labels)
            times.append(clock() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)

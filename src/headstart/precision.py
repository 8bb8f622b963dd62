"""float32 or bfloat16: decided by the hardware and a measurement, not by hope.

A processor without bfloat16 instructions emulates them, fifteen times slower (measured on AVX2 with TensorFlow 2.21).
So `auto` takes bfloat16 only where the processor has it and a short training step proves faster with it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from headstart.errors import BadRequest

FASTER = 1.15  # what bfloat16 must gain, so that noise does not choose

CHOICES = ("auto", "float32", "bfloat16")


def check_precision(asked: str) -> None:
    """Raises BadRequest if it is none of CHOICES."""
    if asked not in CHOICES:
        raise BadRequest(f"--precision {asked}: give one of {', '.join(CHOICES)}")


def choose_precision(asked: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, str]:
    """The precision to train in, and the reason in words."""
    if asked != "auto":
        return asked, f"{asked} was asked for"
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return (
            "float32",
            "a GPU is used, for which bfloat16 has not been measured; ask for it with --precision bfloat16",
        )
    if not has_bfloat16(cpuinfo):
        return "float32", "the processor has no bfloat16 instructions and would emulate them"
    ratio = measure_gain()
    verdict = f"a training step in bfloat16 is {ratio:.2f} times as fast as in float32"
    return ("bfloat16" if ratio >= FASTER else "float32"), f"{verdict} (measured; {FASTER} is asked for)"


def has_bfloat16(cpuinfo: Path) -> bool:
    """Whether Linux lists AVX-512 or AMX instructions for bfloat16; where it cannot be read, no."""
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure_gain(steps: int = 4, rounds: int = 3) -> float:
    """The median ratio float32 : bfloat16 of the time of some training steps, measured in turn."""
    from dataclasses import replace

    import numpy as np

    from headstart.practical.network import build_network
    from headstart.practical.recipe import RECIPE_A

    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(RECIPE_A.batch_size, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(8, size=RECIPE_A.batch_size)
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

"""headstart side by side with a plain Keras script, and with the machine's own limit.

Each arm is a process of its own; the arms take turns, and the table gives medians and ratios over the rounds (plain
over ours: more is better). A phase of 20 epochs is reckoned from a short one: the first epoch, with everything that
comes before it, and 19 times the median of the others.

    python benchmarks/bench.py [--quick] [--data PATH]

writes benchmarks/latest.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PHASES = ("a", "scratch", "last_layer", "two_layers")
FLOP_TRAINING, FLOP_PREDICTING = (
    157.7e6,
    53.1e6,
)  # an image through conv 32-32-64-64 and fc 512, with and without the way back


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer images, one round: minutes instead of an hour")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "parts.npz"
        images, name = write_parts(options.data, arrays, share=0.08 if options.quick else 1.0)
        arms = {
            "plain": ["plain_keras.py", str(arrays)],
            "plain_without_stall": ["plain_keras.py", str(arrays), "--no-stall"],
            "ours": ["ours.py", str(arrays)],
        }
        results = {arm: [] for arm in arms}
        for number in range(rounds):
            for arm, command in arms.items():
                results[arm].append(run(command))
                print(f"round {number + 1} of {rounds}, {arm}: {summary(results[arm][-1])}", flush=True)
    report = compare(results, images)
    report |= {
        "data": name,
        "images_a": images,
        "rounds": rounds,
        "quick": options.quick,
        "startup_seconds": startup_seconds(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
    }
    (HERE / "latest.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def write_parts(data, path, share):
    """Parts A and B for registration number 2020387499 as one .npz; a share of them, every class alike."""
    from headstart.practical.data import split_classes
    from headstart.sources import open_dataset

    dataset, _ = open_dataset(data, print)
    arrays = {}
    for part, content in zip("ab", split_classes(dataset, (4, 9)), strict=True):
        for kind in ("train", "test"):
            labels = getattr(content, f"y_{kind}")
            chosen = np.random.default_rng(0).permutation(len(labels))[: round(share * len(labels))]
            arrays[f"x_{kind}_{part}"] = getattr(content, f"x_{kind}")[chosen]
            arrays[f"y_{kind}_{part}"] = labels[chosen]
    np.savez(path, **arrays)
    return {kind: len(arrays[f"x_{kind}_a"]) for kind in ("train", "test")}, dataset.name


def run(command):
    script, *arguments = command
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, HERE / script, *arguments], check=True, capture_output=True, text=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def twenty_epochs(phase):
    return phase["start"] + 19 * statistics.median(phase["epochs"])


def summary(result):
    return ", ".join(f"{phase} {statistics.median(result[phase]['epochs']):.2f} s an epoch" for phase in PHASES)


def compare(results, images):
    """Medians over the rounds of the ratios within a round."""

    def ratio(arm, phases):
        pairs = zip(results[arm], results["ours"], strict=True)
        return round(
            statistics.median(
                sum(twenty_epochs(other[p]) for p in phases) / sum(twenty_epochs(ours[p]) for p in phases)
                for other, ours in pairs
            ),
            3,
        )

    precision = results["ours"][0]["precision"]
    peak = matmul_peak(precision)
    work = images["train"] * FLOP_TRAINING + 2 * images["test"] * FLOP_PREDICTING
    epoch = statistics.median(statistics.median(ours["a"]["epochs"]) for ours in results["ours"])
    return {
        **{f"{'network_a' if phase == 'a' else phase}_ratio": ratio("plain", [phase]) for phase in PHASES},
        "practical_ratio": ratio("plain", PHASES),
        "plain_without_stall_ratio": ratio("plain_without_stall", PHASES),
        "network_a_without_stall_ratio": ratio("plain_without_stall", ["a"]),
        "seconds_of_20_epochs": {
            arm: {p: round(statistics.median(twenty_epochs(r[p]) for r in runs), 1) for p in PHASES}
            for arm, runs in results.items()
        },
        "matmul_peak_gflops": round(peak / 1e9, 1),
        "roofline_fraction": round(work / epoch / peak, 3),
        "precision": precision,
        "precision_reason": results["ours"][0]["reason"],
        "peak_rss_ratio": round(
            statistics.median(
                ours["peak_rss"] / plain["peak_rss"]
                for ours, plain in zip(results["ours"], results["plain"], strict=True)
            ),
            3,
        ),
    }


def matmul_peak(precision):
    """The machine's best floating-point operations a second in a large matrix product, of seven tries."""
    import tensorflow as tf

    size = 2048
    matrix = tf.cast(tf.random.normal((size, size)), precision)
    multiply = tf.function(lambda x: tf.linalg.matmul(x, x))
    multiply(matrix)
    rates = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(4):
            product = multiply(matrix)
        product.numpy()
        rates.append(4 * 2 * size**3 / (time.perf_counter() - start))
    return max(rates)


def startup_seconds():
    """The median time of `headstart --help`, of five."""
    command = [Path(sys.executable).with_name("headstart"), "--help"]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 3)


def cpu_name():
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line]
        fields = {key.strip(): value.strip() for key, value in lines}
        wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        flags = [flag for flag in wanted if flag in fields.get("flags", "").split()]
        return f"{fields.get('model name', platform.machine())} ({', '.join(flags)})"
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()

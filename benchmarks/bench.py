"""Compare headstart with a plain Keras script, with PyTorch if it is installed, and with the machine's limit.

Each arm is a separate process. In every round, the arms run one after the other. Each ratio is the other arm's time
divided by ours within one round (more is better), and the median over the rounds. The time of 20 epochs is computed
from three parts: the first epoch with everything before it, 18 times the mean of the middle epochs, and the last epoch,
after which headstart measures all training images. The plain script stalls at the end of some epochs, so more of its
epochs are measured; with --plain-epochs 20, all of them are.

The work is equal: the same images, network, batch size and epochs. After each epoch, the network is measured on the
test images and on as many training images. The other arms train with Adam on unchanged images. Ours uses AdamW, mirrors
the images and, for network A, shifts them; the time for this is included. PyTorch is also measured in bfloat16 if the
processor has instructions for it.

    python benchmarks/bench.py [--quick] [--data PATH] [--rounds N] [--plain-epochs N] [--torch PYTHON]

writes benchmarks/latest.json.
"""

import argparse
import importlib.util
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
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}  # the user's own, before headstart changes it
PHASES = {"a": "network_a", "scratch": "scratch", "last_layer": "last_layer", "two_layers": "two_layers"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="8%% of the images, one round: minutes instead of an hour")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--plain-epochs", type=int, help="of the plain script [default: 8; with --quick: 3]")
    parser.add_argument("--torch", help="the Python that has PyTorch, if it is not this one")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        arrays = str(Path(folder) / "parts.npz")
        images, name = write_parts(options.data, arrays, share=0.08 if options.quick else 1.0)
        arms = {
            "plain": ["plain_keras.py", arrays, "--epochs", str(options.plain_epochs or (3 if options.quick else 8))],
            "plain_without_stall": ["plain_keras.py", arrays, "--no-stall"],
            "ours": ["ours.py", arrays],
        }
        if options.torch or importlib.util.find_spec("torch"):
            arms["pytorch"] = ["plain_pytorch.py", arrays]
            if "bf16" in cpu_name():
                arms["pytorch_bfloat16"] = ["plain_pytorch.py", arrays, "--bfloat16"]
        results = {arm: [] for arm in [*arms, "peaks"]}
        for number in range(rounds):
            for arm, command in arms.items():
                results[arm].append(run(command, options.torch if "pytorch" in arm else None))
                print(f"round {number + 1} of {rounds}, {arm}: {summary(results[arm][-1])}", flush=True)
            results["peaks"].append(run(["peaks.py", results["ours"][-1]["precision"]]))
    report = compare(results, images)
    report |= {"data": name, "images_a": images, "rounds": rounds, "quick": options.quick}
    report |= {"startup_seconds": startup_seconds(), "cpu": cpu_name(), "cores": os.cpu_count()}
    print(table(report))
    (HERE / "latest.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"All figures are in {HERE / 'latest.json'}")


def write_parts(data, path, share):
    """Write the data of all arms as one .npz: a random share of parts A and B (4 and 9), and the network's sizes."""
    from headstart.datasets.sources import open_dataset
    from headstart.practical.data import split_classes
    from headstart.practical.recipe import RECIPE_A

    dataset, source = open_dataset(data)
    print(f"Data: {dataset.name} ({source})")
    arrays = {name: getattr(RECIPE_A, name) for name in ("widths", "units", "dropout")}
    for part, content in zip("ab", split_classes(dataset, (4, 9)), strict=True):
        for kind in ("train", "test"):
            labels = getattr(content, f"y_{kind}")
            chosen = np.random.default_rng(0).permutation(len(labels))[: round(share * len(labels))]
            arrays[f"x_{kind}_{part}"] = getattr(content, f"x_{kind}")[chosen]
            arrays[f"y_{kind}_{part}"] = labels[chosen]
    np.savez(path, **arrays)
    return {kind: len(arrays[f"x_{kind}_a"]) for kind in ("train", "test")}, dataset.name


def run(command, python=None):
    """Run a script, and return what its last line contains: {phase: seconds of each epoch, ...}."""
    script, *arguments = command
    command = [python or sys.executable, HERE / script, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    return json.loads(done.stdout.splitlines()[-1])


def steady(epochs):
    """Return the mean of the epochs between the first and the last; of two epochs, the second."""
    return statistics.mean(epochs[1:-1] or epochs[1:])


def twenty_epochs(epochs):
    return epochs[0] + 18 * steady(epochs) + epochs[-1]


def summary(result):
    return ", ".join(f"{phase} {steady(result[phase]):.2f} s an epoch" for phase in PHASES)


def compare(results, images):
    """Return the figures of all rounds: medians of what was measured within one round."""
    ours = results["ours"]

    def median(figure, *arms):
        """Return the median over the rounds of a figure that is computed from these arms' results."""
        return round(statistics.median(map(figure, *(results[arm] for arm in arms))), 3)

    def ratio(arm, phases):
        def within_a_round(other, mine):
            return sum(twenty_epochs(other[p]) for p in phases) / sum(twenty_epochs(mine[p]) for p in phases)

        return median(within_a_round, arm, "ours")

    training, predicting = flop()
    work = images["train"] * training + 2 * images["test"] * predicting
    report = {f"{name}_ratio": ratio("plain", [phase]) for phase, name in PHASES.items()}
    report |= {"practical_ratio": ratio("plain", PHASES)}
    for arm in results.keys() - {"plain", "ours", "peaks"}:
        report |= {f"{arm}_ratio": ratio(arm, PHASES), f"network_a_{arm}_ratio": ratio(arm, ["a"])}
    return report | {
        "peak_rss_ratio": median(lambda mine, plain: mine["peak_rss"] / plain["peak_rss"], "ours", "plain"),
        "roofline_fraction": median(lambda mine, peak: work / steady(mine["a"]) / peak["matmul"], "ours", "peaks"),
        "matmul_gflops": median(lambda peak: peak["matmul"] / 1e9, "peaks"),
        "convolution_gflops": median(lambda peak: peak["convolution"] / 1e9, "peaks"),
        "seconds_of_20_epochs": {
            arm: {phase: median(lambda result, phase=phase: twenty_epochs(result[phase]), arm) for phase in PHASES}
            for arm in results.keys() - {"peaks"}
        },
        "epochs_of_network_a": {arm: [result["a"] for result in results[arm]] for arm in results if arm != "peaks"},
        "peak_rss": {arm: median(lambda result: result["peak_rss"], arm) for arm in results.keys() - {"peaks"}},
        "precision": ours[0]["precision"],
        "precision_reason": ours[0]["reason"],
    }


def flop():
    """Count the operations for one image in training and in prediction. (The image itself has no gradient.)"""
    from headstart.practical.recipe import RECIPE_A
    from headstart.training.cost import layer_work

    forward = 2 * layer_work(RECIPE_A)
    return 3 * forward.sum() - forward[0], forward.sum()


def table(report):
    """Format the medians, one row for each arm, and the ratios below them."""
    seconds = report["seconds_of_20_epochs"]
    rows = [["seconds of 20 epochs", *PHASES, "all", "peak memory"]]
    for arm in sorted(seconds, key=lambda arm: sum(seconds[arm].values())):
        times = [*seconds[arm].values(), sum(seconds[arm].values())]
        rows.append([arm, *(f"{time:.1f}" for time in times), f"{report['peak_rss'][arm] / 1e6:,.0f} MB"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    ratios = [f"{key} {value}" for key, value in report.items() if key.endswith(("_ratio", "_fraction"))]
    return "\n".join([*lines, "", *ratios])


def startup_seconds():
    """Return the median time of `headstart --help` in five trials."""
    command = [Path(sys.executable).with_name("headstart"), "--help"]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 3)


def cpu_name():
    """Return the processor's name, and which of the relevant instructions it has."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = dict(line.replace("\t", "").split(": ", 1) for line in info.read_text().splitlines() if ": " in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in fields["flags"].split()]
    return f"{fields['model name']} ({', '.join(flags)})"


if __name__ == "__main__":
    main()

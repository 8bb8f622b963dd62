"""The benchmark's arithmetic on invented times. (`make bench` itself takes minutes.)"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headstart.practical.network import build_network
from headstart.practical.recipe import RECIPE_A

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KEYS = {
    *("network_a_ratio", "scratch_ratio", "last_layer_ratio", "two_layers_ratio", "practical_ratio"),
    *("plain_without_stall_ratio", "roofline_fraction", "peak_rss_ratio", "startup_seconds", "cpu"),
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench = load("bench")


def arm(a: list[float], memory: float = 1e9) -> dict[str, Any]:
    """Times of one arm: each network on part B takes a tenth of network A's time."""
    return {"a": a, **{phase: [t / 10 for t in a] for phase in ("scratch", "last_layer", "two_layers")}} | {
        "peak_rss": memory,
        "precision": "float32",
        "reason": "why",
    }


ROUNDS = {
    "plain": [arm([12.0, 10.0], 2e9), arm([30.0, 20.0], 2e9), arm([12.0, 10.0], 4e9)],
    "plain_without_stall": [arm([11.0, 9.0])] * 3,
    "ours": [arm([6.0, 4.0, 6.0]), arm([6.0, 5.0, 5.0, 6.0]), arm([3.0, 2.0, 3.0])],
    "peaks": [{"matmul": 1e11, "convolution": 8e10}] * 3,
}


def test_twenty_epochs_are_the_first_18_middle_ones_and_the_last() -> None:
    assert bench.twenty_epochs([5.0, 2.0, 4.0, 7.0]) == 5 + 18 * 3 + 7
    assert bench.twenty_epochs([5.0, 2.0]) == 5 + 19 * 2


def test_a_ratio_is_the_median_of_the_ratios_within_a_round() -> None:
    report = bench.compare(ROUNDS, {"train": 1000, "test": 100})
    within = [(12 + 19 * 10) / (12 + 18 * 4), (30 + 19 * 20) / (12 + 18 * 5), (12 + 19 * 10) / (6 + 18 * 2)]
    assert report["network_a_ratio"] == report["practical_ratio"] == pytest.approx(sorted(within)[1], abs=1e-3)
    assert report["plain_without_stall_ratio"] == pytest.approx((11 + 19 * 9) / 84, abs=1e-3)
    assert report["peak_rss_ratio"] == 0.5
    training, predicting = bench.flop()
    work = 1000 * training + 200 * predicting
    assert report["roofline_fraction"] == pytest.approx(work / 4 / 1e11, abs=1e-3)
    assert report["seconds_of_20_epochs"]["plain"]["scratch"] == pytest.approx(20.2)


def test_the_plain_script_has_the_recipes_network(tmp_path: Path) -> None:
    bench.write_parts("digits", tmp_path / "parts.npz", share=0.01)
    arrays = np.load(tmp_path / "parts.npz")
    plain = load("plain_keras").network(8, *(arrays[name].tolist() for name in ("widths", "units", "dropout")))
    ours = build_network(8, RECIPE_A, ([0.0] * 3, [1.0] * 3), seed=0)
    kinds = ("Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense")  # ours has other layers before these
    described = [
        [
            (type(layer).__name__, layer.output.shape, getattr(layer, "strides", 0), getattr(layer, "rate", 0))
            for layer in network.layers
            if type(layer).__name__ in kinds
        ]
        for network in (ours, plain)
    ]
    assert described[0] == described[1]


def test_the_operations_are_as_counted_by_hand() -> None:
    conv1 = 32 * 32 * 9 * 3 * 48  # multiplications; the side is halved after conv1 and conv2, and in conv4
    others = 16 * 16 * 9 * 48 * 96 + 8 * 8 * 9 * 96 * 192 + 4 * 4 * 9 * 192 * 256 + 4 * 4 * 256 * 512 + 512
    forward = 2 * (conv1 + others)
    assert bench.flop() == (3 * forward - 2 * conv1, forward)


def test_the_time_after_the_last_epoch_is_included() -> None:
    def training(callbacks: list[Any]) -> str:
        for _ in range(2):
            callbacks[0].on_epoch_end(0)
        time.sleep(0.2)
        return "a network"

    network, (first, last) = load("ours").timed(training)
    assert network == "a network"
    assert 0 < first < 0.2 <= last


def test_all_ablations_are_different_recipes() -> None:
    changes = load("recipe").ABLATION.values()
    assert len({replace(RECIPE_A, **change) for change in changes}) == len(changes) == 10


def test_pytorchs_ratios_are_reported_if_it_was_measured() -> None:
    report = bench.compare({**ROUNDS, "pytorch": ROUNDS["ours"]}, {"train": 1000, "test": 100})
    assert report["pytorch_ratio"] == report["network_a_pytorch_ratio"] == 1.0


def test_the_whole_benchmark_with_invented_times_writes_every_key(tmp_path: Path, monkeypatch, capsys) -> None:
    def invented(command: list[str], python: str | None = None) -> dict[str, Any]:
        kinds = {"ours.py": "ours", "peaks.py": "peaks"}
        return ROUNDS[kinds.get(command[0], "plain")][0]

    monkeypatch.setattr(bench, "run", invented)
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "startup_seconds", lambda: 0.2)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--quick", "--data", "digits"])
    bench.main()
    report = json.loads((tmp_path / "latest.json").read_text())
    assert report.keys() >= KEYS
    assert report["quick"] is True
    assert report["rounds"] == 1
    assert 60 <= report["images_a"]["train"] <= 68  # 8% of the digits of eight classes
    assert report["data"].startswith("scikit-learn digits")
    printed = capsys.readouterr().out
    assert "practical_ratio 2.405" in printed
    assert "plain" in printed


def test_the_plain_arms_have_the_users_own_environment() -> None:
    """A plain script must not have the variables that headstart sets for its own TensorFlow."""
    output = "print('TF_ENABLE_ONEDNN_OPTS' in os.environ, 'TF_ENABLE_ONEDNN_OPTS' in bench.ENVIRONMENT)"
    code = f"import os, bench, headstart.practical; {output}"
    own = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, env=own, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]

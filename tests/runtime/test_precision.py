from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from headstart.practical.recipe import RECIPE_A
from headstart.runtime.precision import (
    MIN_SPEEDUP,
    choose_precision,
    has_bfloat16,
    measure_in_subprocess,
    measure_speedup,
)

TINY = replace(RECIPE_A, widths=(2, 2, 2, 2), units=2)
WITHOUT = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse2 avx avx2 fma avx512f\n"
WITH = {"avx512": f"{WITHOUT}flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", "amx": "flags : amx_tile amx_bf16\n"}


def cpuinfo(folder: Path, text: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    list_devices = tf.config.list_physical_devices

    def without_gpus(kind: str | None = None) -> list[tf.config.PhysicalDevice]:
        return [device for device in list_devices(kind) if device.device_type != "GPU"]

    monkeypatch.setattr(tf.config, "list_physical_devices", without_gpus)


@pytest.fixture
def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure() -> float:
        raise AssertionError("it was measured")

    monkeypatch.setattr("headstart.runtime.precision.measure_in_subprocess", measure)


@pytest.fixture
def own_policy() -> Iterator[None]:
    """Restore the policy, which a measurement changes in its own process."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("not_measured")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_requested_precision_is_used_on_any_machine(precision: str, tmp_path: Path) -> None:
    assert choose_precision(precision, tmp_path / "missing") == (precision, f"{precision} was requested")


@pytest.mark.usefixtures("not_measured")
def test_processor_without_bfloat16_instructions_is_not_measured(tmp_path: Path) -> None:
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITHOUT))
    assert precision == "float32"
    assert "no bfloat16 instructions" in reason


@pytest.mark.usefixtures("not_measured")
def test_unknown_processor_gets_float32(tmp_path: Path) -> None:
    assert choose_precision("auto", tmp_path / "missing")[0] == "float32"


@pytest.mark.parametrize("flags", WITH)
@pytest.mark.parametrize(
    ("speedup", "chosen"),
    [(2.0, "bfloat16"), (MIN_SPEEDUP, "bfloat16"), (MIN_SPEEDUP - 0.01, "float32"), (0.03, "float32")],
)
def test_bfloat16_is_chosen_only_if_it_is_measured_to_be_faster(
    flags: str, speedup: float, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runtime.precision.measure_in_subprocess", lambda: speedup)
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITH[flags]))
    assert precision == chosen
    assert f"{speedup:.2f} times as fast" in reason


@pytest.mark.usefixtures("not_measured")
def test_gpu_gets_float32_without_a_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITH["amx"]))
    assert precision == "float32"
    assert "GPU" in reason


@pytest.mark.parametrize(
    ("text", "has"), [(WITHOUT, False), (WITH["avx512"], True), (WITH["amx"], True), ("flags : no_avx512_bf16x", False)]
)
def test_instructions_are_found_as_whole_words(text: str, has: bool, tmp_path: Path) -> None:
    assert has_bfloat16(cpuinfo(tmp_path, text)) is has


def test_subprocess_measures_and_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("headstart", "statistics", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the current folder was imported')")
    monkeypatch.chdir(tmp_path)
    assert 0.01 < measure_in_subprocess(steps=1, rounds=1) < 100


@pytest.mark.parametrize("python", ["no-such-program", "false", "echo"])
def test_failed_measurement_gives_float32(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.runtime.precision.sys.executable", python)
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITH["amx"]))
    assert precision == "float32"
    assert "could not be measured" in reason


@pytest.mark.usefixtures("own_policy")
def test_speedup_is_the_ratio_of_float32_to_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def train_on_batch(network: keras.Model, *_: object) -> None:
        nonlocal now
        now += {"float32": 3.0, "bfloat16": 2.0}[network.get_layer("conv1").compute_dtype]

    monkeypatch.setattr(keras.Sequential, "train_on_batch", train_on_batch)
    assert measure_speedup(TINY, clock=lambda: now) == pytest.approx(1.5)

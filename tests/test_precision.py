from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from headstart import recipes
from headstart.precision import FASTER, choose_precision, has_bfloat16, measure_apart, measure_gain

WITHOUT = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse2 avx avx2 fma avx512f\n"
WITH = {"avx512": f"{WITHOUT}flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", "amx": "flags : amx_tile amx_bf16\n"}


def cpuinfo(folder: Path, text: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = tf.config.list_physical_devices

    def devices(kind: str | None = None) -> list[tf.config.PhysicalDevice]:
        return [device for device in everything(kind) if device.device_type != "GPU"]

    monkeypatch.setattr(tf.config, "list_physical_devices", devices)


@pytest.fixture
def never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured() -> float:
        raise AssertionError("it was measured")

    monkeypatch.setattr("headstart.precision.measure_apart", measured)


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_is_asked_for_is_taken_without_a_look_at_the_machine(asked: str, never_measured, tmp_path: Path) -> None:
    assert choose_precision(asked, tmp_path / "nothing") == (asked, f"{asked} was asked for")


def test_a_processor_that_would_emulate_bfloat16_is_spared_the_measurement(never_measured, tmp_path: Path) -> None:
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITHOUT))
    assert precision == "float32"
    assert "no bfloat16 instructions" in reason


def test_where_the_processor_cannot_be_asked_it_is_float32(never_measured, tmp_path: Path) -> None:
    assert choose_precision("auto", tmp_path / "nothing")[0] == "float32"


@pytest.mark.parametrize("flags", WITH)
@pytest.mark.parametrize(
    ("gain", "chosen"), [(2.0, "bfloat16"), (FASTER, "bfloat16"), (FASTER - 0.01, "float32"), (0.03, "float32")]
)
def test_a_processor_with_bfloat16_is_believed_only_when_it_is_faster(
    flags: str, gain: float, chosen: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("headstart.precision.measure_apart", lambda: gain)
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITH[flags]))
    assert precision == chosen
    assert f"{gain:.2f} times as fast" in reason


def test_with_a_gpu_nothing_is_guessed(never_measured, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITH["amx"]))
    assert precision == "float32"
    assert "GPU" in reason


@pytest.mark.parametrize(
    ("text", "has"), [(WITHOUT, False), (WITH["avx512"], True), (WITH["amx"], True), ("flags : no_avx512_bf16x", False)]
)
def test_the_flag_counts_as_a_whole_word(text: str, has: bool, tmp_path: Path) -> None:
    assert has_bfloat16(cpuinfo(tmp_path, text)) is has


def test_the_measurement_apart_is_a_real_one_and_imports_nothing_from_the_folder_it_is_called_in(
    tmp_path: Path, monkeypatch
) -> None:
    for name in ("headstart", "statistics", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a foreign file was run')")
    monkeypatch.chdir(tmp_path)
    assert 0.01 < measure_apart() < 100


@pytest.mark.parametrize("python", ["no-such-program", "false", "echo"])
def test_a_measurement_that_fails_costs_no_more_than_bfloat16(python: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("headstart.precision.sys.executable", python)
    precision, reason = choose_precision("auto", cpuinfo(tmp_path, WITH["amx"]))
    assert precision == "float32"
    assert "could not be measured" in reason


def test_the_measurement_is_a_ratio_of_real_training_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(recipes.RECIPE_A, widths=(2, 2, 2, 2), units=2)
    monkeypatch.setattr(recipes, "RECIPE_A", tiny)
    assert measure_gain(steps=1, rounds=1) > 0


def test_the_measurement_divides_float32s_time_by_bfloat16s(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Network:
        def __init__(self, classes: int, recipe: recipes.Recipe, *_: object, **__: object) -> None:
            self.seconds = 3.0 if recipe.precision == "float32" else 2.0

        def compile(self, *_: object) -> None: ...

        def train_on_batch(self, *_: object) -> None:
            now[0] += self.seconds

    monkeypatch.setattr("headstart.training.build_network", Network)
    monkeypatch.setattr("headstart.precision.time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert measure_gain() == pytest.approx(1.5)

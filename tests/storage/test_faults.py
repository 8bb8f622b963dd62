"""Kills and full disks at file-system operations: `make test-faults` tests every operation. See support/faults.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
SAMPLE = ("run:kill:23", "run:full:70", "study:kill:29", "executed:kill:4", "run:slow:90")
EVERY = [
    f"{work}:{fault}:1" for work in ("run", "report", "study", "notebook", "executed") for fault in ("kill", "full")
]


def inject(script: str, *arguments: str) -> list[dict[str, Any]]:
    """Run a script of `support` and return its lines."""
    code = [sys.executable, "-m", f"support.{script}", *arguments]
    ended = subprocess.run(code, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    print(ended.stdout)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_after_faults_at_some_operations_the_same_command_recovers() -> None:
    found = inject("faults", *SAMPLE)
    assert [problem for one in found for problem in one["problems"]] == []
    assert [one["faults"] for one in found if one["faults"] < 4] == []


@pytest.mark.slow
@pytest.mark.parametrize("work", [*EVERY, "failed:kill:1"])
def test_after_a_fault_at_any_operation_the_same_command_recovers(work: str) -> None:
    [found] = inject("faults", work)
    assert found["problems"] == []
    assert found["faults"] == found["operations"]


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_numbers() -> None:
    [found] = inject("faults", "real:kill:40")
    assert found["problems"] == []
    assert found["faults"] > 15


@pytest.mark.slow
def test_study_with_a_hundred_kills_loses_and_repeats_nothing() -> None:
    found = inject("kill_study", "100")[-1]
    assert found["problems"] == []
    assert found["kills"] == 100

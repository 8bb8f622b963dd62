"""Kills and full disks at every file-system operation (see faults.py): every one of them takes `make test-faults`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SAMPLE = ("run:kill:23", "run:full:70", "study:kill:29", "executed:kill:4", "run:slow:90")
EVERY = [
    f"{work}:{fault}:1" for work in ("run", "report", "study", "notebook", "executed") for fault in ("kill", "full")
]


def struck(script: str, *arguments: str) -> list[dict[str, Any]]:
    code = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    ended = subprocess.run(code, capture_output=True, text=True, check=True)
    print(ended.stdout)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_struck_at_some_operations_nothing_is_torn_and_the_next_start_ends_the_same() -> None:
    found = struck("faults.py", *SAMPLE)
    assert [problem for one in found for problem in one["problems"]] == []
    assert [one["struck"] for one in found if one["struck"] < 4] == []


@pytest.mark.slow
@pytest.mark.parametrize("work", [*EVERY, "failed:kill:1"])
def test_struck_at_any_operation_nothing_is_torn_and_the_next_start_ends_the_same(work: str) -> None:
    [found] = struck("faults.py", work)
    assert found["problems"] == []
    assert found["struck"] == found["operations"]


@pytest.mark.slow
def test_a_real_training_killed_anywhere_ends_in_the_same_numbers() -> None:
    [found] = struck("faults.py", "real:kill:40")
    assert found["problems"] == []
    assert found["struck"] > 15


@pytest.mark.slow
def test_a_study_killed_a_hundred_times_loses_and_repeats_nothing() -> None:
    found = struck("kill_study.py", "100")[-1]
    assert found["problems"] == []
    assert found["kills"] == 100

"""A whole run with tiny networks on a machine where much is missing or unusual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.runs import TINY, contents, write_recipe

UNUSUAL = """
import os, signal, sys, time
signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
reached, real = [], time.time
REACHES = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
sys.addaudithook(lambda event, given: reached.append((event, given)) if event in REACHES else None)
time.time = lambda: real() - YEARS * 365 * 86_400
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])

from headstart.cli import status_of

status = status_of(sys.argv[1:])
assert not reached, reached
assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"  # TensorFlow has its fast kernels
sys.exit(status)
"""


def unusual_run(place: Path, years: int) -> list[str]:
    """Return the command with one core, a clock that is so many years behind, and no access to other machines."""
    code = UNUSUAL.replace("YEARS", str(years))
    recipe = str(write_recipe(place / "tiny.json", TINY))
    options = ("--data", "digits", "--epochs", "2", "--precision", "float32", "--recipe", recipe)
    return [sys.executable, "-c", code, "run", "49", *options, "--out", str(place / "run")]


def test_a_run_succeeds_on_an_unusual_machine(tmp_path: Path) -> None:
    """One core, a Turkish locale, no home, no terminal, no network, a path with spaces and accents, a wrong clock.

    The first start is piped into `head`, which closes the pipe after one line. In the second one, nothing but
    Matplotlib, which misses its folder, writes to standard error, with TensorFlow's default settings.
    """
    place = tmp_path / "Ödev 2 (son) – ı İ"
    place.mkdir()
    homeless = {"HOME": "/proc/no/home", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}
    caches = ("KERAS_HOME", "XDG_CACHE_HOME")
    environment = {
        name: value for name, value in os.environ.items() if name not in caches and not name.startswith("TF_")
    }
    options = {"cwd": place, "env": environment | homeless, "stdin": subprocess.DEVNULL}

    with subprocess.Popen(unusual_run(place, 0), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as first:
        assert first.stdout is not None
        assert first.stderr is not None
        assert first.stdout.readline().startswith(b"Data: scikit-learn digits")
        first.stdout.close()  # as `head -1` does
        assert b"Traceback" not in first.stderr.read()
    assert first.returncode == 1
    assert not (place / "run" / "run.json").exists()

    ended = subprocess.run(unusual_run(place, 30), capture_output=True, check=False, **options)
    assert ended.returncode == 0, ended
    assert [line for line in ended.stderr.splitlines() if b"matplotlib" not in line] == []
    assert "rules hold" in ended.stdout.decode()
    assert "oneDNN" not in ended.stdout.decode()
    assert {"run.json", "recipe.json", "history.csv", "report.html", "models/a.keras"} <= contents(place / "run").keys()

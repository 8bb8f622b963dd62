"""Kill the processes of a study again and again, and compare its results with those of an undisturbed study.

    python tests/support/kill_study.py KILLS [SEED]

The study has 50 small networks. Scheduler, two workers, their nannies and the client (`headstart study --scheduler`)
are separate processes. Each is started again after a kill. Which process is killed, and when, is random; all kills
happen while some networks are still missing. The last line is JSON: the kills by process, the problems and the seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pandas as pd

PLAN = ("--data", "digits", "--pairs", "4,9+3,5+1,8+0,2+6,7", "--seeds", "2", "--strategies", "practical,A3B")
TINY = {"widths": [4, 4, 8, 8], "units": 16, "shift": 0}  # a network that trains in a second
NETWORKS = 50
LEFT = 5  # networks that are missing when the last kill is due, so that a fast machine has time for it


class Cluster:
    """The processes of the study; each is started again when it has ended."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        address, python = f"tcp://127.0.0.1:{port}", sys.executable
        dask = [python, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        worker = [python, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        worker += ["--memory-limit", "0", "--local-directory", str(place)]
        recipe = place / "tiny.json"
        recipe.write_text(json.dumps({"a": TINY, "b": TINY}))
        study = [python, "-c", "from headstart.cli import main; main()", "study", *PLAN, "--recipe", str(recipe)]
        study += ["--epochs", "1", "--precision", "float32"]
        self.commands = {
            "scheduler": dask,
            "worker 1": worker,
            "worker 2": worker,
            "client": [*study, "--out", str(place / "study"), "--scheduler", address],
        }
        self.place = place
        self.running = {name: self.start(name) for name in self.commands}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.place / f"{name}.log").open("ab") as log:
            return subprocess.Popen(self.commands[name], stdout=log, stderr=log, start_new_session=True)

    def restart_ended(self) -> bool:
        """Start every process again that has ended; return whether the client has finished the study."""
        for name, process in self.running.items():
            if process.poll() == 0 and name == "client":
                return True
            if process.poll() is not None:
                self.running[name] = self.start(name)
        return False

    def pid(self, name: str) -> int:
        """Return the number of a process; for "child of" a nanny, that of its worker if it has one."""
        process = self.running[name.removeprefix("child of ")]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[-1]) if name.startswith("child of") and children else process.pid

    def stop(self) -> None:
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def execute(place: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Execute the study, and return how often each process was killed."""
    cluster, killed = Cluster(place), Counter[str]()
    names = [*cluster.commands, "child of worker 1", "child of worker 2"]
    try:
        due = time.monotonic()
        while not cluster.restart_ended():
            done = len(list((place / "study" / "rows").glob("*.json")))
            behind = killed.total() * NETWORKS <= (done + LEFT) * kills
            if killed.total() < kills and time.monotonic() > due and behind:
                name = rng.choice(names)
                with suppress(OSError):  # it has just ended
                    os.kill(cluster.pid(name), signal.SIGKILL)
                    killed[name] += 1
                due = time.monotonic() + rng.uniform(0, 3)
            time.sleep(0.05)
    finally:
        cluster.stop()
    return killed


def results(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results.csv", keep_default_na=False).drop(columns="seconds")


def main() -> None:
    kills, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    problems, start = [], time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in ("killed", "undisturbed"):
            (Path(folder) / name).mkdir()
        killed = execute(Path(folder) / "killed", kills, random.Random(seed))
        seconds = time.monotonic() - start
        execute(Path(folder) / "undisturbed", 0, random.Random(0))
        found, expected = results(Path(folder) / "killed" / "study"), results(Path(folder) / "undisturbed" / "study")
        rows = list((Path(folder) / "killed" / "study" / "rows").iterdir())
        if len(rows) != NETWORKS or found["key"].duplicated().any():
            problems.append(f"{len(rows)} rows, {found['key'].duplicated().sum()} of them twice")
        if not found.equals(expected):
            problems.append(f"other results:\n{found.compare(expected) if found.shape == expected.shape else found}")
    print(json.dumps({"killed": killed, "kills": killed.total(), "problems": problems, "seconds": round(seconds)}))


if __name__ == "__main__":
    main()

"""How a study scales: one worker and two, what a task costs besides its training, and memory over hundreds of networks.

    python benchmarks/study.py scale [--data digits] [--pairs 4-random] [--images 1.0] [--epochs 20] [--precision ...]
    python benchmarks/study.py watch FOLDER PID

`scale` does one and the same study with one worker and with two, in turn, three times; its last line is JSON. The
results have to be equal. `watch`, beside a running `headstart study --out FOLDER` whose process is PID, notes every
five seconds how many networks are trained and how much memory the largest worker takes, until the study ends; it
writes benchmarks/study-memory.csv and docs/study-memory.png.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 3
TASKS, AHEAD = 1000, 6  # as many as a study keeps in flight for two workers


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    scaling = commands.add_parser("scale")
    scaling.add_argument("--data", default="digits")
    scaling.add_argument("--pairs", default="4-random")
    scaling.add_argument("--images", type=float, default=1.0)
    scaling.add_argument("--epochs", type=int, default=20)
    scaling.add_argument("--precision", default="float32")
    watching = commands.add_parser("watch")
    watching.add_argument("folder", type=Path)
    watching.add_argument("pid", type=int)
    options = vars(parser.parse_args())
    if options.pop("command") == "watch":
        watch(**options)
    else:
        print(json.dumps({**scale(options), **tasks(options["data"])}))


def scale(asked):
    """Seconds with one worker and with two, starting them included."""
    import pandas as pd

    seconds, results = {1: [], 2: []}, []
    with tempfile.TemporaryDirectory() as place:
        for number in range(ROUNDS):
            for workers in seconds:
                folder = Path(place) / f"{number}-{workers}"
                seconds[workers].append(do_study(asked, workers, folder))
                results.append(pd.read_csv(folder / "results.csv").drop(columns="seconds"))
                print(f"round {number + 1} of {ROUNDS}, {workers} worker(s): {seconds[workers][-1]:.0f} s", flush=True)
        stored = sum(file.stat().st_size for file in folder.glob("*/*.*"))
    ratio = statistics.median(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
    equal = all(result.equals(results[0]) for result in results)
    return {"networks": len(results[0]), "seconds": seconds, "ratio": ratio, "equal": equal, "bytes_on_disk": stored}


def do_study(asked, workers, folder):
    from headstart.study import check_study, run_study

    study = check_study(out=folder, seeds=1, strategies="practical", say=lambda line: None, **asked)
    start = time.monotonic()
    run_study(study, workers)
    return time.monotonic() - start


def watch(folder, pid):
    """Sample until the process has ended."""
    import pandas as pd
    import psutil

    samples, start, study = [], time.monotonic(), psutil.Process(pid)
    while study.is_running() and study.status() != psutil.STATUS_ZOMBIE:
        networks = len(list((folder / "rows").glob("*.json")))
        memory = []
        for process in study.children(recursive=True):
            try:
                memory.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        if memory:
            sample = {"seconds": round(time.monotonic() - start), "networks": networks, "memory": max(memory)}
            samples.append(sample)
        time.sleep(5)
    table = pd.DataFrame(samples[:-1])  # the last is taken when the workers have gone
    table.to_csv(HERE / "study-memory.csv", index=False, lineterminator="\n")
    plot(table).savefig(HERE.parent / "docs" / "study-memory.png", dpi=110)


def tasks(data):
    """Seconds and bytes of handing out work, as a study does, to two workers that do nothing with it."""
    import numpy as np
    from distributed import as_completed

    from headstart.practical.network import build_network
    from headstart.practical.recipe import RECIPE_A
    from headstart.sources import open_dataset
    from headstart.study.cluster import Data, connect

    dataset, _ = open_dataset(data, print)
    shapes = [array.shape for array in build_network(8, RECIPE_A, ([0.0] * 3, [1.0] * 3), seed=0).get_weights()]
    measured = {"bytes_of_the_dataset": dataset.x_train.nbytes + dataset.x_test.nbytes}
    measured["bytes_of_a_source"] = sum(4 * int(np.prod(shape)) for shape in shapes)
    with connect(2, None) as client:
        client.wait_for_workers(2)
        start = time.monotonic()
        client.register_plugin(Data(dataset))
        measured["seconds_to_prepare_two_workers"] = time.monotonic() - start
        for name, kept in (("row", shapes[:0]), ("source", shapes)):
            start, ended = time.monotonic(), as_completed()
            for number in range(TASKS):
                ended.add(client.submit(answer, kept, pure=False))
                if number >= AHEAD:
                    next(ended).result()
            measured[f"seconds_a_task_with_a_{name}"] = (time.monotonic() - start) / TASKS
    return measured


def answer(shapes):
    """A task that trains nothing: a row, and weights of these shapes."""
    import numpy as np

    return {"test_accuracy": 0.5}, [np.zeros(shape, np.float32) for shape in shapes]


def plot(samples):
    """The largest worker's memory while networks end."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5))
    axes.plot(samples["networks"], samples["memory"] / 1e6, linewidth=1)
    axes.set(xlabel="networks trained", ylabel="memory of the largest worker (MB)", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()

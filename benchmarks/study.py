"""How a study scales: the same 200 networks with one worker and with two, and what a task costs besides its training.

    python benchmarks/study.py [--data digits]

trains each network for one epoch, so that whatever grows with the number of networks shows. It writes
benchmarks/study.csv (a row for each ended network: workers, seconds since the start, bytes of memory of the largest
worker) and docs/study-memory.png; its last line is JSON. One worker and two have to give equal results.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ASKED = {"pairs": "25-random", "seeds": 2, "strategies": "practical", "train_sizes": "1.0", "epochs": 1}
TASKS, AHEAD = 1000, 6  # as many as a study keeps in flight for two workers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits")
    data = parser.parse_args().data
    import pandas as pd

    with tempfile.TemporaryDirectory() as place:
        seen = [do_study(data, workers, Path(place) / str(workers)) for workers in (1, 2)]
        one, two = (pd.read_csv(Path(place) / str(n) / "results.csv").drop(columns="seconds") for n in (1, 2))
        stored = sum(file.stat().st_size for file in (Path(place) / "1").glob("*/*.*"))
    samples = pd.DataFrame([sample for samples in seen for sample in samples])
    samples.to_csv(HERE / "study.csv", index=False, lineterminator="\n")
    plot(samples).savefig(HERE.parent / "docs" / "study-memory.png", dpi=110)
    took = samples.groupby("workers")["seconds"].max()
    summary = {"networks": len(one), "seconds": took.to_dict(), "ratio": took[1] / took[2], "equal": one.equals(two)}
    print(json.dumps({**summary, "bytes_a_network_on_disk": stored // len(one), **tasks(data)}, default=float))


def do_study(data, workers, folder):
    """A sample for each network that has ended."""
    import psutil

    from headstart.study import check_study, run_study

    study = check_study(data=data, out=folder, precision="float32", say=print, **ASKED)
    samples, start = [], time.monotonic()

    def ended(name, line):
        memory = max(child.memory_info().rss for child in psutil.Process().children(recursive=True))
        samples.append({"workers": workers, "seconds": time.monotonic() - start, "memory": memory})
        print(line, flush=True)

    run_study(study, workers, show=ended)
    return samples


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
    for workers, rows in samples.groupby("workers"):
        axes.plot(range(1, len(rows) + 1), rows["memory"] / 1e6, label=f"{workers} worker{'s' if workers > 1 else ''}")
    axes.set(xlabel="networks trained", ylabel="memory of the largest worker (MB)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()

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
from functools import cache
from pathlib import Path

from distributed import WorkerPlugin

HERE = Path(__file__).parent
ROUNDS = 3
SEEDS = 5  # of the study that trains nothing


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
    """Seconds and bytes of a study whose two workers do nothing: what its client, its scheduler and its disk cost."""
    from headstart.sources import fingerprint, open_dataset
    from headstart.study.cluster import connect, execute
    from headstart.study.plan import make_plan
    from headstart.study.rows import Rows

    dataset, _ = open_dataset(data, print)
    plan = make_plan(dataset, fingerprint(dataset), pairs="all", seeds=SEEDS)
    measured = {"bytes_of_the_dataset": dataset.x_train.nbytes + dataset.x_test.nbytes}
    with tempfile.TemporaryDirectory() as folder, connect(2, None) as client:
        client.wait_for_workers(2)
        client.register_plugin(Idle())
        rows, start = Rows(Path(folder)), time.monotonic()
        execute(plan, rows, dataset, client, well)
        measured["seconds_a_pair_and_seed"] = (time.monotonic() - start) / (45 * SEEDS)
        measured["bytes_of_a_source"] = next(iter((Path(folder) / "sources").iterdir())).stat().st_size
    return measured


def well(network, error):
    """What hears of each network's end."""
    assert not error, error


class Idle(WorkerPlugin):
    """Lets a worker answer at once with a row, and with weights of a source's shapes."""

    def setup(self, worker):
        from headstart.practical.network import build_network
        from headstart.practical.recipe import RECIPE_A
        from headstart.study import work

        row = dict.fromkeys(("copied", "frozen", "train_images", "test_images"), 0) | {"curve": [0.5] * 20}
        row |= dict.fromkeys(("test_accuracy", "test_loss", "train_accuracy", "train_loss", "seconds"), 0.5)
        statistics = ([0.0] * 3, [1.0] * 3)

        @cache  # not before the worker is prepared, which comes after this
        def weights():
            return build_network(8, RECIPE_A, statistics, seed=0).get_weights()

        def answer(planned, dataset, source):
            return row, None if planned.strategy else work.Source(8, planned.recipe, statistics, weights())

        work.train_network = answer


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

"""How a study scales: threads and workers, what a task costs besides its training, and memory over many networks.

    python benchmarks/study.py threads [--data digits] [--precision float32]
    python benchmarks/study.py scale [--data digits] [--pairs 4-random] [--images 1.0] [--epochs 20] [--precision ...]
    python benchmarks/study.py watch FOLDER PID

`threads` trains network A in one process with two threads, in one with one thread, and in two processes with one thread
each at the same time. `scale` executes the same study with one worker and with two; the results have to be equal. Both
do so three times, in alternation, and their last line is JSON. `watch` runs while `headstart study --out FOLDER` runs
as the process PID. Every five seconds it records the number of trained networks and the memory of the largest worker.
In the end it writes benchmarks/study-memory.csv and docs/study-memory.png.
"""

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 3
IMAGES, EPOCHS = 2048, 8  # of the measurement of threads
SEEDS = 5  # of the study whose workers do nothing


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    threading, scaling = commands.add_parser("threads"), commands.add_parser("scale")
    for measuring in (threading, scaling):
        measuring.add_argument("--data", default="digits")
        measuring.add_argument("--precision", default="float32")
    scaling.add_argument("--pairs", default="4-random")
    scaling.add_argument("--images", type=float, default=1.0)
    scaling.add_argument("--epochs", type=int, default=20)
    watching = commands.add_parser("watch")
    watching.add_argument("folder", type=Path)
    watching.add_argument("pid", type=int)
    options = vars(parser.parse_args())
    match options.pop("command"):
        case "watch":
            watch(**options)
        case "threads":
            print(json.dumps(threads(**options)))
        case "scale":
            print(json.dumps({**scale(options), **tasks(options["data"])}))


def threads(data, precision, images=IMAGES, rounds=ROUNDS):
    """Measure the milliseconds per image of part A in each process, and how much faster two processes are together."""
    from headstart.datasets.sources import open_dataset
    from headstart.study.estimate import timing_sample
    from headstart.study.task import use_one_thread
    from headstart.training.recipes import RECIPE_A

    few = timing_sample(open_dataset(data).dataset, images)
    recipe = replace(RECIPE_A, precision=precision)
    ways = {
        "one of two threads": (1, None),
        "one of one thread": (1, use_one_thread),
        "each of two": (2, use_one_thread),
    }
    milliseconds = {name: [] for name in ways}
    for number in range(rounds):
        for name, (processes, initializer) in ways.items():
            pools = [ProcessPoolExecutor(1, get_context("spawn"), initializer) for _ in range(processes)]
            for epochs in (3, EPOCHS):  # first, TensorFlow is imported, so that all start at the same time
                trained = [pool.submit(train_a, few, replace(recipe, epochs=epochs)) for pool in pools]
                seconds = [end.result() for end in trained]
            for pool in pools:
                pool.shutdown()
            milliseconds[name].append(1000 * statistics.median(chain.from_iterable(seconds)) / len(few.x_train))
            print(f"round {number + 1} of {rounds}, {name}: {milliseconds[name][-1]:.3f} ms", flush=True)
    two = milliseconds.pop("each of two")
    ratios = {
        name: statistics.median(2 * one / each for one, each in zip(taken, two, strict=True))
        for name, taken in milliseconds.items()
    }
    return {"milliseconds": {**milliseconds, "each of two": two}, "times_as_fast_as": ratios}


def train_a(part, recipe):
    """Return the seconds of each epoch, in another process.

    Without the first and the last epoch, in which the other process may not be training.
    """
    from headstart.practical.network import colour_statistics
    from headstart.training.trainer import build_network, train

    network = build_network(len(part.class_names), recipe, colour_statistics(part.x_train), seed=0)
    return train(network, part, recipe).history["seconds"].diff().iloc[1:-1].tolist()


def scale(options, rounds=ROUNDS):
    """Measure the seconds with one worker and with two, including their start."""
    import pandas as pd

    seconds, results = {1: [], 2: []}, []
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            for workers in seconds:
                folder = Path(place) / f"{number}-{workers}"
                seconds[workers].append(execute(options, workers, folder))
                results.append(pd.read_csv(folder / "results.csv").drop(columns="seconds"))
                print(f"round {number + 1} of {rounds}, {workers} worker(s): {seconds[workers][-1]:.0f} s", flush=True)
        stored = sum(file.stat().st_size for file in folder.glob("*/*.*"))
    ratio = statistics.median(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
    equal = all(result.equals(results[0]) for result in results)
    return {"networks": len(results[0]), "seconds": seconds, "ratio": ratio, "equal": equal, "bytes_on_disk": stored}


def execute(options, workers, folder):
    """Return the seconds of a study without its page."""
    from headstart.study.runner import check_study, execute_study

    study = check_study(out=folder, seeds=1, strategies="practical", **options)
    start = time.monotonic()
    execute_study(study, lambda folder, content, analysis: None, workers)
    return time.monotonic() - start


def watch(folder, pid):
    """Sample memory until the process has ended."""
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
    table = pd.DataFrame(samples[:-1])  # at the last one, the workers had ended
    table.to_csv(HERE / "study-memory.csv", index=False, lineterminator="\n")
    plot(table).savefig(HERE.parent / "docs" / "study-memory.png", dpi=110)


def tasks(data, seeds=SEEDS):
    """Measure a study whose two workers do nothing: the costs of its client, its scheduler and its disk."""
    from headstart.datasets.sources import fingerprint, open_dataset
    from headstart.study.plan import make_plan
    from headstart.study.results import ResultStore, Source
    from headstart.study.scheduler import connect, execute_plan
    from headstart.training.recipes import RECIPE_A
    from headstart.training.trainer import build_network

    dataset, _ = open_dataset(data)
    plan = make_plan(dataset, fingerprint(dataset), pairs="all", seeds=seeds)
    statistics = ([0.0] * 3, [1.0] * 3)
    weights = build_network(8, RECIPE_A, statistics, seed=0).get_weights()
    train = partial(answer, Source(8, RECIPE_A, statistics, weights))
    measured = {"bytes_of_the_dataset": dataset.x_train.nbytes + dataset.x_test.nbytes}
    with tempfile.TemporaryDirectory() as folder, connect(2, None) as client:
        client.wait_for_workers(2)
        store, start = ResultStore(Path(folder)), time.monotonic()
        execute_plan(plan, store, dataset, client, expect_success, train=train)
        measured["seconds_a_pair_and_seed"] = (time.monotonic() - start) / (45 * seeds)
        measured["bytes_of_a_source"] = next(iter((Path(folder) / "sources").iterdir())).stat().st_size
    return measured


def expect_success(network, error):
    """Fail if a network failed."""
    assert not error, error


def answer(trained, spec, dataset, source):
    """Return a row at once and, for a source, weights."""
    row = dict.fromkeys(("copied", "frozen", "train_images", "test_images"), 0) | {"curve": [0.5] * 20}
    row |= dict.fromkeys(("test_accuracy", "test_loss", "train_accuracy", "train_loss", "seconds"), 0.5)
    return row, None if spec.strategy else trained


def plot(samples):
    """Plot the memory of the largest worker by the number of trained networks."""
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

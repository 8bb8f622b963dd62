"""Coverage-guided fuzzing of everything that reads a file. It needs atheris, which has wheels for CPython 3.11 to 3.13.

    python tests/support/fuzz.py run -max_total_time=600 CORPUS

gives mutations of what headstart writes to `run` (run.json, its table and its page), `archive` or `batch` (CIFAR-10's)
or `arrays` (checkpoints, sources). Each input must be read, or refused with the errors in TARGETS. Anything else ends
the fuzzing, and so do more than 5 seconds, or 500 MB more memory than the first, valid input. The input is then in the
working directory.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
READERS = ("json", "tarfile", "zipfile", "pickle")
for module in [name for name in sys.modules if name.partition(".")[0] in READERS]:
    del sys.modules[module]  # atheris instruments modules while they are imported
with atheris.instrument_imports(include=["headstart", "numpy.lib", *READERS]):
    import keras
    import numpy as np
    from rich.console import Console

    from headstart.datasets.cifar10 import BATCHES, read_archive, read_batch
    from headstart.errors import InvalidRequest
    from headstart.report.run import write_run_page
    from headstart.report.terminal import show_results
    from headstart.runs.reader import read_run
    from headstart.storage.files import write_arrays
    from headstart.storage.schema import read_arrays
    from support.cifar10 import batch
    from support.runs import TINY, write_recipe

FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
NOWHERE = Console(file=io.StringIO())
# The decoder in C has no branches that a fuzzer could see.
json._default_decoder.parse_string = json.decoder.py_scanstring  # type: ignore[attr-defined]
json._default_decoder.scan_once = json.scanner.py_make_scanner(json._default_decoder)  # type: ignore[attr-defined]


def written(data: bytes, name: str) -> Path:
    (FOLDER / name).write_bytes(data)
    return FOLDER / name


def run(data: bytes) -> None:
    """Show a run as `headstart run` does, and write its page as `headstart report` does."""
    folder = written(data, "run/run.json").parent
    content = read_run(folder)
    show_results(folder, NOWHERE)
    NOWHERE.file.seek(0)
    try:
        write_run_page(folder, content)
    finally:
        keras.backend.clear_session()  # otherwise Keras' memory for each network would count


TARGETS: dict[str, tuple[Callable[[bytes], object], tuple[type[Exception], ...]]] = {
    "run": (run, (InvalidRequest,)),
    "archive": (lambda data: read_archive(written(data, "archive")), (InvalidRequest,)),
    "batch": (lambda data: read_batch(data, Path("batch")), (InvalidRequest,)),
    "arrays": (lambda data: read_arrays(written(data, "arrays")), (ValueError,)),
}
STRANGE = (None, True, -1, 10**400, 1e308, float("nan"), float("inf"), "", "\x1b[2J", "\ud800", "[/b]", "<b>", [], {})


def seeds() -> dict[str, bytes]:
    """Small files that headstart writes. The run's other files stay next to its run.json, for the page."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in BATCHES:
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(batch(1))
            tar.addfile(member, io.BytesIO(batch(1)))
    write_arrays(FOLDER / "seed", {"weight_0": np.zeros((2, 3), np.float32), "rows": np.array("[]")})
    run = "from headstart.cli import main; main()", "run", "49", "--data", "digits", "--epochs", "1"
    run += "--recipe", str(write_recipe(FOLDER / "tiny.json", TINY))
    subprocess.run(
        [sys.executable, "-c", *run, "--out", FOLDER / "run"], check=True
    )  # another process, so that its memory does not count
    return {
        "run": (FOLDER / "run" / "run.json").read_bytes(),
        "archive": archive.getvalue(),
        "batch": batch(1),
        "arrays": (FOLDER / "seed").read_bytes(),
    }


def mutate_json(data: bytes, most: int, seed: int) -> bytes:
    """Replace a value of the JSON half of the time; otherwise, and if it is not JSON, mutate bytes."""
    rng = random.Random(seed)
    try:
        holder = whole = json.loads(data)
        for _ in range(rng.randrange(1, 5)):
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[key], dict | list) or not holder[key]:
                break
            holder, last = holder[key], (holder, key)
        else:
            holder, key = last
        holder[key] = rng.choice(STRANGE)
        mutated = json.dumps(whole).encode()
    except (ValueError, TypeError, IndexError, RecursionError):
        mutated = data
    if mutated == data or len(mutated) > most or rng.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    return mutated


def main() -> None:
    name, options = sys.argv[1], sys.argv[2:]
    read, refuses = TARGETS[name]
    corpus = Path(next((option for option in options if option[0] != "-"), FOLDER / "corpus"))
    corpus.mkdir(exist_ok=True)
    seed = seeds()[name]
    (corpus / "seed").write_bytes(seed)

    def once(data: bytes) -> None:
        with suppress(refuses):
            read(data)

    mutator = {"custom_mutator": mutate_json} if name == "run" else {}
    once(seed)  # imports everything that is imported at first use
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + 500
    limits = ("-timeout=5", f"-rss_limit_mb={most}", f"-max_len={4 * len(seed)}")
    atheris.Setup([sys.argv[0], *limits, *(o for o in options if o[0] == "-"), str(corpus)], once, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()

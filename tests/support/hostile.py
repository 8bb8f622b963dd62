"""Files that are damaged or hostile: a run's `run.json`, arrays, and whatever else can have the name of a file."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from headstart.runs.reader import NETWORKS, RUN_SCHEMA
from support.cifar10 import Calls

HUGE = 10**400


def run_content() -> dict[str, Any]:
    """The content of a valid `run.json`."""
    network = {"copied": 5, "frozen": 4, "trainable_parameters": 1234567, "epochs": 20, "seconds": 61.6, "features": ""}
    network |= {"feature_seconds": 1.5, "words": "some words"}
    network |= {"train_accuracy": 0.987, "test_accuracy": 0.9125, "test_accuracy_ci95": [0.9, 0.925]}
    network |= {"balanced_accuracy": 0.9, "largest_class": 0.5}
    network |= {"train_loss": 0.1, "test_loss": None, "normalisation": {"mean": [1.0] * 3, "variance": [1.0] * 3}}
    pair = {"difference": 0.0125, "ci95": [-0.001, 0.03], "p_value": 0.04, "p_uncorrected": 0.02, "significant": True}
    pairs = [pair | {"first": first, "second": second} for first, second in combinations(NETWORKS[1:], 2)]
    return {
        "version": "0.1.0",
        "registration": "49",
        "seed": 7,
        "dataset": {"name": "pictures", "source": "a test", "class_names": ["a", "b", "c", "d"]},
        "classes": {"a": ["c", "d"], "b": ["a", "b"]},
        "recipe": {"a": {"epochs": 20, "widths": [4, 4, 8, 8]}, "b": {"epochs": 20, "precision": "float32"}},
        "networks": {name: dict(network) for name in NETWORKS},
        "comparison": {"best": "two_layers", "best_tied": ["two_layers"], "pairs": pairs},
        "audit": [{"rule": "a rule", "holds": False, "evidence": "some"}],
        "cautions": ["with care"],
        "conclusions": ["first", "second"],
        "environment": {"python": "3"},
        "request": {
            "identity": "0",
            "data": "digits",
            "test_share": 0.0,
            "precision": "float32",
            "precision_reason": "none",
        },
    }


def run_json_with(*place: str | int, value: Any) -> bytes:
    """A `run.json` that is valid except for one place."""
    whole: Any = run_content()
    holder = whole
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return json.dumps(whole).encode()


BAD_RUNS: dict[str, Callable[[], bytes]] = {
    "no version": lambda: run_json_with("version", value=None),
    "cut off": lambda: json.dumps(run_content()).encode()[:-1],
    "no text": lambda: b"\xff\xfe\x00",
    "a pickle": lambda: pickle.dumps(Calls(os.abort)),
    "deep lists": lambda: b"[" * 200_000,
    "deep dictionaries": lambda: b'{"a":' * 200_000,
    "a number of 5,000 digits": lambda: b"1" * 5_000,
    "all keys, wrong values": lambda: json.dumps(dict.fromkeys(RUN_SCHEMA, 3)).encode(),
    "no networks": lambda: run_json_with("networks", value=[]),
    "an empty network": lambda: run_json_with("networks", "a", value={}),
    "an accuracy that is text": lambda: run_json_with("networks", "a", "test_accuracy", value="<script>"),
    "an accuracy of 400 digits": lambda: run_json_with("networks", "a", "test_accuracy", value=HUGE),
    "an interval of three": lambda: run_json_with("networks", "a", "test_accuracy_ci95", value=[0, 1, 2]),
    "an unprintable conclusion": lambda: run_json_with("conclusions", 0, value="\x1b]0;owned\x07"),
    "a caution that is a number": lambda: run_json_with("cautions", value=[3]),
    "a p-value that is text": lambda: run_json_with("comparison", "pairs", 0, "p_uncorrected", value="0.01"),
    "a tie of numbers": lambda: run_json_with("comparison", "best_tied", value=[1]),
    "words of two lines": lambda: run_json_with("networks", "a", "words", value="a\nb"),
    "a class name that no file can hold": lambda: run_json_with("classes", "b", 0, value="\ud800"),
    "a line break in a rule": lambda: run_json_with("audit", 0, "rule", value="a\nb"),
    "yes for true": lambda: run_json_with("audit", 0, "holds", value="yes"),
    "another precision": lambda: run_json_with("request", "precision", value="float8; rm -rf"),
    "a recipe of recipes": lambda: run_json_with("recipe", "a", "epochs", value={"a": 1}),
    "no environment": lambda: run_json_with("environment", value=None),
    "no comparison": lambda: run_json_with("comparison", "pairs", value=[]),
    "a comparison with itself": lambda: run_json_with("comparison", "pairs", 2, "first", value="two_layers"),
}


def npz(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(shape: object = (2,), dtype: str = "<f4", data: bytes = bytes(8), before: str = "") -> bytes:
    header = f"{before}{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def objects() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight_0=np.array([Calls(os.abort)], dtype=object))
    return file.getvalue()


def with_false_size(content: bytes) -> bytes:
    """The archive, which now claims that its only member has 2 GiB."""
    where = content.rindex(b"PK\x01\x02")
    return content[: where + 24] + struct.pack("<I", 1 << 31) + content[where + 28 :]


BAD_ARRAYS: dict[str, Callable[[], bytes]] = {
    "objects": objects,
    "a bomb": lambda: npz(zipfile.ZIP_DEFLATED, weight_0=npy((1 << 28,), data=bytes(1 << 24))),
    "a false size": lambda: with_false_size(npz(weight_0=npy())),
    "a shape of terabytes": lambda: npz(weight_0=npy((1 << 40,))),
    "a shape above 64 bits": lambda: npz(weight_0=npy((1 << 80,))),
    "a shape below zero": lambda: npz(weight_0=npy((-1,))),
    "a shape that is code": lambda: npz(weight_0=npy("__import__('os').abort()")),
    "a dtype of gigabytes": lambda: npz(weight_0=npy((1,), "V2000000000")),
    "no such dtype": lambda: npz(weight_0=npy((1,), "Q<9")),
    "a deep header": lambda: npz(weight_0=npy(before="(" * 9_000)),
    "an incomplete member": lambda: npz(weight_0=npy()[:-3]),
    "a pickle instead of a member": lambda: npz(weight_0=pickle.dumps(Calls(os.abort))),
    "a pickle instead of the file": lambda: pickle.dumps(Calls(os.abort)),
}

NOT_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "terabytes": lambda path: (path.touch(), os.truncate(path, 1 << 42)),
}
"""What could block a reader or fill its memory."""

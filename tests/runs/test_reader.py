from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from headstart.errors import InvalidRequest
from headstart.runs.reader import has_unequal_classes, load_network, read_disagreements, read_results, read_run
from support.runs import NETWORKS, FinishedRun


@pytest.fixture
def folder(picture_run: FinishedRun, tmp_path: Path) -> Path:
    """Return a copy of a run's folder, which a test may damage."""
    others = shutil.ignore_patterns("figures", "report.html", *(f"{name}.keras" for name in NETWORKS[1:]))
    return Path(shutil.copytree(picture_run.folder, tmp_path / "run", ignore=others))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the content of `run.json`."""
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    edit(content)
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")


# The results are read as they were written


def test_results_are_read_as_they_were_measured(picture_run: FinishedRun) -> None:
    content = read_run(picture_run.folder)
    results = read_results(picture_run.folder, content)
    assert [trained.name for trained in results] == list(NETWORKS)
    for trained in results:
        stored = content["networks"][trained.name]
        assert trained.test_accuracy == stored["test_accuracy"]
        assert (trained.copied, trained.frozen) == (stored["copied"], stored["frozen"])
        assert trained.history["epoch"].tolist() == [1, 2, 3]
        assert trained.history["test_accuracy"].iloc[-1] == stored["test_accuracy"]
        assert trained.class_names == tuple(content["classes"]["a" if trained.name == "a" else "b"])
        assert trained.interval == tuple(stored["test_accuracy_ci95"])
        assert stored["words"].startswith(trained.title)


def test_a_loaded_network_predicts_the_probabilities_of_the_run(picture_run: FinishedRun) -> None:
    from headstart.datasets.sources import load_dataset
    from headstart.practical.training import predict
    from headstart.training.parts import split_classes

    content = read_run(picture_run.folder)
    parts = split_classes(load_dataset(str(picture_run.place / "pictures")), (0, 1))
    for trained in read_results(picture_run.folder, content):
        network = load_network(picture_run.folder, content, trained.name)
        answers = predict(network, parts[trained.name != "a"].x_test)
        assert np.allclose(answers, trained.probabilities, atol=1e-5)


def test_the_disagreements_are_those_of_the_predictions(picture_run: FinishedRun) -> None:
    from headstart.datasets.sources import load_dataset
    from headstart.training.parts import split_classes

    _, part_b = split_classes(load_dataset(str(picture_run.place / "pictures")), (0, 1))
    _, *strategies = read_results(picture_run.folder, read_run(picture_run.folder))
    answers = np.stack([trained.probabilities.argmax(axis=1) for trained in strategies])
    kept = read_disagreements(picture_run.folder, len(part_b.y_test))
    assert kept is not None
    assert sorted(kept.indices) == np.flatnonzero(answers.min(axis=0) != answers.max(axis=0)).tolist()
    assert np.array_equal(kept.images, part_b.x_test[kept.indices])


# Anything else is refused


@pytest.mark.parametrize(
    "edit",
    [
        lambda run: run.pop("audit"),
        lambda run: run["networks"].pop("scratch"),
        lambda run: run.update(conclusions="<script>"),
        lambda run: run["networks"]["a"].update(test_accuracy="1"),
        lambda run: run["comparison"].update(pairs=[3]),
        lambda run: run["comparison"]["pairs"].pop(),
        lambda run: run.update(environment=[]),
    ],
)
def test_a_run_json_of_another_structure_is_refused(edit: Any, folder: Path) -> None:
    change(folder, edit)
    with pytest.raises(InvalidRequest, match="no finished run here"):
        read_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN', "\0", "null"])
def test_a_damaged_run_json_is_refused(text: str, folder: Path) -> None:
    (folder / "run.json").write_text(text)
    with pytest.raises(InvalidRequest, match="no finished run here"):
        read_run(folder)


def test_a_network_with_an_unknown_name_is_ignored(folder: Path) -> None:
    change(folder, lambda run: run["networks"].update({"../../evil": run["networks"]["a"]}))
    assert list(read_run(folder)["networks"]) == list(NETWORKS)


@pytest.mark.parametrize("name", ["history.csv", "predictions.npz", "disagreements.npz"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"network,epoch\na,1\n", b"\xff" * 99])
def test_a_damaged_file_is_refused_by_its_name(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidRequest, match=f"{name}: not what a run writes there"):
        read_file(folder, name)


def read_file(folder: Path, name: str) -> None:
    """Read `disagreements.npz`, or the two files of the results."""
    if name == "disagreements.npz":
        read_disagreements(folder, 12)
    else:
        read_results(folder, read_run(folder))


BAD_ARRAYS = {
    "labels are shares": {"labels_b": lambda a: a.astype(float)},
    "labels are a column": {"labels_b": lambda a: a[:, None]},
    "labels are no classes": {"labels_b": lambda a: a + 1},
    "probabilities are words": {"scratch": lambda a: a.astype(str)},
    "probabilities are complex": {"scratch": lambda a: a.astype(complex)},
    "no test image": {name: lambda a: a[:0] for name in ("labels_b", "scratch", "last_layer", "two_layers")},
    "image numbers are too large": {"indices": lambda a: a + 10_000},
    "image numbers are negative": {"indices": lambda a: a - 10_000},
    "image numbers are shares": {"indices": lambda a: a.astype(float)},
    "image numbers are flags": {"indices": lambda a: a.astype(bool)},
    "image numbers are one number": {"indices": lambda a: a[0], "images": lambda a: a[0]},
    "image numbers are a table": {"indices": lambda a: a[None], "images": lambda a: a[None]},
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_arrays_of_another_kind_are_refused_by_their_name(kind: str, folder: Path) -> None:
    name = "disagreements.npz" if "indices" in BAD_ARRAYS[kind] else "predictions.npz"
    with np.load(folder / name) as kept:
        arrays = dict(kept)
    assert len(arrays.get("indices", [1]))
    arrays |= {key: spoil(arrays[key]) for key, spoil in BAD_ARRAYS[kind].items()}
    np.savez(folder / name, **arrays)
    with pytest.raises(InvalidRequest, match=f"{name}: not what a run writes there"):
        read_file(folder, name)


def test_a_history_without_a_column_is_refused_by_its_name(folder: Path) -> None:
    history = pd.read_csv(folder / "history.csv")
    history.iloc[:, :-1].to_csv(folder / "history.csv", index=False)
    with pytest.raises(InvalidRequest, match=r"history\.csv: not what a run writes there"):
        read_results(folder, read_run(folder))


def test_arrays_of_objects_are_not_unpickled(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(folder / "evil"),)

    for name in ("predictions.npz", "disagreements.npz"):
        np.savez(folder / name, a=np.array([Evil()], dtype=object), indices=np.array([Evil()], dtype=object))
    with pytest.raises(InvalidRequest):
        read_results(folder, read_run(folder))
    with pytest.raises(InvalidRequest):
        read_disagreements(folder, 12)
    assert not (folder / "evil").exists()


def test_a_run_without_stored_images_has_no_disagreements(folder: Path) -> None:
    (folder / "disagreements.npz").unlink()
    assert read_disagreements(folder, 12) is None


# Weights


def weights_of(folder: Path, make: Callable[[h5py.File], object]) -> None:
    """Replace the weights of network A."""
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        make(weights)
    with zipfile.ZipFile(folder / "models" / "a.keras", "w") as archive:
        archive.writestr("model.weights.h5", file.getvalue())


def bomb(weights: h5py.File) -> None:
    weights.create_dataset("layers/conv2d/vars/0", shape=(30_000, 30_000), dtype="f4", chunks=(1000, 1000))


def link(weights: h5py.File) -> None:
    weights["layers/conv2d/vars/0"] = h5py.ExternalLink("/etc/passwd", "x")


def external(weights: h5py.File) -> None:
    weights.create_dataset("layers/conv2d/vars/0", (3, 3, 3, 32), "f4", external=[("/etc/passwd", 0, 3456)])


def other_shape(weights: h5py.File) -> None:
    weights.create_dataset("layers/conv2d/vars/0", data=np.zeros((3, 3, 3, 5), "f4"))


@pytest.mark.parametrize("make", [bomb, link, external, other_shape, lambda weights: None])
def test_hostile_weights_are_refused(make: Callable[[h5py.File], object], folder: Path) -> None:
    weights_of(folder, make)
    with pytest.raises(InvalidRequest, match=r"a\.keras: not what a run writes there"):
        load_network(folder, read_run(folder), "a")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
def test_damaged_weights_are_refused(content: bytes, folder: Path) -> None:
    (folder / "models" / "a.keras").write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"a\.keras"):
        load_network(folder, read_run(folder), "a")


def test_the_configuration_in_a_file_of_weights_is_not_read(folder: Path) -> None:
    path = folder / "models" / "a.keras"
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", weights)
        archive.writestr("config.json", '{"class_name": "Lambda", "config": {"function": "evil"}}')
    assert len(load_network(folder, read_run(folder), "a").layers) > 6


@pytest.mark.parametrize(
    "recipe",
    [
        *({"units": 10**9}, {"widths": [32, 32, 64, 10**9]}, {"units": "512"}, {"widths": [0, 0, 0, 0]}, {"evil": 1}),
        {"optimizer": "muon", "pools": [1, 2]},  # from an earlier version
    ],
)
def test_an_impossible_recipe_is_refused(recipe: dict[str, Any], folder: Path) -> None:
    change(folder, lambda run: run["recipe"]["a"].update(recipe))
    with pytest.raises(InvalidRequest, match=r"run\.json: not what a run writes there"):
        load_network(folder, read_run(folder), "a")


def test_a_network_of_one_class_is_refused(folder: Path) -> None:
    change(folder, lambda run: run["classes"].update(a=["plain"]))
    with pytest.raises(InvalidRequest, match=r"run\.json: not what a run writes there"):
        load_network(folder, read_run(folder), "a")


EARLIER: dict[str, Callable[[dict[str, Any]], object]] = {
    "words": lambda run: [network.pop("words") for network in run["networks"].values()],
    "feature_seconds": lambda run: [network.pop("feature_seconds") for network in run["networks"].values()],
    "normalisation": lambda run: run["networks"]["a"].pop("normalisation"),
    "p_uncorrected": lambda run: [pair.pop("p_uncorrected") for pair in run["comparison"]["pairs"]],
    "best_tied": lambda run: run["comparison"].pop("best_tied"),
    "cautions": lambda run: run.pop("cautions"),
}
"""What `run.json` of earlier versions did not have."""


@pytest.mark.parametrize("missing", EARLIER)
def test_a_run_of_an_earlier_version_is_refused_in_one_line(missing: str, folder: Path) -> None:
    change(folder, EARLIER[missing])
    with pytest.raises(InvalidRequest, match="it does not have the structure that this version writes") as refused:
        read_run(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("largest_a", "largest_b", "unequal"),
    [(0.13, 0.5, False), (0.13, 0.7, True), (0.3, 0.5, True), (0.125, 0.59, False)],
)
def test_unequal_classes_are_recognised_in_either_part(largest_a: float, largest_b: float, unequal: bool) -> None:
    networks = {"a": {"largest_class": largest_a}, "scratch": {"largest_class": largest_b}}
    classes = {"a": list("abcdefgh"), "b": ["x", "y"]}
    assert has_unequal_classes({"networks": networks, "classes": classes}) == unequal
    assert not has_unequal_classes({"networks": networks, "classes": {"a": [], "b": []}})  # a file can say anything

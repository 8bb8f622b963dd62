from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from headstart.errors import InvalidRequest
from headstart.training.recipes import RECIPE_A, RECIPE_B, as_json, read_recipes
from headstart.workflows import run
from support.runs import HOSTILE, NETWORKS, TINY, FinishedRun, at, command, contents, the_one_line, write_recipe

if TYPE_CHECKING:
    from headstart.practical.data import Dataset


FILES = {
    "run.json",
    "recipe.json",
    "history.csv",
    "predictions.npz",
    "disagreements.npz",
    "report.html",
    "figures/comparison.png",
    *(f"figures/{name}.png" for name in NETWORKS),
    *(f"models/{name}.keras" for name in NETWORKS),
}
RUN = {"registration", "seed", "dataset", "classes", "recipe", "networks", "comparison", "audit"}
RUN |= {"cautions", "conclusions"}
NETWORK = {"copied", "frozen", "epochs", "trainable_parameters", "train_accuracy", "test_accuracy"}
NETWORK |= {"balanced_accuracy", "largest_class"}
NETWORK |= {"test_accuracy_ci95", "train_loss", "test_loss", "seconds", "feature_seconds", "features", "words"}


def content_of(finished: FinishedRun) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((finished.folder / "run.json").read_text(encoding="utf-8"))
    return content


def history_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights_of(folder: Path) -> dict[str, list[np.ndarray]]:
    import keras

    return {name: keras.models.load_model(folder / "models" / f"{name}.keras").get_weights() for name in NETWORKS}


def assert_same_results(folder: Path, other: Path) -> None:
    """Check that the histories are byte-identical, and predictions and weights equal."""
    assert (folder / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    with np.load(folder / "predictions.npz") as predictions, np.load(other / "predictions.npz") as others:
        assert predictions.files == others.files
        assert all(np.array_equal(predictions[name], others[name]) for name in others.files)
    weights, of_other = weights_of(folder), weights_of(other)
    for name in NETWORKS:
        assert all(np.array_equal(*pair) for pair in zip(weights[name], of_other[name], strict=True)), name


def pictures_of(finished: FinishedRun) -> Dataset:
    from headstart.datasets.sources import load_dataset

    return load_dataset(str(finished.place / "pictures"))


# What a run writes


def test_a_run_writes_exactly_the_documented_files(picture_run: FinishedRun, digits_run: FinishedRun) -> None:
    for finished in (picture_run, digits_run):
        assert set(contents(finished.folder)) == FILES
        assert not (finished.folder / "checkpoints").exists()


def test_run_json_has_exactly_the_documented_keys(picture_run: FinishedRun) -> None:
    content = content_of(picture_run)
    assert set(content) == RUN | {"environment", "request", "version"}  # request: a second start is compared with it
    assert set(content["dataset"]) == {"name", "source", "class_names"}
    assert set(content["classes"]) == {"a", "b"}
    assert set(content["recipe"]) == {"a", "b"}
    assert list(content["networks"]) == list(NETWORKS)
    assert all(set(network) == NETWORK | {"normalisation"} for network in content["networks"].values())
    assert set(content["comparison"]) == {"best", "best_tied", "pairs"}
    pair = {"first", "second", "difference", "ci95", "p_value", "p_uncorrected", "significant"}
    assert [set(row) for row in content["comparison"]["pairs"]] == [pair] * 3
    assert all(set(finding) == {"rule", "holds", "evidence"} for finding in content["audit"])
    assert all(isinstance(paragraph, str) for paragraph in content["conclusions"])
    assert {"python", "tensorflow", "keras", "numpy", "headstart"} <= set(content["environment"])


def test_run_json_has_the_request_and_what_was_trained(picture_run: FinishedRun, digits_run: FinishedRun) -> None:
    pictures, digits = content_of(picture_run), content_of(digits_run)
    assert (pictures["registration"], digits["registration"]) == (None, "2020387499")
    assert pictures["dataset"]["class_names"] == list(HOSTILE)
    assert pictures["classes"] == {"a": list(HOSTILE[2:]), "b": list(HOSTILE[:2])}
    assert digits["classes"]["b"] == ["four", "nine"]
    assert len(digits["classes"]["a"]) == 8
    for content, epochs in ((pictures, 3), (digits, 2)):
        assert content["seed"] == content["recipe"]["a"]["seed"] == content["recipe"]["b"]["seed"] == 0
        assert content["recipe"]["a"]["epochs"] == content["recipe"]["b"]["epochs"] == epochs
        layers = [(network["copied"], network["frozen"]) for network in content["networks"].values()]
        assert layers == [(0, 0), (0, 0), (5, 5), (5, 4)]
        assert [network["epochs"] for network in content["networks"].values()] == [epochs] * 4


def test_every_rule_of_the_audit_holds(picture_run: FinishedRun, digits_run: FinishedRun) -> None:
    for finished in (picture_run, digits_run):
        audit = content_of(finished)["audit"]
        assert len(audit) > 30
        assert [finding for finding in audit if finding["holds"] is not True] == []


def test_the_history_has_a_row_for_each_epoch_of_every_network(
    picture_run: FinishedRun, digits_run: FinishedRun
) -> None:
    for finished, epochs in ((picture_run, 3), (digits_run, 2)):
        rows = history_of(finished.folder)
        assert list(rows[0]) == ["network", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
        expected = [(name, str(epoch)) for name in NETWORKS for epoch in range(1, epochs + 1)]
        assert [(row["network"], row["epoch"]) for row in rows] == expected


def test_run_json_the_predictions_and_the_last_epoch_agree(digits_run: FinishedRun) -> None:
    content, rows = content_of(digits_run), history_of(digits_run.folder)
    last = {row["network"]: row for row in rows}
    with np.load(digits_run.folder / "predictions.npz", allow_pickle=False) as read:
        arrays = dict(read)
    assert list(arrays) == [*NETWORKS, "labels_a", "labels_b"]
    assert arrays["a"].shape == (637, 8)
    for name in NETWORKS[1:]:
        assert arrays[name].shape == (160, 2)
    for name in NETWORKS:
        labels = arrays["labels_a" if name == "a" else "labels_b"]
        accuracy = float(np.mean(arrays[name].argmax(axis=1) == labels))
        loss = -np.log(arrays[name][np.arange(len(labels)), labels]).mean(dtype=np.float64)
        network = content["networks"][name]
        assert network["test_accuracy"] == accuracy == float(last[name]["test_accuracy"])
        assert network["test_loss"] == pytest.approx(loss)
        assert network["train_accuracy"] == pytest.approx(float(last[name]["train_accuracy"]), abs=0.1)  # of a sample
        low, high = network["test_accuracy_ci95"]
        assert low < accuracy < high
        assert network["largest_class"] == max(np.mean(labels == label) for label in np.unique(labels))
        right = arrays[name].argmax(axis=1) == labels
        assert network["balanced_accuracy"] == pytest.approx(np.mean([right[labels == k].mean() for k in set(labels)]))


def test_saved_networks_predict_the_saved_predictions_from_raw_images(picture_run: FinishedRun) -> None:
    import keras

    from headstart.training.parts import split_classes

    parts = split_classes(pictures_of(picture_run), (0, 1))
    with np.load(picture_run.folder / "predictions.npz", allow_pickle=False) as predictions:
        for name in NETWORKS:
            part = parts[name != "a"]
            network = keras.models.load_model(picture_run.folder / "models" / f"{name}.keras")
            assert np.allclose(network.predict(part.x_test, verbose=0), predictions[name], atol=1e-5)
            assert np.array_equal(part.y_test, predictions["labels_a" if name == "a" else "labels_b"])


def test_the_figures_are_pictures(picture_run: FinishedRun) -> None:
    for path in (picture_run.folder / "figures").iterdir():
        with Image.open(path) as picture:
            picture.verify()
            assert picture.format == "PNG"


def test_a_recipe_file_is_used_and_stored(digits_run: FinishedRun, picture_run: FinishedRun) -> None:
    content = content_of(digits_run)
    small = json.loads((digits_run.place / "small.json").read_text())["a"]
    for part, own in (("a", RECIPE_A), ("b", RECIPE_B)):
        used = as_json(own) | small | {"epochs": 2}
        assert content["recipe"][part] == used
        kept = json.loads((digits_run.folder / "recipe.json").read_text(encoding="utf-8"))[part]
        assert kept == {name: used[name] for name in used if name not in ("epochs", "seed", "precision")}
        assert content_of(picture_run)["recipe"][part] == as_json(own) | {"epochs": 3}
    # widths 8, 8, 16, 16; 32 units: conv1 224, conv2 584, conv3 1168, conv4 2320, fc1 8224, fc2 264 or 66
    counts = [network["trainable_parameters"] for network in content["networks"].values()]
    assert counts == [12784, 12586, 66, 8290]
    shapes = [weight.shape for weight in weights_of(digits_run.folder)["two_layers"] if weight.ndim > 1]
    assert shapes == [(3, 3, 3, 8), (3, 3, 8, 8), (3, 3, 8, 16), (3, 3, 16, 16), (256, 32), (32, 2)]


def test_the_stored_recipe_gives_the_same_run_again(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    before = contents(here / "run")
    arguments = [argument for argument in digits_run.arguments if not argument.endswith("small.json")]
    ended = command("run", *arguments, here / "run" / "recipe.json", "--out", "run")
    assert (ended.status, ended.errors) == (0, "")
    assert "epoch 1 of" not in ended.output
    assert contents(here / "run") == before
    assert read_recipes([here / "run" / "recipe.json"]) == read_recipes([digits_run.place / "small.json"])


def test_digits_are_called_digits_wherever_results_are_reported(digits_run: FinishedRun) -> None:
    content = content_of(digits_run)
    assert len(digits_run.headings) == 5
    assert all("digits, not CIFAR-10" in heading for heading in digits_run.headings)
    assert content["cautions"] == [
        "These are scikit-learn digits, not CIFAR-10: the figures say nothing about CIFAR-10."
    ]
    assert "digits, not CIFAR-10" in content["dataset"]["name"]
    assert "digits, not CIFAR-10" in (digits_run.folder / "report.html").read_text(encoding="utf-8")
    assert digits_run.output.count("digits, not CIFAR-10") >= 2


def test_pictures_are_not_called_digits(picture_run: FinishedRun) -> None:
    assert all("“pictures”" in heading for heading in picture_run.headings)
    content = content_of(picture_run)
    assert content["cautions"] == []
    assert not [text for text in content["conclusions"] if "digits" in text or "CIFAR" in text]


def test_class_names_are_escaped_in_the_page(picture_run: FinishedRun) -> None:
    page = (picture_run.folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;&amp;" in page


def test_dollar_signs_in_class_names_are_no_formula(here: Path) -> None:
    """Between two dollar signs, matplotlib would read a formula, and fail if it is not valid."""
    import matplotlib.pyplot as plt

    from headstart.style import add_heading

    figure, _ = plt.subplots()
    add_heading(figure, r"Three ways to learn “$\bad$ or $x?”", "images from the folder “$\\oops$”")
    figure.draw_without_rendering()
    assert r"$\bad$" in figure.get_suptitle()


def test_every_line_of_progress_agrees_with_the_history(picture_run: FinishedRun) -> None:
    lines = re.findall(r"^(\w+): epoch (\d+) of 3 \|.* training (\S+)%, test (\S+)% \|", picture_run.output, re.M)
    assert lines == [
        (row["network"], row["epoch"], *(f"{100 * float(row[f'{part}_accuracy']):.1f}" for part in ("train", "test")))
        for row in history_of(picture_run.folder)
    ]


# Started again after it has finished


def test_a_finished_run_is_printed_again_and_not_changed(digits_run: FinishedRun) -> None:
    files = [path for path in digits_run.folder.rglob("*") if path.name != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in files}
    with at(digits_run.place):
        ended = command("run", *digits_run.arguments, "--out", "run")
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.splitlines()[-10:] == digits_run.output.splitlines()[-10:]
    assert "epoch 1 of" not in ended.output
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert set(contents(digits_run.folder)) == FILES


def test_a_run_without_its_page_gets_it_again(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    (here / "run" / "report.html").unlink()
    ended = command("run", *digits_run.arguments, "--out", "run")
    assert (ended.status, ended.errors) == (0, "")
    assert "epoch 1 of" not in ended.output
    assert contents(here / "run") == contents(digits_run.folder)


def test_a_finished_run_is_recognised_with_auto_precision(digits_run: FinishedRun, monkeypatch) -> None:
    def measured(_: str) -> None:
        raise AssertionError("it was measured a second time, which could decide differently")

    monkeypatch.setattr("headstart.options.choose_precision", measured)
    arguments = [argument for argument in digits_run.arguments if argument not in ("--precision", "float32")]
    assert command("run", *arguments, "--out", digits_run.folder).status == 0


# Killed and started again


@dataclass(frozen=True)
class Start:
    """One start of a run that is killed several times."""

    killed: bool
    epochs: list[str]  # those that it reported, such as "a 1" and "a 2"
    files: dict[str, bytes]  # in the folder when it ended


MOMENTS = ("request.json:1", "a.npz:2", "last_layer.npz:1", "run.json:1", "report.html:1")
KILLED_AT_MOMENTS = """
import os, re, signal, sys
import headstart.report.run, headstart.runs.runner  # once, for all starts; none of TensorFlow's threads has started yet
from headstart.cli import status_of

fsync, seen = os.fsync, []

def kill_at(moment):
    name, times = moment.split(":")

    def fsync_or_die(descriptor):  # just before a file would be complete
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        seen.append(re.search(rf"/\\.{re.escape(name)}\\.", path) is not None)
        if sum(seen) == int(times):
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = fsync_or_die

folder, *moments = sys.argv[1].split(",")
for number, moment in enumerate(moments):
    if os.fork() == 0:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"start-{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        kill_at(moment)
        os._exit(status_of(sys.argv[2:]))
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    os.system(f"cp -r {folder} start-{number}")
"""


@pytest.fixture(scope="module")
def killed_run(picture_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Start]]:
    """Kill the picture run at each of the moments, and start it again each time until it has finished.

    A kill comes just before a file is complete. `a.npz:2` is network A's second checkpoint. Its epoch must not have
    been reported yet, because it is trained again.
    """
    place = tmp_path_factory.mktemp("killed-run")
    arguments = [*picture_run.arguments, "--out", "run"]
    with at(place):
        code = [sys.executable, "-c", KILLED_AT_MOMENTS, ",".join(("run", *MOMENTS)), "run", *arguments]
        ended = subprocess.run(code, capture_output=True, text=True, check=True)
        statuses = [int(line) for line in ended.stdout.split()]
        last = command("run", *arguments)
    assert (last.status, last.errors) == (0, "")
    outputs = [(place / f"start-{number}.out").read_text() for number in range(len(MOMENTS))]
    starts = [
        Start(status == -signal.SIGKILL, reported(output), contents(place / f"start-{number}"))
        for number, (status, output) in enumerate(zip(statuses, outputs, strict=True))
    ]
    return place / "run", [*starts, Start(False, reported(last.output), contents(place / "run"))]


def reported(output: str) -> list[str]:
    """Return the reported epochs, such as "a 1"."""
    return [f"{name} {epoch}" for name, epoch in re.findall(r"^(\w+): epoch (\d+) of", output, re.MULTILINE)]


def test_a_killed_run_has_the_same_results_as_an_undisturbed_one(killed_run, picture_run: FinishedRun) -> None:
    folder, starts = killed_run
    assert [start.killed for start in starts] == [True] * len(MOMENTS) + [False]
    assert_same_results(folder, picture_run.folder)


def test_no_reported_epoch_is_trained_again(killed_run) -> None:
    _, starts = killed_run
    epochs = [epoch for start in starts for epoch in start.epochs]
    assert len(set(epochs)) == len(epochs)
    assert starts[1].epochs == ["a 1"]
    assert starts[2].epochs[0] == "a 2"
    assert starts[3].epochs[0].startswith("last_layer")  # completed networks are not trained again
    assert starts[4].epochs == starts[5].epochs == []


def test_after_a_kill_every_file_is_complete(killed_run, picture_run: FinishedRun) -> None:
    _, starts = killed_run
    for start in starts:
        for path, content in start.files.items():
            if path == "history.csv":
                assert content == (picture_run.folder / path).read_bytes()
            if path.endswith(".npz") and not Path(path).name.startswith("."):
                with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                    assert all(array.size for array in arrays.values())


def test_only_a_complete_run_has_its_run_json(killed_run) -> None:
    _, starts = killed_run
    assert ["run.json" in start.files for start in starts] == [False, False, False, False, True, True]
    assert {"history.csv", "models/a.keras"} <= starts[3].files.keys()  # the kill came just before run.json
    visible = {path for path in starts[4].files if not Path(path).name.startswith(".")}
    assert visible == FILES - {"report.html"}


def test_a_killed_run_has_no_other_files_in_the_end(killed_run) -> None:
    folder, starts = killed_run
    assert any(path.endswith(".part") for path in starts[1].files)
    assert set(contents(folder)) == FILES
    assert sorted(path.name for path in folder.rglob("*") if path.is_dir()) == ["figures", "models"]


def test_checkpoints_of_a_finished_run_are_removed(digits_run: FinishedRun, here: Path) -> None:
    shutil.copytree(digits_run.folder, here / "run")
    (here / "run" / "checkpoints").mkdir()
    (here / "run" / "checkpoints" / "a.npz").write_bytes(b"a finished training")
    ended = command("run", *digits_run.arguments, "--out", "run")
    assert (ended.status, ended.errors) == (0, "")
    assert contents(here / "run") == contents(digits_run.folder)


@pytest.fixture
def tiny_command(picture_run: FinishedRun, here: Path) -> tuple[str, ...]:
    """Return a run of two epochs with networks so small that it takes a few seconds."""
    pictures = ("--data", str(picture_run.place / "pictures"), "--classes", ",".join(HOSTILE[:2]))
    recipe = ("--recipe", str(write_recipe(here / "tiny.json", TINY)))
    return ("run", *pictures, "--epochs", "2", "--precision", "float32", *recipe, "--out", "run")


def failing_at(name: str, number: int) -> Callable[[int], None]:
    """Return an `os.fsync` that fails for a file of this name."""
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if f"/.{name}." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    return failing


def test_a_full_disk_takes_one_line_and_the_run_can_resume(tiny_command, here: Path, monkeypatch) -> None:
    for name in ("request.json", "a.npz", "last_layer.keras"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing_at(name, errno.ENOSPC))
            line = the_one_line(command(*tiny_command), status=1)
        assert "No space left on device" in line
        assert "give the command again" in line
        assert "run.json" not in contents(here / "run")
        assert not [path for path in (here / "run").rglob("*") if path.name.endswith(".part")]
    for left in ("figures/.a.png.x1.part", "models/.a.keras.x2.part/a.keras"):  # as after a kill
        (here / "run" / left).parent.mkdir(exist_ok=True)
        (here / "run" / left).write_text("part of a file")
    ended = command(*tiny_command)
    assert (ended.status, ended.errors, reported(ended.output)) == (0, "", [])
    assert set(contents(here / "run")) == FILES


def test_a_damaged_checkpoint_takes_one_line_and_is_kept(tiny_command, here: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_at("scratch.npz", errno.ENOSPC))
        the_one_line(command(*tiny_command), status=1)
    checkpoint = here / "run" / "checkpoints" / "a.npz"
    complete = checkpoint.read_bytes()
    other = (checkpoint.parent / "request.json").read_bytes()
    for damaged in (b"", complete[: len(complete) // 2], other):
        checkpoint.write_bytes(damaged)
        line = the_one_line(command(*tiny_command), status=1)
        assert f"{Path('run', 'checkpoints', 'a.npz')}: not a complete checkpoint of this network" in line
        assert "remove it" in line
        assert checkpoint.read_bytes() == damaged
    checkpoint.unlink()
    ended = command(*tiny_command)
    assert (ended.status, ended.errors) == (0, "")
    assert reported(ended.output)[:2] == ["a 1", "a 2"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_cannot_be_created_takes_one_line(number: int, tiny_command, here: Path, monkeypatch) -> None:
    mkdir = Path.mkdir

    def refuse(path: Path, *given: Any, **options: Any) -> None:
        if path.name == "run":
            raise OSError(number, os.strerror(number), str(path))
        mkdir(path, *given, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert os.strerror(number) in the_one_line(command(*tiny_command), status=1)
    assert not (here / "run").exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_is_not_writable_takes_one_line(number: int, tiny_command, here: Path, monkeypatch) -> None:
    def refuse(path: str, *_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    (here / "run").mkdir()
    monkeypatch.setattr("filelock._unix.os.open", refuse)
    assert os.strerror(number) in the_one_line(command(*tiny_command), status=1)
    assert list((here / "run").iterdir()) == []


# Interrupted, and two at the same time


@contextmanager
def running(picture_run: FinishedRun, place: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `headstart run` in another process, and wait until it has reported its first epoch."""
    arguments = [str(Path(sys.executable).with_name("headstart")), "run", *picture_run.arguments, "--out", "run"]
    with at(place):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while "epoch 1 of" not in process.stdout.readline():
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_busy_folder_is_refused_and_ctrl_c_ends_its_run(picture_run: FinishedRun, here: Path) -> None:
    shutil.copytree(picture_run.place / ".cache", here / ".cache")
    with running(picture_run, here) as process:
        process.send_signal(signal.SIGSTOP)  # it holds the folder, and waits
        line = the_one_line(command("run", *picture_run.arguments, "--out", "run"), status=1)
        assert "another process is working in this folder" in line

        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output + errors
    [line] = [line for line in errors.splitlines() if line]
    assert line.startswith("headstart: interrupted. To resume: headstart run ")
    resume = shlex.split(line.partition(": headstart ")[2])
    assert resume == ["run", *picture_run.arguments, "--out", "run"]
    with np.load(here / "run" / "checkpoints" / "a.npz", allow_pickle=False) as checkpoint:
        assert len(json.loads(str(checkpoint["rows"]))) >= 1


# In Python


def test_python_takes_recipes(picture_run: FinishedRun, here: Path) -> None:
    tiny = {"widths": (2, 2, 2, 4), "units": 3}
    recipes = (replace(RECIPE_A, **tiny, shift=2, epochs=9, seed=9), replace(RECIPE_B, **tiny, warmup=0.5))
    pictures = {"data": str(picture_run.place / "pictures"), "classes": ",".join(HOSTILE[:2])}
    folder = run(**pictures, recipes=recipes, epochs=1, seed=4, precision="float32", out=here / "run")
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    options = {"epochs": 1, "seed": 4}  # the run's own, not the recipes'
    assert content["recipe"] == {part: as_json(recipes[part == "b"]) | options for part in "ab"}
    assert read_recipes([folder / "recipe.json"]) == (replace(recipes[0], epochs=20, seed=0), recipes[1])
    assert [weights[6].shape for weights in weights_of(folder).values()] == [(3, 3, 2, 4)] * 4


def test_recipes_that_cannot_be_combined_are_refused(here: Path) -> None:
    for recipes, words in (
        ((replace(RECIPE_A, units=4), RECIPE_B), "units is 4 for part A and 512 for part B"),
        ((RECIPE_A, RECIPE_A), "shift=4 for part B: give 0"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            run("49", data="digits", recipes=recipes)
    assert list(here.glob("[!.]*")) == []


def test_python_returns_the_folder_of_a_finished_run(digits_run: FinishedRun) -> None:
    recipes = read_recipes([digits_run.place / "small.json"])
    folder = run("2020387499", data="digits", epochs=2, precision="float32", recipes=recipes, out=digits_run.folder)
    assert folder == digits_run.folder


def test_equivalent_requests_are_the_same_run(digits_run: FinishedRun) -> None:
    before = contents(digits_run.folder)
    options = (*digits_run.arguments[1:], "--out", digits_run.folder)
    for same in (("94",), ("49",), ("--classes", "nine,four"), ("--classes", "four, nine")):
        assert command("run", *same, *options).status == 0
    assert contents(digits_run.folder) == before

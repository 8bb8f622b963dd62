from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import TinyRun
from headstart.errors import BadRequest
from headstart.store import (
    ROW,
    Checkpoint,
    locked,
    training_state,
    write_arrays,
    write_json,
    write_network,
    write_text,
    write_whole,
)

if TYPE_CHECKING:
    import keras

    from headstart.training import Trained


class Stop(BaseException):
    """What a kill looks like from inside: nothing but `except BaseException` sees it."""


def fail(*_: object, **__: object) -> Any:
    raise Stop


# A file is whole or absent

STAGES = {
    "flush": lambda patch: patch.setattr(os, "fdopen", fails_to_flush(os.fdopen)),
    "fsync": lambda patch: patch.setattr(os, "fsync", fail),
    "chmod": lambda patch: patch.setattr(Path, "chmod", fail),
    "replace": lambda patch: patch.setattr(Path, "replace", fail),
}


def fails_to_flush(fdopen: Callable[..., Any]) -> Callable[..., Any]:
    class File(io.FileIO):
        def flush(self) -> None:
            if not self.closed:
                raise Stop

    return lambda descriptor, mode: File(descriptor, mode)


@given(old=st.none() | st.binary(max_size=50), new=st.binary(max_size=50))
def test_what_is_written_is_there_afterwards_and_nothing_else(old: bytes | None, new: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if old is not None:
            path.write_bytes(old)
        write_whole(path, lambda file: file.write(new))
        assert {entry.name: entry.read_bytes() for entry in Path(folder).iterdir()} == {"file": new}


@given(old=st.none() | st.binary(max_size=50), new=st.binary(max_size=50), stage=st.sampled_from(["write", *STAGES]))
def test_stopped_at_any_stage_the_old_file_stays_and_nothing_else(old: bytes | None, new: bytes, stage: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "file"
        if old is not None:
            path.write_bytes(old)

        def write(file: Any) -> None:
            file.write(new)
            if stage == "write":
                raise Stop

        STAGES.get(stage, lambda patch: None)(patch)
        with pytest.raises(Stop):
            write_whole(path, write)
        patch.undo()
        left = {entry.name: entry.read_bytes() for entry in Path(folder).iterdir()}
        assert left == ({} if old is None else {"file": old})


def test_until_the_file_is_on_the_disk_its_name_shows_the_old_one(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.read_bytes()), fsync(descriptor)))
    write_whole(path, lambda file: file.write(b"new"))
    assert seen == [b"old", b"new"]  # the file's own, then its folder's


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from headstart.store import write_whole\n"
        "def write(file): file.write(b'new' * 10_000); file.flush(); os.kill(os.getpid(), 9)\n"
        "write_whole(pathlib.Path(sys.argv[1]), write)"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_the_callers_to_know_of(number: int, tmp_path: Path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_text(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_folders_on_the_way_are_made_and_others_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_text(path, "Grüße\n")
    assert path.read_bytes() == "Grüße\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(content=JSON.filter(lambda content: "\\ud" not in json.dumps(content)))  # UTF-8 has no lone surrogates
def test_json_comes_back_as_it_was(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.json"
        write_json(path, content)
        assert json.loads(path.read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_that_no_other_program_could_read_is_not_written(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"loss": number})
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "labels": np.array([1, 0])}
    write_arrays(tmp_path / "file.npz", arrays)
    with np.load(tmp_path / "file.npz", allow_pickle=False) as read:
        assert read.files == list(arrays)
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            assert np.array_equal(read[name], array)


def test_a_network_is_whole_or_absent(tiny_run: TinyRun, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.keras"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(Stop):
            write_network(path, tiny_run.source.network)
    assert list(tmp_path.iterdir()) == []
    write_network(path, tiny_run.source.network)
    assert list(tmp_path.iterdir()) == [path]


# The lock


def test_a_folder_is_one_processes_at_a_time(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from headstart.store import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BadRequest, match="another run is at work in this folder"), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):  # the dead hold nothing
        assert (tmp_path / ".lock").exists()


def test_the_lock_is_let_go_of_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(Stop), locked(tmp_path):
        raise Stop
    with locked(tmp_path):
        assert True


# The checkpoint


def train_a(tiny_run: TinyRun, *callbacks: keras.callbacks.Callback, resume: Callable[..., Any]) -> Trained:
    """Train the tiny run's network A once more."""
    from headstart.practical.network import colour_statistics
    from headstart.training import build_network, train

    network = build_network(8, tiny_run.recipe_a, colour_statistics(tiny_run.part_a.x_train), seed=0)
    return train(network, tiny_run.part_a, tiny_run.recipe_a, callbacks=callbacks, resume=resume)


def stopping(epoch: int) -> keras.callbacks.Callback:
    """Stops a training after so many epochs, as a kill would."""
    from keras.callbacks import LambdaCallback

    def stop(at: int, logs: object) -> None:
        if at + 1 == epoch:
            raise Stop

    return LambdaCallback(on_epoch_end=stop)


def compiled(tiny_run: TinyRun, seed: int, units: int = 16) -> keras.Model:
    """A network as `train` compiles it: its optimizer has no variables yet."""
    import keras

    from headstart.practical.network import colour_statistics
    from headstart.training import build_network

    recipe = replace(tiny_run.recipe_a, units=units)
    network = build_network(8, recipe, colour_statistics(tiny_run.part_a.x_train), seed)
    network.compile(keras.optimizers.AdamW(), "categorical_crossentropy")
    return network


def built(tiny_run: TinyRun, seed: int, units: int = 16) -> keras.Model:
    """The same, and the optimizer has its variables, as in a training."""
    network = compiled(tiny_run, seed, units)
    network.optimizer.build(network.trainable_variables)
    return network


def state_of(model: keras.Model) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in training_state(model)]


ROWS = [dict.fromkeys(ROW, 0.1 + 0.2), dict.fromkeys(ROW, 1e-300)]


def test_a_checkpoint_brings_every_bit_back(tiny_run: TinyRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, other = built(tiny_run, seed=1), compiled(tiny_run, seed=2)
    for variable in training_state(one):
        noise = rng.integers(1, 100, size=variable.shape)
        variable.assign(noise if "int" in variable.dtype else noise / 7)
    Checkpoint(tmp_path / "a.npz").save(one, ROWS)
    assert state_of(other) != state_of(one)
    assert Checkpoint(tmp_path / "a.npz").restore(other) == ROWS
    assert state_of(other) == state_of(one)


def test_without_a_file_there_is_nothing_to_restore(tiny_run: TinyRun, tmp_path: Path) -> None:
    network = compiled(tiny_run, seed=1)
    before = state_of(network)
    assert Checkpoint(tmp_path / "a.npz").restore(network) == []
    assert state_of(network) == before


def test_a_checkpoint_knows_dropouts_random_states_and_adams_moments(tiny_run: TinyRun) -> None:
    paths = " ".join(variable.path for variable in training_state(built(tiny_run, seed=1)))
    assert paths.count("seed_generator_state") == 3  # two of dropout, one of the shifts
    assert paths.count("momentum") == paths.count("velocity") == 12
    assert paths.count("iteration") == 1


def test_stopped_after_an_epoch_a_training_goes_on_to_the_same_weights(tiny_run: TinyRun, tmp_path: Path) -> None:
    """Network A's; the strategies' are tested where they are trained."""
    from keras.callbacks import LambdaCallback

    first = Checkpoint(tmp_path / "checkpoint.npz")
    with pytest.raises(Stop):
        train_a(tiny_run, first.callback(), stopping(3), resume=first.restore)

    begun: list[int] = []
    noting = LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch + 1))
    again = Checkpoint(tmp_path / "checkpoint.npz")
    trained = train_a(tiny_run, again.callback(), noting, resume=again.restore)
    assert begun == [4]
    assert trained.hashes_after == tiny_run.source.hashes_after
    assert trained.probabilities.tobytes() == tiny_run.source.probabilities.tobytes()
    measured = list(ROW[:-1])
    assert trained.history[measured].equals(tiny_run.source.history[measured])


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.7, 0.999])
def test_a_torn_checkpoint_is_refused_in_one_line_that_names_it(share: float, tiny_run: TinyRun, tmp_path) -> None:
    network, path = built(tiny_run, seed=1), tmp_path / "a.npz"
    Checkpoint(path).save(network, ROWS)
    os.truncate(path, int(share * path.stat().st_size))
    checkpoint = Checkpoint(path)
    with pytest.raises(BadRequest, match=r"a\.npz"):
        checkpoint.restore(network)
    assert checkpoint.rows == []


def test_a_checkpoint_with_one_wrong_bit_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    network, path = built(tiny_run, seed=1), tmp_path / "a.npz"
    Checkpoint(path).save(network, ROWS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadRequest, match=r"a\.npz"):
        Checkpoint(path).restore(network)


def test_a_checkpoint_of_another_network_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    Checkpoint(tmp_path / "a.npz").save(built(tiny_run, seed=1, units=8), ROWS)
    with pytest.raises(BadRequest, match=r"a\.npz"):
        Checkpoint(tmp_path / "a.npz").restore(compiled(tiny_run, seed=1))

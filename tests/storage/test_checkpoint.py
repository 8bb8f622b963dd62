from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headstart.errors import ResourceError
from headstart.storage.checkpoint import ROW, Checkpoint, training_state
from support.tiny import TinyRun

if TYPE_CHECKING:
    import keras

    from headstart.training.trainer import Trained


class Stop(BaseException):
    """What a kill looks like inside the process."""


def train_a(tiny_run: TinyRun, *callbacks: keras.callbacks.Callback, resume: Callable[..., Any]) -> Trained:
    """Train the tiny run's network A again."""
    from headstart.practical.network import colour_statistics
    from headstart.training.trainer import build_network, train

    network = build_network(8, tiny_run.recipe_a, colour_statistics(tiny_run.part_a.x_train), seed=0)
    return train(network, tiny_run.part_a, tiny_run.recipe_a, callbacks=callbacks, resume=resume)


def stop_after(epoch: int) -> keras.callbacks.Callback:
    """A callback that stops a training after so many epochs, as a kill would."""
    from keras.callbacks import LambdaCallback

    def stop(index: int, logs: object) -> None:
        if index + 1 == epoch:
            raise Stop

    return LambdaCallback(on_epoch_end=stop)


def compiled(tiny_run: TinyRun, seed: int, units: int = 16) -> keras.Model:
    """A network as `train` compiles it: its optimizer has no variables yet."""
    import keras

    from headstart.practical.network import colour_statistics
    from headstart.training.trainer import build_network

    recipe = replace(tiny_run.recipe_a, units=units)
    network = build_network(8, recipe, colour_statistics(tiny_run.part_a.x_train), seed)
    network.compile(keras.optimizers.AdamW(), "categorical_crossentropy")
    return network


def built(tiny_run: TinyRun, seed: int, units: int = 16) -> keras.Model:
    """The same with the optimizer's variables, as during a training."""
    network = compiled(tiny_run, seed, units)
    network.optimizer.build(network.trainable_variables)
    return network


def state_of(model: keras.Model) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in training_state(model)]


ROWS = [dict.fromkeys(ROW, 0.1 + 0.2), dict.fromkeys(ROW, 1e-300)]


def test_checkpoint_restores_every_bit(tiny_run: TinyRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, other = built(tiny_run, seed=1), compiled(tiny_run, seed=2)
    for variable in training_state(one):
        noise = rng.integers(1, 100, size=variable.shape)
        variable.assign(noise if "int" in variable.dtype else noise / 7)
    Checkpoint(tmp_path / "a.npz").save(one, ROWS)
    assert state_of(other) != state_of(one)
    assert Checkpoint(tmp_path / "a.npz").restore(other) == ROWS
    assert state_of(other) == state_of(one)


def test_without_a_file_nothing_is_restored(tiny_run: TinyRun, tmp_path: Path) -> None:
    network = compiled(tiny_run, seed=1)
    before = state_of(network)
    assert Checkpoint(tmp_path / "a.npz").restore(network) == []
    assert state_of(network) == before


def test_state_includes_random_states_and_the_optimizers_moments(tiny_run: TinyRun) -> None:
    paths = " ".join(variable.path for variable in training_state(built(tiny_run, seed=1)))
    assert paths.count("seed_generator_state") == 3  # two of dropout, one of the shifts
    assert paths.count("momentum") == paths.count("velocity") == 12
    assert paths.count("iteration") == 1


def test_stopped_training_resumes_to_the_same_weights(tiny_run: TinyRun, tmp_path: Path) -> None:
    """This tests network A; the strategies are tested with `transfer`."""
    from keras.callbacks import LambdaCallback

    first = Checkpoint(tmp_path / "checkpoint.npz")
    with pytest.raises(Stop):
        train_a(tiny_run, first.callback(), stop_after(3), resume=first.restore)

    epochs: list[int] = []
    note = LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch + 1))
    second = Checkpoint(tmp_path / "checkpoint.npz")
    trained = train_a(tiny_run, second.callback(), note, resume=second.restore)
    assert epochs == [4]
    assert trained.hashes_after == tiny_run.source.hashes_after
    assert trained.probabilities.tobytes() == tiny_run.source.probabilities.tobytes()
    measured = list(ROW[:-1])
    assert trained.history[measured].equals(tiny_run.source.history[measured])


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.7, 0.999])
def test_incomplete_checkpoint_is_refused_in_a_line_that_names_it(
    share: float, tiny_run: TinyRun, tmp_path: Path
) -> None:
    network, path = built(tiny_run, seed=1), tmp_path / "a.npz"
    Checkpoint(path).save(network, ROWS)
    os.truncate(path, int(share * path.stat().st_size))
    checkpoint = Checkpoint(path)
    with pytest.raises(ResourceError, match=r"a\.npz: not a complete checkpoint .* remove it to train") as caught:
        checkpoint.restore(network)
    assert "\n" not in str(caught.value)
    assert checkpoint.rows == []


def test_checkpoint_with_one_wrong_bit_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    network, path = built(tiny_run, seed=1), tmp_path / "a.npz"
    Checkpoint(path).save(network, ROWS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResourceError, match=r"a\.npz"):
        Checkpoint(path).restore(network)


def test_checkpoint_of_another_network_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    Checkpoint(tmp_path / "a.npz").save(built(tiny_run, seed=1, units=8), ROWS)
    network = built(tiny_run, seed=1)
    before = state_of(network)
    with pytest.raises(ResourceError, match=r"a\.npz: .*it belongs to another network"):
        Checkpoint(tmp_path / "a.npz").restore(network)
    assert state_of(network) == before

"""One file with everything that a training needs to resume after its last completed epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.errors import ResourceError
from headstart.storage.files import write_arrays
from headstart.storage.schema import matches_schema, read_arrays

if TYPE_CHECKING:
    import keras

ROW = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")


class Checkpoint:
    """The state of one training, in one file that is replaced atomically after each epoch.

    It contains the variables of the network and its optimizer, including random states, and the rows of the history.
    (Keras' BackupAndRestore writes several files in place. If it is killed between two of them, it silently repeats an
    epoch.)

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict[str, float]] = []

    def save(self, model: keras.Model, rows: list[dict[str, float]]) -> None:
        """Replace the file with the current state.

        Args:
            model: The compiled model.
            rows: The history so far, a row for each completed epoch.

        Raises:
            OSError: Writing failed. The old file is unchanged.
        """
        arrays = {f"variable_{i}": np.asarray(variable) for i, variable in enumerate(training_state(model))}
        write_arrays(self.path, {**arrays, "rows": np.array(json.dumps(rows))})

    def callback(self) -> keras.callbacks.Callback:
        """Return a Keras callback that saves after every epoch. It must come after callbacks that measure."""
        from keras.callbacks import LambdaCallback  # imports TensorFlow, which takes seconds

        def save(epoch: int, logs: dict[str, float]) -> None:
            self.rows.append({key: logs[key] for key in ROW})
            self.save(callback.model, self.rows)

        callback = LambdaCallback(on_epoch_end=save)
        return callback

    def restore(self, model: keras.Model) -> list[dict[str, float]]:
        """Restore the saved state.

        Args:
            model: The compiled model.

        Returns:
            The rows of the completed epochs; none if nothing was saved.

        Raises:
            ResourceError: The file is damaged or belongs to another network. Nothing has been restored.
        """
        if not self.path.exists():
            return []
        model.optimizer.build(model.trainable_variables)
        state = training_state(model)
        try:
            saved = read_arrays(self.path)
            arrays = [saved[f"variable_{i}"] for i in range(len(state))]
            rows = json.loads(str(saved["rows"]))
            kinds = [(variable.dtype, tuple(variable.shape)) for variable in state]
            same = kinds == [(array.dtype, array.shape) for array in arrays]
            if not same or not matches_schema(rows, [dict.fromkeys(ROW, float)]):
                raise ValueError("it belongs to another network")
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise ResourceError(
                f"{self.path}: not a complete checkpoint of this network ({error}); remove it to train the network "
                "from the start"
            ) from error
        for variable, array in zip(state, arrays, strict=True):
            variable.assign(array)
        self.rows = rows
        return list(rows)


def training_state(model: keras.Model) -> list[Any]:
    """Return every variable that the next step depends on: weights, random states, the optimizer's variables."""
    return [*model.variables, *model.optimizer.variables]

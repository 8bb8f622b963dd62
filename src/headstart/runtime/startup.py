"""Import TensorFlow with fast kernels and without the messages that no setting turns off."""

from __future__ import annotations

import os
import sys
import tempfile

if "keras" not in sys.modules:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's keras.json names; Keras reads it once

IGNORED_MESSAGES = (b"WARNING: All log messages before absl::InitializeLog()", b"oneDNN custom operations are on")


def import_tensorflow() -> None:
    """Import TensorFlow, without its messages about itself and about the networks that it compiles."""
    if "tensorflow" not in sys.modules:
        import_filtered()
    import tensorflow

    tensorflow.get_logger().setLevel("ERROR")


def import_filtered() -> None:
    """Import TensorFlow, and pass on what it writes to standard error, except for IGNORED_MESSAGES."""
    try:
        stderr = os.dup(2)
    except OSError:  # standard error is closed, so there is nothing to filter
        import tensorflow

        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not any(message in line for message in IGNORED_MESSAGES):
                    os.write(2, line)

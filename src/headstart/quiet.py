"""Import TensorFlow without its remarks on itself, which no setting turns off."""

from __future__ import annotations

import os
import sys
import tempfile

REMARKS = (b"WARNING: All log messages before absl::InitializeLog()", b"oneDNN custom operations are on")


def import_tensorflow() -> None:
    """Import TensorFlow with its fast kernels, and leave out its remarks on itself and on the networks it compiles."""
    if "tensorflow" not in sys.modules:
        import_filtered()
    import tensorflow

    tensorflow.get_logger().setLevel("ERROR")


def import_filtered() -> None:
    """Import TensorFlow, and pass on what it writes to standard error but for its remarks."""
    try:
        stderr = os.dup(2)
    except OSError:  # standard error is closed: there is nothing to keep clean
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
                if not any(remark in line for remark in REMARKS):
                    os.write(2, line)

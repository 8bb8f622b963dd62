"""What reaches standard error when TensorFlow is imported, in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from headstart.errors import InvalidRequest
from support.runs import TINY, contents, make_pictures, write_recipe

HEADSTART = Path(sys.executable).with_name("headstart")
MESSAGES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795961101.066107 12580 port.cc:153] oneDNN custom operations are on. You may see slightly different",
)
FAKE_TENSORFLOW = f"""
import os
for line in {MESSAGES!r}:
    os.write(2, (line + "\\n").encode())
    os.write(2, b"E0000 no device\\n")
os.write(2, "the last line, ünfinished".encode())
"""
"""A module instead of TensorFlow, which writes its messages and other lines as TensorFlow's C++ code does."""
OTHER_LINES = "E0000 no device\nE0000 no device\nthe last line, ünfinished"


def python(code: str, place: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python in this folder, whose modules are found first, with TensorFlow's default settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"PYTHONPATH": str(place)} | options.pop("env", {})
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True, check=False, **options
    )


IMPORT = "from headstart.runtime.startup import import_tensorflow; import_tensorflow(); "


def test_tensorflows_messages_are_removed_and_other_lines_kept(tmp_path: Path) -> None:
    logger = "class Logger:\n    def setLevel(self, level): print(level)\nget_logger = Logger\n"
    (tmp_path / "tensorflow.py").write_text(FAKE_TENSORFLOW + logger)
    after = "import os, sys; os.write(2, b', after it'); print('and this', file=sys.stderr)"
    ended = python(IMPORT + after, tmp_path, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stdout) == (0, "ERROR\n")
    assert ended.stderr == f"{OTHER_LINES}, after itand this\n"


def test_lines_before_a_failed_import_are_kept(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(f"{FAKE_TENSORFLOW}\nraise ImportError('a library is missing')")
    ended = python(IMPORT, tmp_path, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert ended.stderr.startswith(OTHER_LINES)
    assert ended.stderr.endswith("ImportError: a library is missing\n")
    assert not [message for message in MESSAGES if message in ended.stderr]


def test_tensorflow_is_imported_also_if_standard_error_is_closed(tmp_path: Path) -> None:
    code = f"import os; os.close(2); {IMPORT}import sys; print('tensorflow' in sys.modules)"
    ended = python(code, tmp_path, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


@pytest.fixture
def tiny_arguments(tmp_path: Path) -> list[str]:
    """The arguments of a run that takes seconds."""
    pictures = make_pictures(tmp_path / "pictures", names=("cat", "dog", "frog", "ship"))
    recipe = write_recipe(tmp_path / "tiny.json", TINY)
    options = ["--epochs", "1", "--precision", "float32", "--recipe", str(recipe), "--out", str(tmp_path / "run")]
    return ["run", "--data", str(pictures), "--classes", "cat,dog", *options]


def test_run_does_not_need_standard_error(tiny_arguments: list[str], tmp_path: Path) -> None:
    """That it does not use it is tested in `runs/test_machines.py`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / ".cache"), "MPLCONFIGDIR": mpl.get_cachedir()}
    shell = ["sh", "-c", 'exec "$0" "$@" 2>&-', HEADSTART, *tiny_arguments]
    ended = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert "rules hold" in ended.stdout
    assert "oneDNN" not in ended.stdout
    assert {"run.json", "recipe.json", "report.html", "models/a.keras"} <= contents(tmp_path / "run").keys()


def test_closed_standard_error_does_not_become_another_file(tmp_path: Path) -> None:
    """A library that writes to standard error would write into that file."""
    opens = "lambda _: os.open('mine', os.O_WRONLY | os.O_CREAT) < 3"
    code = f"import os, headstart.cli as cli; cli.status_of = {opens}; cli.main()"
    shell = ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, code]
    ended = subprocess.run(shell, cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "mine").exists()
    assert ended.returncode == 0


def test_keras_uses_tensorflow_whatever_the_users_settings_are(tmp_path: Path) -> None:
    settings = {"backend": "torch", "image_data_format": "channels_first", "floatx": "float16", "epsilon": 1e-7}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax"}
    code = "import headstart as hs; hs.train; import keras; print(keras.config.backend())"
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "tensorflow\n"


def test_another_backend_that_was_imported_before_takes_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from headstart.training.recipes import RECIPE_A
    from headstart.training.trainer import build_network

    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(InvalidRequest, match="Keras was imported with the backend jax: headstart needs tensorflow"):
        build_network(2, RECIPE_A, ([0.0] * 3, [1.0] * 3))

"""The wheel and the source archive, each installed into an empty environment. `make test-package` runs these tests."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import headstart

pytestmark = pytest.mark.package
ROOT = Path(__file__).parents[1]
TINY = {"widths": [2, 2, 2, 2], "units": 4}


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two files that would be published, by their kind."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "archive": archive}


def install(place: Path, package: str) -> Path:
    """Install into a new environment, with the tested versions of everything else; return its folder of commands."""
    run(sys.executable, "-m", "venv", place / "env", cwd=place)
    pip = (place / "env" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", ROOT / "constraints.txt", package, cwd=place)
    return place / "env" / "bin"


def test_the_metadata_is_valid(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        texts = [wheel.read(name)]
    with tarfile.open(built["archive"]) as archive:
        (name,) = (name for name in archive.getnames() if name.endswith("/PKG-INFO"))
        texts.append(archive.extractfile(name).read())
    for text in texts:
        metadata = Metadata.from_email(text, validate=True)
        assert (metadata.name, str(metadata.version)) == ("headstart", headstart.__version__)
        assert metadata.description_content_type == "text/markdown"
        assert metadata.license_expression == "MIT"


def test_the_files_contain_what_they_need(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = set(wheel.namelist())
    assert {"headstart/py.typed", "headstart/report/templates/run.html", "headstart/practical/walkthrough.py"} <= names
    assert not [name for name in names if name.startswith("tests")]
    with tarfile.open(built["archive"]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "Makefile", "constraints.txt", "tests/test_cli.py", "docs/run.md"} <= inside


def test_the_source_archive_installs_and_makes_a_notebook(built: dict[str, Path], tmp_path: Path) -> None:
    commands = install(tmp_path, str(built["archive"]))
    assert run(commands / "headstart", "--version", cwd=tmp_path) == f"headstart {headstart.__version__}\n"
    run(commands / "headstart", "notebook", "2020387499", cwd=tmp_path)
    cells = json.loads((tmp_path / "practical-2020387499.ipynb").read_text())["cells"]
    assert len(cells) > 50


def test_the_wheel_installs_and_does_a_short_run(built: dict[str, Path], tmp_path: Path) -> None:
    commands = install(tmp_path, f"{built['wheel']}[cpu]")
    assert run(commands / "headstart", "--version", cwd=tmp_path) == f"headstart {headstart.__version__}\n"
    (tmp_path / "tiny.json").write_text(json.dumps({"a": TINY, "b": TINY}))
    options = ("--data", "digits", "--epochs", "1", "--precision", "float32", "--recipe", "tiny.json", "--out", "run")
    assert "rules hold" in run(commands / "headstart", "run", "2020387499", *options, cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()

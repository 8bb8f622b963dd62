"""The notebook's options and its command. (How it is built and executed is tested in `notebook/`.)"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from headstart.datasets.sources import Opened, fingerprint, open_dataset
from headstart.errors import InvalidRequest
from headstart.notebook.build import Parameters, build_notebook
from headstart.practical.data import Dataset
from headstart.training.recipes import RECIPE_A, RECIPE_B
from headstart.workflows import check_notebook, make_notebook
from support.cifar10 import packed, unpacked
from support.notebooks import folder_of, load_images, parameters_of, sources
from support.pictures import BAD, fruit_folder
from support.runs import HOSTILE, command, make_pictures, the_one_line

READS = "the notebook reads cifar10, digits, or an image folder"

# The options


def test_the_defaults_are_twenty_epochs_of_cifar10_in_float32() -> None:
    assert check_notebook("49") == Parameters("49", epochs=20, seed=0, precision="float32", data="cifar10")


def test_class_names_become_the_number_that_names_them() -> None:
    assert check_notebook(classes="nine,four", data="digits").registration == "94"


def test_auto_becomes_cifar10_if_the_notebook_is_not_executed() -> None:
    assert check_notebook("49", data="auto").data == "cifar10"


def test_auto_becomes_what_was_found_if_the_notebook_is_executed(digits: Dataset, monkeypatch) -> None:
    monkeypatch.setattr("headstart.workflows.open_dataset", lambda *options: Opened(digits, "no network"))
    assert check_notebook("49", data="auto", precision="float32", execute=True).data == "digits"


def test_the_precision_is_measured_only_if_the_notebook_is_executed(monkeypatch, caplog) -> None:
    """Otherwise, it will be executed on a machine that cannot be measured."""
    caplog.set_level("INFO", "headstart")
    monkeypatch.setattr("headstart.options.choose_precision", lambda given: ("bfloat16", f"measured for {given}"))
    assert check_notebook("49", data="digits").precision == "float32"
    assert caplog.messages == ["Held out: the digit 4 (4) and the digit 9 (9)"]
    caplog.clear()
    assert check_notebook("49", data="digits", execute=True).precision == "bfloat16"
    assert caplog.messages == ["Held out: four (4) and nine (9)", "Precision: bfloat16 (measured for auto)"]


def test_the_held_out_pair_of_cifar10_is_named(caplog) -> None:
    caplog.set_level("INFO", "headstart")
    check_notebook("2020387499")
    assert caplog.messages == ["Held out: deer (4) and truck (9)"]


@pytest.mark.parametrize("name", ["digits", "cifar10", "auto"])
def test_a_folder_with_the_name_of_a_dataset_is_read(name: str, here: Path) -> None:
    make_pictures(here / name, train=1, test=1)
    for path in (f"./{name}", f"{name}/"):
        built = build_notebook(check_notebook("01", data=path))
        assert folder_of(built) == name
        assert fingerprint(load_images(built)) == fingerprint(open_dataset(path).dataset)
        make_notebook("01", data=path, out="a.ipynb", force=True)
        assert folder_of(nbformat.read("a.ipynb", as_version=4)) == name


def test_a_relative_folder_is_relative_to_the_notebook(here: Path) -> None:
    make_pictures(here / "pictures", train=1, test=1)
    (here / "hand-in").mkdir()
    path = make_notebook("01", data="pictures", out="hand-in/a.ipynb")
    assert folder_of(nbformat.read(path, as_version=4)) == "../pictures"
    absolute = make_notebook("01", data=str(here / "pictures"), out="hand-in/b.ipynb")
    assert folder_of(nbformat.read(absolute, as_version=4)) == str(here / "pictures")


def test_a_test_share_is_the_same_in_notebook_and_run(here: Path) -> None:
    make_pictures(here / "pictures", train=6, test=1)
    shutil.rmtree(here / "pictures" / "test")
    built = build_notebook(check_notebook("01", data="pictures", test_share=0.3, seed=2))
    assert fingerprint(load_images(built)) == fingerprint(open_dataset("pictures", 0.3, 2).dataset)


def test_a_folder_at_home_is_written_in_full(here: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    make_pictures(here / "pictures", train=1, test=1)
    assert check_notebook("01", data="~/pictures").folder == str(here / "pictures")


@pytest.mark.parametrize("kind", BAD)
def test_a_folder_that_a_run_refuses_is_refused_with_the_same_message(kind: str, here: Path) -> None:
    folder = fruit_folder(here / "fruit")
    BAD[kind][0](folder)
    with pytest.raises(InvalidRequest) as of_run:
        open_dataset(str(folder))
    with pytest.raises(InvalidRequest) as of_notebook:
        check_notebook("01", data=str(folder))
    assert str(of_notebook.value) == str(of_run.value)


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-py"])
def test_a_folder_whose_batches_a_run_would_read_is_refused(inside: str, here: Path) -> None:
    folder = make_pictures(here / "both", train=1, test=1)
    unpacked(here / "batches")
    shutil.copytree(here / "batches", folder / inside, dirs_exist_ok=True)
    assert "CIFAR-10's file format" in open_dataset(str(folder)).dataset.name
    with pytest.raises(InvalidRequest, match=READS):
        check_notebook("01", data=str(folder))


def test_an_archive_is_refused(here: Path, monkeypatch) -> None:
    file = packed(here / "cifar-10-python.tar.gz", unpacked(here / "batches"))
    monkeypatch.setattr("headstart.datasets.sources.is_archive", lambda *_: True)  # as if it were the official one
    with pytest.raises(InvalidRequest, match=f"^data='{file}': {READS}"):
        check_notebook("01", data=str(file))


def test_a_class_that_no_digit_means_cannot_be_held_out(here: Path) -> None:
    folder = make_pictures(here / "many", names=tuple("abcdefghijkl"), train=1, test=1)
    with pytest.raises(InvalidRequest, match=r"^classes='l': no digit of a registration number means this class"):
        check_notebook(classes="a,l", data=str(folder))


# The file


def test_the_python_function_returns_the_file(here: Path) -> None:
    assert make_notebook("49") == Path("practical-49.ipynb")
    path = make_notebook("94", epochs=5, out=here / "other.ipynb")
    assert parameters_of(nbformat.read(path, as_version=4))["EPOCHS"] == 5


@pytest.fixture
def written(here: Path) -> Callable[..., nbformat.NotebookNode]:
    """Run the command, and return the notebook that it has written."""

    def write(*arguments: object) -> nbformat.NotebookNode:
        ended = command("notebook", *arguments)
        assert (ended.status, ended.errors) == (0, "")
        [path] = here.glob("*.ipynb")
        assert ended.output.endswith(f"The notebook is {path.name}\n")
        return nbformat.read(path, as_version=4)

    return write


def reads_cifar10(notebook: nbformat.NotebookNode) -> bool:
    return any("cifar10.load_data()" in code for code in sources(notebook))


def test_the_command_needs_no_data_to_make_a_notebook(written, here: Path) -> None:
    notebook = written("2020387499", "--epochs", 5)
    assert parameters_of(notebook)["EPOCHS"] == 5
    assert reads_cifar10(notebook)
    assert [path.name for path in here.glob("[!.]*")] == ["practical-2020387499.ipynb"]


def test_digits_never_replace_cifar10_without_a_request(here: Path, monkeypatch) -> None:
    """Not even if it cannot be downloaded."""
    requested = []

    def opened(data: str, *_: object) -> None:
        requested.append(data)
        raise InvalidRequest("there is no network")

    monkeypatch.setattr("headstart.workflows.open_dataset", opened)
    assert the_one_line(command("notebook", "49", "--execute")) == "headstart: there is no network\n"
    assert requested == ["cifar10"]


def test_recipe_files_change_the_recipes(written, here: Path) -> None:
    (here / "a.json").write_text('{"a": {"weight_decay": 0.07, "shift": 2}}')
    (here / "b.json").write_text('{"b": {"dropout": [0, 0.25]}}')
    notebook = written("49", "--recipe", "a.json", "--recipe", "b.json")
    recipes = (replace(RECIPE_A, weight_decay=0.07, shift=2), replace(RECIPE_B, dropout=(0, 0.25)))
    assert sources(notebook) == sources(build_notebook(Parameters("49", recipes=recipes)))


@pytest.mark.parametrize("name", ['it\'s "quoted" größe', "pictures", "my digits"])
def test_the_named_folder_is_the_folder_that_is_read(name: str, written, here: Path) -> None:
    folder = make_pictures(here / name, train=1, test=1)
    notebook = written("--classes", ",".join(HOSTILE[1:3]), "--data", folder)
    assert folder_of(notebook) == str(folder)
    assert parameters_of(notebook)["REGISTRATION"] == "12"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("11",),
        ("49", "--classes", "cat,dog"),
        ("--classes", "cat,cat", "--data", "digits"),
        ("--classes", "cat,dog", "--data", "digits"),
        ("49", "--epochs", "0"),
        ("49", "--seed", "-1"),
        ("49", "--precision", "float16"),
        ("49", "--data", "imagenet"),
        ("49", "--data", "no/such/folder"),
        ("49", "--data", "x" * 500),
        ("49", "--data", "~nobody-of-this-name/x"),
        ("49", "--data", "a\x1b[2J"),
        ("49", "--data", ""),
        ("49", "--recipe", "no/such.json"),
        ("49", "--out", "notebook.txt"),
        ("49", "--out", "."),
        ("49", "--execute", "--timeout", "0", "--data", "digits"),
        ("49", "--execute", "--timeout", "-5", "--data", "digits"),
        ("49", "--timeout", "soon"),
    ],
    ids=lambda arguments: ascii(" ".join(arguments))[:60],
)
def test_an_invalid_request_prints_one_line_and_writes_nothing(
    arguments: tuple[str, ...], here: Path, monkeypatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was executed")

    monkeypatch.setattr("headstart.notebook.execute.execute_notebook", never)
    assert "Error" not in the_one_line(command("notebook", *arguments))
    assert list(here.rglob("*.ipynb")) == []


@pytest.mark.parametrize(
    "out",
    ["/proc/no-such-folder/notebook.ipynb", "/dev/null/notebook.ipynb", f"{'x' * 300}.ipynb"],
    ids=["no folder", "no directory", "too long"],
)
def test_a_place_that_is_not_writable_is_reported_in_one_line(out: str, here: Path) -> None:
    assert "choose another place" in the_one_line(command("notebook", "49", "--out", out), status=1)
    assert list(here.rglob("*.ipynb")) == []


@pytest.mark.parametrize("execute", [False, True])
def test_a_notebook_that_may_have_been_edited_is_not_replaced(execute: bool, here: Path, monkeypatch) -> None:
    """An executed notebook has 45 minutes of work in it, an edited one a student's own words."""
    path = make_notebook("49", data="digits", precision="float32")
    assert make_notebook("49", data="digits", precision="bfloat16") == path  # nothing is lost
    assert make_notebook("49", data="digits", precision="float32") == path
    path.write_text(path.read_text().replace('"outputs": []', '"outputs": [1]'))
    content = path.read_bytes()
    monkeypatch.setattr("headstart.notebook.execute.execute_notebook", lambda *_: pytest.fail("it was executed"))
    options = ["notebook", "49", "--data", "digits", "--precision", "float32", *(["--execute"] if execute else [])]
    line = the_one_line(command(*options))
    assert line.startswith(
        "headstart: --out practical-49.ipynb: this file exists, and may have been edited or executed"
    )
    assert path.read_bytes() == content
    assert command(*options[:6], "--force").status == 0
    assert path.read_bytes() != content


def test_a_full_disk_keeps_the_old_notebook(here: Path, monkeypatch) -> None:
    path = here / "practical-49.ipynb"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        line = the_one_line(command("notebook", "49", "--force"), status=1)
    assert "No space left on device" in line
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [("practical-49.ipynb", "old")]

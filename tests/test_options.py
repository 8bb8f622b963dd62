"""Options are valid, or refused in one line before anything is trained or written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import headstart as hs
from headstart import workflows
from headstart.datasets.http import HostError
from headstart.errors import InvalidRequest, ResourceError, TrainingFailed
from headstart.options import (
    check_folder,
    check_held_out,
    check_images,
    check_precision,
    check_training,
    describe_pair,
    digits_of,
    held_out_in,
    resolve_precision,
    split_pair,
)
from headstart.practical.data import CIFAR10_CLASSES
from headstart.study.plan import parse_pairs
from support.runs import at, command, make_pictures, refused, the_one_line

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

COMMANDS = ("run", "notebook", "study", "tune", "data", "report")
OPTIONS = ("--data", "--classes", "--epochs", "--seed", "--out", "--precision", "--pairs", "--seeds", "--strategies")
OPTIONS += ("--train-sizes", "--workers", "--timeout", "--trials", "--images", "--part", "--execute", "--dry-run")
OPTIONS += ("--recipe", "--")
VALUES = ("49", "2020387499", "٤٩", "digits", "four,nine", "1", "-1", "0.25", "1e9", "nan", "4,9", "float32", "a.ipynb")
VALUES += ("", "\x1b[2J", "\udcff", "a\nb", "[/red]", "<b>", "../..", "-", "a,b,c", "9" * 5_000)

run = partial(hs.run, "49", data="digits")
notebook = partial(workflows.make_notebook, "49")


# Python and the command line name the same option, each in its own way


@pytest.mark.parametrize(
    ("function", "name", "option", "value", "in_python"),
    [
        (run, "run 49 --data digits", "epochs", 0, "epochs=0"),
        (run, "run 49 --data digits", "epochs", -3, "epochs=-3"),
        (notebook, "notebook 49", "epochs", 0, "epochs=0"),
        (workflows.tune, "tune", "epochs", 0, "epochs=0"),
        (hs.run_study, "study --data digits --precision float32", "epochs", 0, "epochs=0"),
        (run, "run 49 --data digits", "seed", -1, "seed=-1"),
        (run, "run 49 --data digits", "seed", 2**31, f"seed={2**31}"),
        (run, "run 49 --data digits", "precision", "float16", "precision='float16'"),
        (hs.run_study, "study", "precision", "half", "precision='half'"),
        (hs.run_study, "study", "images", 1.5, "images=1.5"),
        (workflows.tune, "tune", "images", 0.0, "images=0.0"),
        (hs.run_study, "study", "workers", 0, "workers=0"),
        (workflows.tune, "tune", "trials", 0, "trials=0"),
        (notebook, "notebook 49", "timeout", 0, "timeout=0"),
        (run, "run 49 --data digits", "out", Path("file"), "out='file'"),
        (hs.run_study, "study", "out", Path("file"), "out='file'"),
        (workflows.tune, "tune", "out", Path("file"), "out='file'"),
        (notebook, "notebook 49", "out", Path("file"), "out='file'"),
        (partial(hs.run, data="digits"), "run --data digits", "classes", "four", "classes='four'"),
        (hs.run_study, "study --data digits --precision float32", "train_sizes", "0", "train_sizes='0'"),
    ],
)
def test_an_error_names_the_option_as_the_user_wrote_it(
    function: Callable[..., object], name: str, option: str, value: Any, in_python: str, here: Path
) -> None:
    (here / "file").write_text("mine")
    data = {"data": "digits", "precision": "float32"} if option in ("epochs", "train_sizes") else {}
    given_data = data if function is hs.run_study else {}
    with pytest.raises(InvalidRequest) as caught:
        function(**given_data, **{option: value})
    assert isinstance(caught.value, ValueError)
    rule = str(caught.value).removeprefix(f"{in_python}: ")
    assert rule != str(caught.value)
    assert "\n" not in rule
    flag = f"--{option.replace('_', '-')}"
    assert refused(*name.split(), flag, value) == f"headstart: {flag} {value}: {rule}\n"
    assert [path.name for path in here.iterdir() if path.name[0] != "."] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either a registration number or two class names"),
        (("49", "--classes", "four,nine"), "give either a registration number or two class names"),
        (("",), "registration number ''"),
        (("4",), "two different digits"),
        (("4444",), "two different digits"),
        (("49x",), "digits 0 to 9 only"),
        (("٤٩",), "digits 0 to 9 only"),
        (("4²",), "digits 0 to 9 only"),
        ((" 49",), "digits 0 to 9 only"),
        (("4\n9",), "digits 0 to 9 only"),
        (("--classes", "four"), "--classes four: give two different classes by name or by number"),
        (("--classes", ""), "two different classes by name or by number"),
        (("--classes", "four,four"), "two different classes by name or by number"),
        (("--classes", "four, four"), "two different classes by name or by number"),
        (("--classes", "one,two,three"), "two different classes by name or by number"),
        (("--classes", "four,cat"), "--classes four,cat: there is no class 'cat'; give two of 0 zero, 1 one"),
        (("--classes", "four,Nine"), "there is no class 'Nine'"),
        (("49", "--data", "imagenet"), "--data imagenet: "),
        (("49", "--data", "no/such/path"), "no/such/path"),
        (("49", "--data", "/dev/null"), "/dev/null"),
    ],
)
def test_an_invalid_run_takes_one_line_and_writes_nothing(arguments: tuple[str, ...], words: str, here: Path) -> None:
    options = () if "--data" in arguments else ("--data", "digits")
    assert words in refused("run", *arguments, *options)


def test_workers_of_this_machine_and_a_scheduler_exclude_each_other(here: Path) -> None:
    line = refused("study", "--workers", "2", "--scheduler", "tcp://a:8786")
    assert line.startswith("headstart: --workers 2: ")
    assert "tcp://a:8786" in line


def stop(*_: Any, **__: Any) -> None:
    raise TrainingFailed("nothing is executed here")


def unreachable(*_: Any) -> None:
    raise HostError("no network")


@given(
    name=st.sampled_from(COMMANDS) | st.text(max_size=4),
    arguments=st.lists(st.sampled_from(OPTIONS) | st.sampled_from(VALUES) | st.text(max_size=6), max_size=7),
)
@example(name="run", arguments=["49", "--data", "digits"])
@example(name="notebook", arguments=["49", "--execute", "--data", "digits"])
@example(name="notebook", arguments=["49"])
@example(name="study", arguments=["--data", "digits", "--pairs", "4,9"])
@example(name="study", arguments=["--data", "digits", "--pairs", "4,9", "--dry-run"])
@example(name="tune", arguments=["--data", "digits"])
def test_no_arguments_end_in_a_traceback(name: str, arguments: list[str], tmp_path_factory: Any) -> None:
    from headstart.practical import digits

    dataset = cached_digits()
    with at(tmp_path_factory.getbasetemp()) as patch:
        patch.setattr(digits, "load_dataset", lambda: dataset)
        patch.setattr("headstart.datasets.download.available_urls", unreachable)
        patch.setattr("headstart.study.estimate.measure_speed", lambda *_: (1.0, 1.0))
        patch.setattr("headstart.runtime.precision.measure_in_subprocess", lambda: 1.0)
        for work in ("runs.runner.execute_run", "notebook.execute.execute_notebook", "notebook.build.write_notebook"):
            patch.setattr(f"headstart.{work}", stop)
        for work in ("study.runner.execute_study", "tuning.search.search_recipe"):
            patch.setattr(f"headstart.{work}", stop)
        status, _, errors = command(name, *arguments)
    assert status in (0, 1, 2)
    assert (errors.count("\n") == 1) is (status != 0)


@cache
def cached_digits() -> Dataset:
    from headstart.practical.digits import load_dataset

    return load_dataset()


# The functions


@given(
    registration=st.none() | st.text(max_size=5) | st.from_regex(r"[0-9]{2,12}", fullmatch=True),
    classes=st.none() | st.text(max_size=5),
    seed=st.integers(-2, 2**31 + 1),
    epochs=st.integers(-2, 30),
    precision=st.sampled_from(["auto", "float32", "half"]),
    images=st.floats(),
)
def test_options_are_valid_or_refused(registration, classes, seed, epochs, precision, images) -> None:
    try:
        check_held_out(registration, classes)
        check_training(epochs, seed)
        check_precision(precision)
        check_images(images)
    except InvalidRequest:
        return
    assert (registration is None) is not (classes is None)
    assert epochs >= 1
    assert 0 <= seed < 2**31
    assert precision != "half"
    assert 0 < images <= 1


@pytest.mark.parametrize("number", ["٤٩", "४९", "４９", "𝟒𝟗", "4٩"])
def test_digits_of_other_alphabets_are_refused(number: str) -> None:
    with pytest.raises(InvalidRequest, match="digits 0 to 9 only"):
        check_held_out(number, None)


@given(classes=st.text(max_size=12) | st.lists(st.sampled_from(["four", " nine", "x", ""])).map(",".join))
def test_two_class_names_are_known_or_refused(classes: str, digits: Dataset) -> None:
    with suppress(InvalidRequest):
        first, second = held_out_in(digits, None, classes)
        texts = split_pair(classes, "classes")
        assert all(text in (digits.class_names[n], str(n)) for text, n in zip(texts, (first, second), strict=True))
        assert first != second


def test_a_dataset_of_three_classes_is_refused(digits: Dataset) -> None:
    three = replace(digits, class_names=("cat", "dog", "frog"))
    with pytest.raises(InvalidRequest, match="has 3 classes: at least four are needed"):
        held_out_in(three, None, "cat,dog")


def test_a_number_that_names_a_missing_class_is_refused(digits: Dataset) -> None:
    four = replace(digits, class_names=("cat", "dog", "frog", "ship"))
    with pytest.raises(
        InvalidRequest, match=r"number 49: there is no class 4: the classes are cat, dog, frog, ship; give two"
    ):
        held_out_in(four, "49", None)
    assert held_out_in(four, "23", None) == (2, 3)


NUMBERS = tuple(map(str, range(1, 11)))


@pytest.mark.parametrize(
    ("names", "pair", "expected"),
    [
        (NUMBERS, "4,9", (3, 8)),
        (NUMBERS, "10,1", (9, 0)),
        (tuple(map(str, range(11))), "3,8", (3, 8)),
        (("cat", "dog", "a,b", " x"), "2,3", (2, 3)),
        (("cat", "dog", "a,b", " x"), "dog,0", (1, 0)),
    ],
)
def test_a_number_means_the_same_everywhere(
    names: tuple[str, ...], pair: str, expected: tuple[int, int], digits
) -> None:
    """A class with this name if all names are numbers, otherwise the class in this place."""
    dataset = replace(digits, class_names=names)
    assert held_out_in(dataset, None, pair) == expected
    assert parse_pairs(pair, names) == [tuple(sorted(expected))]
    if pair.replace(",", "").isdigit() and "10" not in pair:
        assert held_out_in(dataset, pair.replace(",", ""), None) == expected
        assert digits_of(expected, names) == pair.replace(",", "")


@pytest.mark.parametrize(
    ("names", "pair", "rule"),
    [
        (NUMBERS, "0,1", "there is no class '0'; give two of 1, 2, 3"),
        (("3", "cat", "dog", "frog"), "3,cat", "'3' could mean two classes"),
        (("cat", "dog", "frog", "ship"), "0,cat", "both are the class cat"),
        (("cat", "dog", "frog", "ship"), "cat,cat", "give two different classes by name or by number"),
    ],
)
def test_a_number_without_one_meaning_is_refused(names: tuple[str, ...], pair: str, rule: str, digits) -> None:
    with pytest.raises(InvalidRequest, match=f"^classes='{pair}': {rule}"):
        held_out_in(replace(digits, class_names=names), None, pair)
    with pytest.raises(InvalidRequest, match=f"^pairs='{pair}': '{pair}' is not a pair: {rule}"):
        parse_pairs(pair, names)


def test_a_pair_is_described_by_name_and_number() -> None:
    assert describe_pair((3, 9), CIFAR10_CLASSES) == "cat (3) and truck (9)"


def test_a_run_on_too_few_classes_is_refused_on_the_command_line(here: Path) -> None:
    make_pictures(here / "pictures", names=("cat", "dog", "frog"), train=1, test=1)
    assert "3 classes" in refused("run", "--classes", "cat,dog", "--data", "pictures")


def test_auto_keeps_the_precision_of_earlier_results() -> None:
    stored = ("bfloat16", "it was faster")
    assert resolve_precision("auto", stored) == stored
    assert resolve_precision("float32", stored) == ("float32", "float32 was requested")


@pytest.mark.parametrize(("folder", "status"), [("file", 2), ("other", 2), ("file/inside", 1)])
def test_a_folder_that_cannot_contain_the_run_is_refused(folder: str, status: int, here: Path) -> None:
    check_refused_folder(folder, status, here)


@pytest.mark.parametrize("folder", ["/proc/no-such-folder", "/proc/1/no/such", "/dev/null/a", "x" * 300])
def test_a_folder_that_the_system_refuses_is_a_failure(folder: str, here: Path) -> None:
    check_refused_folder(folder, 1, here)


def check_refused_folder(folder: str, status: int, here: Path) -> None:
    (here / "file").write_text("mine")
    (here / "other").mkdir()
    (here / "other" / "thesis.txt").write_text("mine")
    ended = command("run", "49", "--data", "digits", "--epochs", "1", "--precision", "float32", "--out", folder)
    assert folder[:10] in the_one_line(ended, status)
    assert sorted(path.name for path in here.iterdir() if path.name[0] != ".") == ["file", "other"]


def test_a_folder_is_new_or_empty_or_of_the_same_kind(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", "a run", lambda _: False)
    (tmp_path / ".lock").touch()  # hidden files do not count
    check_folder(tmp_path, "a run", lambda _: False)
    (tmp_path / "thesis.txt").touch()
    check_folder(tmp_path, "a run", lambda _: True)
    with pytest.raises(
        InvalidRequest, match="contains other files; name a folder that is new, empty or contains a run"
    ):
        check_folder(tmp_path, "a run", lambda _: False)
    with pytest.raises(InvalidRequest, match="this is a file"):
        check_folder(tmp_path / "thesis.txt", "a run", lambda _: True)


def test_a_folder_that_cannot_be_read_is_no_invalid_request(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="File name too long"):
        check_folder(tmp_path / ("x" * 300), "a run", lambda _: False)

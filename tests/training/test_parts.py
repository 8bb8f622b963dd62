from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headstart.errors import InvalidRequest
from headstart.practical.data import Dataset
from headstart.training.parts import check_dataset, held_out_classes, split_classes


@pytest.mark.parametrize(
    ("registration", "classes"), [("2020387499", (4, 9)), ("2021032577", (5, 7)), ("1000000", (1, 0)), ("94", (9, 4))]
)
def test_the_last_two_different_digits_are_held_out(registration: str, classes: tuple[int, int]) -> None:
    assert held_out_classes(registration) == classes


@pytest.mark.parametrize(
    "registration",
    [
        *["", "7", "7777777", "00", "20203874x9", " 49", "49\n", "-49", "+49", "4_9", "4.9", "0x49", "1e5"],
        *["٤٩", "²3", "４９", "१२", "4٩"],  # digits for Python's isdigit() or int(), but not here
        *[None, 2020387499, b"49", ["4", "9"]],
    ],
)
def test_other_values_are_refused_with_the_value_and_an_example(registration: object) -> None:
    with pytest.raises(InvalidRequest, match="2020387499") as caught:
        held_out_classes(registration)  # type: ignore[arg-type]
    assert f"registration number {registration!r}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_reason_for_a_refused_number_is_given() -> None:
    with pytest.raises(InvalidRequest, match="it needs two different digits"):
        held_out_classes("7777777")
    with pytest.raises(InvalidRequest, match="give digits 0 to 9 only"):
        held_out_classes("77a")
    rule = r'^registration number 2020387499: give it as text, in quotes \("2020387499"\), because a number loses'
    with pytest.raises(InvalidRequest, match=rule):
        held_out_classes(2020387499)  # type: ignore[arg-type]


@given(st.text(max_size=8))
def test_any_text_with_other_characters_than_ascii_digits_is_refused(text: str) -> None:
    assume(not set(text) <= set("0123456789"))
    with pytest.raises(InvalidRequest, match="digits 0 to 9 only"):
        held_out_classes(text)


def test_registration_numbers_are_checked_without_tensorflow() -> None:
    script = "import sys; from headstart.training.parts import held_out_classes as f; f('49'); "
    script += "print('tensorflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


@pytest.mark.parametrize("held_out", [(4, 4), (4,), (4, 9, 1), (), (4, 10), (-1, 9), ("4", "9"), (4, 9.5), (4, None)])
def test_the_class_numbers_must_be_two_different_ones(held_out: tuple[object, ...], digits: Dataset) -> None:
    with pytest.raises(InvalidRequest) as caught:
        split_classes(digits, held_out)  # type: ignore[arg-type]
    assert str(caught.value) == f"held_out={held_out!r}: give two different class numbers from 0 to 9"


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "images from 0 to 1": (
        {"x_train": np.ones((2, 32, 32, 3), np.float32), "y_train": np.array([0, 1])},
        r"^x_train=.float32 \(2, 32, 32, 3\) from 1 to 1.: give at least one image, uint8 \(n, 32, 32, 3\)",
    ),
    "images of another size": (
        {"x_test": np.zeros((29, 28, 28, 3), np.uint8)},
        "^x_test=.uint8 .29, 28, 28, 3. from 0",
    ),
    "no image": ({"x_test": np.zeros((0, 32, 32, 3), np.uint8)}, "^x_test=.uint8 .0, 32, 32, 3.': give at least one"),
    "a list": ({"x_train": [1, 2]}, "^x_train='list'"),
    "labels in a column": (
        {"y_train": np.zeros((320, 1), np.int64)},
        r"^y_train=.int64 \(320, 1\) from 0 to 0.: give a label for each of the 320 images, integers",
    ),
    "labels of text": ({"y_train": np.array(["a"] * 320)}, "^y_train=.<U1 .320,.*: give a label"),
    "a label too few": ({"y_test": np.zeros(159, np.int64)}, "^y_test="),
    "a label too high": ({"y_test": np.full(160, 10)}, "^y_test=.int64 .160,. from 10 to 10.: .* from 0 to 9"),
    "a label below 0": ({"y_test": np.full(160, -1)}, "^y_test="),
}


@pytest.mark.parametrize("kind", INVALID)
def test_images_and_labels_of_another_kind_are_refused(kind: str, digits: Dataset) -> None:
    changes, rule = INVALID[kind]
    with pytest.raises(InvalidRequest, match=rule):
        check_dataset(replace(digits, **changes))
    with pytest.raises(InvalidRequest, match=rule):
        split_classes(replace(digits, **changes), (4, 9))


def test_part_b_has_the_two_classes_and_no_image_is_lost(digits: Dataset) -> None:
    part_a, part_b = split_classes(digits, (4, 9))
    assert part_b.class_names == ("four", "nine")
    assert len(part_a.class_names) == 8
    assert len(part_a.x_train) + len(part_b.x_train) == len(digits.x_train) == 320
    fours = part_b.x_train[part_b.y_train == 0]
    assert np.array_equal(fours, digits.x_train[digits.y_train == 4])

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from headstart.errors import HeadstartError, InvalidRequest, ResourceError, TrainingFailed


def test_message_has_the_option_and_its_value() -> None:
    assert str(InvalidRequest("give at least 1", option="epochs", value=0)) == "epochs=0: give at least 1"
    assert str(InvalidRequest("give a or b", option="part", value="c")) == "part='c': give a or b"


def test_message_without_an_option_is_the_rule() -> None:
    assert str(InvalidRequest("run.json is missing", value=0)) == "run.json is missing"


def test_path_in_a_message_is_shown_as_text() -> None:
    error = InvalidRequest("this is a file", option="out", value=Path("some") / "place")
    assert str(error) == "out='some/place': this is a file"
    assert error.value == Path("some/place")


def test_pickled_request_keeps_option_and_value() -> None:
    """Errors of workers arrive pickled."""
    error = pickle.loads(pickle.dumps(InvalidRequest("give at least 1", option="epochs", value=0)))
    assert (error.rule, error.option, error.value) == ("give at least 1", "epochs", 0)
    assert str(error) == "epochs=0: give at least 1"


@pytest.mark.parametrize("error", [InvalidRequest, ResourceError, TrainingFailed])
def test_all_errors_are_headstarts_own(error: type[Exception]) -> None:
    assert issubclass(error, HeadstartError)


def test_only_an_invalid_request_is_a_value_error() -> None:
    assert issubclass(InvalidRequest, ValueError)
    assert not issubclass(ResourceError, ValueError)
    assert not issubclass(TrainingFailed, ValueError)

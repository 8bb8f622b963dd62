"""The errors that headstart raises on purpose. The command line prints each as one line, without a traceback."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any


class HeadstartError(Exception):
    """The base class of all errors that headstart raises on purpose."""


class InvalidRequest(HeadstartError, ValueError):
    """The request is wrong, and the same request will fail again (exit status 2).

    Args:
        rule: What was received, the rule and the remedy. If `option` is given: the rule and the remedy only.
        option: The name of the option in Python. The command line writes `--option` instead.
        value: The value that was received for the option.

    >>> print(InvalidRequest("give at least 1", option="epochs", value=0))
    epochs=0: give at least 1
    """

    def __init__(self, rule: str, *, option: str = "", value: Any = None):
        super().__init__(rule)
        self.rule, self.option, self.value = rule, option, value

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, PurePath) else self.value
        return f"{self.option}={value!r}: {self.rule}" if self.option else self.rule


class ResourceError(HeadstartError):
    """Something outside the request fails: a full disk, a damaged checkpoint, a host, a lock (exit status 1)."""


class TrainingFailed(HeadstartError):
    """A training, a study, a search or a notebook could not be completed (exit status 1)."""

"""Errors that the commands show as one line, without a traceback."""


class BadRequest(ValueError):
    """The request was wrong (exit status 2). The message: what was given, the rule, what to do."""


class Failed(RuntimeError):
    """A right request could not be carried out (exit status 1). The message: what happened, and where the rest lies."""

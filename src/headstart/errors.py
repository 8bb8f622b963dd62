"""The one error that is the user's to mend: the commands show it as one line and end with status 2."""


class BadRequest(ValueError):
    """The request was wrong. The message is one line: what was given, the rule, what to do."""

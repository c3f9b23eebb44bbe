"""The tree of errors. Each message says what is wrong, where, and what to do.

RecsysError
├── ConfigError       recsys.toml: unknown key, value out of range, a combination that makes no sense
├── DataError         the user's files and tables
│   ├── SourceError   a file is missing, unreadable, or not in the declared format
│   ├── TableError    a table lacks a column, has a wrong type, or is empty
│   └── TooShortError the data do not reach far enough for the windows asked for
├── ModelError        weights: not found, not a model, the wrong digest, a loss that is not a number
├── ArtefactError     a run or a published folder: absent, incomplete, written by another version
├── PublishError      the lists break a promise, or a sink does not take them; last night's lists stay served
│   └── LimitError    a night went beyond a limit of [monitor] (exit 1)
├── BusyError         another command is at work in the same folder
├── FutureError       a model would be judged or used on a past that it has already seen
└── CheckError        `recsys check` found a FAIL (exit 1; all others but LimitError exit 2)
"""

import difflib


class RecsysError(Exception):
    """Base of every error meant for the user: one message, no traceback."""

    exit_code = 2


class ConfigError(RecsysError):
    """The configuration is wrong; the message lists every fault at once."""


class DataError(RecsysError):
    """The user's data cannot be used as they are."""


class SourceError(DataError):
    """A file is missing, unreadable, or not in the declared format."""


class TableError(DataError):
    """A table lacks a column, has a wrong type, or is empty."""


class TooShortError(DataError):
    """The data do not reach far enough for the windows asked for."""


class ModelError(RecsysError):
    """Weights were not found, are not a model, or have gone bad in training."""


class ArtefactError(RecsysError):
    """A run or a published folder is absent, incomplete, or of another version."""


class PublishError(RecsysError):
    """A night is not published; what was served before still is."""


class LimitError(PublishError):
    """A night went beyond a limit that the config sets."""

    exit_code = 1


class BusyError(RecsysError):
    """Another command that writes is at work in the project's folder."""


class FutureError(RecsysError):
    """A model would be used on a past that it was fitted on."""


class CheckError(RecsysError):
    """A named check failed."""

    exit_code = 1


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """` (did you mean 'x'?)`, or the legal words when none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"

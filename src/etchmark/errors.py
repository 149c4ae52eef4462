"""Errors that are the caller's to correct, and doubts that are the caller's to judge."""

from __future__ import annotations


class UserError(Exception):
    """The caller's mistake: one line that says what is wrong, where, and the remedy.

    The command line prints it without a traceback and exits with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NotAllowed(UserError):
    """A file that this user may not read or write: it is whole, so making it again is no remedy."""


class CannotRun(UserError):
    """A model needs something (weights, a package) that is missing or wrong on this machine.

    A model that raises it has not failed: nothing is recorded of the run.
    """


class DoubtWarning(UserWarning):
    """Predictions that are scored all the same, though they look like a mistake."""

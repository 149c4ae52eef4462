"""Errors that the caller can correct, and warnings about input that looks like a mistake."""

from __future__ import annotations


class UserError(Exception):
    """The caller's mistake: one line that says what is wrong, where, and the remedy.

    The command line prints it without a traceback and exits with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NotAllowed(UserError):
    """A file that this user may not read or write; it is intact, so rebuilding it does not help."""


class CannotRun(UserError):
    """A model needs something (weights, a package) that is missing or wrong on this machine.

    A model that raises it has not failed, so no record of the run is kept.
    """


class DoubtWarning(UserWarning):
    """Predictions that were scored but look like a mistake."""


class UnkeptWarning(UserWarning):
    """A fitted model that was scored and should have been kept, but could not be."""

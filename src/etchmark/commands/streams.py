"""The standard streams of a command, whatever stands behind them.

A terminal of any encoding shows what it can and escapes the rest. A stream that was closed before
the command started, a full disk and a reader that left end in an error of their own.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from etchmark.text import plain_lines


class OutputError(Exception):
    """Standard output cannot be written."""

    def __init__(self, reason: str, *, reader_left: bool = False) -> None:
        super().__init__(f"standard output cannot be written ({reason})")
        self.reader_left = reader_left


class _Stream(ABC):
    """A standard stream, or None where it was closed, that ``print`` can write to."""

    buffer = None
    """Typer would write to the bytes below a stream of ASCII; all text goes through ``write``."""

    def __init__(self, stream: TextIO | None, descriptor: int) -> None:
        self._stream = stream
        self._descriptor = descriptor
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        if not text:
            # Typer tries a stream out with it, and hides what comes of it.
            return 0
        try:
            if self._stream is None:
                raise OSError(errno.EBADF, "it is closed")
            self._stream.write(text)
        except (OSError, ValueError) as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed(error)

    @abstractmethod
    def _failed(self, error: OSError | ValueError) -> None:
        """What follows where the stream cannot be written."""

    def _abandon(self) -> None:
        """Send what is still in the buffer nowhere, so that nothing fails again at exit."""
        with suppress(OSError, ValueError, AttributeError):
            if self._stream is not None and self._stream.fileno() == self._descriptor:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._descriptor)
                os.close(nowhere)
                self._stream.flush()


class _Output(_Stream):
    """Standard output: plain text only, and a failure that says what it is."""

    def write(self, text: str) -> int:
        super().write(plain_lines(text))
        return len(text)

    def _failed(self, error: OSError | ValueError) -> None:
        self._abandon()
        left = isinstance(error, BrokenPipeError)
        raise OutputError(getattr(error, "strerror", None) or str(error), reader_left=left)


class _Errors(_Stream):
    """Standard error: where it cannot be written there is nowhere to say so."""

    def _failed(self, error: OSError | ValueError) -> None:
        self._abandon()


def _occupy() -> None:
    """Open the standard descriptors that are closed.

    The next file to be opened would take their numbers, and get what others print.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


@contextmanager
def guarded() -> Iterator[None]:
    """Replace the standard streams by ones that any encoding and any failure leaves usable.

    Inside, writing to or flushing standard output raises ``OutputError`` where it cannot be
    written.
    """
    before = sys.stdout, sys.stderr
    _occupy()
    sys.stdout = cast(TextIO, _Output(sys.stdout, 1))
    sys.stderr = cast(TextIO, _Errors(sys.stderr, 2))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before

"""The entry point: runs a command and turns whatever it raises into one line and an exit status."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from etchmark import api
from etchmark.commands import (
    boards,
    content,
    dashboard,
    data,
    models,
    publish,
    results,
    streams,
    submissions,
)
from etchmark.commands.app import app, say
from etchmark.errors import UserError

GROUPS = (content, data, publish, models, submissions, boards, results, dashboard)
"""Modules whose import registered their commands."""
NO_PATH = {errno.ENAMETOOLONG, errno.ELOOP}
"""Errors by which no file can ever be at a path."""
INTERRUPTED = 130
"""What Typer returns after Ctrl-C."""


def _version(value: bool) -> None:
    if value:
        from etchmark import __version__

        print(f"etchmark {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    say("warning", str(message))


class _Notes(logging.Handler):
    """What the library says of its work, as one line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        say("note", record.getMessage())


@contextmanager
def _telling() -> Iterator[None]:
    """Have notes of the registry printed, which a long wait is explained by."""
    log, notes = logging.getLogger("etchmark.registry"), _Notes(logging.INFO)
    before = log.level
    log.addHandler(notes)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(notes)
        log.setLevel(before)


def _usage(error: Any) -> str:
    """What is wrong with the command line, in our own words where Typer quotes its validator."""
    if hasattr(error.__cause__, "errors"):
        error.message = api.explain(error.__cause__)
    return error.format_message()


def _complain_of_usage(error: Any) -> int:
    # Typer's own exceptions, by what they offer: they moved between its versions.
    path = error.ctx.command_path if getattr(error, "ctx", None) else "etchmark"
    message = _usage(error)
    if error.__class__.__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        say("error", f"{message.rstrip('.')}; see `{path} --help`")
    return error.exit_code


def _complain_of_output(error: streams.OutputError) -> int:
    # A reader that left (head, less) knows why; nothing is left to say.
    if not error.reader_left:
        say("error", str(error))
    return 1


def _run(arguments: list[str] | None) -> int:
    """Run a command; its exit status."""
    try:
        code = app(args=arguments, prog_name="etchmark", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code or 0
    except UserError as error:
        say("error", str(error))
        return 2
    except streams.OutputError as error:
        return _complain_of_output(error)
    except (KeyboardInterrupt, typer.Abort):
        say("error", "interrupted")
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):
            return _complain_of_usage(error)
        if isinstance(error, OSError) and (refusal := api.refusal(error)):
            # A file of the hub that belongs to another user, wherever it was met.
            say("error", str(refusal))
            return 2
        if os.environ.get("ETCHMARK_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in NO_PATH:
            say("error", f"{error.filename}: {error.strerror}; give another path")
            return 2
        if isinstance(error, OSError) and error.errno in api.NO_ROOM:
            say("error", api.no_room(error))
            return 2
        say("error", f"{type(error).__name__}: {error} (ETCHMARK_DEBUG=1 shows the traceback)")
        return 1


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exit 2 for the caller's mistake, 1 for anything else, 0 for fine."""
    warnings.showwarning = _warn
    with streams.guarded(), _telling():
        code = _run(arguments)
        try:
            # What is still in the buffer is written here, where a failure can be reported.
            sys.stdout.flush()
        except streams.OutputError as error:
            code = code or _complain_of_output(error)
    sys.exit(code)


if __name__ == "__main__":
    main()

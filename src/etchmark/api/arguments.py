"""Checks of the arguments that users of `import etchmark` pass."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from etchmark.errors import UserError


def check_text(**arguments: object) -> None:
    """Refuse arguments that are not text; None stands for the default.

    An empty string names nothing, so it would pass for the default only by accident.
    """
    for name, value in arguments.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise UserError(f"{name} must be text, not {type(value).__name__}; correct it")
        if not value:
            raise UserError(f"{name} is empty; leave it out or name one")


def check_required(**arguments: object) -> None:
    """The same for arguments that have no default."""
    for name, value in arguments.items():
        if value is None:
            raise UserError(f"{name} must be text, not NoneType; correct it")
    check_text(**arguments)


def check_texts(**arguments: object) -> None:
    """Refuse arguments that are neither text nor a list of texts."""
    for name, value in arguments.items():
        if value is None or isinstance(value, str):
            continue
        if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
            raise UserError(
                f"{name} must be a list of texts, not {type(value).__name__}; correct it"
            )
        if isinstance(value, Sequence | Set):
            for part in value:
                check_required(**{name: part})


def as_path(name: str, value: object) -> Path:
    """An argument that must be a path."""
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{name} must be text or a path, not {type(value).__name__}; correct it")
    if not os.fspath(value):
        raise UserError(f"{name} is empty; leave it out or name a path")
    try:
        return Path(value)
    except TypeError:
        raise UserError(f"{name} must be a path of text, not of bytes; correct it") from None

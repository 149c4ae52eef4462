"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etchmark.errors import NotAllowed, UserError

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says where a user may not read or write."""


def refusal(error: OSError, path: Path | None = None) -> NotAllowed | None:
    """The one line for a file that this user may not use; None for any other error.

    Args:
        error: what the system raised.
        path: the file, where the error does not name it.
    """
    where = error.filename or path
    if error.errno not in REFUSED or where is None:
        return None
    return NotAllowed(
        f"{where}: cannot be used by this user ({error.strerror}); ask its owner to allow it, or"
        " set ETCHMARK_HOME to a folder of your own"
    )


NO_ROOM = {errno.ENOSPC, errno.EROFS, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else [])}
"""Why nothing more can be written: the disk is full, read-only, or a quota is used up."""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder for the time of a block, below ``TMPDIR``.

    Raises:
        UserError: it cannot be made, or there is no room for what the block writes.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"no temporary folder can be made ({why}); {_REMEDY}") from None
    try:
        yield folder
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(no_room(error, folder)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_REMEDY = "free space, or set TMPDIR to a folder that can be written and has room"


def no_room(error: OSError, folder: Path) -> str:
    """The line for an error of ``NO_ROOM`` while something was written."""
    return f"{error.filename or folder.parent}: cannot be written ({error.strerror}); {_REMEDY}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place, flushed to disk, on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename survives a power cut only once its folder is on disk (not possible on Windows).
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

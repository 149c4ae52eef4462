"""Opening a registry file that another user or a read-only disk holds."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from etchmark import settings
from etchmark.files import REFUSED, temporary_root

COPYING_ATTEMPTS = 20
READ_ONLY = "ETCHMARK_READ_ONLY is set"
Stamp = tuple[tuple[int, int, int] | None, ...]


def _files(path: Path) -> list[Path]:
    """The database and what SQLite keeps beside it; the index of its log (-shm) comes last."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-journal", "-shm")]


def read_only_reason(path: Path) -> str | None:
    """Why a registry cannot be written where it stands; None if it can.

    The hub folder is made if it is missing.

    Args:
        path: the database in the hub folder.

    Raises:
        UserError: it cannot be read either.
        OSError: the hub folder cannot be made for another reason than missing permission.
    """
    home = path.parent
    if settings.read_only():
        return READ_ONLY
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in REFUSED or _is_hidden(home):
            raise
        return f"{home} cannot be made"
    if not os.access(home, os.R_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "the hub folder belongs to another user", str(home))
    there = [each for each in _files(path) if each.exists()]
    if path in there and path.is_file() and not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, "it belongs to another user", str(path))
    for each in (home, *there):
        if not _is_writable(each):
            return f"{each} cannot be written by this user"
    return None


def _is_writable(path: Path) -> bool:
    """Whether a file can be written, or is gone: SQLite removes its log when a connection ends."""
    # It may also be made again between the first two looks.
    return os.access(path, os.W_OK) or not path.exists() or os.access(path, os.W_OK)


def _is_hidden(home: Path) -> bool:
    """Whether a folder above may not be looked into, so that the hub may be there all the same."""
    try:
        home.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def stamp(path: Path) -> Stamp:
    """Changes whenever something is written to a registry."""
    stamps = []
    for file in _files(path)[:3]:
        try:
            status = file.stat()
        except FileNotFoundError:
            stamps.append(None)
        else:
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


class Snapshot:
    """A private copy of a registry, removed when it is no longer used.

    SQLite cannot read a database in WAL mode without files that it makes beside it, and reviewed
    records have to be taken in somewhere; both happen in the copy. Without a registry it is empty.

    Args:
        source: the database that cannot be written.
    """

    def __init__(self, source: Path) -> None:
        folder = tempfile.mkdtemp(prefix="etchmark-", dir=temporary_root())
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder) / source.name
        self.stamp = self._copy(source)

    def _copy(self, source: Path) -> Stamp:
        for attempt in range(COPYING_ATTEMPTS):
            before = stamp(source)
            if before[0] is None:
                return before
            if _files(source)[3].exists() and _backed_up(source, self.path):
                return before
            for each, copy in zip(_files(source)[:3], _files(self.path), strict=False):
                copy.unlink(missing_ok=True)
                if each.exists():
                    shutil.copyfile(each, copy)
            if stamp(source) == before:
                return before
            time.sleep(0.05 * (attempt + 1))
        raise OSError(errno.EBUSY, "it is being written all the time; try again later")


def _backed_up(source: Path, target: Path) -> bool:
    """Copy a registry that its owner has open, by way of SQLite's locks; False if it refuses."""
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as theirs,
            closing(sqlite3.connect(target)) as ours,
        ):
            theirs.backup(ours)
    except sqlite3.OperationalError:
        return False
    return True

"""Opening a registry that another user, another version of etchmark or a read-only disk holds."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, inspect, select, update
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from etchmark.errors import UserError
from etchmark.files import REFUSED, temporary_root
from etchmark.registry.tables import (
    LOCAL,
    UNREADABLE,
    Base,
    BriefRow,
    MetaRow,
    SubmissionRow,
    SumsRow,
    record_of,
    selected_by,
)

COPYING_ATTEMPTS = 20
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
        if not os.access(each, os.W_OK):
            return f"{each} cannot be written by this user"
    return None


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
    found = []
    for each in _files(path)[:3]:
        try:
            known = each.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((known.st_ino, known.st_mtime_ns, known.st_size))
    return tuple(found)


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


def make_tables(engine: Engine, path: Path) -> None:
    """Make the tables, or fit those that another version of etchmark made to this one.

    A column that is missing is added and filled from the records; tables that are made from
    records are dropped, to be made again. Columns of a newer version stay.

    Raises:
        UserError: it is another program's database, or holds no records.
    """
    ours = Base.metadata.tables
    known = _columns(engine)
    if known and not set(known) & set(ours):
        raise UserError(
            f"{path}: is another program's database; move it or set ETCHMARK_HOME to another folder"
        )
    lacking = {name: set(table.columns.keys()) - known.get(name, set()) for name, table in
               ours.items()}  # fmt: skip
    if not any(lacking.values()):
        return
    if SubmissionRow.__tablename__ in known and {"id", "record"} & lacking["submissions"]:
        raise UserError(
            f"{path}: the registry cannot be used (its submissions have no id or no record); move"
            " that file or set ETCHMARK_HOME to another folder"
        )
    with engine.connect() as connection:
        # Kept in the file; set only once it is known to be ours.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    with engine.connect() as connection:
        # Another process may be making them at this moment.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _fit(connection)
        connection.commit()


def _columns(bind: Engine | Connection) -> dict[str, set[str]]:
    found = inspect(bind)
    return {
        name: {column["name"] for column in found.get_columns(name)}
        for name in found.get_table_names()
    }


def _fit(connection: Connection) -> None:
    known = _columns(connection)
    for row in (BriefRow, SumsRow, MetaRow):
        table = Base.metadata.tables[row.__tablename__]
        if not set(table.columns.keys()) <= known.get(table.name, set()):
            connection.exec_driver_sql(f'DROP TABLE IF EXISTS "{table.name}"')
    submissions = Base.metadata.tables[SubmissionRow.__tablename__]
    there = known.get(submissions.name)
    missing = [] if there is None else [one for one in submissions.columns if one.name not in there]
    for column in missing:
        # Without NOT NULL: what cannot be filled stays empty.
        plain = column._copy()
        plain.nullable, plain.index = True, None
        text = CreateColumn(plain).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f'ALTER TABLE "{submissions.name}" ADD COLUMN {text}')
    if missing:
        _fill(connection, submissions, [column.name for column in missing])
    for table in Base.metadata.tables.values():
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _fill(connection: Connection, table: Table, names: Iterable[str]) -> None:
    """Fill added columns from the records, as far as these can be read."""
    for key, text in list(connection.execute(select(table.c.id, table.c.record))):
        values: dict[str, Any] = {"origin": LOCAL}
        with suppress(*UNREADABLE):
            values |= selected_by(record_of(text))
        wanted = {name: values[name] for name in names if name in values}
        if wanted:
            connection.execute(update(table).where(table.c.id == key).values(wanted))


def foreign_column(engine: Engine) -> str | None:
    """A column of a newer version that rows written by this one would lack, None if none is."""
    found = inspect(engine)
    for name, table in Base.metadata.tables.items():
        for column in found.get_columns(name) if found.has_table(name) else ():
            needed = not column["nullable"] and column["default"] is None
            if needed and column["name"] not in table.columns:
                return f"{name}.{column['name']}"
    return None


def drop_foreign_columns(engine: Engine) -> None:
    """Make every table of a private copy again with the columns that this version knows."""
    with engine.begin() as connection:
        for name, table in Base.metadata.tables.items():
            if not inspect(connection).has_table(name):
                continue
            names = ", ".join(f'"{one}"' for one in table.columns.keys())  # noqa: SIM118
            for index in table.indexes:
                connection.exec_driver_sql(f'DROP INDEX IF EXISTS "{index.name}"')
            connection.exec_driver_sql(f'ALTER TABLE "{name}" RENAME TO "foreign {name}"')
            connection.execute(CreateTable(table))
            for index in table.indexes:
                connection.execute(CreateIndex(index))
            connection.exec_driver_sql(
                f'INSERT OR IGNORE INTO "{name}" ({names}) SELECT {names} FROM "foreign {name}"'  # noqa: S608
            )
            connection.exec_driver_sql(f'DROP TABLE "foreign {name}"')

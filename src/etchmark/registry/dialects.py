"""What differs between SQLite and PostgreSQL; everything else in this package is the same SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, cast, create_engine, event, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import LargeBinary

from etchmark.errors import UserError

BUSY_TIMEOUT_S = 30.0
_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_OCTET_LENGTH_SINCE = (3, 43)
_MIGRATION_LOCK = 0x65746368
"""Any number that no other program uses for an advisory lock of the same database."""


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def registry_url(text: str) -> URL:
    """The URL of a registry outside the hub folder.

    Raises:
        UserError: it is not the URL of a PostgreSQL database, or its driver is not installed.
    """
    try:
        url = make_url(text)
        if url.get_backend_name() != "postgresql":
            raise ArgumentError
        # SQLAlchemy's own default is the driver before psycopg 3.
        url = url.set(drivername="postgresql+psycopg")
        url.get_dialect().import_dbapi()
    except ArgumentError:
        raise UserError(
            "ETCHMARK_REGISTRY: is not a URL such as postgresql://user@host/database; correct the"
            " setting, or unset it to keep the registry in the hub folder"
        ) from None
    except ImportError:
        raise UserError(
            "ETCHMARK_REGISTRY: PostgreSQL needs psycopg; install it with"
            " `pip install 'etchmark[postgresql]'`"
        ) from None
    return url


def connect(url: URL) -> Engine:
    """An engine whose every commit is on disk when it returns."""
    if url.get_backend_name() != "sqlite":
        # A server may have been restarted since the pool last used a connection.
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _: Any) -> None:
    # Bytes that are not text make one row unreadable instead of every query that meets it.
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def is_sqlite(bind: Engine | Connection) -> bool:
    return bind.dialect.name == "sqlite"


def use_write_ahead_log(engine: Engine) -> None:
    """Have a SQLite file keep its log beside it; PostgreSQL always has one."""
    if is_sqlite(engine):
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def begin_migration(connection: Connection) -> None:
    """Begin a transaction that no other process migrates or creates tables in."""
    if is_sqlite(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(func.pg_advisory_xact_lock(_MIGRATION_LOCK).select())


def begin_exclusive(connection: Connection, table: Table) -> None:
    """Begin a transaction in which nobody else writes to a table; others may read it."""
    if is_sqlite(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f'LOCK TABLE "{table.name}" IN SHARE ROW EXCLUSIVE MODE')


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Store rows in place of those of the same primary key; how many the database confirms.

    Args:
        connection: in a transaction.
        table: one with a primary key.
        rows: a value for every column; no two rows of the same key.
    """
    if not rows:
        return 0
    key = [column.name for column in table.primary_key]
    # A table that is all key is updated to what it is, so that its row is returned as well.
    updated = [column.name for column in table.columns if column.name not in key] or key
    statement = _INSERT[connection.dialect.name](table)
    statement = statement.on_conflict_do_update(
        index_elements=key, set_={name: statement.excluded[name] for name in updated}
    )
    # In the order of keys, so that two processes never wait for each other's rows.
    ordered = sorted(rows, key=lambda row: [row[name] for name in key])
    returned = connection.execute(statement.returning(table.c[key[0]]), ordered)
    return len(returned.all())


def octets(column: Any, bind: Engine | Connection) -> ColumnElement[int]:
    """How many bytes a stored text has."""
    old = is_sqlite(bind) and bind.dialect.dbapi.sqlite_version_info < _OCTET_LENGTH_SINCE  # type: ignore[union-attr]
    # Where a database has octet_length, it is known without reading the text.
    return func.length(cast(column, LargeBinary)) if old else func.octet_length(column)

"""The tables in a database: made, taken over from older versions, repaired.

A registry states its revision in the table ``alembic_version``. If that is the current one,
opening a registry only reads the names of its columns; Alembic is imported only if it is another.
A new registry gets all tables at once. ``migrations/`` leads from every older revision to the
current one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, DropTable

from etchmark.errors import UserError
from etchmark.registry import dialects
from etchmark.registry.tables import (
    LOCAL,
    UNREADABLE,
    Base,
    SubmissionRow,
    record_of,
    selected_by,
)

HEAD = "0002"
"""The newest revision in ``migrations/versions``."""
MIGRATIONS = Path(__file__).parent / "migrations"
TABLES = Base.metadata
SUBMISSIONS = SubmissionRow.__tablename__
_REVISION = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
ANOTHER = "set ETCHMARK_HOME to another folder"


@dataclass(frozen=True)
class _Columns:
    """Columns of the tables in a database, and which of these tables have a primary key."""

    names: dict[str, set[str]]
    needed: dict[str, set[str]]
    """Those that every row must have a value for."""
    keyed: set[str]

    def unfit(self, tables: MetaData) -> list[Table]:
        """Tables that are missing, lack a column or have lost their primary key."""
        return [
            table
            for name, table in tables.tables.items()
            if not set(table.columns.keys()) <= self.names.get(name, set())
            or name not in self.keyed
        ]


def _columns(connection: Connection) -> _Columns:
    inspector = inspect(connection)
    by_table = {name: columns for (_, name), columns in inspector.get_multi_columns().items()}
    keys = inspector.get_multi_pk_constraint()
    return _Columns(
        names={name: {column["name"] for column in columns} for name, columns in by_table.items()},
        needed={
            name: {
                column["name"]
                for column in columns
                if not column["nullable"] and column["default"] is None
            }
            for name, columns in by_table.items()
        },
        keyed={name for (_, name), key in keys.items() if key["constrained_columns"]}
        | _unique(connection, SUBMISSIONS, by_table),
    )


def _unique(connection: Connection, name: str, columns: Mapping[str, Any]) -> set[str]:
    """A table whose key is an index: see ``repair``."""
    if name not in columns:
        return set()
    indexes = inspect(connection).get_indexes(name)
    by_id = (index["unique"] and index["column_names"] == ["id"] for index in indexes)
    return {name} if any(by_id) else set()


def revision(connection: Connection, columns: Mapping[str, set[str]]) -> str | None:
    """The revision that a registry states; None if it is from before there were revisions."""
    if "version_num" not in columns.get(_REVISION.name, set()):
        return None
    return connection.scalar(select(_REVISION.c.version_num))


def prepare(engine: Engine, where: object) -> str | None:
    """Make the tables, or bring those of another version up to date; columns that are newer stay.

    Args:
        engine: the database.
        where: what to call it in a message.

    Returns:
        Why nothing can be written although the tables can be read; None if it can.

    Raises:
        UserError: it is another program's database, or holds no records.
    """
    with engine.connect() as connection:
        stored = _columns(connection)
        stated = revision(connection, stored.names)
    others = set(stored.names) - {_REVISION.name}
    if others and not others & set(TABLES.tables):
        remedy = ANOTHER if dialects.is_sqlite(engine) else "name another one in ETCHMARK_REGISTRY"
        raise UserError(f"{where}: is another program's database; move it or {remedy}")
    lost = {"id", "record"} - stored.names.get(SUBMISSIONS, {"id", "record"})
    if lost:
        raise UserError(
            f"{where}: the registry cannot be used (its submissions have no id or no record); move"
            f" that database, or {ANOTHER}"
        )
    if stated != HEAD or stored.unfit(TABLES):
        # Kept in the file; set only once it is known to be ours.
        dialects.use_write_ahead_log(engine)
        if not _bring_to_head(engine):
            return (
                f"it was written by a newer version of etchmark, revision {stated}; update etchmark"
            )
        with engine.connect() as connection:
            stored = _columns(connection)
    for name, table in TABLES.tables.items():
        for column in sorted(stored.needed.get(name, set()) - set(table.columns.keys())):
            return (
                f"its table {name} has a column {column} that this version of etchmark does not"
                " know; update etchmark"
            )
    return None


def _bring_to_head(engine: Engine) -> bool:
    """Whether the tables are those of this version; false where a newer one made them."""
    with engine.connect() as connection:
        # Another process may be doing the same at this moment: look again once it is over.
        dialects.begin_migration(connection)
        stored = _columns(connection)
        stated = revision(connection, stored.names)
        if stated is None and not set(stored.names) & set(TABLES.tables):
            TABLES.create_all(connection)
            stamp(connection)
        elif stated == HEAD:
            repair(connection, TABLES)
        elif not _upgrade(connection, stated):
            return False
        connection.commit()
    return True


def _upgrade(connection: Connection, stated: str | None) -> bool:
    """Run the migrations from a revision on; false if it is none of them."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if stated is not None and stated not in known:
        return False
    command.upgrade(config, "head")
    return True


def stamp(connection: Connection) -> None:
    """State that the tables are those of this version."""
    connection.execute(CreateTable(_REVISION, if_not_exists=True))
    connection.execute(_REVISION.delete())
    connection.execute(_REVISION.insert().values(version_num=HEAD))


# --- repair --------------------------------------------------------------------------------------


def repair(connection: Connection, tables: MetaData) -> None:
    """Add whatever columns, keys or tables a database lacks.

    A missing column of the submissions is added and filled from the records; tables that are made
    from submissions are dropped, to be filled again.

    Args:
        connection: in a transaction.
        tables: of this version or of a revision; ``submissions`` is among them.
    """
    stored = _columns(connection)
    submissions = tables.tables[SUBMISSIONS]
    for table in stored.unfit(tables):
        if table.name != SUBMISSIONS:
            connection.execute(DropTable(table, if_exists=True))
    if SUBMISSIONS in stored.names:
        names = stored.names[SUBMISSIONS]
        missing = [column for column in submissions.columns if column.name not in names]
        for column in missing:
            _add(connection, submissions, column)
        if missing:
            _fill(connection, submissions, [column.name for column in missing])
        if SUBMISSIONS not in stored.keyed:
            connection.execute(text(f"CREATE UNIQUE INDEX submissions_by_id ON {SUBMISSIONS} (id)"))
    for table in tables.tables.values():
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _add(connection: Connection, table: Table, column: Column[Any]) -> None:
    # Without NOT NULL: what cannot be filled stays empty.
    plain = column._copy()
    plain.nullable, plain.index = True, None
    definition = CreateColumn(plain).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}')


def _fill(connection: Connection, table: Table, names: Iterable[str]) -> None:
    """Fill added columns from the records, as far as these can be read."""
    for key, record in list(connection.execute(select(table.c.id, table.c.record))):
        values: dict[str, Any] = {"origin": LOCAL}
        with suppress(*UNREADABLE):
            values |= selected_by(record_of(record))
        wanted = {name: values[name] for name in names if name in values}
        if wanted:
            connection.execute(update(table).where(table.c.id == key).values(wanted))


def rebuild_copy(engine: Engine) -> None:
    """Give a private copy of a newer version's registry the tables of this version."""
    submissions = TABLES.tables[SUBMISSIONS]
    with engine.begin() as connection:
        for table in TABLES.tables.values():
            for index in table.indexes:
                connection.exec_driver_sql(f'DROP INDEX IF EXISTS "{index.name}"')
            if table is not submissions:
                connection.execute(DropTable(table, if_exists=True))
        connection.exec_driver_sql(f'ALTER TABLE "{SUBMISSIONS}" RENAME TO "newer"')
        for table in TABLES.tables.values():
            connection.execute(CreateTable(table))
            for index in table.indexes:
                connection.execute(CreateIndex(index))
        names = submissions.columns.keys()
        newer = Table("newer", MetaData(), *(Column(name) for name in names))
        rows = select(newer).where(*(newer.c[name].is_not(None) for name in names
                                     if not submissions.c[name].nullable))  # fmt: skip
        connection.execute(submissions.insert().from_select(names, rows))
        connection.execute(DropTable(newer))
        stamp(connection)

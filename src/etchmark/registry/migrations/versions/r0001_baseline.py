"""Registries from before there were revisions: made, or taken over as they are.

Revision ID: 0001
"""

from alembic import op
from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, MetaData, String, Table, Text

from etchmark.registry.schema import repair

revision = "0001"
down_revision = None

TABLES = MetaData()
Table(
    "submissions",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("benchmark", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("track", String(64), nullable=False),
    Column("protocol", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("origin", String(16), nullable=False, index=True),
    Column("created", DateTime, nullable=False),
    Column("record", Text, nullable=False),
    Column("samples", LargeBinary),
)
Table(
    "briefs",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("form", Integer, nullable=False),
    Column("benchmark", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("protocol", String(64), nullable=False),
    Column("track", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("status", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("created", DateTime, nullable=False),
    Column("content", Text, nullable=False),
    Index("briefs_of_board", "benchmark", "version", "protocol"),
)
Table(
    "sums",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("split", String(64), primary_key=True),
    Column("subset", String(64), primary_key=True),
    Column("term", String(64), primary_key=True),
    Column("units", String(64), nullable=False),
    Column("seeds", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
Table(
    "meta",
    TABLES,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)


def upgrade() -> None:
    repair(op.get_bind(), TABLES)

"""What was searched for in the text of records has tables and columns of its own.

So has the state of reviewed files, of which only those that changed are read again. Briefs are
made again from the submissions when the registry is opened, and fill what is new.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for derived in ("briefs", "predictions", "reviewed_files"):
        op.drop_table(derived, if_exists=True)
    op.create_table(
        "briefs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("form", sa.Integer, nullable=False),
        sa.Column("benchmark", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("protocol", sa.String(64), nullable=False),
        sa.Column("track", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("record_bytes", sa.Integer, nullable=False),
        sa.Column("curves", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_index("briefs_of_board", "briefs", ["benchmark", "version", "protocol"])
    op.create_table(
        "predictions",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
    )
    op.create_index("ix_predictions_id", "predictions", ["id"])
    op.create_table(
        "reviewed_files",
        sa.Column("path", sa.String(512), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )

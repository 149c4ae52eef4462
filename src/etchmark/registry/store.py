"""The registry: result records and per-sample tables in a database, prediction files by hash.

SQLite in WAL mode, flushed at every commit, in the hub folder. A submission is acknowledged only
after its transaction is on disk; before that nothing of it is visible.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import LargeBinary, String, Text, create_engine, delete, event, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from etchmark import files, settings
from etchmark.catalog import content_root, explain
from etchmark.errors import UserError
from etchmark.specs import ResultRecord

BUSY_TIMEOUT_S = 30.0
LOCAL, REVIEWED = "local", "reviewed"


class Base(DeclarativeBase):
    pass


class SubmissionRow(Base):
    """One submission; the columns beside ``record`` are there to select by."""

    __tablename__ = "submissions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    benchmark: Mapped[str] = mapped_column(String(64), index=True)
    version: Mapped[int]
    track: Mapped[str] = mapped_column(String(64))
    protocol: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(100))
    outcome: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16), index=True)
    created: Mapped[datetime]
    record: Mapped[str] = mapped_column(Text)
    samples: Mapped[bytes | None] = mapped_column(LargeBinary)


class MetaRow(Base):
    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True)
class Entry:
    """A submission as stored."""

    record: ResultRecord
    samples: bytes | None
    """Parquet bytes of the per-sample table."""
    origin: str


def _row(entry: Entry) -> SubmissionRow:
    record = entry.record
    return SubmissionRow(
        id=record.submission,
        benchmark=record.benchmark,
        version=record.benchmark_version,
        track=record.track,
        protocol=record.protocol,
        name=record.name,
        outcome=record.outcome,
        origin=entry.origin,
        created=record.created.replace(tzinfo=None),
        record=record.model_dump_json(by_alias=True),
        samples=entry.samples,
    )


def _entry(row: SubmissionRow) -> Entry:
    return Entry(ResultRecord.model_validate_json(row.record), row.samples, row.origin)


def read_record(path: Path) -> ResultRecord:
    """A result record from its JSON file."""
    try:
        if path.stat().st_size > 16 << 20:
            raise UserError(f"{path}: is too large for a result record")
        return ResultRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}; it is no valid result record") from None


class Store:
    """The registry in one hub folder.

    Args:
        home: the hub folder; the setting if None.
        results: folder of reviewed records, taken in at every start; the content's if None.
    """

    def __init__(self, home: Path | None = None, results: Path | None = None) -> None:
        self.home = home or settings.home()
        self.results = results or content_root() / "leaderboard" / "results"
        path = self.home / "registry.sqlite"
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S}
            )
            event.listen(self.engine, "connect", _configure)
            Base.metadata.create_all(self.engine)
            self._take_reviewed()
        except (OSError, DatabaseError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise UserError(
                f"{path}: the registry cannot be opened ({reason}); mend or move that file, or set"
                " ETCHMARK_HOME to another folder"
            ) from None

    # --- reading ---

    def entries(self, benchmark: str, version: int) -> list[Entry]:
        """Every submission to one version of a benchmark, oldest first."""
        query = (
            select(SubmissionRow)
            .where(SubmissionRow.benchmark == benchmark, SubmissionRow.version == version)
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with Session(self.engine) as session:
            return [_entry(row) for row in session.scalars(query)]

    def get(self, submission: str) -> Entry | None:
        with Session(self.engine) as session:
            row = session.get(SubmissionRow, submission)
            return None if row is None else _entry(row)

    def names(self, benchmark: str) -> list[str]:
        query = select(SubmissionRow.name).where(SubmissionRow.benchmark == benchmark).distinct()
        with Session(self.engine) as session:
            return list(session.scalars(query))

    def prediction_path(self, sha256: str) -> Path:
        return self.home / "predictions" / sha256[:2] / sha256

    # --- writing ---

    def keep_prediction(self, path: Path) -> str:
        """Store a predictions file by its content hash; the hash."""
        sha256 = files.sha256_of(path)
        target = self.prediction_path(sha256)
        if not target.is_file() or files.sha256_of(target) != sha256:
            files.write_bytes(target, path.read_bytes())
        return sha256

    def add(self, entry: Entry) -> None:
        """Insert or replace one submission; on return it is on disk."""
        with Session(self.engine) as session, session.begin():
            session.merge(_row(entry))

    def _take_reviewed(self) -> None:
        listing = _listing(self.results)
        digest = hashlib.sha256(json.dumps([str(self.results), listing]).encode()).hexdigest()
        with Session(self.engine) as session:
            known = session.get(MetaRow, "reviewed")
            if known is not None and known.value == digest:
                return
        found = list(self._reviewed())
        with Session(self.engine) as session, session.begin():
            gone = delete(SubmissionRow).where(
                SubmissionRow.origin == REVIEWED,
                SubmissionRow.id.not_in([entry.record.submission for entry in found]),
            )
            session.execute(gone)
            for entry in found:
                session.merge(_row(entry))
            session.merge(MetaRow(key="reviewed", value=digest))

    def _reviewed(self) -> Iterable[Entry]:
        for path in sorted(self.results.glob("*/*.json")):
            table = path.with_suffix(".parquet")
            try:
                record = read_record(path)
                if record.submission != path.stem:
                    raise UserError(f"{path}: the file is not named after its submission")
                if record.outcome == "ok" and not table.is_file():
                    raise UserError(f"{table}: is missing")
            except UserError as error:
                # One damaged record must not close the whole board.
                warnings.warn(f"left out: {error}", stacklevel=2)
                continue
            yield Entry(record, table.read_bytes() if table.is_file() else None, REVIEWED)


def _listing(folder: Path) -> Sequence[Any]:
    if not folder.is_dir():
        return []
    return [
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.glob("*/*"))
    ]


def _configure(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()

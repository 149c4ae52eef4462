"""Writing to a registry: one transaction for what belongs together, acknowledged once on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, exists, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from etchmark import files
from etchmark.errors import UserError
from etchmark.patience import patiently as _patiently
from etchmark.registry import dialects
from etchmark.registry.reading import STORED, Reader, digests_of_row
from etchmark.registry.tables import (
    DERIVED,
    Base,
    BriefRow,
    Entry,
    MetaRow,
    PredictionRow,
    ReviewedRow,
    Row,
    SubmissionRow,
    SumsRow,
    TermSums,
    rows_of,
)

T = TypeVar("T")


def patiently(work: Callable[[], T]) -> T:
    """Call a function, and again for a while as long as another process locks the database."""
    return _patiently(work, OperationalError, dialects.BUSY_TIMEOUT_S)


def put(session: Session, rows: Sequence[Row]) -> None:
    """Store rows in place of those of the same keys.

    Whatever else was made from the same submissions goes.

    Raises:
        RuntimeError: the database does not confirm every row.
    """
    connection = session.connection()
    briefs = [{"gone": row.id} for row in rows if isinstance(row, BriefRow)]
    if briefs:
        for kind in (SumsRow, PredictionRow):
            connection.execute(delete(kind).where(kind.id == bindparam("gone")), briefs)
    by_kind: dict[type[Any], list[Row]] = {}
    for row in rows:
        by_kind.setdefault(SumsRow if isinstance(row, TermSums) else type(row), []).append(row)
    for kind in (SubmissionRow, BriefRow, PredictionRow, SumsRow, ReviewedRow, MetaRow):
        table = Base.metadata.tables[kind.__tablename__]
        names = table.columns.keys()
        values = [{name: getattr(row, name) for name in names} for row in by_kind.get(kind, ())]
        confirmed = dialects.upsert(connection, table, values)
        if confirmed != len(values):
            raise RuntimeError(f"{table.name}: {confirmed} of {len(values)} rows were written")


class Writer(Reader):
    """What can be done to a registry that is open."""

    read_only: str | None = None
    """Why nothing can be stored here; None if it can."""

    def require_writable(self) -> None:
        """Refuse, before anything is done, what could not be stored in the end.

        Raises:
            UserError: the hub can only be read.
        """
        if self.read_only is not None:
            raise UserError(
                f"{self.home}: this hub can be read but not changed ({self.read_only}); ask its"
                " owner, or set ETCHMARK_HOME to a folder of your own"
            )

    def prediction_path(self, sha256: str) -> Path:
        return self.home / "predictions" / sha256[:2] / sha256

    def alone(self) -> AbstractContextManager[Any]:
        """Hold off every other process and thread that stores a submission in this hub."""
        from filelock import FileLock

        return FileLock(self.home / "submissions.lock")

    def keep_prediction(self, path: Path) -> str:
        """Store a predictions file by its content hash; the hash."""
        self.require_writable()
        with self._explained():
            content = path.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            target = self.prediction_path(sha256)
            if not target.is_file() or files.sha256_of(target) != sha256:
                files.write_bytes(target, content)
        return sha256

    def add(self, entry: Entry) -> None:
        """Store one submission, in place of an earlier one of its id; on return it is on disk."""
        self.add_many([entry])

    def add_many(self, entries: Iterable[Entry]) -> None:
        """The same of several, all of them or none."""
        self.require_writable()
        with self._explained():
            # The last of each, as if they were stored one after the other.
            by_id = {entry.record.submission: entry for entry in entries}
            rows = [row for entry in by_id.values() for row in rows_of(entry)]
            self.write(lambda session: put(session, rows))
        for submission in by_id:
            self.left_out.pop(submission, None)

    def remove(self, submission: str) -> None:
        """Remove one submission; on return that is on disk. Its predictions file stays."""
        self.require_writable()

        def work(session: Session) -> None:
            for table in (*DERIVED, SubmissionRow):
                session.execute(delete(table).where(table.id == submission))

        with self._explained():
            self.write(work)
        self.left_out.pop(submission, None)

    def remove_predictions(self, hashes: Iterable[str]) -> list[str]:
        """Remove those predictions files that no submission names; their hashes."""
        self.require_writable()
        removed = []
        submissions = Base.metadata.tables[SubmissionRow.__tablename__]
        unreadable = select(SubmissionRow.record).where(SubmissionRow.id.in_(list(self.left_out)))
        with self._explained(), self.engine.connect() as connection:
            for sha256 in hashes:
                # Nothing can be added between the question and the removal; whoever adds the same
                # file a moment later looks afterwards whether it is still there.
                patiently(lambda: dialects.begin_exclusive(connection, submissions))
                named = connection.scalar(select(exists().where(PredictionRow.sha256 == sha256)))
                # What a damaged record names can only be guessed: its files are kept.
                named = named or any(sha256 in str(text) for text in connection.scalars(unreadable))
                path = self.prediction_path(sha256)
                if not named and path.is_file():
                    path.unlink()
                    removed.append(sha256)
                connection.commit()
        return removed

    def write(self, work: Callable[[Session], object]) -> None:
        """Do something in one transaction, again where another process holds the database."""

        def transaction() -> None:
            with Session(self.engine) as session, session.begin():
                work(session)

        patiently(transaction)

    def digest_again(self, submissions: Sequence[str]) -> list[str]:
        done = []
        for submission in submissions:
            query = select(*STORED).where(SubmissionRow.id == submission)
            with Session(self.engine) as session:
                stored = session.execute(query).all()
            for rows in self._readable(stored, digests_of_row, again=True):
                self.write(lambda session, rows=rows: put(session, rows))
                done.append(submission)
        return done

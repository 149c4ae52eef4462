"""The registry: result records and per-sample tables in a database, prediction files by hash.

SQLite in WAL mode, flushed at every commit, in the hub folder. A submission is acknowledged only
after its transaction is on disk; before that nothing of it is visible.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    bindparam,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable

from etchmark import files, settings
from etchmark.catalog import content_root
from etchmark.errors import UserError
from etchmark.patience import patiently
from etchmark.registry import reviewed
from etchmark.registry.digests import VERSION
from etchmark.registry.reviewed import read_record as read_record
from etchmark.registry.tables import (
    Base,
    Brief,
    BriefRow,
    Entry,
    MetaRow,
    SubmissionRow,
    SumsRow,
    content_of,
    digest_rows,
    entry_of,
    of_board,
    rows_of,
    sums_of,
)
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import ResultRecord

BUSY_TIMEOUT_S = 30.0
LOCAL, REVIEWED = "local", "reviewed"


def _is_stored(session: Session, entry: Entry) -> bool:
    row = session.get(SubmissionRow, entry.record.submission)
    return row is not None and entry_of(row) == entry


def _put(session: Session, rows: Sequence[Base]) -> None:
    """Insert or replace rows; sums of the same submissions that are not among them go."""
    for kind in (SubmissionRow, BriefRow, SumsRow):
        table = Base.metadata.tables[kind.__tablename__]
        names = table.columns.keys()
        given = [{name: getattr(row, name) for name in names} for row in rows if type(row) is kind]
        if kind is BriefRow and given:
            submissions = [{"gone": one["id"]} for one in given]
            connection = session.connection()
            connection.execute(delete(SumsRow).where(SumsRow.id == bindparam("gone")), submissions)
        if given:
            session.execute(insert(table).prefix_with("OR REPLACE"), given)


class Store:
    """The registry in one hub folder.

    Args:
        home: the hub folder; the setting if None.
        results: folder of reviewed records, taken in at every start; the content's if None.
    """

    def __init__(self, home: Path | None = None, results: Path | None = None) -> None:
        self.home = home or settings.home()
        self.results = results or content_root() / "leaderboard" / "results"
        self.path = self.home / "registry.sqlite"
        self.engine = create_engine(
            URL.create("sqlite", database=str(self.path)), connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        event.listen(self.engine, "connect", _configure)
        with self._explained():
            self.home.mkdir(parents=True, exist_ok=True)
            _patiently(self._make_tables)
            _patiently(self._take_reviewed)
            _patiently(self._make_digests)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database says into one line for the caller."""
        try:
            yield
        except (OSError, DatabaseError, ValueError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise UserError(
                f"{self.path}: the registry cannot be used ({reason}); mend or move that file, make"
                " room, or set ETCHMARK_HOME to another folder"
            ) from None

    def _make_tables(self) -> None:
        ours = Base.metadata.tables
        found = inspect(self.engine).get_table_names()
        if found and not set(found) & set(ours):
            raise UserError(
                f"{self.path}: is another program's database; move it or set ETCHMARK_HOME to"
                " another folder"
            )
        if set(ours) <= set(found):
            with Session(self.engine) as session:
                session.execute(select(SubmissionRow).limit(1))
            return
        with self.engine.connect() as connection:
            # Kept in the file; set only once it is known to be ours.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        # Another process may be making them at this moment.
        with self.engine.begin() as connection:
            for table in ours.values():
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))

    # --- reading ---

    def entries(self, benchmark: str, version: int) -> list[Entry]:
        """Every submission to one version of a benchmark, oldest first."""
        query = (
            select(SubmissionRow)
            .where(SubmissionRow.benchmark == benchmark, SubmissionRow.version == version)
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._explained(), Session(self.engine) as session:
            return [entry_of(row) for row in session.scalars(query)]

    def briefs(self, benchmark: str, version: int, protocol: str) -> list[Brief]:
        """Every submission to one protocol, oldest first."""
        names = ("track", "protocol", "name", "status", "outcome", "created")
        columns = [BriefRow.id, BriefRow.content, *(getattr(BriefRow, name) for name in names)]
        query = (
            select(*columns, SubmissionRow.origin)
            .join(SubmissionRow, SubmissionRow.id == BriefRow.id)
            .where(*of_board(benchmark, version, protocol))
            .order_by(BriefRow.created, BriefRow.id)
        )
        with self._explained(), Session(self.engine) as session:
            return [
                Brief(
                    submission=row.id,
                    content=content_of(row.content),
                    **{name: getattr(row, name) for name in (*names, "origin")},
                )
                for row in session.execute(query)
            ]

    def sums(
        self,
        benchmark: str,
        version: int,
        protocol: str,
        *,
        split: str,
        subset: str,
        terms: Sequence[str],
    ) -> dict[str, UnitSums]:
        """Sums over the units of a split or subset, by submission, of those that have any.

        Only of ``terms``: all of them of a thousand submissions are hundreds of megabytes.
        """
        names = ("term", "units", "seeds", "content")
        query = (
            select(BriefRow.id, *(getattr(SumsRow, name) for name in names))
            .join(SumsRow, SumsRow.id == BriefRow.id)
            .where(*of_board(benchmark, version, protocol))
            .where(SumsRow.split == split, SumsRow.subset == subset, SumsRow.term.in_(terms))
        )
        with self._explained(), Session(self.engine) as session:
            found: dict[str, list[Any]] = {}
            for row in session.execute(query):
                found.setdefault(row.id, []).append(row)
            return {submission: sums_of(rows, split, subset) for submission, rows in found.items()}

    def records(
        self,
        benchmark: str,
        version: int,
        protocol: str,
        *,
        name: str | None = None,
        naming: Sequence[str] = (),
    ) -> list[ResultRecord]:
        """Records of one protocol, oldest first: those of a name, or whose text holds all of these.

        Neither other records nor per-sample tables are read.
        """
        query = (
            select(SubmissionRow.record)
            .where(
                SubmissionRow.benchmark == benchmark,
                SubmissionRow.version == version,
                SubmissionRow.protocol == protocol,
                *([] if name is None else [SubmissionRow.name == name]),
                *(SubmissionRow.record.contains(text, autoescape=True) for text in naming),
            )
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._explained(), Session(self.engine) as session:
            return [ResultRecord.model_validate_json(text) for text in session.scalars(query)]

    def with_curves(self, benchmark: str, version: int) -> list[Entry]:
        """Those submissions whose record holds curves, oldest first."""
        query = (
            select(SubmissionRow)
            .where(
                SubmissionRow.benchmark == benchmark,
                SubmissionRow.version == version,
                # Told apart by the text, so that a large board need not be read for a few.
                SubmissionRow.record.contains('"curves":[{'),
            )
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._explained(), Session(self.engine) as session:
            found = [entry_of(row) for row in session.scalars(query)]
        return [entry for entry in found if entry.record.curves]

    def counts(self) -> tuple[int, int]:
        """Number of submissions that were scored, and of different models among them."""
        query = select(func.count(), func.count(SubmissionRow.name.distinct())).where(
            SubmissionRow.outcome == "ok"
        )
        with self._explained(), Session(self.engine) as session:
            submissions, models = session.execute(query).one()
        return int(submissions), int(models)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The last submissions that were scored, newest first: what to tell of each.

        ``superseded`` says whether a later one of its name stands in its place on the board.
        """
        told = SubmissionRow
        place = (told.name, told.benchmark, told.version, told.track, told.protocol)
        scored = told.outcome == "ok"
        query = (
            select(told.id, told.created, *place)
            .where(scored)
            .order_by(told.created.desc(), told.id)
            .limit(limit)
        )
        with self._explained(), Session(self.engine) as session:
            rows = [dict(row._mapping) for row in session.execute(query)]
            same = scored & told.name.in_([row["name"] for row in rows])
            order = told.created, told.id
            found = session.execute(select(told.id, *place).where(same).order_by(*order))
            # The last of each place is what is left.
            standing = {tuple(places): one for one, *places in found}
        for row in rows:
            row["superseded"] = row["id"] != standing[tuple(row[one.key] for one in place)]
        return rows

    def get(self, submission: str) -> Entry | None:
        with self._explained(), Session(self.engine) as session:
            row = session.get(SubmissionRow, submission)
            return None if row is None else entry_of(row)

    def names(self, benchmark: str | None = None) -> list[str]:
        """Names of the models that were scored on a benchmark, or on any of them."""
        query = select(SubmissionRow.name).where(SubmissionRow.outcome == "ok").distinct()
        if benchmark is not None:
            query = query.where(SubmissionRow.benchmark == benchmark)
        with self._explained(), Session(self.engine) as session:
            return list(session.scalars(query))

    def prediction_path(self, sha256: str) -> Path:
        return self.home / "predictions" / sha256[:2] / sha256

    # --- writing ---

    def keep_prediction(self, path: Path) -> str:
        """Store a predictions file by its content hash; the hash."""
        with self._explained():
            content = path.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            target = self.prediction_path(sha256)
            if not target.is_file() or files.sha256_of(target) != sha256:
                files.write_bytes(target, content)
        return sha256

    def add(self, entry: Entry) -> None:
        """Insert or replace one submission; on return it is on disk."""
        self.add_many([entry])

    def add_many(self, entries: Iterable[Entry]) -> None:
        """The same of several, all of them or none."""
        with self._explained():
            rows = [row for entry in entries for row in rows_of(entry)]
            _patiently(lambda: self._write(lambda session: _put(session, rows)))

    def _write(self, work: Callable[[Session], object]) -> None:
        """One transaction; done again if another process inserted the same row meanwhile."""
        for attempt in range(3):
            try:
                with Session(self.engine) as session, session.begin():
                    work(session)
                return
            except IntegrityError:
                if attempt == 2:
                    raise

    def _take_reviewed(self) -> None:
        listing = _listing(self.results)
        digest = hashlib.sha256(json.dumps([str(self.results), listing]).encode()).hexdigest()
        with Session(self.engine) as session:
            known = session.get(MetaRow, "reviewed")
            if known is not None and known.value == digest:
                return
        found = list(self._reviewed())
        with Session(self.engine) as session:
            new = [entry for entry in found if not _is_stored(session, entry)]
        # Made before the transaction, which keeps others from writing.
        rows = [row for entry in new for row in rows_of(entry)]

        def upsert(session: Session) -> None:
            known = [entry.record.submission for entry in found]
            gone = select(SubmissionRow).where(
                SubmissionRow.origin == REVIEWED, SubmissionRow.id.not_in(known)
            )
            for row in list(session.scalars(gone)):
                if self._submitted_here(entry_of(row).record):
                    row.origin = LOCAL
                else:
                    session.execute(delete(BriefRow).where(BriefRow.id == row.id))
                    session.execute(delete(SumsRow).where(SumsRow.id == row.id))
                    session.delete(row)
            _put(session, rows)
            session.merge(MetaRow(key="reviewed", value=digest))

        self._write(upsert)

    def _make_digests(self) -> None:
        """Make what boards need of submissions stored by an etchmark that made none, or others."""
        made = exists().where(BriefRow.id == SubmissionRow.id, BriefRow.form == VERSION)
        query = select(SubmissionRow.id).where(~made)
        with Session(self.engine) as session:
            missing = list(session.scalars(query))
        for submission in missing:
            with Session(self.engine) as session:
                row = session.get(SubmissionRow, submission)
                rows = [] if row is None else digest_rows(entry_of(row))
            self._write(lambda session, rows=rows: _put(session, rows))

    def _submitted_here(self, record: ResultRecord) -> bool:
        hashes = record.fingerprints.predictions
        return bool(hashes) and all(self.prediction_path(one).is_file() for one in hashes)

    def _reviewed(self) -> Iterable[Entry]:
        for read in reviewed.read_all(self.results):
            if isinstance(read, UserError):
                # One damaged record must not close the whole board.
                warnings.warn(f"left out: {read}", stacklevel=2)
            else:
                yield Entry(*read, REVIEWED)


def _patiently(work: Callable[[], object]) -> None:
    patiently(work, OperationalError, BUSY_TIMEOUT_S)


def _listing(folder: Path) -> Sequence[Any]:
    if not folder.is_dir():
        return []
    return [
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.glob("*/*"))
    ]


def _configure(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()

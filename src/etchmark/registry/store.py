"""The registry: result records and per-sample tables in a database, prediction files by hash.

SQLite in WAL mode, flushed at every commit, in the hub folder. A submission is acknowledged only
after its transaction is on disk; before that nothing of it is visible. A row that cannot be read is
left out with a warning that names it. A hub that cannot be written is read from a private copy.
"""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    URL,
    Engine,
    String,
    bindparam,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from etchmark import files, settings
from etchmark.catalog import content_root
from etchmark.errors import UserError
from etchmark.patience import patiently
from etchmark.registry import opening, reviewed
from etchmark.registry.digests import VERSION
from etchmark.registry.reviewed import read_record as read_record
from etchmark.registry.tables import (
    LOCAL,
    REVIEWED,
    UNREADABLE,
    Base,
    Brief,
    BriefRow,
    Entry,
    MetaRow,
    SubmissionRow,
    SumsRow,
    brief_of_row,
    digest_rows,
    entry_of,
    moment_of,
    of_board,
    origin_of,
    record_of,
    rows_of,
    sums_of,
    why_unreadable,
)
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import ResultRecord

T = TypeVar("T")
BUSY_TIMEOUT_S = 30.0
STORED = (SubmissionRow.id, SubmissionRow.record, SubmissionRow.samples, SubmissionRow.origin)
"""What an entry is read from: a column beside them may be damaged."""
FIRST_CHARACTERS = '{"schema":1'
"""Of every record that is stored here; what begins otherwise is read to see whether it can be."""

__all__ = ["LOCAL", "REVIEWED", "Store", "read_record"]


def _is_stored(session: Session, entry: Entry) -> bool:
    query = select(*STORED).where(SubmissionRow.id == entry.record.submission)
    row = session.execute(query).one_or_none()
    with suppress(*UNREADABLE):
        return row is not None and entry_of(row) == entry
    return False


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


class Found(NamedTuple):
    """A submission by what it is searched by, as text."""

    submission: str
    name: str
    benchmark: str
    version: str
    track: str
    protocol: str
    origin: str

    @property
    def short(self) -> str:
        return self.submission[:12]


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
        self.read_only: str | None = None
        """Why nothing can be stored here; None if it can."""
        self.left_out: dict[str, str] = {}
        """Why each submission is left out whose row cannot be read, by id."""
        self._named: set[str] = set()
        """Submissions of which a warning was given."""
        self._snapshot: opening.Snapshot | None = None
        self._refreshing = threading.Lock()
        with self._explained():
            self.read_only = opening.read_only_reason(self.path)
            if self.read_only is None:
                self.engine = _engine(self.path)
                _patiently(lambda: opening.make_tables(self.engine, self.path))
                if column := opening.foreign_column(self.engine):
                    self.read_only = f"its table {column.replace('.', ' has a column ')} that this"
                    self.read_only += " version of etchmark does not know; update etchmark"
            if self.read_only is None:
                self._bring_up_to_date()
            else:
                self._refresh()

    def _bring_up_to_date(self) -> None:
        _patiently(self._take_reviewed)
        _patiently(self._make_digests)
        if self.left_out:
            _patiently(self._recover_reviewed)

    def _recover_reviewed(self) -> None:
        """Take damaged reviewed records in again from their files; tried once for the same ones."""
        query = select(SubmissionRow.id).where(
            SubmissionRow.origin == REVIEWED, SubmissionRow.id.in_(list(self.left_out))
        )
        with Session(self.engine) as session:
            damaged = sorted(session.scalars(query))
            reviewed, tried = (session.get(MetaRow, key) for key in ("reviewed", "recovered"))
            state = json.dumps([reviewed and reviewed.value, damaged])
            if not damaged or (tried and tried.value == state):
                return
        self._write(lambda session: session.execute(delete(MetaRow)))
        self._take_reviewed()
        self._digest_again(damaged)
        self._write(lambda session: session.merge(MetaRow(key="recovered", value=state)))

    def _refresh(self) -> None:
        """Copy a hub that cannot be written again where somebody else has written to it."""
        if self.read_only is None:
            return
        with self._refreshing:
            if self._snapshot and self._snapshot.stamp == opening.stamp(self.path):
                return
            self._snapshot = opening.Snapshot(self.path)
            self.engine = _engine(self._snapshot.path)
            opening.make_tables(self.engine, self.path)
            if opening.foreign_column(self.engine):
                opening.drop_foreign_columns(self.engine)
            self._bring_up_to_date()

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

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database says into one line for the caller."""
        try:
            yield
        except (OSError, DatabaseError, ValueError) as error:
            if isinstance(error, OSError) and (refusal := files.refusal(error, self.path)):
                raise refusal from None
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise UserError(
                f"{self.path}: the registry cannot be used ({reason}); restore or move that file,"
                " make room, or set ETCHMARK_HOME to another folder"
            ) from None

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._explained():
            self._refresh()
            with Session(self.engine) as session:
                yield session

    def _leave_out(self, submission: Any, reason: str) -> None:
        """Say once that a row cannot be used."""
        name = str(submission)
        self.left_out[name] = reason
        if name in self._named:
            return
        self._named.add(name)
        warnings.warn(f"left out: submission {name[:12]} in {self.path}: {reason}", stacklevel=3)

    def _readable(
        self, rows: Iterable[Any], read: Callable[[Any], T], *, again: bool = False
    ) -> list[T]:
        """What is read from each row that can be read; rows have ``id`` and ``record``.

        With ``again`` also of those that were left out: somebody may have replaced them.
        """
        values = []
        for row in rows:
            if str(row.id) in self.left_out and not again:
                continue
            try:
                values.append(read(row))
            except UNREADABLE as error:
                self._leave_out(row.id, why_unreadable(row.record, error))
            else:
                self.left_out.pop(str(row.id), None)
        return values

    # --- reading ---

    def entries(self, benchmark: str, version: int) -> list[Entry]:
        """Every submission to one version of a benchmark, oldest first."""
        query = (
            select(*STORED)
            .where(SubmissionRow.benchmark == benchmark, SubmissionRow.version == version)
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._reading() as session:
            return self._readable(session.execute(query), entry_of)

    def briefs(self, benchmark: str, version: int, protocol: str) -> list[Brief]:
        """Every submission to one protocol, oldest first."""
        board = of_board(benchmark, version, protocol)
        with self._reading() as session:
            briefs, damaged = self._briefs(session, *board)
        if again := self._digest_again(damaged):
            with self._reading() as session:
                recovered, lost = self._briefs(session, *board, BriefRow.id.in_(again))
            for submission in lost:
                self._leave_out(submission, "what boards show of it is damaged; submit it again")
            briefs = sorted(
                [*briefs, *recovered], key=lambda brief: (brief.created, brief.submission)
            )
        return briefs

    def _briefs(self, session: Session, *where: Any) -> tuple[list[Brief], list[str]]:
        """Briefs of some submissions, and the ids of those whose brief is damaged."""
        names = ("id", "content", "track", "protocol", "name", "status", "outcome")
        query = (
            select(
                *(getattr(BriefRow, name) for name in names),
                # As text: what is no date would take all others down with it.
                type_coerce(BriefRow.created, String).label("created"),
                SubmissionRow.origin,
            )
            .join(SubmissionRow, SubmissionRow.id == BriefRow.id)
            .where(*where)
            .order_by(BriefRow.created, BriefRow.id)
        )
        briefs, damaged = [], []
        for row in session.execute(query):
            try:
                brief = brief_of_row(row)
            except UNREADABLE:
                brief = None
            if brief is None or row.id in self.left_out:
                damaged.append(row.id)
            else:
                briefs.append(brief)
        return briefs, damaged

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
        with self._reading() as session:
            sums, damaged = _sums(session.execute(query), split, subset)
        if again := self._digest_again(damaged):
            with self._reading() as session:
                some = query.where(BriefRow.id.in_(again))
                recovered, lost = _sums(session.execute(some), split, subset)
            sums |= recovered
            for submission in lost:
                self._leave_out(submission, "the sums over its units are damaged; submit it again")
        return sums

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
            select(SubmissionRow.id, SubmissionRow.record)
            .where(
                SubmissionRow.benchmark == benchmark,
                SubmissionRow.version == version,
                SubmissionRow.protocol == protocol,
                *([] if name is None else [SubmissionRow.name == name]),
                *(SubmissionRow.record.contains(text, autoescape=True) for text in naming),
            )
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._reading() as session:
            return self._readable(session.execute(query), lambda row: record_of(row.record))

    def with_curves(self, benchmark: str, version: int) -> list[Entry]:
        """Those submissions whose record holds curves, oldest first."""
        query = (
            select(*STORED)
            .where(
                SubmissionRow.benchmark == benchmark,
                SubmissionRow.version == version,
                # Told apart by the text, so that a large board need not be read for a few.
                SubmissionRow.record.contains('"curves":[{'),
            )
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._reading() as session:
            found = self._readable(session.execute(query), entry_of)
        return [entry for entry in found if entry.record.curves]

    def counts(self) -> tuple[int, int]:
        """Number of submissions that were scored, and of different models among them."""
        query = select(func.count(), func.count(BriefRow.name.distinct())).where(*self._scored())
        with self._reading() as session:
            submissions, models = session.execute(query).one()
        return int(submissions), int(models)

    def _scored(self) -> tuple[Any, ...]:
        return (
            BriefRow.outcome == "ok",
            BriefRow.form == VERSION,
            BriefRow.id.not_in(list(self.left_out)),
        )

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The last submissions that were scored, newest first: what to tell of each.

        ``superseded`` says whether a later one of its name stands in its place on the board.
        """
        brief = BriefRow
        place = (brief.name, brief.benchmark, brief.version, brief.track, brief.protocol)
        created = type_coerce(brief.created, String).label("created")
        query = (
            select(brief.id, created, *place)
            .where(*self._scored())
            .order_by(brief.created.desc(), brief.id)
            .limit(limit)
        )
        with self._reading() as session:
            rows = [dict(row._mapping) for row in session.execute(query)]
            same = (*self._scored(), brief.name.in_([row["name"] for row in rows]))
            order = brief.created, brief.id
            found = session.execute(select(brief.id, *place).where(*same).order_by(*order))
            # The last of each place is what is left.
            standing = {tuple(places): one for one, *places in found}
        shown = []
        for row in rows:
            row["superseded"] = row["id"] != standing[tuple(row[one.key] for one in place)]
            with suppress(*UNREADABLE):
                shown.append(row | {"created": moment_of(row["created"])})
        return shown

    def get(self, submission: str) -> Entry | None:
        """A submission; None if there is none, or (with a warning) none that can be read."""
        query = select(*STORED).where(SubmissionRow.id == submission)
        with self._reading() as session:
            return next(iter(self._readable(session.execute(query), entry_of)), None)

    def names(self, benchmark: str | None = None) -> list[str]:
        """Names of the models that were scored on a benchmark, or on any of them."""
        query = select(SubmissionRow.name).where(SubmissionRow.outcome == "ok").distinct()
        if benchmark is not None:
            query = query.where(SubmissionRow.benchmark == benchmark)
        with self._reading() as session:
            return [name for name in session.scalars(query) if isinstance(name, str)]

    def find(self, text: str) -> list[Found]:
        """Submissions whose id is, or begins with, a text; also those that cannot be read."""
        names = ("id", "name", "benchmark", "version", "track", "protocol", "origin")
        columns = [getattr(SubmissionRow, name) for name in names]
        query = select(*columns).where(SubmissionRow.id.startswith(text, autoescape=True))
        with self._reading() as session:
            rows = session.execute(query.order_by(SubmissionRow.id)).all()
        exact = [row for row in rows if row.id == text]
        return [
            Found(*(str(value) for value in row))._replace(origin=origin_of(row.origin))
            for row in exact or rows
        ]

    def prediction_path(self, sha256: str) -> Path:
        return self.home / "predictions" / sha256[:2] / sha256

    # --- writing ---

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
        """Insert or replace one submission; on return it is on disk."""
        self.add_many([entry])

    def add_many(self, entries: Iterable[Entry]) -> None:
        """The same of several, all of them or none."""
        self.require_writable()
        with self._explained():
            entries = list(entries)
            rows = [row for entry in entries for row in rows_of(entry)]
            _patiently(lambda: self._write(lambda session: _put(session, rows)))
        for entry in entries:
            self.left_out.pop(entry.record.submission, None)

    def remove(self, submission: str) -> None:
        """Remove one submission; on return that is on disk. Its predictions file stays."""
        self.require_writable()

        def work(session: Session) -> None:
            for table in (SumsRow, BriefRow, SubmissionRow):
                session.execute(delete(table).where(table.id == submission))

        with self._explained():
            _patiently(lambda: self._write(work))
        self.left_out.pop(submission, None)

    def remove_predictions(self, hashes: Iterable[str]) -> list[str]:
        """Remove those predictions files that no submission names; their hashes."""
        self.require_writable()
        removed = []
        with self._explained(), self.engine.connect() as connection:
            for sha256 in hashes:
                # Nothing can be added between the question and the removal; whoever adds the same
                # file a moment later looks afterwards whether it is still there.
                _patiently(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"))
                named = SubmissionRow.record.contains(sha256, autoescape=True)
                path = self.prediction_path(sha256)
                if not connection.scalar(select(func.count()).where(named)) and path.is_file():
                    path.unlink()
                    removed.append(sha256)
                connection.commit()
        return removed

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
            gone = select(*STORED).where(
                SubmissionRow.origin == REVIEWED, SubmissionRow.id.not_in(known)
            )
            for row in session.execute(gone).all():
                this = SubmissionRow.id == row.id
                if self._submitted_here(row):
                    session.execute(update(SubmissionRow).where(this).values(origin=LOCAL))
                else:
                    session.execute(delete(BriefRow).where(BriefRow.id == row.id))
                    session.execute(delete(SumsRow).where(SumsRow.id == row.id))
                    session.execute(delete(SubmissionRow).where(this))
            _put(session, rows)
            session.merge(MetaRow(key="reviewed", value=digest))

        self._write(upsert)

    def _make_digests(self) -> None:
        """Make what boards need of submissions stored by an etchmark that made none, or others.

        Those that cannot be read are left out.
        """
        made = exists().where(BriefRow.id == SubmissionRow.id, BriefRow.form == VERSION)
        summed = exists().where(SumsRow.id == SubmissionRow.id)
        made &= summed | SubmissionRow.samples.is_(None)
        begins = func.substr(SubmissionRow.record, 1, len(FIRST_CHARACTERS))
        other = or_(begins.is_distinct_from(FIRST_CHARACTERS), SubmissionRow.record.not_like("%}"))
        with Session(self.engine) as session:
            missing = list(session.scalars(select(SubmissionRow.id).where(~made)))
            strange = select(SubmissionRow.id, SubmissionRow.record).where(made, other)
            self._readable(session.execute(strange), lambda row: record_of(row.record))
        self._digest_again(missing)

    def _digest_again(self, submissions: Sequence[str]) -> list[str]:
        """Make again what boards need of submissions; those of which it could be made."""
        done = []
        for submission in submissions:
            query = select(*STORED).where(SubmissionRow.id == submission)
            with Session(self.engine) as session:
                found = self._readable(session.execute(query).all(), _digests, again=True)
            for rows in found:
                self._write(lambda session, rows=rows: _put(session, rows))
                done.append(submission)
        return done

    def _submitted_here(self, row: Any) -> bool:
        """Whether the predictions of a row are kept here; also where its record is unreadable."""
        try:
            hashes = record_of(row.record).fingerprints.predictions
        except UNREADABLE:
            return True
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
    """Names, sizes and times by which a change of reviewed results is seen."""
    listing = []
    for path in sorted(folder.glob("*/*")):
        if path.name.startswith("."):
            # Temporary files of a writer, locks of an editor.
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            # Removed since the folder was read, or a link to nothing.
            continue
        listing.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return listing


def _digests(row: Any) -> list[Base]:
    entry = entry_of(row)
    if entry.samples is None and entry.record.outcome == "ok":
        raise ValueError("its per-sample table is missing")
    try:
        return digest_rows(entry)
    except UNREADABLE:
        raise ValueError("its per-sample table is damaged") from None


def _sums(rows: Iterable[Any], split: str, subset: str) -> tuple[dict[str, UnitSums], list[str]]:
    """Sums by submission, and the ids of those whose sums are damaged."""
    by_submission: dict[str, list[Any]] = {}
    for row in rows:
        by_submission.setdefault(row.id, []).append(row)
    sums: dict[str, UnitSums] = {}
    damaged = []
    counts: dict[str, Counter[int]] = {}
    for submission, some in by_submission.items():
        try:
            sums[submission] = sums_of(some, split, subset)
        except UNREADABLE:
            damaged.append(submission)
        else:
            count = sums[submission].values.shape[2]
            counts.setdefault(sums[submission].units, Counter())[count] += 1
    # The same units are as many for every model: where they are not, something was cut off.
    usual = {units: count.most_common(1)[0][0] for units, count in counts.items()}
    short = [name for name, one in sums.items() if one.values.shape[2] != usual[one.units]]
    for submission in short:
        del sums[submission]
    return sums, [*damaged, *short]


def _engine(path: Path) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _: Any) -> None:
    # Bytes that are no text make one row unreadable instead of every query that meets it.
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()

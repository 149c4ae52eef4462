"""Reading a registry: boards, records, names; a row that cannot be read is left out and named."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Engine, String, exists, func, select, tuple_, type_coerce
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry.contents import brief_of_row
from etchmark.registry.digests import VERSION
from etchmark.registry.tables import (
    UNREADABLE,
    Brief,
    BriefRow,
    Entry,
    PredictionRow,
    Row,
    SubmissionRow,
    SumsRow,
    digest_rows,
    entry_of,
    moment_of,
    of_board,
    origin_of,
    record_of,
    sums_of,
    why_unreadable,
)
from etchmark.scoring.samples import UnknownKind
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import ResultRecord

T = TypeVar("T")
STORED = (SubmissionRow.id, SubmissionRow.record, SubmissionRow.samples, SubmissionRow.origin)
"""What an entry is read from: a column beside them may be damaged."""


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


class Reader:
    """What can be asked of a registry that is open; ``Store`` opens it and writes to it."""

    home: Path
    where: str
    """What the registry is called in messages."""
    remedy = "restore or move that file, make room, or set ETCHMARK_HOME to another folder"
    """What helps where the database cannot be used."""
    engine: Engine

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}
        """Why each submission is left out whose row cannot be read, by id."""
        self._named: set[str] = set()
        """Submissions of which a warning was given."""
        self._refreshing = threading.Lock()

    def _refresh(self) -> None:
        """Called before anything is read."""

    def digest_again(self, submissions: Sequence[str]) -> list[str]:
        """Make again what boards need of submissions; those of which it could be made."""
        raise NotImplementedError

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database says into one line for the caller."""
        try:
            yield
        except (OSError, DatabaseError, ValueError) as error:
            if isinstance(error, OSError) and (refusal := files.refusal(error, Path(self.where))):
                raise refusal from None
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise UserError(
                f"{self.where}: the registry cannot be used ({reason}); {self.remedy}"
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
        warnings.warn(f"left out: submission {name[:12]} in {self.where}: {reason}", stacklevel=3)

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
        if again := self.digest_again(damaged):
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
                # As text: what is not a date would take all others down with it.
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
        if again := self.digest_again(damaged):
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
        predictions: Sequence[str] = (),
    ) -> list[ResultRecord]:
        """Records of one protocol, oldest first, without their per-sample tables.

        Args:
            benchmark: and ``version``, ``protocol``: the board.
            name: of the model; any if None.
            predictions: SHA-256 of files, all of which a submission was scored from.
        """
        query = (
            select(SubmissionRow.id, SubmissionRow.record)
            .where(
                SubmissionRow.benchmark == benchmark,
                SubmissionRow.version == version,
                SubmissionRow.protocol == protocol,
                *([] if name is None else [SubmissionRow.name == name]),
                *(_names_prediction(sha256) for sha256 in predictions),
            )
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._reading() as session:
            return self._readable(session.execute(query), lambda row: record_of(row.record))

    def with_curves(self, benchmark: str, version: int, protocol: str) -> list[ResultRecord]:
        """Those records of one protocol that hold curves, oldest first."""
        query = (
            select(SubmissionRow.id, SubmissionRow.record)
            .where(
                SubmissionRow.benchmark == benchmark,
                SubmissionRow.version == version,
                SubmissionRow.protocol == protocol,
                exists().where(BriefRow.id == SubmissionRow.id, BriefRow.curves > 0),
            )
            .order_by(SubmissionRow.created, SubmissionRow.id)
        )
        with self._reading() as session:
            return self._readable(session.execute(query), lambda row: record_of(row.record))

    def counts(self) -> tuple[int, int]:
        """Number of submissions that were scored, and of different models among them.

        Of each benchmark, only those to its latest version count: a rescored submission is one.
        """
        query = select(func.count(), func.count(BriefRow.name.distinct())).where(*self._scored())
        with self._reading() as session:
            submissions, models = session.execute(query).one()
        return int(submissions), int(models)

    def _scored(self) -> tuple[Any, ...]:
        """Conditions on submissions that were scored, on the latest version of their benchmark."""
        scored = (
            BriefRow.outcome == "ok",
            BriefRow.form == VERSION,
            BriefRow.id.not_in(list(self.left_out)),
        )
        latest = (
            select(BriefRow.benchmark, func.max(BriefRow.version))
            .where(*scored)
            .group_by(BriefRow.benchmark)
            .correlate(None)
        )
        return (*scored, tuple_(BriefRow.benchmark, BriefRow.version).in_(latest))

    def newest(self, limit: int | None = None, name: str | None = None) -> list[dict[str, Any]]:
        """The last submissions that were scored, newest first, one mapping each.

        Those to earlier versions of a benchmark are left out, as in ``counts``.

        ``superseded``: whether a later submission of the same name has replaced it on the board.

        Args:
            limit: how many at most.
            name: only those of this model.
        """
        brief = BriefRow
        place = (brief.name, brief.benchmark, brief.version, brief.track, brief.protocol)
        created = type_coerce(brief.created, String).label("created")
        query = (
            select(brief.id, created, *place)
            .where(*self._scored(), *([] if name is None else [brief.name == name]))
            .order_by(brief.created.desc(), brief.id)
            .limit(limit)
        )
        with self._reading() as session:
            rows = [dict(row._mapping) for row in session.execute(query)]
            same = (*self._scored(), brief.name.in_([row["name"] for row in rows]))
            order = brief.created, brief.id
            submissions = session.execute(select(brief.id, *place).where(*same).order_by(*order))
            # Of several in one place the last one remains.
            standing = {tuple(places): submission for submission, *places in submissions}
        shown = []
        for row in rows:
            row["superseded"] = row["id"] != standing[tuple(row[column.key] for column in place)]
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


def _names_prediction(sha256: str) -> ColumnElement[bool]:
    return exists().where(PredictionRow.id == SubmissionRow.id, PredictionRow.sha256 == sha256)


def digests_of_row(row: Any) -> list[Row]:
    """What is made from a stored submission; ValueError where it is damaged."""
    entry = entry_of(row)
    if entry.samples is None and entry.record.outcome == "ok":
        raise ValueError("its per-sample table is missing")
    try:
        return digest_rows(entry, row.record)
    except UnknownKind:
        raise
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
    # All models have the same number of the same units; sums that are shorter were cut off.
    usual = {units: count.most_common(1)[0][0] for units, count in counts.items()}
    short = [
        submission
        for submission, known in sums.items()
        if known.values.shape[2] != usual[known.units]
    ]
    for submission in short:
        del sums[submission]
    return sums, [*damaged, *short]

"""Tables of the registry, and what goes into a row and comes out of it.

Submissions are the only table that matters: all others are derived from it and can be recomputed.
Boards read briefs and sums. What is read from a row is checked, since another version of etchmark,
another program or a bad disk may have written it (``contents`` checks a brief).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic import ValidationError
from sqlalchemy import ColumnElement, Index, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from etchmark.catalog import explain
from etchmark.registry.digests import (
    VERSION,
    brief,
    read_samples,
    unit_sums,
    with_intervals_of_today,
)
from etchmark.scoring.samples import SampleScores, UnknownKind
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import ResultRecord

LOCAL, REVIEWED = "local", "reviewed"
MIN_PREFIX = 4
"""Characters of an id that name a submission."""
UNREADABLE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, MemoryError,
    RecursionError, NotImplementedError, pa.ArrowException,
)  # fmt: skip
"""What reading a damaged row or per-sample table raises, whatever is wrong with it."""


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


class BriefRow(Base):
    """What boards show of a submission; recomputed when its form or the record changes."""

    __tablename__ = "briefs"
    __table_args__ = (Index("briefs_of_board", "benchmark", "version", "protocol"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    form: Mapped[int]
    """``digests.VERSION`` when it was made."""
    benchmark: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    protocol: Mapped[str] = mapped_column(String(64))
    track: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16))
    created: Mapped[datetime]
    record_bytes: Mapped[int]
    """Size of the record it was made from: where the record has another, the brief is stale."""
    curves: Mapped[int]
    """How many curves the record holds."""
    content: Mapped[str] = mapped_column(Text)


class PredictionRow(Base):
    """A predictions file that a submission was scored from."""

    __tablename__ = "predictions"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)


class SumsRow(Base):
    """Sums of one term over units, of one split or subset of a submission."""

    __tablename__ = "sums"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    split: Mapped[str] = mapped_column(String(64), primary_key=True)
    subset: Mapped[str] = mapped_column(String(64), primary_key=True)
    term: Mapped[str] = mapped_column(String(64), primary_key=True)
    units: Mapped[str] = mapped_column(String(64))
    seeds: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class TermSums(NamedTuple):
    """What is stored as a ``SumsRow``: a plain tuple, as a submission may have a thousand."""

    id: str
    split: str
    subset: str
    term: str
    units: str
    seeds: int
    content: bytes


class ReviewedRow(Base):
    """A reviewed record that was taken in, and what its file was like then."""

    __tablename__ = "reviewed_files"

    path: Mapped[str] = mapped_column(String(512), primary_key=True)
    """Below the results folder."""
    id: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(Text)
    """Changes with the file, its table, the digest in the index or the benchmark."""


class MetaRow(Base):
    """What the registry remembers of itself, such as which reviewed records it holds."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


Row: TypeAlias = Base | TermSums
"""What can be stored."""
DERIVED = (SumsRow, PredictionRow, BriefRow)
"""Tables that are made from the submissions; each has the submission's ``id``."""


@dataclass(frozen=True)
class Entry:
    """A submission as stored."""

    record: ResultRecord
    samples: bytes | None
    """Parquet bytes of the per-sample table."""
    origin: str


@dataclass(frozen=True)
class Brief:
    """A submission as boards show it."""

    submission: str
    track: str
    protocol: str
    name: str
    status: str
    outcome: str
    origin: str
    created: datetime
    """UTC, without saying so."""
    content: dict[str, Any]
    """See ``digests.brief``."""


def brief_of(entry: Entry) -> Brief:
    """The same of a submission that is not stored."""
    record = entry.record
    return Brief(
        submission=record.submission,
        track=record.track,
        protocol=record.protocol,
        name=record.name,
        status=record.status,
        outcome=record.outcome,
        origin=entry.origin,
        created=record.created.replace(tzinfo=None),
        content=brief(record, read_samples(entry.samples)),
    )


def rows_of(entry: Entry, samples: Sequence[SampleScores] | None = None) -> list[Row]:
    """All that is stored of a submission.

    Args:
        entry: the submission.
        samples: what its per-sample table holds, where that has been read already.
    """
    submission = submission_row(entry)
    return [submission, *digest_rows(entry, submission.record, samples)]


def submission_row(entry: Entry) -> SubmissionRow:
    return SubmissionRow(
        **selected_by(entry.record),
        origin=entry.origin,
        record=entry.record.model_dump_json(by_alias=True),
        samples=entry.samples,
    )


def digest_rows(
    entry: Entry, text: str, samples: Sequence[SampleScores] | None = None
) -> list[Row]:
    """What is made from a submission.

    Args:
        entry: the submission.
        text: its record as it is stored.
        samples: what its per-sample table holds, where that has been read already.
    """
    record = entry.record
    samples = read_samples(entry.samples) if samples is None else samples
    shown = with_intervals_of_today(record, samples)
    made: list[Row] = [
        BriefRow(
            **selected_by(record),
            form=VERSION,
            status=record.status,
            record_bytes=len(text.encode("utf-8", "surrogateescape")),
            curves=len(record.curves),
            content=json.dumps(brief(shown, samples)),
        )
    ]
    made += [
        PredictionRow(sha256=sha256, id=record.submission)
        for sha256 in sorted(set(record.fingerprints.predictions))
    ]
    made += [
        TermSums(
            id=record.submission,
            split=sums.split,
            subset=sums.subset,
            term=term,
            units=sums.units,
            seeds=len(values),
            content=values.astype("<f8").tobytes(),
        )
        for sums in unit_sums(samples)
        for term, values in zip(sums.terms, sums.values, strict=True)
    ]
    return made


def selected_by(record: ResultRecord) -> dict[str, Any]:
    """What every table of submissions can be searched by."""
    return {
        "id": record.submission,
        "benchmark": record.benchmark,
        "version": record.benchmark_version,
        "track": record.track,
        "protocol": record.protocol,
        "name": record.name,
        "outcome": record.outcome,
        "created": record.created.replace(tzinfo=None),
    }


def entry_of(row: Any) -> Entry:
    """A submission from a row with record, samples and origin.

    Raises:
        ValueError: the record cannot be read (``why_unreadable`` says why), or a table is not
            bytes.
    """
    if not isinstance(row.samples, bytes | None):
        raise ValueError("its per-sample table is damaged")
    return Entry(record_of(row.record), row.samples, origin_of(row.origin))


def record_of(text: Any) -> ResultRecord:
    """A record from the text that is stored of it; ValueError where it cannot be read."""
    if not isinstance(text, str):
        raise ValueError("its record is missing")
    return ResultRecord.model_validate_json(text)


def why_unreadable(text: Any, error: BaseException) -> str:
    """Why the row of a submission cannot be used and what helps, for one line.

    Args:
        text: what is stored as its record.
        error: what reading the row raised.
    """
    try:
        schema = json.loads(text)["schema"]
    except UNREADABLE:
        schema = None
    if isinstance(schema, int) and schema > 2:
        return f"its record has schema {schema}, which this version cannot read; update etchmark"
    if isinstance(error, UnknownKind):
        return str(error)
    said = explain(error) if isinstance(error, ValidationError) else str(error)
    reason = (said.splitlines() or [type(error).__name__])[0]
    return f"{reason[:200]}; submit it again, or remove it with `etchmark withdraw`"


def origin_of(value: Any) -> str:
    """Where a submission came from; whatever is not known to be reviewed is local."""
    return REVIEWED if value == REVIEWED else LOCAL


def moment_of(stored: str | datetime) -> datetime:
    """A stored time, UTC without saying so: SQLite keeps it as text.

    Raises:
        ValueError: it is not a time, or it names a zone.
        TypeError: it is neither a time nor text.
    """
    moment = stored if isinstance(stored, datetime) else datetime.fromisoformat(stored)
    if moment.tzinfo is not None:
        raise ValueError("its time names a zone")
    return moment


def sums_of(rows: Sequence[Any], split: str, subset: str) -> UnitSums:
    """Sums of one submission from rows of term, units, seeds and content."""
    values = [np.frombuffer(row.content, dtype="<f8").reshape(row.seeds, -1) for row in rows]
    terms = tuple(row.term for row in rows)
    if not values[0].size:
        raise ValueError("the sums over its units are damaged")
    return UnitSums(split, subset, rows[0].units, terms, np.stack(values))


def of_board(benchmark: str, version: int, protocol: str) -> tuple[ColumnElement[bool], ...]:
    return (
        BriefRow.benchmark == benchmark,
        BriefRow.version == version,
        BriefRow.protocol == protocol,
        # Those of another form belong to rows that could not be read again.
        BriefRow.form == VERSION,
    )

"""Tables of the registry, and what goes into a row and comes out of it.

Boards read briefs and sums; both are made from a submission and can be made again. What comes out
of a row is checked: another version of etchmark, another program or a bad disk may have written it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, NotRequired, cast, get_args

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Index, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from typing_extensions import TypedDict

from etchmark.catalog import explain
from etchmark.registry.digests import VERSION, brief, unit_sums
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import Count, Identifier, ModelName, ResultRecord, Status, TrainingData

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
    """What boards show of a submission; made from it, and made anew when its form changes."""

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
    content: Mapped[str] = mapped_column(Text)


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
        content=brief(record),
    )


def rows_of(entry: Entry) -> list[Base]:
    """All that is stored of a submission."""
    return [submission_row(entry), *digest_rows(entry)]


def digest_rows(entry: Entry) -> list[Base]:
    record = entry.record
    rows: list[Base] = [
        BriefRow(
            **selected_by(record),
            form=VERSION,
            status=record.status,
            content=json.dumps(brief(record)),
        )
    ]
    rows += [
        SumsRow(
            id=record.submission,
            split=one.split,
            subset=one.subset,
            term=term,
            units=one.units,
            seeds=len(values),
            content=values.astype("<f8").tobytes(),
        )
        for one in (() if entry.samples is None else unit_sums(entry.samples))
        for term, values in zip(one.terms, one.values, strict=True)
    ]
    return rows


def submission_row(entry: Entry) -> SubmissionRow:
    return SubmissionRow(
        **selected_by(entry.record),
        origin=entry.origin,
        record=entry.record.model_dump_json(by_alias=True),
        samples=entry.samples,
    )


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
        ValueError: the record cannot be read (``why_unreadable`` says why), or a table is no bytes.
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
    if isinstance(schema, int) and schema > 1:
        return f"its record has schema {schema}, which this version cannot read; update etchmark"
    said = explain(error) if isinstance(error, ValidationError) else str(error)
    reason = (said.splitlines() or [type(error).__name__])[0]
    return f"{reason[:200]}; submit it again, or remove it with `etchmark withdraw`"


def brief_of_row(row: Any) -> Brief:
    """What boards show of a submission; ValueError or another of UNREADABLE if it is damaged."""
    for text in (row.track, row.protocol):
        _check_identifier(text)
    if row.status not in _STATUSES or row.outcome not in ("ok", "failed"):
        raise ValueError("its status or outcome is not a known one")
    return Brief(
        submission=row.id,
        track=row.track,
        protocol=row.protocol,
        name=_NAME.validate_python(row.name, strict=True),
        status=row.status,
        outcome=row.outcome,
        content=content_of(row.content),
        origin=origin_of(row.origin),
        created=moment_of(row.created),
    )


def origin_of(value: Any) -> str:
    """Where a submission came from; whatever is not known to be reviewed is local."""
    return REVIEWED if value == REVIEWED else LOCAL


def moment_of(text: str) -> datetime:
    """A stored time: UTC, without saying so.

    Raises:
        ValueError: it is no time, or it names a zone.
        TypeError: it is no text.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise ValueError("its time names a zone")
    return moment


class _Numbers(TypedDict):
    value: float
    ci_low: NotRequired[float | None]
    ci_high: NotRequired[float | None]
    seed_sd: NotRequired[float | None]
    fold_mean: NotRequired[float | None]
    fold_sd: NotRequired[float | None]


class _Score(TypedDict):
    n: Count
    units: Count
    seeds: Count
    metrics: dict[str, _Numbers]


class _Card(TypedDict):
    title: str | None
    training_data: TrainingData
    tags: list[str]


_Amount = Annotated[float, Field(ge=0)]


class _Cost(TypedDict):
    parameters: Count | None
    fit_seconds: _Amount | None
    predict_seconds: _Amount | None
    seconds_each: _Amount | None
    feature_seconds: _Amount | None
    flops: _Amount | None
    peak_memory_bytes: Count | None
    hardware: str | None


class _Claimed(TypedDict, total=False):
    # In the order of ``Cost``, in which it is shown.
    fit_seconds: _Amount
    predict_seconds: _Amount
    peak_memory_bytes: Count
    parameters: Count
    feature_seconds: _Amount
    seconds_each: _Amount
    flops: _Amount
    hardware: str


class _Content(TypedDict):
    """What ``digests.brief`` makes."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)  # type: ignore[misc]

    card: _Card
    cost: _Cost
    claimed: _Claimed | None
    reason: str | None
    scores: dict[str, dict[str, _Score]]


_CONTENT = TypeAdapter(_Content)
_NAME = TypeAdapter(ModelName)
_IDENTIFIER = TypeAdapter(Identifier)
_STATUSES = frozenset(get_args(Status))


@lru_cache(maxsize=1024)
def _check_identifier(value: Any) -> None:
    # Kept: thousands of rows share a few tracks and protocols.
    _IDENTIFIER.validate_python(value, strict=True)


def content_of(text: str) -> dict[str, Any]:
    """``BriefRow.content`` as ``digests.brief`` made it.

    Raises:
        ValueError: a value is missing or of another type, negative where it cannot be, not finite,
            or larger than a board can hold.
    """
    return cast("dict[str, Any]", _CONTENT.validate_json(text))


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

"""Tables of the registry, and what goes into a row and comes out of it.

Boards read briefs and sums; both are made from a submission and can be made anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Index, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from etchmark.registry.digests import VERSION, brief, unit_sums
from etchmark.scoring.uncertainty import UnitSums
from etchmark.specs import ResultRecord


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


def entry_of(row: SubmissionRow) -> Entry:
    return Entry(ResultRecord.model_validate_json(row.record), row.samples, row.origin)


def content_of(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict) or not {"card", "claimed", "cost", "reason", "scores"} <= set(
        found
    ):
        raise ValueError("what boards show of a submission is damaged")
    return found


def sums_of(rows: Sequence[Any], split: str, subset: str) -> UnitSums:
    """Sums of one submission from rows of term, units, seeds and content."""
    values = [np.frombuffer(one.content, dtype="<f8").reshape(one.seeds, -1) for one in rows]
    terms = tuple(one.term for one in rows)
    return UnitSums(split, subset, rows[0].units, terms, np.stack(values))


def of_board(benchmark: str, version: int, protocol: str) -> tuple[ColumnElement[bool], ...]:
    return (
        BriefRow.benchmark == benchmark,
        BriefRow.version == version,
        BriefRow.protocol == protocol,
    )

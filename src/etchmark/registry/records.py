"""Reading a result record from its JSON file, as strictly as somebody else's file needs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etchmark import files
from etchmark.catalog import explain
from etchmark.errors import UserError
from etchmark.registry.plausible import fault_of
from etchmark.specs import ResultRecord
from etchmark.specs.results import SINCE_2

MAX_RECORD_BYTES = 16 << 20
MAX_COUNT = 2**63 - 1
MAX_SECONDS = 1e12
"""About 30,000 years."""
MAX_FLOPS = 1e30
REMEDY = "restore or remove the file"
NEWEST_SCHEMA = 2


def read_record(path: Path, max_bytes: int = MAX_RECORD_BYTES) -> ResultRecord:
    """A result record from its JSON file.

    Raises:
        UserError: it cannot be read, is larger than ``max_bytes`` or no valid record.
    """
    try:
        files.require_ordinary(path)
        if path.stat().st_size > max_bytes:
            raise UserError(f"{path}: is too large for a result record; {REMEDY}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from None
    try:
        record = ResultRecord.model_validate_json(content)
        # The validator takes the last of two equal keys, and numbers that are none where a value
        # is of any kind; somebody who reads the file sees something else.
        value = json.loads(
            content,
            object_pairs_hook=_each_key_once,
            parse_constant=_finite,
            parse_float=_finite,
        )
        # The validator does not see a key whose value is null.
        later = [key for key in SINCE_2 if key in value]
        if record.schema_ == 1 and later:
            raise ValueError(f"a record of schema 1 has no {later[0]}")
    except ValidationError as error:
        if (schema := _newer_schema(content)) is not None:
            raise UserError(
                f"{path}: is of schema {schema}, which this version of etchmark cannot read; update"
                " etchmark"
            ) from None
        raise UserError(
            f"{path}: {explain(error)}; it is not a valid result record, {REMEDY}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}; it is not a valid result record, {REMEDY}") from None
    for name, value, limit in _limited(record):
        if (value or 0) > limit:
            raise UserError(f"{path}: {name} is more than a board can hold; correct it")
    if record.outcome == "ok" and record.reason is not None:
        raise UserError(f"{path}: reason belongs to a run that failed; remove it")
    if fault := fault_of(record):
        raise UserError(f"{path}: {fault}")
    return record


def _newer_schema(content: bytes) -> int | None:
    """The schema of a record that a newer version of etchmark wrote; None if it is not one."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    schema = value.get("schema") if isinstance(value, dict) else None
    return schema if type(schema) is int and schema > NEWEST_SCHEMA else None


def _limited(record: ResultRecord) -> Iterator[tuple[str, float | None, float]]:
    """Every count and duration that a record states or claims: its place, value and limit."""
    stated = [("", record.cost, record.curves)]
    if record.claims is not None:
        stated.append(("claims.", record.claims.cost, record.claims.curves))
    for where, cost, curves in stated:
        for name in ("parameters", "total_parameters", "peak_memory_bytes"):
            yield f"{where}cost.{name}", getattr(cost, name), MAX_COUNT
        timed = ("fit_seconds", "predict_seconds", "feature_seconds", "seconds_each")
        for name in (*timed, "cpu_seconds", "cpu_seconds_each"):
            yield f"{where}cost.{name}", getattr(cost, name), MAX_SECONDS
        for name in ("reference_seconds", "reference_cpu_seconds"):
            for at, seconds in enumerate(getattr(cost, name) or ()):
                yield f"{where}cost.{name}.{at}", seconds, MAX_SECONDS
        yield f"{where}cost.flops", cost.flops, MAX_FLOPS
        for at, curve in enumerate(curves):
            for number, point in enumerate(curve.points):
                yield f"{where}curves.{at}.points.{number}.samples", point.samples, MAX_COUNT


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"duplicate key {twice[:40]!r}")
    return dict(pairs)


def _finite(text: str) -> None:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:40]} is not a finite number")

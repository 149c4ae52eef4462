"""What a brief holds, checked strictly when it is read.

Another version of etchmark, another program or a bad disk may have written it. A damaged row is
left out; the rest of the board is shown.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, NotRequired, cast, get_args

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from etchmark.registry.tables import Brief, moment_of, origin_of
from etchmark.specs import Count, Identifier, ModelName, Role, Sha256, Status, TrainingData
from etchmark.specs.base import LongLine
from etchmark.specs.results import IntervalMethod


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
_Pair = Annotated[list[_Amount], Field(min_length=2, max_length=2)]
# One number per term of a target, and a few more: masks have hundreds of terms.
_Sketch = Annotated[list[float], Field(min_length=2, max_length=4096)]


class _Cost(TypedDict):
    fit_seconds: _Amount | None
    predict_seconds: _Amount | None
    peak_memory_bytes: Count | None
    parameters: Count | None
    hardware: str | None
    feature_seconds: _Amount | None
    seconds_each: _Amount | None
    flops: _Amount | None
    cpu_seconds: _Amount | None
    total_parameters: Count | None
    reference_seconds: _Pair | None
    reference_cpu_seconds: _Pair | None
    cpu_seconds_each: _Amount | None


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
    cpu_seconds: _Amount
    total_parameters: Count
    reference_seconds: _Pair
    reference_cpu_seconds: _Pair
    cpu_seconds_each: _Amount


class _Artefact(TypedDict):
    sha256: Sha256
    bytes: Count


class _Content(TypedDict):
    """What ``digests.brief`` makes."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)  # type: ignore[misc]

    card: _Card
    cost: _Cost
    claimed: _Claimed | None
    reason: str | None
    role: Role | None
    flags: list[LongLine] | None
    values: _Sketch | Sha256 | None
    interval_method: IntervalMethod | None
    artefact: _Artefact | None
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

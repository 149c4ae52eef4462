"""What hubs return beside records, specs and frames: small values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Contents:
    """What a hub offers, one plain mapping per benchmark, dataset and baseline."""

    benchmarks: list[dict[str, Any]]
    datasets: list[dict[str, Any]]
    baselines: list[dict[str, Any]]
    broken: list[str]
    """One line for each card that cannot be read."""


@dataclass(frozen=True)
class MetricInfo:
    """A metric as it applies to one benchmark."""

    id: str
    title: str
    unit: str
    """"1" for a ratio."""
    higher_is_better: bool
    definition: str


class Counts(NamedTuple):
    """How much is in a registry."""

    submissions: int
    """Those that were scored."""
    models: int
    """Different names among them."""


@dataclass(frozen=True)
class RecentSubmission:
    """A submission that was scored lately."""

    submission: str
    name: str
    benchmark: str
    version: int
    track: str
    protocol: str
    created: datetime
    """UTC, without a time zone."""
    superseded: bool
    """Whether a later submission of the same name stands in its place on the board."""

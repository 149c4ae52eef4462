"""What hubs return beside records, specs and frames: small values without behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from etchmark.data.download import Downloaded
    from etchmark.data.loading import Benchmark
    from etchmark.evaluation.options import Options
    from etchmark.specs import BenchmarkSpec, ResultRecord
    from etchmark.submission.submit import Committed, Prepared


@dataclass(frozen=True)
class Contents:
    """What a hub offers, one plain mapping per benchmark, dataset and baseline."""

    benchmarks: list[dict[str, Any]]
    datasets: list[dict[str, Any]]
    baselines: list[dict[str, Any]]
    broken: list[str]
    """One line for each card that cannot be used; its mapping holds ``error`` and no title."""


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
    """Those that were scored, to the latest version of their benchmark."""
    models: int
    """Different names among them."""


class Estimate(NamedTuple):
    """A value with its 95 % interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


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


@dataclass(frozen=True)
class Match:
    """Something that a search found.

    Attributes:
        sort: ``benchmark``, ``dataset`` or ``model``.
        name: its id or name.
        title: what it is called in words; of a model without a title its name.
        near: it holds words spelled like those asked for, since nothing holds these.
    """

    sort: str
    name: str
    title: str
    near: bool = False


@dataclass(frozen=True)
class Submitted:
    """A submission that was scored and stored."""

    prepared: Prepared
    committed: Committed


@dataclass(frozen=True)
class RunRequest:
    """How a model is evaluated, and what is kept of it."""

    options: Options
    track: str | None = None
    """Inputs that the model reads; what its card says if None."""
    protocol: str | None = None
    """The headline protocol if None."""
    role: str | None = None
    """``entry``, ``exploratory`` or ``oracle``; what the model's card says if None."""
    mini: bool = False
    """Run on the small config of the dataset where there is one; nothing is stored."""
    unofficial: bool = False
    """Accept data that are not the released ones; nothing is stored."""
    keep: bool = True
    """Store the record in the registry."""
    export: Path | None = None
    """Also write the submission to this folder."""
    force: bool = False
    """Replace an earlier export there."""
    curves: Callable[[str], None] | None = None
    """Also measure the curves on the model's card; called with a line about every point."""
    notify: Callable[[str], None] | None = None
    """Called with what a reader should know before the model runs."""


@dataclass(frozen=True)
class Evaluation:
    """A model that was run."""

    benchmark: Benchmark
    """What it ran on: with its small config after a mini run."""
    record: ResultRecord
    committed: Committed | None
    """None if nothing was stored."""
    trace: str
    """The traceback of a failure."""


@dataclass(frozen=True)
class Download:
    """A config of a dataset on this machine."""

    dataset: str
    downloaded: Downloaded
    spec: BenchmarkSpec | None = None
    """The benchmark, if one was asked for."""
    track: str | None = None
    """Its track that reads the config."""


@dataclass(frozen=True)
class TemplateFiles:
    """Test inputs, and predictions files to fill."""

    spec: BenchmarkSpec
    track: str
    protocol: str
    inputs: list[Path]
    predictions: list[Path]


@dataclass(frozen=True)
class DataFingerprints:
    """Fingerprints of a benchmark's data as they are on this machine."""

    tracks: dict[str, str]
    target: str


@dataclass(frozen=True)
class PageOptions:
    """What static pages link to, and which rows they show."""

    site: str | None = None
    """Address at which the folder of pages will be served; unknown if None."""
    dashboard: str | None = None
    """Address of the dashboard that pages link to; they link to none if None."""
    reviewed: bool = False
    """Show reviewed rows alone, not what was submitted to this machine."""

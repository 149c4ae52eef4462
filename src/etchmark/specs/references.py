"""What scores are compared with: papers, baselines, discretisation error, lines, differences."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from etchmark.specs.base import Doi, Identifier, Line, LongLine, Record, Role, Url


class Citation(Record):
    """A paper: a short title and, where it has one, its DOI."""

    title: Line
    doi: Doi | None = None
    url: Url | None = None


class BaselineUse(Record):
    """How a benchmark runs a baseline."""

    track: Identifier
    role: Role = "entry"
    """``entry``; ``reference``: trivial or classical, what must be beaten; ``oracle``: makes or
    reproduces the labels, such as the solver; ``control``: shows a leak or a confound;
    ``exploratory``: found by looking at test scores."""
    without: list[Identifier] = []
    """Variants that do not run here, where all others of the baseline do."""
    seeds: int = Field(default=1, ge=1, le=100)
    """With how many seeds it is fitted; a record of fewer counts as missing."""
    deterministic: bool = False
    """Another seed gives the same predictions here: its interval holds for every fit."""

    @model_validator(mode="after")
    def _one_seed(self) -> BaselineUse:
        if self.deterministic and self.seeds > 1:
            raise ValueError("a deterministic baseline has one seed; remove its seeds")
        return self


class ErrorDistribution(Record):
    """The signed discretisation error of single labels, in the metric's unit.

    The sign is that of the label minus the value it would have on an infinitely fine grid.
    """

    median: float
    percentile_5: float
    percentile_95: float
    samples: int = Field(gt=0)
    """Labels that were computed again on finer grids."""
    refinements: list[Annotated[int, Field(ge=1)]] = Field(min_length=2)
    """Parts into which each voxel was split along each axis; 1 is the grid of the labels."""

    @model_validator(mode="after")
    def _in_order(self) -> ErrorDistribution:
        if not self.percentile_5 <= self.median <= self.percentile_95:
            raise ValueError("percentile_5, median and percentile_95 must be in rising order")
        if self.refinements != sorted(set(self.refinements)):
            raise ValueError("refinements must be in rising order, without repeats")
        return self


class DiscretisationError(Record):
    """How far the grid on which labels were computed moves them, or why that is unknown.

    A simulated label is a function of its voxels, and a solver on the same grid reproduces it
    without error. What is uncertain is what the voxels stand for. So this is no limit below which
    scores could not be told apart.
    """

    metric: str | None = None
    value: float | None = Field(default=None, gt=0)
    """Size of the error, in the metric's unit: the score of labels on the given grid against
    labels on an infinitely fine one, such as the mean of its absolute value for ``mape``."""
    distribution: ErrorDistribution | None = None
    """Where the error of a label has a sign."""
    split: Identifier | None = None
    """The split whose labels it was measured on; all of them if not given."""
    description: str | None = None
    source_file: str | None = None
    """Where the value comes from, a path within the repository."""
    unknown: LongLine | None = None
    """Why nothing is known about it; instead of ``metric``, ``value`` and ``description``."""

    @model_validator(mode="after")
    def _either(self) -> DiscretisationError:
        measured = [self.metric, self.value, self.description]
        beside = [self.distribution, self.split, self.source_file]
        if self.unknown is None and None in measured:
            raise ValueError("metric, value and description are required, or unknown and a reason")
        if self.unknown is not None and any(key is not None for key in (*measured, *beside)):
            raise ValueError("unknown stands alone; remove it, or what was measured")
        return self

    def size_on(self, metric: str, split: str) -> float | None:
        """Its size where scores of this metric and split are shown; None if it is of others."""
        return self.value if metric == self.metric and split == (self.split or split) else None


class SmallestDifference(Record):
    """The smallest difference of the primary metric that matters: what is closer is equal in
    practice, however sure the data are of it."""

    value: float | None = Field(default=None, gt=0)
    """In the metric's unit."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Of the better of two scores."""
    reason: Line

    @model_validator(mode="after")
    def _either(self) -> SmallestDifference:
        if (self.value is None) == (self.share is None):
            raise ValueError("smallest_difference has either value or share")
        return self


DEFAULT_SHARE = 0.01
"""Scores closer than this share are equal in practice where nothing else is declared."""


class RankLimit(Record):
    """What a row must keep to, to be ranked: a metric that shows, say, copies."""

    metric: str
    at_most: float
    """Largest value with which a row is ranked, in the metric's unit."""
    why: Line
    """As the end of "it is not ranked, since"."""


class ReferenceLine(Record):
    """A line drawn on every plot of a benchmark: a baseline by name, or a value with its source.

    ``protocol``, ``split`` and ``metric`` say where it is drawn; everywhere if they are not given.
    """

    label: Line
    model: str | None = None
    """A baseline, or a reviewed submission; only what this hub ran or reviewed counts."""
    track: Identifier | None = None
    """Track on which the model stands; the one that ``baselines`` names if not given."""
    best: bool = False
    """The best ranked submission of another benchmark: a limit set by what can be seen there."""
    benchmark: Identifier | None = None
    """Benchmark on which the model stands; this one if not given."""
    metric: str | None = None
    value: float | None = None
    protocol: Identifier | None = None
    split: Identifier | None = None
    source: Citation | None = None
    note: Line | None = None
    """What must be known to read it, such as other samples: quoted, not ranked."""

    @model_validator(mode="after")
    def _either(self) -> ReferenceLine:
        if (self.model is not None) + (self.value is not None) + self.best != 1:
            raise ValueError("a reference line has either model or value (or best: true)")
        if self.value is not None and (self.source is None or self.metric is None):
            raise ValueError("a reference value needs its metric and source")
        if self.value is not None and self.benchmark is not None:
            raise ValueError("a reference value belongs to no other benchmark; use note")
        if self.best and self.benchmark is None:
            raise ValueError("best needs the benchmark that it is best on")
        if self.track is not None and self.value is not None:
            raise ValueError("a reference value has no track; use note")
        return self

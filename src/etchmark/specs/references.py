"""What scores are compared with: papers, the error of the labels, lines, differences."""

from __future__ import annotations

from pydantic import Field, model_validator

from etchmark.specs.base import Doi, Identifier, Line, Record, Url


class Citation(Record):
    """A paper: a short title and, where it has one, its DOI."""

    title: Line
    doi: Doi | None = None
    url: Url | None = None


class LabelUncertainty(Record):
    """Discretisation error of the labels: how far the grid they were computed on moves them.

    A simulated label is exact for its voxels. What is uncertain is what the voxels stand for.
    """

    metric: str
    value: float = Field(gt=0)
    """In the metric's unit."""
    split: Identifier | None = None
    """The split whose labels it was measured on; all of them if not given."""
    description: str
    source_file: str | None = None
    """Where the value comes from, a path within the repository."""

    def holds_for(self, metric: str, split: str) -> bool:
        return metric == self.metric and split == (self.split or split)


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

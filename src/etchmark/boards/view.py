"""What a board shows: a view of the scores, and filters of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import get_args

import numpy as np
import pandas as pd

from etchmark import specs
from etchmark.errors import UserError

WORST = "worst split"
"""In place of a split: each row counts by the one on which it does worst. No split is named so."""


@dataclass(frozen=True)
class View:
    """Which scores of a benchmark are shown; None takes the benchmark's default."""

    protocol: str | None = None
    """The headline protocol if None."""
    split: str | None = None
    """The protocol's headline split if None; ``WORST`` in standings."""
    metric: str | None = None
    """The primary metric if None."""
    subset: str | None = None
    """Score and rank by the samples of this subset alone; all samples if None."""
    track: str | None = None
    """Submissions of this track; all tracks if None."""


@dataclass(frozen=True)
class Where:
    """Filters on the rows of a board; ranks are computed among the rows that remain."""

    status: tuple[str, ...] = ()
    """Keep any of these; empty keeps all, here and below."""
    tags: tuple[str, ...] = ()
    """Keep rows that have all of these."""
    training_data: tuple[str, ...] = ()
    max_parameters: int | None = None
    """Rows that do not state their number of parameters are dropped."""

    def __post_init__(self) -> None:
        for label, values, known in (
            ("status", self.status, get_args(specs.Status)),
            ("trained on", self.training_data, get_args(specs.TrainingData)),
        ):
            for value in sorted(set(values) - set(known)):
                raise UserError(f"{label} {value!r}: give one of {', '.join(known)}")
        if any(not tag.strip() for tag in self.tags):
            raise UserError("a tag is empty; leave it out or name one")
        limit = self.max_parameters
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Integral)):
            kind = type(limit).__name__
            raise UserError(f"max_parameters must be a whole number, not {kind}; correct it")
        if self.max_parameters is not None and self.max_parameters < 0:
            raise UserError(f"max_parameters {self.max_parameters}: give a number of at least 0")

    @classmethod
    def of(
        cls,
        status: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        training_data: Iterable[str] | None = None,
        max_parameters: int | None = None,
    ) -> Where:
        """The same from any iterables; a single string counts as one value."""
        statuses, required, trained = (
            (values,) if isinstance(values, str) else tuple(values or ())
            for values in (status, tags, training_data)
        )
        return cls(statuses, required, trained, max_parameters)

    def keep(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows of a board pass, shape (rows,)."""
        kept = np.ones(len(frame), dtype=bool)
        for column, allowed in (("status", self.status), ("training_data", self.training_data)):
            if allowed:
                kept &= frame[column].isin(allowed).to_numpy(dtype=bool)
        if self.tags:
            kept &= np.array([set(self.tags) <= set(tags) for tags in frame["tags"]], dtype=bool)
        if self.max_parameters is not None:
            few = frame["parameters"] <= self.max_parameters
            kept &= few.fillna(False).to_numpy(dtype=bool)
        return kept

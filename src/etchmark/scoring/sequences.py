"""Scores predicted frames as they are read, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from etchmark.data.loading import Frames, Truth
from etchmark.predictions.arranging import not_finite
from etchmark.predictions.checks import refuse
from etchmark.predictions.streaming import StreamedPredictions
from etchmark.scoring.doubts import (
    PERSISTENCE_TERMS,
    Evidence,
    Trivial,
    persistence_of,
    persistence_terms,
)
from etchmark.scoring.frames import frame_terms
from etchmark.scoring.metrics import TERMS, sample_terms
from etchmark.scoring.rollouts import Rollout, rollout
from etchmark.specs import BenchmarkSpec

CENTRE = 0.5
"""From which the variance of the target is counted; any constant near its mean."""


class FrameTally:
    """Terms of the samples of one split, filled in as predictions come.

    Args:
        spec: the benchmark.
        truth: what the split is scored against.
        seen: its frames that are given.
        seeds: those in the file.
        order: rows of the file, shape (seeds, samples).
        drawn: keep a picture of one sample: the first of the split under the first seed, which is
            the same for every model.
    """

    def __init__(
        self,
        spec: BenchmarkSpec,
        truth: Truth,
        seen: Frames,
        seeds: list[int],
        order: np.ndarray,
        *,
        drawn: bool = False,
    ) -> None:
        if truth.frames is None or spec.frames is None:
            raise ValueError(f"{spec.id} is no benchmark of frames")
        self.spec, self.target, self.seen = spec, truth.frames, seen
        self.checks, self.wanted = spec.frames, spec.metrics
        shape = (len(seeds), len(truth.ids))
        self.terms = {name: np.full(shape, np.nan) for name in TERMS}
        self.frames: dict[str, np.ndarray] = {}
        places = np.stack(np.unravel_index(np.arange(order.size), shape), axis=1)
        self.drawn, self.names = drawn, truth.ids
        self.rollout: Rollout | None = None
        self.evidence = Evidence(*shape)
        self._repeated = {name: np.zeros(shape[1]) for name in PERSISTENCE_TERMS}
        self.places = dict(zip(order.ravel().tolist(), places.tolist(), strict=True))

    def add(self, row: int, values: np.ndarray) -> None:
        """Take the prediction in a row of the file."""
        seed, sample = self.places[row]
        target, last = self.target[sample][None], self.seen[sample][-1:]
        given = values.reshape(target.shape)
        if self.drawn and seed == 0 and sample == 0:
            self.rollout = rollout(str(self.names[0]), target[0], given[0])
        self.evidence.add(seed, slice(sample, sample + 1), target, given)
        if seed == 0:
            for name, value in persistence_terms(target[0], last[0]).items():
                self._repeated[name][sample] = value
        found, errors = frame_terms(target, given, last, self.checks, self.wanted)
        found |= sample_terms(target, given, CENTRE)
        for name, value in found.items():
            self.terms[name][seed, sample] = value[0]
        for name, error in errors.items():
            if not np.isnan(error).all():
                whole = self.frames.setdefault(
                    name, np.empty((*self.terms["n"].shape, error.shape[1]))
                )
                whole[seed, sample] = error[0]

    def persistence(self) -> Trivial | None:
        """The score of the last frame given, repeated; once every sample has been taken."""
        return persistence_of(self.spec, self._repeated)


def fill(tallies: Mapping[str, FrameTally], path: Path, given: StreamedPredictions) -> None:
    """Read a file once and add each row to the tally of its split.

    Raises:
        UserError: a prediction has another length than its split asks for, or is not finite.
    """
    split_of = {row: tally for tally in tallies.values() for row in tally.places}
    bad: list[str] = []
    for row, values in given.values():
        tally = split_of[row]
        expected = math.prod(tally.target.shape[1:])
        if len(values) != expected:
            raise refuse(
                path,
                f"the prediction of {given.ids[row]!r} has {len(values):,} values",
                f"its split asks for {expected:,}, shape {tally.target.shape[1:]} flattened",
            )
        if not np.isfinite(values).all():
            bad.append(given.ids[row])
        elif not bad:
            tally.add(row, values)
    if bad:
        raise not_finite(path, np.array(bad, dtype=object))

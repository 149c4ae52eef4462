"""Scores predicted frames as they are read, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from etchmark.targets.base import Job, Outcome, Trivial
from etchmark.targets.evidence import Evidence
from etchmark.targets.frames.metrics import FRAME_TERMS, frame_terms
from etchmark.targets.frames.rollouts import encode
from etchmark.targets.labels import StoredArrays
from etchmark.targets.streamed import Tally
from etchmark.targets.values import VALUE_TERMS, sample_terms

if TYPE_CHECKING:
    from etchmark.specs import FramesTarget
    from etchmark.specs.targets import FrameChecks

CENTRE = 0.5
"""From which the variance of the target is counted; any constant near its mean."""
FRAME = "frame_"
"""Prefix of the columns of the per-sample table that hold one value per predicted frame."""
PERSISTENCE_TERMS = ("n", "sum_abs_e", "sum_sq_e")


def persistence_terms(target: np.ndarray, last: np.ndarray) -> dict[str, float]:
    """Terms of one sample if the last frame given is repeated.

    Args:
        target: shape (frames, n, n).
        last: shape (n, n).
    """
    error = target.astype(np.float32) - last.astype(np.float32)
    absolute = float(np.abs(error).sum(dtype=np.float64))
    squared = float(np.square(error, out=error).sum(dtype=np.float64))
    return dict(zip(PERSISTENCE_TERMS, (float(error.size), absolute, squared), strict=True))


class FrameTally(Tally):
    """Terms of the samples of one split, filled in as predictions come.

    Args:
        job: the split. If it is to be pictured, that is the first sample under the first seed,
            which is the same for every model.
    """

    def __init__(self, job: Job) -> None:
        declared = cast("FramesTarget", job.target)
        self.target = cast(StoredArrays, job.truth.target)
        self.context = StoredArrays(job.columns, declared.context_column)
        self.checks, self.wanted = declared.frames, job.metrics
        own = declared.gradient_energy_column()
        self.gradient_energies = None if own is None else job.columns[own]
        super().__init__(job, self.target.shape[1:])
        self.terms = {name: np.full(self.shape, np.nan) for name in (*VALUE_TERMS, *FRAME_TERMS)}
        self.frames: dict[str, np.ndarray] = {}
        self.pictured = job.pictured
        self.picture: bytes | None = None
        self.evidence = Evidence(*self.shape, uniform="uniform frames")
        self._repeated = {name: np.zeros(self.shape[1]) for name in PERSISTENCE_TERMS}

    def add(self, row: int, predicted: np.ndarray) -> None:
        seed, sample = self.places[row]
        target, last = self.target[sample][None], self.context[sample][-1:]
        predicted = predicted[None]
        if self.pictured and seed == 0 and sample == 0:
            self.picture = encode(target[0], predicted[0])
        self.evidence.add(seed, slice(sample, sample + 1), target, predicted)
        if seed == 0:
            for name, value in persistence_terms(target[0], last[0]).items():
                self._repeated[name][sample] = value
            # Whoever repeats the last frame is right where nothing moves.
            self.evidence.telling[sample] = self._repeated["sum_sq_e"][sample] > 0
        terms, errors = frame_terms(target, predicted, last, self._checks(sample), self.wanted)
        terms |= sample_terms(target, predicted, CENTRE)
        for name, value in terms.items():
            self.terms[name][seed, sample] = value[0]
        for name, error in errors.items():
            if not np.isnan(error).all():
                whole = self.frames.setdefault(
                    name, np.empty((*self.terms["n"].shape, error.shape[1]))
                )
                whole[seed, sample] = error[0]

    def _checks(self, sample: int) -> FrameChecks:
        """What the frames of a sample are held to."""
        energy = self.checks.energy
        if energy is None or self.gradient_energies is None:
            return self.checks
        own = energy.of(float(self.gradient_energies[sample]))
        return self.checks.model_copy(update={"energy": own})

    def outcome(self) -> Outcome:
        return Outcome(
            terms=self.terms,
            outputs={FRAME + name: values for name, values in self.frames.items()},
            picture=self.picture,
            evidence=self.evidence,
            trivial=Trivial(self._repeated, "repeating the last frame given"),
        )

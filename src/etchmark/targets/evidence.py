"""What is kept of predictions to judge later whether they look like a mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

EQUAL = 1e-6
"""Relative difference up to which a prediction counts as equal to its label: its last digits."""


@dataclass(frozen=True)
class EqualityRule:
    """How many predictions must equal their labels before that is a doubt."""

    share: float
    """At least this share of the samples that count."""
    count: int
    """At least so many."""


NUMBERS = EqualityRule(share=0.01, count=3)
"""No model reaches the last digits of a measured or simulated number by chance."""
MASKS = EqualityRule(share=0.5, count=3)
"""A good model has a few masks right in every pixel, small ones above all."""
CLASSES = EqualityRule(share=1.0, count=50)
"""A good model has most classes right: only all of them, and many, are a doubt. Also where numbers
repeat, so that a model that returns training labels meets those of test samples."""
HEAD = 1024
"""Values of an array that are looked at first."""


class Evidence:
    """What is kept of the predictions of a split to form doubts from, sample by sample.

    Args:
        seeds: how many seeds there are.
        samples: how many samples there are.
        equality: how many predictions must equal their labels before that is a doubt.
        measured: whether predictions are quantities, whose magnitude can be off.
        names: what the numbers of single predictions stand for, such as classes.
        uniform: what predictions without any structure are called; None if they are no doubt.
    """

    def __init__(
        self,
        seeds: int,
        samples: int,
        *,
        equality: EqualityRule = NUMBERS,
        measured: bool = True,
        names: Sequence[str] | None = None,
        uniform: str | None = None,
    ) -> None:
        shape = (seeds, samples)
        self.equality, self.measured, self.uniform_name = equality, measured, uniform
        self.names = names
        self.equal = np.zeros(shape, dtype=bool)
        """Whether the prediction equals its label."""
        self.telling = np.ones(samples, dtype=bool)
        """Whether a prediction that equals the label of this sample tells anything. It does not
        where the label repeats, or where nothing changes or nothing is to be told apart."""
        self.uniform = np.zeros(shape, dtype=bool)
        """Whether all values of an array are the same, and those of its label are not."""
        self.size = np.zeros(shape)
        """Mean magnitude of the predicted values."""
        self.label_size = np.zeros(samples)
        self.first: list[np.ndarray | None] = [None] * seeds
        self.varies = np.zeros(seeds, dtype=bool)
        """Whether predictions differ between samples."""

    def constant(self, seed: int) -> str:
        """What every prediction of a seed is."""
        first = self.first[seed]
        if first is None or first.min() != first.max():
            return "the same array"
        return f"{first[0]:.6g}" if self.names is None else repr(self.names[int(first[0])])

    def add(self, seed: int, rows: slice, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Take predictions of some samples under one seed.

        Args:
            seed: place of the seed.
            rows: places of the samples.
            labels: shape (rows, ...).
            predictions: the same shape.
        """
        # What is stored in half precision is compared with the label in half precision.
        half = predictions.dtype == np.float16
        with np.errstate(over="ignore", invalid="ignore"):
            truth, values = _flat(labels.astype(np.float16) if half else labels), _flat(predictions)
            magnitudes = np.abs(truth)
            self.label_size[rows] = magnitudes.mean(axis=1, dtype=np.float64)
            self.size[seed, rows] = np.abs(values).mean(axis=1, dtype=np.float64)
            within = EQUAL * magnitudes.max(axis=1, keepdims=True)

            def equal(part: np.ndarray, cells: slice) -> np.ndarray:
                return np.abs(values[part, cells] - truth[part, cells]) <= within[part]

            self.equal[seed, rows] = _all(equal, values.shape)
        # A label that is uniform itself makes no doubt.
        self.uniform[seed, rows] = _all(
            lambda part, cells: values[part, cells] == values[part, :1], values.shape
        ) & (np.ptp(truth, axis=1) > 0)
        first = self.first[seed]
        if first is None:
            self.first[seed] = first = values[0].copy()
        if not self.varies[seed]:
            self.varies[seed] = bool((values != first).any())


def _flat(values: np.ndarray) -> np.ndarray:
    """Shape (rows, values), in single precision where that is enough."""
    kind = np.float32 if values.dtype in (np.float16, np.float32) else np.float64
    return np.asarray(values, dtype=kind).reshape(len(values), -1)


def _all(test: Callable[[np.ndarray, slice], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Rows of which every value passes a test, shape (rows,).

    The first values of a row decide as a rule; the others are looked at only if they pass.
    """
    rows = np.arange(shape[0])
    passed = np.asarray(test(rows, slice(0, HEAD)).all(axis=1))
    if shape[1] > HEAD and passed.any():
        passed[passed] = test(rows[passed], slice(HEAD, None)).all(axis=1)
    return passed


def evidence_of(
    target: np.ndarray, values: np.ndarray, evidence: Evidence | None = None
) -> Evidence:
    """Evidence of a split that is in memory.

    Args:
        target: labels, shape (samples, ...).
        values: predictions, shape (seeds, samples, ...).
        evidence: filled and returned; one of quantities if None.
    """
    evidence = evidence or Evidence(len(values), len(target))
    if target.ndim == 1 and evidence.equality is NUMBERS:
        _, group, counts = np.unique(target, return_inverse=True, return_counts=True)
        evidence.telling &= counts[group] == 1
    for seed, predictions in enumerate(values):
        evidence.add(seed, slice(None), target, predictions)
    return evidence

"""Doubts about predictions that are well-formed and still look like a mistake.

A doubt refuses nothing and changes no score: whoever hands in the predictions sees it and judges.
All of them are found from what is scored anyway, so that no model is run and no record is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from etchmark.scoring.metrics import metric, sample_terms
from etchmark.specs import BenchmarkSpec, SplitScore

Kind = Literal["worse_than_trivial", "constant", "orders_of_magnitude", "equal_to_labels"]

EQUAL = 1e-6
"""Relative difference up to which a prediction counts as equal to its label."""
EQUAL_SHARE, EQUAL_COUNT = 0.2, 5
"""Equal to the labels on more than this share of the samples, and on at least so many."""
RATIO = 30.0
"""Times by which predictions are larger or smaller than the labels as a whole."""
MISTAKEN_UNITS = {
    "HV": {0.00980665: "GPa", 9.80665: "MPa", 9806650.0: "Pa"},
    "GPa": {1e3: "MPa", 1e9: "Pa", 1e-3: "TPa"},
    "MPa": {1e-3: "GPa", 1e6: "Pa"},
    "%": {0.01: "shares"},
}
"""What one of a unit is in others that are in use for the same quantity; 1 HV is 1 kgf/mm²."""
HEAD = 1024
"""Values of an array that are looked at first."""
UNIT_TOLERANCE = 1.1
"""Times by which a ratio may differ from that of two units to be explained by them."""


@dataclass(frozen=True)
class Doubt:
    """Something about the predictions of a split that looks like a mistake."""

    kind: Kind
    split: str
    message: str
    """One sentence that names the split."""


class Evidence:
    """What is kept of the predictions of a split to form doubts from, sample by sample.

    Args:
        seeds: how many seeds there are.
        samples: how many samples there are.
    """

    def __init__(self, seeds: int, samples: int) -> None:
        shape = (seeds, samples)
        self.equal = np.zeros(shape, dtype=bool)
        """Whether the prediction equals its label."""
        self.uniform = np.zeros(shape, dtype=bool)
        """Whether all values of an array are the same, and those of its label are not."""
        self.size = np.zeros(shape)
        """Mean magnitude of the predicted values."""
        self.label_size = np.zeros(samples)
        self.first: list[np.ndarray | None] = [None] * seeds
        self.varies = np.zeros(seeds, dtype=bool)
        """Whether predictions differ between samples."""

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


def evidence_of(target: np.ndarray, values: np.ndarray) -> Evidence:
    """Evidence of a split that is in memory.

    Args:
        target: labels, shape (samples, ...).
        values: predictions, shape (seeds, samples, ...).
    """
    evidence = Evidence(len(values), len(target))
    for seed, predictions in enumerate(values):
        evidence.add(seed, slice(None), target, predictions)
    return evidence


@dataclass(frozen=True)
class Trivial:
    """What predictions are held against: the score of a prediction that takes no model."""

    metric: str
    value: float
    what: str
    """What was predicted, as the object of a sentence."""


def trivial_of(spec: BenchmarkSpec, target: np.ndarray, means: np.ndarray) -> Trivial | None:
    """The score of the mean training label, predicted for every sample.

    Args:
        spec: the benchmark, whose primary metric is taken.
        target: labels, shape (samples, ...).
        means: mean label of what a model may learn from for each sample, of a shape that fits.

    Returns:
        None where the metric is not one of labels and predictions alone.
    """
    labels = np.asarray(target, dtype=np.float64)
    guess = np.broadcast_to(means, labels.shape)
    terms = sample_terms(labels, guess, float(labels.mean()))
    return _trivial(spec, terms, "predicting the mean training label for every sample")


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


def persistence_of(spec: BenchmarkSpec, terms: Mapping[str, np.ndarray]) -> Trivial | None:
    """The score of the last frame given, repeated for every frame that is asked for.

    Args:
        spec: the benchmark, whose primary metric is taken.
        terms: ``persistence_terms`` of every sample, shape (samples,) each.

    Returns:
        None where the metric is not one of these terms.
    """
    return _trivial(spec, terms, "repeating the last frame given")


def _trivial(spec: BenchmarkSpec, terms: Mapping[str, np.ndarray], what: str) -> Trivial | None:
    primary = metric(spec.primary_metric)
    if not set(primary.terms) <= set(terms) - {"sum_outside"}:
        return None
    with np.errstate(all="ignore"):
        value = float(primary.finish({name: np.asarray(one.sum()) for name, one in terms.items()}))
    return Trivial(primary.id, value, what) if math.isfinite(value) else None


def doubts_of(
    spec: BenchmarkSpec, score: SplitScore, evidence: Evidence, trivial: Trivial | None
) -> list[Doubt]:
    """Doubts about the predictions of one split.

    Args:
        spec: the benchmark.
        score: scores of the split.
        evidence: what was kept of its predictions.
        trivial: what the predictions are held against, if anything.
    """
    doubts = [
        _equal(score.split, evidence),
        _constant(spec, score.split, evidence) or _magnitude(spec, score.split, evidence),
    ]
    if doubts[1] is None:
        # A constant and another unit are worse than trivial too; their cause says more.
        doubts.append(_worse(spec, score, trivial))
    return [doubt for doubt in doubts if doubt is not None]


def _equal(split: str, evidence: Evidence) -> Doubt | None:
    count, samples = int(evidence.equal.sum(axis=1).max()), evidence.equal.shape[1]
    if count < EQUAL_COUNT or count <= EQUAL_SHARE * samples:
        return None
    return Doubt(
        "equal_to_labels",
        split,
        f"split {split!r}: {count:,} of {samples:,} predictions equal their labels to within"
        " rounding; a model must not be given the labels that it is scored on",
    )


def _constant(spec: BenchmarkSpec, split: str, evidence: Evidence) -> Doubt | None:
    seeds, samples = evidence.size.shape
    same = [seed for seed in range(seeds) if not evidence.varies[seed]]
    if same and samples > 1:
        first = evidence.first[same[0]]
        alike = first is not None and first.min() == first.max()
        shown = f"{first[0]:.6g}" if first is not None and alike else "the same array"
        message = f"split {split!r}: every prediction is {shown}"
        return Doubt("constant", split, f"{message}; it tells no sample from another")
    uniform = int(evidence.uniform.sum(axis=1).max())
    if spec.frames is None or 2 * uniform < samples:
        return None
    message = f"split {split!r}: {uniform:,} of {samples:,} predictions are uniform frames"
    return Doubt("constant", split, f"{message}; they have no structure")


def _magnitude(spec: BenchmarkSpec, split: str, evidence: Evidence) -> Doubt | None:
    label = float(np.median(evidence.label_size))
    predicted = float(np.median(evidence.size))
    if not (0 < label < math.inf and predicted < math.inf):
        return None
    ratio, unit = predicted / label, spec.target.unit
    shown = "" if unit == "1" else f" {unit}"
    what = (
        f"split {split!r}: predictions are about {ratio:.3g} times the labels (median magnitudes"
        f" {predicted:.4g} and {label:.4g}{shown})"
    )
    for factor, other in MISTAKEN_UNITS.get(unit, {}).items():
        if factor / UNIT_TOLERANCE < ratio < factor * UNIT_TOLERANCE:
            message = f"{what}, as if they were in {other}; predict in {unit}"
            return Doubt("orders_of_magnitude", split, message)
    if 1 / RATIO <= ratio <= RATIO:
        return None
    return Doubt("orders_of_magnitude", split, f"{what}; check their unit and scale")


def _worse(spec: BenchmarkSpec, score: SplitScore, trivial: Trivial | None) -> Doubt | None:
    if trivial is None or trivial.metric not in score.metrics:
        return None
    judged = metric(trivial.metric)
    value = score.metrics[trivial.metric].value
    # Rounding alone is no difference.
    if judged.sign() * (value - trivial.value) <= 1e-6 * abs(trivial.value):
        return None
    unit = judged.unit_for(spec.target.unit)
    shown = "" if unit == "1" else f" {unit}"
    return Doubt(
        "worse_than_trivial",
        score.split,
        f"split {score.split!r}: {trivial.metric} {value:.4g}{shown} is worse than"
        f" {trivial.value:.4g}{shown}, which {trivial.what} would score",
    )

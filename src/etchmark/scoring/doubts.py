"""Signs that predictions, although well-formed, are a mistake.

A doubt never refuses predictions and never changes a score; it is shown to the submitter, who
decides. Every doubt follows from what is scored anyway: no model is run and no record is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Literal, get_args

import numpy as np

from etchmark.scoring.samples import SampleScores
from etchmark.specs import BenchmarkSpec, SplitScore
from etchmark.specs.results import MAX_FLAGS
from etchmark.targets import kind_of, metric
from etchmark.targets.base import Trivial
from etchmark.targets.evidence import Evidence, evidence_of
from etchmark.text import one_line

Kind = Literal["worse_than_trivial", "constant", "orders_of_magnitude", "equal_to_labels"]
KINDS: tuple[Kind, ...] = get_args(Kind)

EQUAL_SHARE, EQUAL_COUNT = 0.2, 5
"""Doubtful if more than this share of the predictions, and at least this many, equal the labels."""
RATIO = 30.0
"""Doubtful if the median prediction is this many times larger or smaller than the median label."""
MISTAKEN_UNITS = {
    "HV": {0.00980665: "GPa", 9.80665: "MPa", 9806650.0: "Pa"},
    "GPa": {1e3: "MPa", 1e9: "Pa", 1e-3: "TPa"},
    "MPa": {1e-3: "GPa", 1e6: "Pa"},
    "%": {0.01: "shares"},
}
"""One unit of the key, in other units used for the same quantity; 1 HV is 1 kgf/mm²."""
MAX_FLAG = 500
"""Maximum number of characters of a flag in a record."""
UNIT_TOLERANCE = 1.1
"""Factor within which a ratio must match that of two units to be explained by them."""


@dataclass(frozen=True)
class Doubt:
    """One sign that the predictions of a split are a mistake."""

    kind: Kind
    split: str
    message: str
    """One sentence that names the split."""

    @property
    def flag(self) -> str:
        """The doubt as stored in a record: one line that begins with its kind."""
        return shorten(one_line(f"{self.kind}: {self.message}"), MAX_FLAG, placeholder="…")


def flags_of(doubts: Iterable[Doubt]) -> list[str]:
    """Doubts as stored in a record, at most ``MAX_FLAGS``."""
    return [doubt.flag for doubt in doubts][:MAX_FLAGS]


def doubts_of(
    spec: BenchmarkSpec, score: SplitScore, evidence: Evidence | None, trivial: Trivial | None
) -> list[Doubt]:
    """Doubts about the predictions of one split.

    Args:
        spec: the benchmark.
        score: scores of the split.
        evidence: summary of its predictions and labels, if its kind of target keeps one.
        trivial: trivial predictions for the same split, if its kind of target has some.
    """
    doubts: list[Doubt | None] = [None, None]
    if evidence is not None:
        doubts = [
            _equal(score.split, evidence),
            _constant(score.split, evidence) or _magnitude(spec, score.split, evidence),
        ]
    if doubts[1] is None:
        # A constant or a mistaken unit also scores worse than trivial; naming the cause is enough.
        doubts.append(_worse(spec, score, trivial))
    return [doubt for doubt in doubts if doubt is not None]


def doubts_of_table(
    spec: BenchmarkSpec, scores: Sequence[SplitScore], samples: Sequence[SampleScores]
) -> list[Doubt]:
    """The doubts that a per-sample table shows by itself, without the data.

    Tables of large answers keep no predictions, and none says what a trivial prediction would
    score, so ``doubts_of`` may find more.

    Args:
        spec: the benchmark.
        scores: of every split.
        samples: the table, split by split in the same order.
    """
    doubts = []
    for score, split in zip(scores, samples, strict=True):
        evidence = _evidence_of_table(split)
        if evidence is not None:
            doubts += doubts_of(spec, score, evidence, None)
    return doubts


def _evidence_of_table(samples: SampleScores) -> Evidence | None:
    labels = samples.outcome.labels.get("target")
    predictions = samples.outcome.outputs.get("prediction")
    if labels is None or predictions is None:
        return None
    if labels.dtype.kind == "f" and predictions.dtype.kind == "f":
        return evidence_of(labels, predictions)
    names = np.unique([*labels.astype(str), *predictions.astype(str).ravel()])
    truth, predicted = (
        np.searchsorted(names, values.astype(str)) for values in (labels, predictions)
    )
    seeds, count = predictions.shape
    evidence = Evidence(seeds, count, exact=False, measured=False, names=names.tolist())
    return evidence_of(truth, predicted, evidence)


def unlisted(flags: Iterable[str], doubts: Iterable[Doubt]) -> Doubt | None:
    """The first doubt that a record's flags do not list; None if they list all of them.

    What a flag says beside its kind and split may change with a new release.
    """
    listed = list(flags)
    for doubt in doubts:
        start = doubt.flag.partition(f"{doubt.split!r}:")[0]
        if not any(flag.startswith(f"{start}{doubt.split!r}:") for flag in listed):
            return doubt
    return None


def _equal(split: str, evidence: Evidence) -> Doubt | None:
    if not evidence.exact:
        return None
    count, samples = int(evidence.equal.sum(axis=1).max()), evidence.equal.shape[1]
    if count < EQUAL_COUNT or count <= EQUAL_SHARE * samples:
        return None
    return Doubt(
        "equal_to_labels",
        split,
        f"split {split!r}: {count:,} of {samples:,} predictions equal their labels to within"
        " rounding; a model must not be given the labels that it is scored on",
    )


def _constant(split: str, evidence: Evidence) -> Doubt | None:
    seeds, samples = evidence.size.shape
    constant_seeds = [seed for seed in range(seeds) if not evidence.varies[seed]]
    if constant_seeds and samples > 1:
        message = f"split {split!r}: every prediction is {evidence.constant(constant_seeds[0])}"
        return Doubt("constant", split, f"{message}; it tells no sample from another")
    uniform = int(evidence.uniform.sum(axis=1).max())
    if evidence.uniform_name is None or 2 * uniform < samples:
        return None
    message = f"split {split!r}: {uniform:,} of {samples:,} predictions are {evidence.uniform_name}"
    return Doubt("constant", split, f"{message}; they have no structure")


def _magnitude(spec: BenchmarkSpec, split: str, evidence: Evidence) -> Doubt | None:
    if not evidence.measured:
        return None
    label = float(np.median(evidence.label_size))
    predicted = float(np.median(evidence.size))
    if not (0 < label < math.inf and predicted < math.inf):
        return None
    ratio, unit = predicted / label, spec.target.unit
    suffix = "" if unit == "1" else f" {unit}"
    comparison = (
        f"split {split!r}: predictions are about {ratio:.3g} times the labels (median magnitudes"
        f" {predicted:.4g} and {label:.4g}{suffix})"
    )
    for factor, other in MISTAKEN_UNITS.get(unit, {}).items():
        if factor / UNIT_TOLERANCE < ratio < factor * UNIT_TOLERANCE:
            message = f"{comparison}, as if they were in {other}; predict in {unit}"
            return Doubt("orders_of_magnitude", split, message)
    if 1 / RATIO <= ratio <= RATIO:
        return None
    return Doubt("orders_of_magnitude", split, f"{comparison}; check their unit and scale")


def _worse(spec: BenchmarkSpec, score: SplitScore, trivial: Trivial | None) -> Doubt | None:
    primary = metric(spec.primary_metric)
    if trivial is None or primary.id not in score.metrics:
        return None
    terms = {**trivial.terms, **kind_of(spec.target).derived_terms(trivial.terms)}
    with np.errstate(all="ignore"):
        sums = {name: np.asarray(values.sum()) for name, values in terms.items()}
        reference = float(primary.of(sums))
    value = score.metrics[primary.id].value
    # Rounding alone is no difference. The reference is NaN where the metric needs terms that the
    # trivial predictions lack.
    if not primary.sign() * (value - reference) > 1e-6 * abs(reference) < math.inf:
        return None
    unit = primary.unit_for(spec.target.unit)
    suffix = "" if unit == "1" else f" {unit}"
    return Doubt(
        "worse_than_trivial",
        score.split,
        f"split {score.split!r}: {primary.id} {value:.4g}{suffix} is worse than"
        f" {reference:.4g}{suffix}, which {trivial.what} would score",
    )

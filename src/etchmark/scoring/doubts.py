"""Signs that predictions, although well-formed, are a mistake, or that a score is too good.

A doubt never refuses predictions and never changes a score or a rank; it is shown to the submitter,
who decides, and kept as a flag of the record, which every board shows beside the row. Every doubt
here follows from one submission alone: no model is run and no record is read. Those that follow
from other rows are in ``boards.flags``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Literal, Protocol, get_args

import numpy as np

from etchmark.scoring.gains import errors_of
from etchmark.scoring.samples import SampleScores
from etchmark.specs import BenchmarkSpec, Curve, SplitScore
from etchmark.specs.results import MAX_FLAGS
from etchmark.targets import kind_of, metric
from etchmark.targets.base import Trivial
from etchmark.targets.evidence import CLASSES, NUMBERS, EqualityRule, Evidence, evidence_of
from etchmark.text import one_line

Kind = Literal[
    "worse_than_trivial", "constant", "orders_of_magnitude", "equal_to_labels",
    "below_discretisation_error", "better_than_on_validation", "trained_on_test",
    "beyond_rank_limit",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
BELOW: Kind = "below_discretisation_error"
BEYOND: Kind = "beyond_rank_limit"
DECLARED = (BELOW, BEYOND)
"""Depend on what the benchmark declares, so they are looked for again whenever a board is read."""
TITLES = {
    "beyond_rank_limit": "not ranked",
    "equal_to_labels": "equal to labels",
    "trained_on_test": "trained on test samples",
    "same_predictions": "same predictions as another",
    "below_discretisation_error": "below the discretisation error",
    "better_than_on_validation": "much better than on validation",
    "far_ahead": "far ahead",
    "orders_of_magnitude": "orders of magnitude off",
    "worse_than_trivial": "worse than trivial",
    "constant": "constant",
}
"""Each kind of flag in a few words, those that matter most first."""
BOARD_KINDS = ("same_predictions", "far_ahead")
"""Kinds of flags that follow from other rows, so that no record holds them."""
TOO_GOOD = tuple(TITLES)[:7]
"""Kinds that question whether a score shows what a model can do."""
EXPECTED_OF_REFERENCES = ("constant", "far_ahead")
"""A reference such as the mean of the training labels is constant on purpose, and that it is far
ahead of another reference is no reason to doubt it."""

HELD = EqualityRule(share=0.2, count=5)
"""Records from elsewhere list what a table shows by this rule, which is older than ``NUMBERS``."""
RATIO = 30.0
"""Doubtful if the median prediction is this many times larger or smaller than the median label."""
MISTAKEN_UNITS = {
    "HV": {0.00980665: "GPa", 9.80665: "MPa", 9806650.0: "Pa"},
    "GPa": {1e3: "MPa", 1e9: "Pa", 1e-3: "TPa"},
    "MPa": {1e-3: "GPa", 1e6: "Pa"},
    "%": {0.01: "shares"},
}
"""One unit of the key, in other units used for the same quantity; 1 HV is 1 kgf/mm²."""
VALIDATION_RATIO = 0.5
"""Doubtful if the test error is less than this share of that on validation samples."""
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


def kind_of_flag(flag: str) -> str:
    """The kind that a flag begins with."""
    return flag.partition(":")[0]


def flags_to_show(flags: Iterable[str] | None, role: str) -> list[str]:
    """Flags that a reader is told of a row: without those that its role explains.

    Args:
        flags: of the row; None if nobody looked for doubts.
        role: of the row.
    """
    expected = EXPECTED_OF_REFERENCES if role == "reference" else ()
    return [flag for flag in flags or () if kind_of_flag(flag) not in expected]


def in_words(flags: Iterable[str], kinds: Sequence[str] = tuple(TITLES)) -> str:
    """Kinds of flags in a few words, each once; empty if there are none of these kinds."""
    present = {kind_of_flag(flag) for flag in flags}
    return ", ".join(TITLES[kind] for kind in TITLES if kind in present and kind in kinds)


def doubts_in_words(flags: Iterable[str] | None, role: str) -> str:
    """What a board says beside the name of a row; empty if there is nothing to say."""
    return in_words(flags_to_show(flags, role))


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
    doubts += declared_doubts(spec, score)
    return [doubt for doubt in doubts if doubt is not None]


def doubts_of_table(
    spec: BenchmarkSpec,
    scores: Sequence[SplitScore],
    samples: Sequence[SampleScores],
    held: EqualityRule | None = None,
) -> list[Doubt]:
    """The doubts that a record and its per-sample table show by themselves, without the data.

    Tables of large predictions keep no predictions, and none says what a trivial prediction would
    score, so ``doubts_of`` may find more.

    Args:
        spec: the benchmark.
        scores: of every split.
        samples: the table, split by split in the same order.
        held: look only for what single predictions show, by this rule where labels are numbers.
    """
    doubts: list[Doubt] = []
    for score, split in zip(scores, samples, strict=True):
        evidence = _evidence_of_table(split)
        if held is None:
            doubts += doubts_of(spec, score, evidence, None)
        elif evidence is not None:
            is_number = evidence.equality is NUMBERS
            looked = [
                _equal(score.split, evidence, held) if is_number else None,
                _constant(score.split, evidence) or _magnitude(spec, score.split, evidence),
            ]
            doubts += [doubt for doubt in looked if doubt is not None]
    return doubts


def equal_in_table(samples: Sequence[SampleScores]) -> list[Doubt]:
    """Doubts about predictions that equal their labels, of all splits of a per-sample table."""
    doubts = []
    for split in samples:
        evidence = _evidence_of_table(split)
        doubts.append(None if evidence is None else _equal(split.split, evidence))
    return [doubt for doubt in doubts if doubt is not None]


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
    evidence = Evidence(seeds, count, equality=CLASSES, measured=False, names=names.tolist())
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


def _equal(split: str, evidence: Evidence, rule: EqualityRule | None = None) -> Doubt | None:
    rule = rule or evidence.equality
    telling, everywhere = evidence.telling, np.ones_like(evidence.telling)
    # Of numbers a share of all samples counts, whether or not their labels repeat.
    of = everywhere if evidence.equality is NUMBERS else telling
    for member, samples, least in (
        (telling, int(of.sum()), rule),
        (everywhere, len(everywhere), CLASSES),
    ):
        count = int(evidence.equal[:, member].sum(axis=1).max(initial=0))
        if count >= max(least.count, least.share * samples):
            break
    else:
        return None
    if rule is CLASSES:
        why = "a perfect model does that, and so does a file of the labels"
    else:
        why = "a model must not be given the labels that it is scored on"
    return Doubt(
        "equal_to_labels",
        split,
        f"split {split!r}: {count:,} of {samples:,} predictions equal their labels to within"
        f" rounding; {why}",
    )


class Measured(Protocol):
    """Scores of a split as far as ``declared_doubts`` reads them."""

    @property
    def split(self) -> str: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...


def declared_doubts(spec: BenchmarkSpec, score: Measured) -> list[Doubt]:
    """Doubts that follow from the scores of a split and what its benchmark declares today."""
    doubts = [beyond_rank_limit(spec, score), below_discretisation_error(spec, score)]
    return [doubt for doubt in doubts if doubt is not None]


def metrics_read(spec: BenchmarkSpec) -> frozenset[str]:
    """Metrics that ``declared_doubts`` looks at."""
    declared = spec.discretisation_error
    own = None if declared is None else declared.metric
    return frozenset([*(limit.metric for limit in spec.rank_limits), *([own] if own else [])])


def beyond_rank_limit(spec: BenchmarkSpec, score: Measured) -> Doubt | None:
    """Whether a score is beyond what the benchmark demands of a ranked row, or missing."""
    for limit in spec.rank_limits:
        value = score.metrics.get(limit.metric)
        if value is not None and not value.value > limit.at_most:
            continue
        suffix = _suffix(metric(limit.metric).unit_for(spec.target.unit))
        if value is None:
            text = f"has no {limit.metric}, which must be known"
        else:
            text = f"{limit.metric} {value.value:.4g}{suffix} is above {limit.at_most:g}{suffix}"
        message = f"split {score.split!r}: {text}; it is not ranked, since {limit.why}"
        return Doubt(BEYOND, score.split, message)
    return None


def below_discretisation_error(spec: BenchmarkSpec, score: Measured) -> Doubt | None:
    """Whether a score is smaller than the discretisation error of the labels."""
    declared = spec.discretisation_error
    if declared is None or declared.metric is None:
        return None
    size = declared.size_on(declared.metric, score.split)
    value = score.metrics.get(declared.metric)
    sign = metric(declared.metric).sign()
    if size is None or value is None or not sign * value.value < sign * size:
        return None
    unit = metric(declared.metric).unit_for(spec.target.unit)
    suffix = _suffix(unit)
    return Doubt(
        BELOW,
        score.split,
        f"split {score.split!r}: {declared.metric} {value.value:.4g}{suffix} is below"
        f" {size:.4g}{suffix}, the discretisation error of the labels; whatever comes closer has"
        " the labels, or does what their solver does on this grid",
    )


def better_than_on_validation(
    spec: BenchmarkSpec, score: SplitScore, curves: Iterable[Curve], params: Mapping[str, Any]
) -> Doubt | None:
    """Whether a model errs much less on test samples than on samples held out of training.

    Curves of a parameter are scored on validation samples, or on inner folds of the training data;
    the point at the model's own value of the parameter is compared.

    Args:
        spec: the benchmark.
        score: of the headline split.
        curves: of the same submission.
        params: with which the model was run.
    """
    primary = metric(spec.primary_metric)
    tested = score.metrics.get(primary.id)
    for curve in curves:
        if curve.scored_on is None or curve.metric != primary.id or tested is None:
            continue
        values = [point for point in curve.points if point.value == params.get(curve.param or "")]
        held_out = values[0].score if values else None
        if held_out is None:
            continue
        errors = errors_of(primary, np.array([tested.value, held_out.value]))
        bounds = [
            errors_of(primary, np.array([part.ci_low, part.ci_high], dtype=float))
            for part in (tested, held_out)
        ]
        # NaN where there is no interval, which then decides nothing.
        overlap = bounds[0].max() >= bounds[1].min()
        if errors[0] < VALIDATION_RATIO * errors[1] and not overlap:
            unit = primary.unit_for(spec.target.unit)
            suffix = _suffix(unit)
            return Doubt(
                "better_than_on_validation",
                score.split,
                f"split {score.split!r}: {primary.id} {tested.value:.4g}{suffix} is far better than"
                f" {held_out.value:.4g}{suffix} on {curve.scored_on}; the test samples may have"
                " been seen in training",
            )
    return None


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
    suffix = _suffix(unit)
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


def _suffix(unit: str) -> str:
    """A unit as it follows a number; empty where there is none."""
    return "" if unit == "1" else f" {unit}"


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
    suffix = _suffix(unit)
    return Doubt(
        "worse_than_trivial",
        score.split,
        f"split {score.split!r}: {primary.id} {value:.4g}{suffix} is worse than"
        f" {reference:.4g}{suffix}, which {trivial.what} would score",
    )

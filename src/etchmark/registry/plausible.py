"""What a record from elsewhere says beside its scores: whatever cannot be true is refused.

Scores follow from the per-sample table. Dates, artefacts, curves and flags do not, and anybody can
edit them by hand; they are held to what the rest of the record says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from etchmark.errors import UserError
from etchmark.scoring.doubts import HELD, KINDS, doubts_of_table, unlisted
from etchmark.scoring.samples import SampleScores
from etchmark.specs import BenchmarkSpec, Curve, CurvePoint, ResultRecord
from etchmark.specs.results import HUB_RAN
from etchmark.targets import metric

CLOCK_TOLERANCE = timedelta(days=1)
"""How far the clocks of two machines may differ."""
RELATIVE_TOLERANCE = 1e-9


def fault_of(record: ResultRecord) -> str | None:
    """What cannot be true of a record by itself, with the remedy; None if nothing is wrong."""
    if record.created > datetime.now(UTC) + CLOCK_TOLERANCE:
        return (
            f"created is {record.created:%Y-%m-%d}, which is in the future; correct it, or the"
            " clock of this machine"
        )
    if record.artefact is not None and (record.status not in HUB_RAN or record.outcome != "ok"):
        return "artefact belongs to a model that a hub ran; remove it"
    stated = [("curves", record.curves)]
    if record.claims is not None:
        stated.append(("claims.curves", record.claims.curves))
    for where, curves in stated:
        names = [curve.name for curve in curves]
        for curve in curves:
            fault = _fault_of_curve(curve)
            if names.count(curve.name) > 1:
                fault = "there are two of this name"
            if fault is not None:
                return f"{where}: {curve.name}: {fault}; remove it, or measure it again"
    return None


def fault_of_reviewed(record: ResultRecord) -> str | None:
    """What no hub writes into a reviewed record; None if nothing is wrong."""
    if record.status == "verified":
        return (
            "status is 'verified', but no version of etchmark verifies models yet; write 'run' or"
            " 'scored', whichever it was"
        )
    for flag in record.flags or ():
        if flag.partition(":")[0] not in KINDS:
            return f"flags: {flag[:60]!r} is of no known kind ({', '.join(KINDS)}); remove it"
    # Records name their role, flags and intervals since the same version, with which schema 2 came.
    is_silent = record.flags is None and record.interval_method is None
    if record.outcome == "ok" and is_silent:
        if record.role is not None:
            return "has a role but neither flags nor interval_method; restore the file"
        if record.schema_ == 2:
            return "is of schema 2 but has neither flags nor interval_method; restore the file"
    return None


def _fault_of_curve(curve: Curve) -> str | None:
    try:
        metric(curve.metric)
    except UserError:
        return f"unknown metric {curve.metric[:40]!r}"
    values = [point.value for point in curve.points]
    if not values or sorted(set(values)) != values:
        return "its points are not in rising order, each once"
    for point in curve.points:
        if fault := _fault_of_draws(point):
            return f"at {point.value:g}: {fault}"
    if curve.param is not None:
        return None
    counts = [point.samples for point in curve.points]
    if values[0] <= 0 or values[-1] > 1:
        return "a share of the training samples is above 0 and at most 1"
    if sorted(counts) != counts:
        return "a larger share has fewer training samples"
    return "its scores are those of the headline split" if curve.scored_on else None


def _fault_of_draws(point: CurvePoint) -> str | None:
    if not point.draws:
        return None
    if point.score is None or len(point.draws) < 2:
        return "draws belong to a score that is the mean of several"
    if point.score.ci_low is not None:
        return "the mean of several draws has no interval"
    mean = sum(point.draws) / len(point.draws)
    if not math.isclose(point.score.value, mean, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12):
        return f"its score {point.score.value:.6g} is not the mean {mean:.6g} of its draws"
    return None


def fault_beside_scores(
    record: ResultRecord, samples: Sequence[SampleScores], spec: BenchmarkSpec | None
) -> str | None:
    """What contradicts the scores of a record, which follow from its table; None if nothing does.

    Args:
        record: of outcome ``ok``.
        samples: its per-sample table.
        spec: the benchmark, whichever version of it; None if it is unknown, then flags are not
            compared.
    """
    if record.curves and record.status not in HUB_RAN:
        return "curves belong to a model that a hub ran; remove them"
    for curve in record.curves:
        if fault := _fault_of_whole(record, curve):
            return f"curves: {curve.name}: {fault}"
    # Whoever named the method of the intervals also looked for doubts.
    looked = record.flags is not None or record.interval_method is not None
    if spec is None or not looked:
        return None
    # Rules that came later hide no record: boards show those doubts whether it lists them or not.
    held = doubts_of_table(spec, record.scores, samples, HELD)
    doubt = unlisted(record.flags or (), held)
    if doubt is not None:
        return f"flags lack what its table shows: {doubt.flag}"
    return None


def _fault_of_whole(record: ResultRecord, curve: Curve) -> str | None:
    """The point of all training samples is the score of the submission itself."""
    if curve.param is not None:
        return None
    score = record.score_of(curve.split)
    if score is None or score is not record.scores[0]:
        return f"split {curve.split!r} is not the headline split of the record"
    stored = score.metrics.get(curve.metric)
    whole = next((point.score for point in curve.points if point.value == 1 and point.score), None)
    # A metric of an older version may be gone from the benchmark.
    if stored is None or whole is None or whole == stored:
        return None
    return (
        f"at 1: {curve.metric} is said to be {whole.value:.6g} but the score of the record is"
        f" {stored.value:.6g}"
    )

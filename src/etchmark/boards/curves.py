"""The measured curves of a board as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from etchmark.boards.standings import superseded
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec, CurvePoint, ResultRecord
from etchmark.targets import metric as metric_by_id

COLUMNS = (
    "curve", "title", "axis", "param", "model", "track", "value", "samples", "metric", "unit",
    "split", "scored_on", "score", "low", "high", "draws", "reason", "submission",
)  # fmt: skip


def curves(
    spec: BenchmarkSpec, store: Store, *, protocol: str, track: str | None = None
) -> pd.DataFrame:
    """The curves of all models of one protocol, one point per row; superseded ones are left out.

    So are those over a parameter that were scored on test samples (``withheld`` names them).
    ``low`` and ``high`` are the ends of the 95 % interval over units, or the lowest and highest
    score where the point is the mean of several draws of training samples.
    """
    rows = []
    for record in _current(spec, store, protocol, track):
        for curve in record.curves:
            if curve.on_test_scores:
                continue
            same = {
                "curve": curve.name,
                "title": curve.title,
                "axis": curve.axis,
                "param": curve.param,
                "model": record.name,
                "track": record.track,
                "metric": curve.metric,
                "unit": metric_by_id(curve.metric).unit_for(spec.target.unit),
                "split": curve.split,
                "scored_on": curve.scored_on,
                "submission": record.submission,
            }
            rows += [{**same, **_point(point)} for point in curve.points]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(["curve", "model", "value"], kind="stable", ignore_index=True)


def withheld(
    spec: BenchmarkSpec, store: Store, *, protocol: str, track: str | None = None
) -> pd.DataFrame:
    """Curves that are not shown, with ``title``, ``param``, ``model`` and ``submission``.

    They compare values of a parameter by scores on the test samples, as older records do.
    ``etchmark results run BENCHMARK --only MODEL --again`` measures them inside the training data.
    """
    rows = [
        {
            "title": curve.title,
            "param": curve.param,
            "model": record.name,
            "submission": record.submission,
        }
        for record in _current(spec, store, protocol, track)
        for curve in record.curves
        if curve.on_test_scores
    ]
    return pd.DataFrame(rows, columns=["title", "param", "model", "submission"])


def _current(
    spec: BenchmarkSpec, store: Store, protocol: str, track: str | None
) -> list[ResultRecord]:
    """Records with curves that no newer one supersedes."""
    records = [
        record
        for record in store.with_curves(spec.id, spec.version, protocol)
        if track in (None, record.track)
    ]
    old = superseded(records)
    return [record for record in records if record.submission not in old]


def _point(point: CurvePoint) -> dict[str, Any]:
    score = point.score
    low, high = (None, None) if score is None else (score.ci_low, score.ci_high)
    if point.draws:
        low, high = min(point.draws), max(point.draws)
    return {
        "value": point.value,
        "samples": point.samples,
        "score": None if score is None else score.value,
        "low": low,
        "high": high,
        "draws": len(point.draws) or 1,
        "reason": point.reason,
    }

"""The measured curves of a board as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from etchmark.registry.standings import superseded
from etchmark.registry.store import Store
from etchmark.scoring.metrics import metric as metric_by_id
from etchmark.specs import BenchmarkSpec, CurvePoint

COLUMNS = (
    "curve", "title", "axis", "param", "model", "track", "value", "samples", "metric", "unit",
    "split", "score", "low", "high", "draws", "reason", "submission",
)  # fmt: skip


def curves(
    spec: BenchmarkSpec, store: Store, *, protocol: str, track: str | None = None
) -> pd.DataFrame:
    """The curves of all models of one protocol, one point per row; superseded ones are left out.

    ``low`` and ``high`` are the ends of the 95 % interval over units, or the lowest and highest
    score where the point is the mean of several draws of training samples.
    """
    entries = [
        entry
        for entry in store.with_curves(spec.id, spec.version)
        if entry.record.protocol == protocol and track in (None, entry.record.track)
    ]
    old = superseded(entry.record for entry in entries)
    rows = []
    for record in (entry.record for entry in entries if entry.record.submission not in old):
        for curve in record.curves:
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
                "submission": record.submission,
            }
            rows += [{**same, **_point(point)} for point in curve.points]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(["curve", "model", "value"], kind="stable", ignore_index=True)


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

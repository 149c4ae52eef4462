"""The board: scores in order, with intervals and rank ranges that show which gaps are real."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from etchmark.catalog import pick_protocol, pick_track, unknown
from etchmark.errors import UserError
from etchmark.registry.store import Entry, Store
from etchmark.scoring import uncertainty
from etchmark.scoring.metrics import metric as metric_by_id
from etchmark.scoring.samples import SampleScores, from_table
from etchmark.specs import BenchmarkSpec, CurvePoint, Protocol

COLUMNS = (
    "rank", "rank_low", "rank_high", "model", "title", "metric", "unit", "score", "ci_low",
    "ci_high", "n", "units", "seeds", "seed_sd", "fold_mean", "fold_sd", "protocol", "track",
    "split", "subset", "status", "outcome", "reason", "superseded", "parameters", "fit_seconds",
    "predict_seconds", "seconds_each", "flops", "peak_memory_bytes", "hardware", "training_data",
    "tags", "origin", "date", "submission", "benchmark",
)  # fmt: skip


@lru_cache(maxsize=512)
def _cached_sums(
    digest: str, split: str, subset: str | None, samples: bytes
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    one = _split_of(from_table(pq.read_table(io.BytesIO(samples))), split)
    if one is not None and subset is not None:
        one = one.subset(subset)
    if one is None:
        return None
    return one.sums(), tuple(np.unique(one.units))


def _split_of(found: Sequence[SampleScores], split: str) -> SampleScores | None:
    return next((one for one in found if one.split == split), None)


def sample_scores(entry: Entry, split: str) -> SampleScores | None:
    """Per-sample outcome of a submission on one split, None if it has none."""
    if entry.samples is None:
        return None
    return _split_of(from_table(pq.read_table(io.BytesIO(entry.samples))), split)


def unit_sums(
    entry: Entry, split: str, subset: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Unit sums of a submission and the labels of its units, None if it has none."""
    if entry.samples is None:
        return None
    digest = hashlib.sha256(entry.samples).hexdigest()
    return _cached_sums(digest, split, subset, entry.samples)


def superseded(entries: Iterable[Entry]) -> set[str]:
    """Older successful submissions of the same model on the same track and protocol."""
    newest: dict[tuple[str, str, str], str] = {}
    old: set[str] = set()
    for entry in sorted(entries, key=lambda one: (one.record.created, one.record.submission)):
        record = entry.record
        if record.outcome != "ok":
            continue
        key = (record.name, record.track, record.protocol)
        if key in newest:
            old.add(newest[key])
        newest[key] = record.submission
    return old


def _split_name(chosen: Protocol, split: str | None) -> str:
    known = [chosen.split, *chosen.extra_splits]
    name = split or chosen.split
    if name not in known:
        raise unknown("split", name, known)
    return name


def _row(
    spec: BenchmarkSpec, entry: Entry, split: str, metric: str, subset: str | None
) -> dict[str, Any]:
    record = entry.record
    chosen = metric_by_id(metric)
    whole = record.score_of(split)
    at = whole.subset_of(subset) if whole and subset else whole
    score = at.metrics.get(metric) if at else None
    return {
        "model": record.name,
        "title": record.card.title,
        "metric": metric,
        "unit": chosen.unit_for(spec.target.unit),
        "score": score.value if score else None,
        "ci_low": score.ci_low if score else None,
        "ci_high": score.ci_high if score else None,
        "n": at.n if at else 0,
        "units": at.units if at else 0,
        "seeds": whole.seeds if whole and at else 0,
        "seed_sd": score.seed_sd if score else None,
        "fold_mean": score.fold_mean if score else None,
        "fold_sd": score.fold_sd if score else None,
        "protocol": record.protocol,
        "track": record.track,
        "split": split,
        "subset": subset,
        "status": record.status,
        "outcome": record.outcome,
        "reason": record.reason,
        "parameters": record.cost.parameters,
        "fit_seconds": record.cost.fit_seconds,
        "predict_seconds": record.cost.predict_seconds,
        "seconds_each": record.cost.seconds_each,
        "flops": record.cost.flops,
        "peak_memory_bytes": record.cost.peak_memory_bytes,
        "hardware": record.cost.hardware,
        "training_data": record.card.training_data,
        "tags": list(record.card.tags),
        "origin": entry.origin,
        "date": record.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "submission": record.submission,
        "benchmark": spec.key,
    }


def standings(
    spec: BenchmarkSpec,
    store: Store,
    *,
    track: str | None = None,
    protocol: str | None = None,
    split: str | None = None,
    metric: str | None = None,
    subset: str | None = None,
    everything: bool = False,
    extra: Sequence[Entry] = (),
) -> pd.DataFrame:
    """The board of one protocol, best first.

    Ranks are made among the rows that are shown, so leaving rows out recomputes them.

    Args:
        spec: the benchmark.
        store: the registry.
        track: only this track; all of them if None.
        protocol: the headline one if None.
        split: the headline split if None.
        metric: the primary one if None.
        subset: score and rank by the samples of this subset alone; all of them if None.
        everything: also failed, incomplete and superseded submissions, without a rank.
        extra: submissions that are not stored, to preview where they would stand.

    Raises:
        UserError: a name is not declared, or no submission says which samples the subset holds.
    """
    protocol = pick_protocol(spec, protocol, default=True)
    split = _split_name(spec.protocols[protocol], split)
    metric = metric or spec.primary_metric
    if metric not in spec.metrics:
        raise unknown(f"metric of {spec.id}", metric, spec.metrics)
    if subset is not None and subset not in spec.subsets:
        raise unknown(f"subset of {spec.id}", subset, spec.subsets)
    if track is not None:
        pick_track(spec, track)
    stored = {entry.record.submission: entry for entry in store.entries(spec.id, spec.version)}
    stored |= {entry.record.submission: entry for entry in extra}
    entries = [
        entry
        for entry in stored.values()
        if entry.record.protocol == protocol and (track is None or entry.record.track == track)
    ]
    old = superseded(entries)
    if subset is not None:
        _check_membership(spec, entries, split, subset)
    rows = []
    for entry in entries:
        row = _row(spec, entry, split, metric, subset)
        row["superseded"] = row["submission"] in old
        rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    ranked = [
        index
        for index, row in enumerate(rows)
        if row["score"] is not None and row["outcome"] == "ok" and not row["superseded"]
    ]
    _rank(frame, ranked, entries, split, metric, subset)
    if not everything:
        frame = frame.iloc[ranked]
    order = frame["rank"].astype(float).fillna(np.inf).to_numpy()
    by = np.lexsort((frame["model"].to_numpy(dtype=str), order))
    return _typed(frame.iloc[by].reset_index(drop=True))


CURVE_COLUMNS = (
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
    old = superseded(entries)
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
    frame = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
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


def _check_membership(spec: BenchmarkSpec, entries: list[Entry], split: str, subset: str) -> None:
    """Refuse a board on which nobody could be ranked although somebody was scored."""
    scored = [score for entry in entries if (score := entry.record.score_of(split))]
    if scored and not any(score.subset_of(subset) for score in scored):
        raise UserError(
            f"{spec.key}: no submission has scores of subset {subset!r} of split {split!r}: the"
            " split holds none of its samples, or the submissions are older than the subset; give"
            " another --split or submit them again"
        )


def _rank(
    frame: pd.DataFrame,
    ranked: list[int],
    entries: list[Entry],
    split: str,
    metric: str,
    subset: str | None,
) -> None:
    frame[["rank", "rank_low", "rank_high"]] = None
    if not ranked:
        return
    chosen = metric_by_id(metric)
    sign = chosen.sign()
    found = [unit_sums(entries[index], split, subset) for index in ranked]
    resampled = np.full((uncertainty.RESAMPLES, len(ranked)), np.nan)
    labels = next((one[1] for one in found if one is not None), ())
    for column, one in enumerate(found):
        # Resamples are paired by position, so the units must be the very same ones.
        if one is not None and one[1] == labels:
            resampled[:, column] = sign * uncertainty.bootstrap(chosen, one[0])
    scores = sign * frame["score"].iloc[ranked].to_numpy(dtype=float)
    rank, low, high = uncertainty.rank_ranges(scores, resampled)
    for name, values in (("rank", rank), ("rank_low", low), ("rank_high", high)):
        column = frame[name].astype(object)
        column.iloc[ranked] = [int(value) for value in values]
        frame[name] = column


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    whole = (
        "rank",
        "rank_low",
        "rank_high",
        "n",
        "units",
        "seeds",
        "parameters",
        "peak_memory_bytes",
    )
    real = (
        "score",
        "ci_low",
        "ci_high",
        "seed_sd",
        "fold_mean",
        "fold_sd",
        "fit_seconds",
        "predict_seconds",
        "seconds_each",
        "flops",
    )
    kinds = dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "Float64")
    return frame.astype(kinds)


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain objects, null for what is unknown, as ``leaderboard --json`` prints them."""
    records = []
    for row in frame.to_dict(orient="records"):
        records.append(
            {
                str(name): None if not isinstance(value, list) and pd.isna(value) else value
                for name, value in row.items()
            }
        )
    return records

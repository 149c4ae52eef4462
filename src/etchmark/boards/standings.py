"""The board: scores in order, with intervals and rank ranges that show which gaps are real."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from etchmark import specs
from etchmark.boards.view import View, Where
from etchmark.catalog import pick_protocol, pick_track, unknown
from etchmark.errors import UserError
from etchmark.registry import digests
from etchmark.registry.store import Store
from etchmark.registry.tables import UNREADABLE, Brief, Entry, brief_of
from etchmark.scoring import uncertainty
from etchmark.scoring.samples import SampleScores, from_table
from etchmark.specs import BenchmarkSpec
from etchmark.specs.base import UNRANKED_ROLES
from etchmark.targets import Metric, kind_of
from etchmark.targets import metric as metric_by_id

COLUMNS = (
    "rank", "rank_low", "rank_high", "model", "title", "metric", "unit", "score", "ci_low",
    "ci_high", "n", "units", "seeds", "seed_sd", "fold_mean", "fold_sd", "protocol", "track",
    "split", "subset", "status", "outcome", "reason", "superseded", "parameters", "fit_seconds",
    "predict_seconds", "seconds_each", "feature_seconds", "flops", "peak_memory_bytes", "hardware",
    "training_data", "tags", "origin", "date", "submission", "benchmark", "claimed", "role",
    "flags", "interval_method", "cpu_seconds", "total_parameters", "reference_seconds", "artefact",
)  # fmt: skip
SCORE_COLUMNS = ("ci_low", "ci_high", "seed_sd", "fold_mean", "fold_sd")


def _split_of(found: Sequence[SampleScores], split: str) -> SampleScores | None:
    return next((one for one in found if one.split == split), None)


def sample_scores(entry: Entry, split: str) -> SampleScores | None:
    """Per-sample outcome of a submission on one split, None if it has none.

    Raises:
        UserError: the stored table is damaged.
    """
    if entry.samples is None:
        return None
    try:
        tables = from_table(pq.read_table(io.BytesIO(entry.samples)))
    except UNREADABLE:
        record = entry.record
        raise UserError(
            f"submission {record.submission[:12]} ({record.name}): its per-sample table is damaged;"
            " submit it again, or remove it with `etchmark withdraw`"
        ) from None
    return _split_of(tables, split)


def unit_sums(entry: Entry, split: str) -> tuple[uncertainty.SumsOfUnits, tuple[str, ...]] | None:
    """Unit sums of a submission and the labels of its units, None if it has none."""
    found = sample_scores(entry, split)
    return None if found is None else (found.sums(), tuple(np.unique(found.units)))


class _Known(Protocol):
    """What tells submissions of the same model apart; records and briefs have it."""

    @property
    def submission(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def track(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def created(self) -> datetime: ...


def superseded(given: Iterable[_Known]) -> set[str]:
    """Older successful submissions of the same model on the same track and protocol."""
    newest: dict[tuple[str, str, str], str] = {}
    old: set[str] = set()
    for one in sorted(given, key=lambda one: (one.created, one.submission)):
        if one.outcome != "ok":
            continue
        key = (one.name, one.track, one.protocol)
        if key in newest:
            old.add(newest[key])
        newest[key] = one.submission
    return old


def front(cost: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Which points no other beats in one of two quantities without losing in the other.

    Args:
        cost: shape (points,), smaller is better; NaN where unknown, which is never in front.
        loss: shape (points,), smaller is better.

    Returns:
        Truth values, shape (points,).
    """
    found = np.zeros(len(cost), dtype=bool)
    known = np.flatnonzero(np.isfinite(cost) & np.isfinite(loss))
    order = known[np.lexsort((loss[known], cost[known]))]
    # Of equal costs the first has the smallest loss; others with the very same pair stand beside.
    best, at = np.inf, np.nan
    for point in order:
        if loss[point] < best:
            best, at = loss[point], cost[point]
            found[point] = True
        else:
            found[point] = loss[point] == best and cost[point] == at
    return found


def _split_name(chosen: specs.Protocol, split: str | None) -> str:
    known = [chosen.split, *chosen.extra_splits]
    name = chosen.split if split is None else split
    if name not in known:
        raise unknown("split", name, known)
    return name


def _row(spec: BenchmarkSpec, one: Brief, split: str, metric: str, subset: str) -> dict[str, Any]:
    found = one.content["scores"].get(split, {}).get(subset)
    score = {} if found is None else found["metrics"].get(metric, {})
    counts = found or {"n": 0, "units": 0, "seeds": 0}
    return {
        "model": one.name,
        "title": one.content["card"]["title"],
        "metric": metric,
        "unit": metric_by_id(metric).unit_for(spec.target.unit),
        "score": score.get("value"),
        **{name: score.get(name) for name in SCORE_COLUMNS},
        **{name: counts[name] for name in ("n", "units", "seeds")},
        "protocol": one.protocol,
        "track": one.track,
        "split": split,
        "subset": subset or None,
        "status": one.status,
        "outcome": one.outcome,
        "reason": one.content["reason"],
        **one.content["cost"],
        "training_data": one.content["card"]["training_data"],
        "tags": one.content["card"]["tags"],
        "origin": one.origin,
        "date": one.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "submission": one.submission,
        "benchmark": spec.key,
        # Beside the columns of cost, never in them: nobody measured it here.
        "claimed": one.content["claimed"],
        # A record only says that its role was recorded; which one it is, the benchmark says.
        "role": None if one.content["role"] is None else spec.role_of(one.name),
        "flags": one.content["flags"],
        "interval_method": one.content["interval_method"],
        "artefact": (one.content["artefact"] or {}).get("sha256"),
    }


class Board:
    """All submissions to one protocol with their resampled scores, to make standings from.

    Resampling is what takes time; standings of one board share it, however they are narrowed.

    Args:
        spec: the benchmark.
        store: the registry.
        protocol: the headline one if None.
        split: the headline split if None.
        metric: the primary one if None.
        subset: score and rank by the samples of this subset alone; all of them if None.
        extra: submissions that are not stored, to preview where they would stand.

    Raises:
        UserError: a name is not declared, or no submission says which samples the subset holds.
    """

    def __init__(
        self,
        spec: BenchmarkSpec,
        store: Store,
        *,
        protocol: str | None = None,
        split: str | None = None,
        metric: str | None = None,
        subset: str | None = None,
        extra: Sequence[Entry] = (),
    ) -> None:
        self.spec = spec
        self.protocol = pick_protocol(spec, protocol, default=True)
        self.split = _split_name(spec.protocols[self.protocol], split)
        self.metric = spec.primary_metric if metric is None else metric
        if self.metric not in spec.metrics:
            raise unknown(f"metric of {spec.id}", self.metric, spec.metrics)
        if subset is not None and subset not in spec.subsets:
            raise unknown(f"subset of {spec.id}", subset, spec.subsets)
        self.subset = subset or ""
        self._store = store
        stored = store.briefs(spec.id, spec.version, self.protocol)
        found = {one.submission: one for one in stored}
        self._extra = {
            one.record.submission: one for one in extra if one.record.protocol == self.protocol
        }
        found |= {submission: brief_of(one) for submission, one in self._extra.items()}
        self._briefs = list(found.values())
        rows = [_row(spec, one, self.split, self.metric, self.subset) for one in self._briefs]
        old = superseded(self._briefs)
        for row in rows:
            row["superseded"] = row["submission"] in old
        self._frame = _typed(pd.DataFrame(rows, columns=list(COLUMNS)))
        scored = [
            row["score"] is not None and row["outcome"] == "ok" and not row["superseded"]
            for row in rows
        ]
        # Records from before roles were recorded keep their ranks.
        unranked = [row["role"] in UNRANKED_ROLES for row in rows]
        self._apart = np.logical_and(scored, unranked)
        self._ranked = np.logical_and(scored, np.logical_not(unranked))

    @cached_property
    def _ranges(self) -> uncertainty.RankRanges:
        """Of all submissions of all tracks at once: what is shown is chosen later.

        Those that are not ranked have no resamples and are never chosen.
        """
        chosen = metric_by_id(self.metric)
        if chosen.pool is not None:
            return uncertainty.RankRanges(chosen.sign() * self._pooled(chosen))
        found = self._store.sums(
            self.spec.id,
            self.spec.version,
            self.protocol,
            split=self.split,
            subset=self.subset,
            terms=chosen.reads(kind_of(self.spec.target).term_names(self.spec.target)),
        )
        for submission, entry in self._extra.items():
            for one in () if entry.samples is None else digests.unit_sums(entry.samples):
                if (one.split, one.subset) == (self.split, self.subset):
                    found[submission] = one
        ranked = [
            one.submission for one, yes in zip(self._briefs, self._ranked, strict=True) if yes
        ]
        # Resamples are paired by position, so the units must be the very same ones.
        units = next((found[one].units for one in ranked if one in found), None)
        paired = {one for one in ranked if one in found and found[one].units == units}
        given = [
            found[one.submission] if one.submission in paired else None for one in self._briefs
        ]
        return uncertainty.RankRanges(chosen.sign() * uncertainty.bootstrap_many(chosen, given))

    def _pooled(self, chosen: Metric) -> np.ndarray:
        """Resampled scores of a metric that needs every sample, shape (models, resamples).

        Sums over units are not enough, so the per-sample table of each submission is read.
        """
        resampled = np.full((len(self._briefs), uncertainty.RESAMPLES), np.nan)
        units: list[str] | None = None
        for row, (brief, ranked) in enumerate(zip(self._briefs, self._ranked, strict=True)):
            entry = self._extra.get(brief.submission) or self._store.get(brief.submission)
            scores = None if entry is None or not ranked else sample_scores(entry, self.split)
            if scores is not None and self.subset:
                scores = scores.subset(self.subset)
            if scores is None:
                continue
            labels = np.unique(scores.units).tolist()
            units = units or labels
            if labels == units:
                resampled[row] = uncertainty.bootstrap(chosen, scores.sums())
        return resampled

    @property
    def frame(self) -> pd.DataFrame:
        """All submissions in the order they came, without ranks."""
        return self._frame

    def elsewhere(self) -> pd.DataFrame:
        """Scores on the protocol's other splits: one row per submission, one column per split."""
        chosen = self.spec.protocols[self.protocol]
        splits = [one for one in (chosen.split, *chosen.extra_splits) if one != self.split]
        rows = {
            one.submission: {split: self._score_on(one, split) for split in splits}
            for one in self._briefs
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=splits, dtype="Float64")

    def _score_on(self, one: Brief, split: str) -> float | None:
        found = one.content["scores"].get(split, {}).get("", {"metrics": {}})
        return found["metrics"].get(self.metric, {}).get("value")

    def leaders(self) -> pd.DataFrame:
        """The ranked rows, best first, without rank ranges: these take resampling."""
        found = pd.DataFrame(self._frame[self._ranked])
        sign = metric_by_id(self.metric).sign()
        scores = sign * found["score"].to_numpy(dtype=float)
        order = np.lexsort((found["model"].to_numpy(dtype=str), scores))
        return found.iloc[order].reset_index(drop=True)

    def _on(self, track: str | None) -> np.ndarray:
        if track is None:
            return np.ones(len(self._frame), dtype=bool)
        return (self._frame["track"] == track).to_numpy(dtype=bool)

    def standings(
        self, *, track: str | None = None, where: Where | None = None, everything: bool = False
    ) -> pd.DataFrame:
        """The board: ranked rows, best first, then those listed apart; see ``standings``."""
        if track is not None:
            pick_track(self.spec, track)
        if self.subset:
            self._check_membership(track)
        kept = self._on(track)
        if where is not None:
            kept = kept & where.keep(self._frame)
        ranked = np.flatnonzero(kept & self._ranked)
        shown = np.flatnonzero(kept if everything else kept & (self._ranked | self._apart))
        frame = self._frame.iloc[shown].copy()
        sign = metric_by_id(self.metric).sign()
        if len(ranked):
            scores = sign * self._frame["score"].iloc[ranked].to_numpy(dtype=float)
            found = self._ranges.among(scores, ranked)
            at = np.searchsorted(shown, ranked)
            for name, values in zip(("rank", "rank_low", "rank_high"), found, strict=True):
                column = frame[name].to_numpy(dtype=object, na_value=pd.NA)
                column[at] = values
                frame[name] = pd.array(column, dtype="Int64")
        order = frame["rank"].to_numpy(dtype=float, na_value=np.inf)
        # Rows that are listed apart come next, best first, then those without a score.
        apart = np.where(
            self._apart[shown], sign * frame["score"].to_numpy(dtype=float, na_value=np.inf), np.inf
        )
        by = np.lexsort((frame["model"].to_numpy(dtype=str), apart, order))
        return frame.iloc[by].reset_index(drop=True)

    def _check_membership(self, track: str | None) -> None:
        """Refuse a board on which nobody could be ranked although somebody was scored."""
        on = self._on(track).tolist()
        scored = [
            one.content["scores"][self.split]
            for one, here in zip(self._briefs, on, strict=True)
            if here and self.split in one.content["scores"]
        ]
        if scored and not any(self.subset in one for one in scored):
            raise UserError(
                f"{self.spec.key}: no submission has scores of subset {self.subset!r} of split"
                f" {self.split!r}: the split holds none of its samples, or the submissions are"
                " older than the subset; give another --split or submit them again"
            )


def standings(
    spec: BenchmarkSpec,
    store: Store,
    view: View = View(),
    *,
    where: Where | None = None,
    everything: bool = False,
    extra: Sequence[Entry] = (),
) -> pd.DataFrame:
    """The board of one protocol, best first.

    Ranks are computed among the rows that are shown, so filters change them. Oracles, controls and
    exploratory rows are listed after all others and have no rank.

    Args:
        spec: the benchmark.
        store: the registry.
        view: protocol, split, metric, subset and track.
        where: show only these rows.
        everything: also show failed, incomplete and superseded submissions, without a rank.
        extra: submissions that are not stored, to preview where they would stand.

    Raises:
        UserError: a name is not declared, or no submission has scores of the subset.
    """
    board = board_of(spec, store, view, extra=extra)
    return board.standings(track=view.track, where=where, everything=everything)


def board_of(
    spec: BenchmarkSpec, store: Store, view: View = View(), *, extra: Sequence[Entry] = ()
) -> Board:
    """All submissions of a view, to make standings from; its track is left to ``standings``."""
    return Board(
        spec,
        store,
        protocol=view.protocol,
        split=view.split,
        metric=view.metric,
        subset=view.subset,
        extra=extra,
    )


def level_with_first(ranked: pd.DataFrame) -> int:
    """How many other rows are not told apart from the first: their rank ranges overlap with its.

    Args:
        ranked: rows of a board that have a rank, best first.
    """
    low, high = (ranked[name].to_numpy(dtype=int) for name in ("rank_low", "rank_high"))
    return int(((low <= high[:1]) & (high >= low[:1])).sum()) - 1 if len(ranked) else 0


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    whole = (
        "rank", "rank_low", "rank_high", "n", "units", "seeds", "parameters", "total_parameters",
        "peak_memory_bytes",
    )  # fmt: skip
    real = (
        "score", *SCORE_COLUMNS, "fit_seconds", "predict_seconds", "seconds_each",
        "feature_seconds", "cpu_seconds", "flops",
    )  # fmt: skip
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

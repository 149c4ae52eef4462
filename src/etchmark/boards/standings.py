"""The board: scores in order, with intervals and rank ranges that show which gaps are real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd

from etchmark import specs
from etchmark.boards import units
from etchmark.boards.flags import Units, flags_of_rows, why_not_ranked
from etchmark.boards.paired import PairedRows, Sums, may_be_best
from etchmark.boards.rows import COLUMNS, GAIN_COLUMNS, row_of, to_records, typed
from etchmark.boards.samples import sample_scores
from etchmark.boards.view import View, Where
from etchmark.catalog import pick_protocol, pick_track, unknown
from etchmark.errors import UserError
from etchmark.registry import digests
from etchmark.registry.reviewed import HUB_RAN
from etchmark.registry.store import REVIEWED, Store
from etchmark.registry.tables import Entry, brief_of
from etchmark.scoring.separation import Relation
from etchmark.specs import BenchmarkSpec
from etchmark.specs.base import UNRANKED_ROLES
from etchmark.targets import kind_of
from etchmark.targets import metric as metric_by_id

__all__ = [
    "COLUMNS", "Board", "board_of", "standings",
    "superseded", "to_records",
]  # fmt: skip


class _Submitted(Protocol):
    """What identifies successive submissions of one model; records and briefs have it."""

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


def superseded(submissions: Iterable[_Submitted]) -> set[str]:
    """Older successful submissions of the same model on the same track and protocol."""
    newest: dict[tuple[str, str, str], str] = {}
    old: set[str] = set()
    for record in sorted(submissions, key=lambda record: (record.created, record.submission)):
        # A failed run does not replace the scores that an earlier one has.
        if record.outcome != "ok":
            continue
        key = (record.name, record.track, record.protocol)
        if key in newest:
            old.add(newest[key])
        newest[key] = record.submission
    return old


def _split_name(protocol: specs.Protocol, split: str | None) -> str:
    known = [protocol.split, *protocol.extra_splits]
    name = protocol.split if split is None else split
    if name not in known:
        raise unknown("split", name, known)
    return name


class Board:
    """All submissions to one protocol, with their resampled scores; makes standings.

    Resampling takes most of the time; all standings of one board share it, whatever their filters.

    Args:
        spec: the benchmark.
        store: the registry.
        protocol: the headline one if None.
        split: the headline split if None.
        metric: the primary one if None.
        subset: score and rank by the samples of this subset alone; all of them if None.
        extra: submissions that are not stored, to preview their place.

    Raises:
        UserError: a name is not declared.
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
            fault = f"{spec.id} has no metric {self.metric!r}"
            raise unknown("metric", self.metric, spec.metrics, fault)
        if subset is not None and subset not in spec.subsets:
            raise unknown(f"subset of {spec.id}", subset, spec.subsets)
        self.subset = subset or ""
        self._store = store
        stored = store.briefs(spec.id, spec.version, self.protocol)
        briefs = {brief.submission: brief for brief in stored}
        self._extra = {
            entry.record.submission: entry
            for entry in extra
            if entry.record.protocol == self.protocol
        }
        briefs |= {submission: brief_of(entry) for submission, entry in self._extra.items()}
        self._briefs = list(briefs.values())
        rows = [row_of(spec, brief, self.split, self.metric, self.subset) for brief in self._briefs]
        old = superseded(self._briefs)
        for row in rows:
            row["superseded"] = row["submission"] in old
        scored = [
            row["score"] is not None and row["outcome"] == "ok" and not row["superseded"]
            for row in rows
        ]
        for row, brief in zip(rows, self._briefs, strict=True):
            row["reason"] = row["reason"] or why_not_ranked(spec, brief, row["role"])
        unranked = [row["role"] in UNRANKED_ROLES or row["reason"] is not None for row in rows]
        self._frame = typed(pd.DataFrame(rows, columns=list(COLUMNS)))
        self._apart = np.logical_and(scored, unranked)
        self._ranked = np.logical_and(scored, np.logical_not(unranked))
        by, leaders = metric_by_id(self.metric), self.leaders()
        flags = flags_of_rows(spec, by, self._briefs, leaders, self._units_of)
        self._frame["flags"] = pd.Series(flags, self._frame.index, dtype=object)

    def _units_of(self, submission: str) -> Units | None:
        """Unit sums of a submission and the names of its units; None if it has none."""
        entry = self._extra.get(submission) or self._store.get(submission)
        scores = entry and sample_scores(entry, self.split, self.subset or None)
        return None if scores is None else (scores.sums(), tuple(np.unique(scores.units)))

    @cached_property
    def _paired(self) -> list[Sums | None]:
        """Sums of each ranked submission, all over the same units in one order; else None.

        Resamples and flips are paired by position, so all submissions need the same units.
        """
        metric = metric_by_id(self.metric)
        if metric.pool is not None:
            return self._of_samples()
        sums = self._store.sums(
            self.spec.id,
            self.spec.version,
            self.protocol,
            split=self.split,
            subset=self.subset,
            terms=metric.reads(kind_of(self.spec.target).term_names(self.spec.target)),
        )
        for submission, entry in self._extra.items():
            for part in digests.unit_sums(digests.read_samples(entry.samples)):
                if (part.split, part.subset) == (self.split, self.subset):
                    sums[submission] = part
        ranked = [
            sums.get(brief.submission) if is_ranked else None
            for brief, is_ranked in zip(self._briefs, self._ranked, strict=True)
        ]
        units = next((part.units for part in ranked if part is not None), None)
        return [
            dict(zip(part.terms, part.values, strict=True))
            if part and part.units == units
            else None
            for part in ranked
        ]

    def _of_samples(self) -> list[Sums | None]:
        """The same of a metric that needs every sample: each per-sample table is read."""
        paired: list[Sums | None] = []
        units: tuple[str, ...] | None = None
        for brief, is_ranked in zip(self._briefs, self._ranked, strict=True):
            scored = self._units_of(brief.submission) if is_ranked else None
            units = units or (None if scored is None else scored[1])
            paired.append(None if scored is None or scored[1] != units else scored[0])
        return paired

    @cached_property
    def _tested(self) -> PairedRows:
        return PairedRows(self.spec, metric_by_id(self.metric), self._paired)

    @cached_property
    def _gains(self) -> np.ndarray:
        """Of every row over the reference: the same whichever rows are shown."""
        return self._tested.gains(self._reference())

    @cached_property
    def _relations(self) -> list[Relation | None]:
        """What the test of gains shows of every row."""
        scores = self._frame["score"].to_numpy(dtype=float, na_value=np.nan)
        return self._tested.relations(self._reference(), scores, self._gains[:, -1])

    def _reference(self) -> int | None:
        """The row of the declared reference that this hub ran or somebody reviewed, if any."""
        frame = self._frame
        trusted = frame["status"].isin(HUB_RAN) | (frame["origin"] == REVIEWED)
        named = (frame["model"] == self.spec.gains_over) & trusted & self._ranked
        return next(iter(np.flatnonzero(named.to_numpy(dtype=bool)).tolist()), None)

    @property
    def frame(self) -> pd.DataFrame:
        """All submissions in the order they came, without ranks."""
        return self._frame

    def elsewhere(self) -> pd.DataFrame:
        """Scores on the protocol's other splits: one row per submission, one column per split."""
        return self.by_split().drop(columns=self.split)

    def by_split(self) -> pd.DataFrame:
        """The same for all splits of the protocol."""
        protocol = self.spec.protocols[self.protocol]
        return self._scores(
            {split: (split, "") for split in (protocol.split, *protocol.extra_splits)}
        )

    def by_subset(self) -> pd.DataFrame:
        """Scores on the declared subsets of the headline split, one column per subset."""
        split = self.spec.protocols[self.protocol].split
        return self._scores({name: (split, name) for name in self.spec.subsets})

    @cached_property
    def by_unit(self) -> pd.DataFrame:
        """Scores on the units of the headline split, if they are few and the metric has sums."""
        metric, split = metric_by_id(self.metric), self.spec.protocols[self.protocol].split
        wholes = [brief.content["scores"].get(split, {}).get("") for brief in self._briefs]
        few = [whole for whole in wholes if whole and 1 < whole["units"] <= units.MOST]
        if metric.pool is not None or not any(whole["n"] > whole["units"] for whole in few):
            return pd.DataFrame()
        terms = metric.reads(kind_of(self.spec.target).term_names(self.spec.target))
        board = (self.spec.id, self.spec.version, self.protocol)
        sums = self._store.sums(*board, split=split, subset="", terms=terms)
        for submission in units.most_common(sums):
            entry = self._store.get(submission)
            # Where a table is damaged, the next one has the same units.
            with suppress(UserError):
                if entry and (scores := sample_scores(entry, split)):
                    return units.scores(metric, sums, scores.units)
        return pd.DataFrame()

    def _scores(self, places: dict[str, tuple[str, str]]) -> pd.DataFrame:
        """One row per submission, one column per place, which is a split and a subset of it."""
        rows = {
            brief.submission: {
                name: brief.content["scores"]
                .get(split, {})
                .get(subset, {"metrics": {}})["metrics"]
                .get(self.metric, {})
                .get("value")
                for name, (split, subset) in places.items()
            }
            for brief in self._briefs
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=[*places], dtype="Float64")

    def leaders(self, *, apart: bool = False) -> pd.DataFrame:
        """The ranked rows, best first, without rank ranges, which would need resampling.

        Args:
            apart: add the rows that are listed apart, best first, after all others.
        """
        shown = self._ranked | self._apart if apart else self._ranked
        rows = pd.DataFrame(self._frame[shown])
        scores = metric_by_id(self.metric).sign() * rows["score"].to_numpy(dtype=float)
        order = np.lexsort((rows["model"].to_numpy(dtype=str), scores, self._apart[shown]))
        return rows.iloc[order].reset_index(drop=True)

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
            places = np.searchsorted(shown, ranked)
            ranks = self._tested.ranges.among(scores, ranked)
            for name, values in zip(("rank", "rank_low", "rank_high"), ranks, strict=True):
                frame[name] = _placed(frame[name], places, values)
            ahead = self._tested.shown_ahead(scores, ranked)
            frame["may_be_best"] = _placed(frame["may_be_best"], places, may_be_best(ahead))
            ids = self._frame["submission"].to_numpy(dtype=object)[ranked]
            behind = np.full(len(ids), None, dtype=object)
            behind[ahead >= 0] = ids[ahead[ahead >= 0].astype(int)]
            frame["behind"] = _placed(frame["behind"], places, behind)
            for column, name in enumerate(GAIN_COLUMNS):
                frame[name] = _placed(frame[name], places, self._gains[ranked, column])
            relations = np.array(self._relations, dtype=object)[ranked]
            frame["gain_relation"] = _placed(frame["gain_relation"], places, relations)
        order = frame["rank"].to_numpy(dtype=float, na_value=np.inf)
        # Rows that are listed apart come next, best first, then those without a score.
        apart = np.where(
            self._apart[shown], sign * frame["score"].to_numpy(dtype=float, na_value=np.inf), np.inf
        )
        by = np.lexsort((frame["model"].to_numpy(dtype=str), apart, order))
        return frame.iloc[by].reset_index(drop=True)

    def _check_membership(self, track: str | None) -> None:
        """Refuse a subset of which no submission has scores although the split has some."""
        on_track = self._on(track).tolist()
        scored = [
            brief.content["scores"][self.split]
            for brief, is_shown in zip(self._briefs, on_track, strict=True)
            if is_shown and self.split in brief.content["scores"]
        ]
        if scored and not any(self.subset in scores for scores in scored):
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
        extra: submissions that are not stored, to preview their place.

    Raises:
        UserError: a name is not declared, or no submission has scores of the subset.
    """
    board = board_of(spec, store, view, extra=extra)
    return board.standings(track=view.track, where=where, everything=everything)


def board_of(
    spec: BenchmarkSpec, store: Store, view: View = View(), *, extra: Sequence[Entry] = ()
) -> Board:
    """The board of a view; its track is an argument of ``Board.standings``."""
    return Board(
        spec,
        store,
        protocol=view.protocol,
        split=view.split,
        metric=view.metric,
        subset=view.subset,
        extra=extra,
    )


def _placed(column: pd.Series, places: np.ndarray, values: np.ndarray) -> pd.Series:
    """A column with values at some places; what is not a number is missing."""
    whole = column.to_numpy(dtype=object)
    whole[places] = values
    whole[pd.isna(whole)] = pd.NA
    return pd.Series(pd.array(whole.tolist(), dtype=column.dtype), index=column.index)

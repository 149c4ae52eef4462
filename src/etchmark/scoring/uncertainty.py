"""Scores from sums over independent units, and rank ranges from a paired bootstrap over them.

A resample draws as many units (papers, trajectories, samples) as there are, with replacement
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, DOI 10.1201/9780429246593; whole
groups are drawn because errors within one paper are not independent: Davison & Hinkley 1997,
DOI 10.1017/CBO9780511802843, sec. 3.8). Every model sees the same resamples, so differences
between models are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from etchmark.specs.results import IntervalMethod
from etchmark.targets import Metric

RESAMPLES = 2000
BOOTSTRAP: IntervalMethod = "percentile-bootstrap-2000"
"""``interval_method`` of older records: see ``bootstrap_intervals``."""
SEED = 0
LEVEL = 0.95
# Rounded, or 2.5 % of 2,000 resamples is a hair more than 50 and picks the 51st.
TAIL = round((1.0 - LEVEL) / 2.0, 12)


AT_ONCE = 1 << 20
"""Number of draws of single samples that a pooled metric computes at a time, to bound memory."""


@dataclass(frozen=True)
class UnitSums:
    """Sums of the terms of all metrics over the samples of each unit, of one split or subset."""

    split: str
    subset: str
    """Empty for the whole split."""
    units: str
    """Digest of the units' labels: resamples of two models are paired only if it is the same."""
    terms: tuple[str, ...]
    """Names of the terms, in the order of ``values``."""
    values: np.ndarray
    """Shape (terms, seeds, units), float64."""


@lru_cache(maxsize=16)
def resample_counts(units: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each unit occurs in each resample; shape (resamples, units), read-only."""
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = generator.multinomial(units, np.full(units, 1.0 / units), size=resamples)
    counts = counts.astype(np.float64)
    counts.setflags(write=False)
    return counts


class SumsOfUnits(dict[str, np.ndarray]):
    """Sums of every term over the samples of each unit, shape (seeds, units) each.

    The terms of single samples are kept with them: pooled metrics are computed from those.

    Args:
        sums: sums keyed by term.
        terms: terms of single samples, shape (seeds, samples) each.
        unit: index of each sample's unit, shape (samples,).
    """

    def __init__(
        self, sums: Mapping[str, np.ndarray], terms: Mapping[str, np.ndarray], unit: np.ndarray
    ) -> None:
        super().__init__(sums)
        self.terms, self.unit = terms, unit
        self.without_each: dict[str, np.ndarray] = {}
        """Sums without each unit, of terms of which ``scoring.intervals`` needed them."""

    def pooled(self, metric: Metric, counts: np.ndarray) -> np.ndarray:
        """A pooled metric of every resample, shape (seeds, resamples), a few at a time.

        Args:
            metric: it has ``pool``.
            counts: how often each unit is drawn, shape (resamples, units).
        """
        if metric.pool is None:
            raise ValueError(f"{metric.id} is not pooled")
        names = metric.reads(self.terms)
        if metric.of_units:
            return metric.pool({name: self[name] for name in names if name in self}, counts)
        terms = {name: np.atleast_2d(self.terms[name]) for name in names if name in self.terms}
        size = max(1, AT_ONCE // len(self.unit))
        parts = [
            metric.pool(terms, counts[start : start + size][:, self.unit])
            for start in range(0, len(counts), size)
        ]
        return np.concatenate(parts, axis=1)


def unit_sums(terms: Mapping[str, np.ndarray], units: np.ndarray) -> SumsOfUnits:
    """Sums of every term over the samples of each unit.

    Args:
        terms: arrays of shape (seeds, samples), keyed by term; NaN where a sample has no value.
        units: label of each sample's unit, shape (samples,).

    Returns:
        Shape (seeds, units) each, units in the order of their sorted labels.
    """
    labels, index = np.unique(units, return_inverse=True)
    # np.add.reduceat over sorted samples sums in float64 in a fixed order.
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(labels)))
    sums = {
        name: np.add.reduceat(np.atleast_2d(values)[:, order], starts, axis=1)
        for name, values in terms.items()
    }
    return SumsOfUnits(sums, terms, index)


def units_of(sums: Mapping[str, np.ndarray]) -> int:
    """Number of units in unit sums."""
    return next(iter(sums.values())).shape[1]


def score(metric: Metric, sums: SumsOfUnits) -> np.ndarray:
    """Score of each seed over all units, shape (seeds,).

    Args:
        metric: the score.
        sums: from ``unit_sums``.
    """
    if metric.pool is not None:
        return sums.pooled(metric, np.ones((1, units_of(sums))))[:, 0]
    # Masks have hundreds of terms, of which a metric reads a few.
    names = [name for name in metric.reads(sums) if name in sums] or list(sums)
    return metric.of({name: sums[name].sum(axis=1) for name in names})


def bootstrap(metric: Metric, sums: SumsOfUnits, resamples: int = RESAMPLES) -> np.ndarray:
    """Score of every resample, averaged over seeds; shape (resamples,).

    Args:
        metric: the score.
        sums: from ``unit_sums``.
        resamples: number of resamples.
    """
    counts = resample_counts(units_of(sums), resamples)
    if metric.pool is not None:
        return sums.pooled(metric, counts).mean(axis=0)
    drawn = {name: sums[name] @ counts.T for name in metric.reads(sums) if name in sums}
    if not drawn:
        return np.full(resamples, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        return metric.of(drawn).mean(axis=0)


def bootstrap_many(
    metric: Metric, sums: Sequence[Mapping[str, np.ndarray] | None], resamples: int = RESAMPLES
) -> np.ndarray:
    """Score of every resample of many models, averaged over seeds; shape (models, resamples).

    One matrix product serves all models, and equal sums enter it once, so that models with equal
    predictions get bitwise equal scores. A model without sums gets NaN.

    Args:
        metric: the score.
        sums: sums over units of each model, shape (seeds, units) by term, all over the same units;
            None if it has none. Of a pooled metric they are ``SumsOfUnits``.
        resamples: number of resamples.
    """
    scores = np.full((len(sums), resamples), np.nan)
    if metric.pool is not None:
        for model, summed in enumerate(sums):
            if isinstance(summed, SumsOfUnits):
                scores[model] = bootstrap(metric, summed, resamples)
        return scores
    index_of: dict[bytes, int] = {}
    rows_of_models: list[dict[str, list[int]]] = []
    for summed in sums:
        rows_of_terms: dict[str, list[int]] = {}
        for name in () if summed is None else metric.reads(summed):
            if summed is not None and name in summed:
                rows_of_terms[name] = [
                    index_of.setdefault(row.tobytes(), len(index_of)) for row in summed[name]
                ]
        rows_of_models.append(rows_of_terms)
    if not index_of:
        return scores
    stacked = np.stack([np.frombuffer(row) for row in index_of])
    drawn = stacked @ resample_counts(stacked.shape[1], resamples).T
    with np.errstate(invalid="ignore", over="ignore"):
        for model, rows_of_terms in enumerate(rows_of_models):
            if rows_of_terms:
                terms = {name: drawn[rows] for name, rows in rows_of_terms.items()}
                scores[model] = metric.of(terms).mean(axis=0)
    return scores


def percentile_interval(scores: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of resampled scores; None unless all of them are finite."""
    if not np.isfinite(scores).all():
        return None
    low, high = np.quantile(scores, [TAIL, 1.0 - TAIL])
    return float(low), float(high)


def bootstrap_intervals(
    metrics: Sequence[Metric], sums: SumsOfUnits
) -> list[tuple[float, float] | None]:
    """``percentile_interval`` of several metrics at once, equal to within rounding.

    Records had such intervals before those of ``scoring.intervals``: they are recomputed to check
    older records.

    One matrix product serves all metrics, which is several times faster than one for each.

    Args:
        metrics: what is computed.
        sums: from ``unit_sums``.
    """
    additive = [metric for metric in metrics if metric.pool is None]
    read = {name for metric in additive for name in metric.reads(sums) if name in sums}
    drawn: dict[str, np.ndarray] = {}
    if read:
        names = sorted(read)
        stacked = np.concatenate([np.atleast_2d(sums[name]) for name in names])
        product = stacked @ resample_counts(units_of(sums)).T
        drawn = dict(zip(names, np.split(product, len(names)), strict=True))
    intervals = []
    for metric in metrics:
        terms = {name: drawn[name] for name in metric.reads(sums) if name in drawn}
        if metric.pool is not None or not terms:
            resampled = bootstrap(metric, sums)
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                resampled = metric.of(terms).mean(axis=0)
        intervals.append(percentile_interval(resampled))
    return intervals


_DRAWN = [[1, 0, 0, 0, 4], [2, 2, 0, 1, 0], [1, 2, 1, 0, 1]]


@lru_cache(maxsize=1)
def draws_are_those_of_the_records() -> bool:
    """Whether numpy draws what it drew when records were made.

    It may change how it draws in a new release; intervals can then not be recomputed exactly.
    """
    return resample_counts(5, 3).astype(int).tolist() == _DRAWN


def ranks(scores: np.ndarray) -> np.ndarray:
    """Competition ranks along the last axis: the smallest score has rank 1, ties share a rank."""
    return np.searchsorted(np.sort(scores), scores, side="left") + 1


class RankRanges:
    """Rank ranges over paired resamples, of all models or a selection; scores are sorted once.

    Args:
        resampled: shape (models, resamples), smaller is better; non-finite counts as worst.
    """

    def __init__(self, resampled: np.ndarray) -> None:
        self.models, self.resamples = resampled.shape
        worst = np.where(np.isfinite(resampled), resampled, np.inf).T.copy()
        order = np.argsort(worst, axis=1)
        ordered = np.take_along_axis(worst, order, axis=1)
        self.kind = np.int16 if self.models < 1 << 15 else np.int32
        self.order = order.astype(self.kind)
        """Models of each resample, best first, shape (resamples, models)."""
        self.runs: np.ndarray | None = None
        """Index of the run of ties each of them belongs to; None if there are no ties."""
        differs = ordered[:, 1:] != ordered[:, :-1]
        if not differs.all():
            self.runs = np.zeros(order.shape, dtype=self.kind)
            np.cumsum(differs, axis=1, out=self.runs[:, 1:])

    def among(
        self, scores: np.ndarray, ranked: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rank of each selected model and the 2.5-97.5 % range of its ranks.

        In a tie, the range covers every rank that the model could have.

        Args:
            scores: scores of the selected models, smaller is better, shape (k,).
            ranked: their indices among all models, ascending, shape (k,); all models if None.

        Returns:
            rank, rank_low, rank_high, each of shape (k,).
        """
        rank = ranks(scores)
        order, runs, models = self.order, self.runs, len(scores)
        if ranked is not None and models < self.models:
            place = np.full(self.models, -1, dtype=self.kind)
            place[ranked] = np.arange(models, dtype=self.kind)
            order = place[order]
            kept = order >= 0
            order = order[kept].reshape(self.resamples, models)
            runs = None if runs is None else runs[kept].reshape(self.resamples, models)
        first, last = _places(runs, order.shape)
        # The order statistics of numpy's "inverted_cdf", without sorting all ranks of a model.
        start, end = (int(np.ceil(share * self.resamples)) - 1 for share in (TAIL, 1.0 - TAIL))
        best_possible = self._by_model(order, first)
        if last is first:
            both = np.partition(best_possible, [start, end], axis=1)
            low, high = both[:, start], both[:, end]
        else:
            low = np.partition(best_possible, start, axis=1)[:, start]
            high = np.partition(self._by_model(order, last), end, axis=1)[:, end]
        return rank, np.minimum(low, rank), np.maximum(high, rank)

    def _by_model(self, order: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Rank of every model in every resample, shape (models, resamples)."""
        rank_of = np.empty(order.shape, dtype=self.kind)
        rows = np.arange(len(order), dtype=np.int32)[:, None] * np.int32(order.shape[1])
        rank_of.ravel()[rows + order] = places + self.kind(1)
        return rank_of.T.copy()


def _places(runs: np.ndarray | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """First and last place (from 0) of the run of ties that each place belongs to."""
    models = shape[1]
    place = np.broadcast_to(np.arange(models, dtype=np.int32), shape)
    if runs is None or not (tied := runs[:, 1:] == runs[:, :-1]).any():
        return place, place
    bounds = np.pad(~tied, ((0, 0), (1, 1)), constant_values=True)
    first = np.maximum.accumulate(np.where(bounds[:, :-1], place, 0), axis=1)
    ends = np.where(bounds[:, 1:], place, models - 1)
    return first, np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]

"""Intervals and rank ranges from a paired bootstrap over the independent unit.

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

from etchmark.scoring.metrics import TERMS, Metric

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95
# Rounded, or 2.5 % of 2,000 resamples is a hair more than 50 and picks the 51st.
TAIL = round((1.0 - LEVEL) / 2.0, 12)


@dataclass(frozen=True)
class UnitSums:
    """Sums of the terms of all metrics over the samples of each unit, of one split or subset."""

    split: str
    subset: str
    """Empty for the whole split."""
    units: str
    """Digest of the units' labels: resamples are paired only where they are the same."""
    terms: tuple[str, ...]
    """Those that are known, in the order of ``values``."""
    values: np.ndarray
    """Shape (terms, seeds, units), float64."""


@lru_cache(maxsize=16)
def resample_counts(units: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each unit stands in each resample; shape (resamples, units)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = generator.multinomial(units, np.full(units, 1.0 / units), size=resamples)
    counts = counts.astype(np.float64)
    counts.setflags(write=False)
    return counts


def unit_sums(terms: Mapping[str, np.ndarray], units: np.ndarray) -> np.ndarray:
    """Sums of every term over the samples of each unit.

    Args:
        terms: arrays of shape (seeds, samples), by name of ``TERMS``; NaN where there is none.
        units: label of each sample's unit, shape (samples,).

    Returns:
        Shape (terms, seeds, units), units in the order of their sorted labels.
    """
    labels, index = np.unique(units, return_inverse=True)
    # np.add.reduceat over sorted samples sums in float64 in a fixed order.
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(labels)))
    known = {name: np.atleast_2d(values)[:, order] for name, values in terms.items()}
    absent = np.full_like(next(iter(known.values())), np.nan)
    stacked = np.stack([known.get(name, absent) for name in TERMS])
    return np.add.reduceat(stacked, starts, axis=2)


def evaluate(metric: Metric, sums: np.ndarray) -> np.ndarray:
    """A metric from sums whose first axis runs over ``TERMS``."""
    return metric.finish(dict(zip(TERMS, sums, strict=True)))


def bootstrap(metric: Metric, sums: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Score of every resample, averaged over seeds; shape (resamples,).

    Args:
        metric: what is computed.
        sums: shape (terms, seeds, units), from ``unit_sums``.
        resamples: number of resamples.
    """
    counts = resample_counts(sums.shape[2], resamples)
    used = {name: sums[TERMS.index(name)] @ counts.T for name in metric.terms}
    with np.errstate(invalid="ignore", over="ignore"):
        return metric.finish(used).mean(axis=0)


def bootstrap_many(
    metric: Metric, given: Sequence[UnitSums | None], resamples: int = RESAMPLES
) -> np.ndarray:
    """Score of every resample of many models, averaged over seeds; shape (models, resamples).

    One product of matrices for all models, in which equal sums are taken once, so that models with
    equal predictions have equal scores to the last bit. NaN where a model has no sums.

    Args:
        metric: what is computed.
        given: sums of each model; all over the same units.
        resamples: number of resamples.
    """
    found = np.full((len(given), resamples), np.nan)
    rows: dict[bytes, int] = {}
    where: list[dict[str, list[int]]] = []
    for one in given:
        here: dict[str, list[int]] = {}
        for name in metric.terms:
            if one is not None and name in one.terms:
                values = one.values[one.terms.index(name)]
                here[name] = [rows.setdefault(row.tobytes(), len(rows)) for row in values]
        where.append(here)
    if not rows:
        return found
    stacked = np.stack([np.frombuffer(row) for row in rows])
    drawn = stacked @ resample_counts(stacked.shape[1], resamples).T
    absent = np.full((1, resamples), np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        for model, (one, here) in enumerate(zip(given, where, strict=True)):
            if one is not None:
                used = {
                    name: drawn[here[name]] if name in here else absent for name in metric.terms
                }
                found[model] = metric.finish(used).mean(axis=0)
    return found


def over_horizon(
    squared_error: np.ndarray, units: np.ndarray, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root mean squared error of each predicted frame and its 95 % interval.

    Args:
        squared_error: mean over the values of a frame, shape (seeds, samples, frames).
        units: label of each sample's unit, shape (samples,).
        resamples: number of resamples.

    Returns:
        Value, low and high, each of shape (frames,).
    """
    _, index = np.unique(units, return_inverse=True)
    size = np.bincount(index).astype(np.float64)
    mean = squared_error.mean(axis=0, dtype=np.float64)
    sums = np.stack([np.bincount(index, weights=one) for one in mean.T], axis=1)
    counts = resample_counts(len(size), resamples)
    drawn = np.sqrt((counts @ sums) / (counts @ size)[:, None])
    low, high = np.quantile(drawn, [TAIL, 1.0 - TAIL], axis=0)
    return np.sqrt(mean.mean(axis=0)), low, high


def interval(scores: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of resampled scores, None where they are not all finite."""
    if not np.isfinite(scores).all():
        return None
    low, high = np.quantile(scores, [TAIL, 1.0 - TAIL])
    return float(low), float(high)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Competition ranks, 1 best, along the last axis; smaller is better, equals share a rank."""
    return np.searchsorted(np.sort(scores), scores, side="left") + 1


def rank_ranges(
    scores: np.ndarray, resampled: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank of each model and the 2.5-97.5 % range of its ranks over paired resamples.

    Among equals a model's lowest and highest rank are those that it could be given.

    Args:
        scores: shape (models,), smaller is better.
        resampled: shape (models, resamples), smaller is better; non-finite counts as worst.

    Returns:
        rank, rank_low, rank_high, each of shape (models,).
    """
    rank = ranks(scores)
    models, resamples = resampled.shape
    worst = np.where(np.isfinite(resampled), resampled, np.inf).T.copy()
    order = np.argsort(worst, axis=1)
    ordered = np.take_along_axis(worst, order, axis=1)
    # Places of the first and of the last of every run of equals, in the order of the resample.
    place = np.broadcast_to(np.arange(models, dtype=np.int32), ordered.shape)
    first, last = place, place
    same = ordered[:, 1:] == ordered[:, :-1]
    if same.any():
        apart = np.pad(~same, ((0, 0), (1, 1)), constant_values=True)
        first = np.maximum.accumulate(np.where(apart[:, :-1], place, 0), axis=1)
        ends = np.where(apart[:, 1:], place, models - 1)
        last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]

    def by_model(places: np.ndarray) -> np.ndarray:
        given = np.empty((resamples, models), dtype=np.int16 if models < 1 << 15 else np.int32)
        np.put_along_axis(given, order, places + 1, axis=1)
        return given.T.copy()

    best_possible = by_model(first)
    worst_possible = best_possible if last is first else by_model(last)
    # The order statistics of numpy's "inverted_cdf", without sorting all ranks of a model.
    at, end = (int(np.ceil(share * resamples)) - 1 for share in (TAIL, 1.0 - TAIL))
    low = np.partition(best_possible, at, axis=1)[:, at].astype(int)
    high = np.partition(worst_possible, end, axis=1)[:, end].astype(int)
    return rank, np.minimum(low, rank), np.maximum(high, rank)


def paired_difference(
    metric: Metric, first: np.ndarray, second: np.ndarray
) -> tuple[float, float, float]:
    """Score of ``first`` minus ``second`` with its paired 95 % interval.

    Both are unit sums over the same units, shape (terms, seeds, units).
    """
    difference = bootstrap(metric, first) - bootstrap(metric, second)
    value = evaluate(metric, first.sum(axis=2)).mean() - evaluate(metric, second.sum(axis=2)).mean()
    bounds = interval(difference) or (float("nan"), float("nan"))
    return float(value), *bounds

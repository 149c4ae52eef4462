"""Intervals and rank ranges from a paired bootstrap over the independent unit.

A resample draws as many units (papers, trajectories, samples) as there are, with replacement
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, DOI 10.1201/9780429246593; whole
groups are drawn because errors within one paper are not independent: Davison & Hinkley 1997,
DOI 10.1017/CBO9780511802843, sec. 3.8). Every model sees the same resamples, so differences
between models are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from etchmark.scoring.metrics import TERMS, Metric

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95
# Rounded, or 2.5 % of 2,000 resamples is a hair more than 50 and picks the 51st.
TAIL = round((1.0 - LEVEL) / 2.0, 12)


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
    ordered = np.sort(scores, axis=-1)
    if scores.ndim == 1:
        return np.searchsorted(ordered, scores, side="left") + 1
    return np.stack(
        [
            np.searchsorted(row, own, side="left") + 1
            for row, own in zip(ordered, scores, strict=True)
        ]
    )


def rank_ranges(
    scores: np.ndarray, resampled: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank of each model and the 2.5-97.5 % range of its ranks over paired resamples.

    Args:
        scores: shape (models,), smaller is better.
        resampled: shape (resamples, models), smaller is better; non-finite counts as worst.

    Returns:
        rank, rank_low, rank_high, each of shape (models,).
    """
    rank = ranks(scores)
    worst = np.where(np.isfinite(resampled), resampled, np.inf)
    best_possible = ranks(worst)
    # Among equals the highest rank that the model could be given.
    worst_possible = worst.shape[1] + 1 - ranks(-worst)
    tail = 100.0 * TAIL
    low = np.percentile(best_possible, tail, axis=0, method="inverted_cdf").astype(int)
    high = np.percentile(worst_possible, 100.0 - tail, axis=0, method="inverted_cdf").astype(int)
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

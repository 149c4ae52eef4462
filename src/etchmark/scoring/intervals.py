"""95 % intervals of scores: delete-one-unit jackknife with Student's t on a fitting scale.

Each independent unit (paper, trajectory, morphology) is left out in turn and the metric computed
again from all the others (Tukey 1958; Efron & Stein, Ann. Statist. 9 (1981) 586,
DOI 10.1214/aos/1176345462). The spread of those scores on the metric's scale gives a standard error
with ``units - 1`` degrees of freedom. Where a model was fitted with several seeds, the variance of
their mean is added, with the degrees of freedom of Satterthwaite (Biometrics Bull. 2 (1946) 110,
DOI 10.2307/3002019). How often such intervals hold the truth is measured in
``docs/methods/intervals.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from etchmark.scoring.uncertainty import (
    AT_ONCE,
    BOOTSTRAP,
    LEVEL,
    RESAMPLES,
    SumsOfUnits,
    bootstrap_intervals,
    score,
    units_of,
)
from etchmark.specs.results import IntervalMethod
from etchmark.targets import Metric
from etchmark.targets.scales import Scale

METHOD: IntervalMethod = "jackknife-t"
"""``interval_method`` of records whose intervals are computed here."""
FEWEST_UNITS = 6
"""With fewer units there is no interval: they are listed instead."""


def without_each(values: np.ndarray) -> np.ndarray:
    """Sums over the last axis of all entries but one, for each of them; the same shape.

    No entry is subtracted from a total, so that the others survive beside one that is huge.
    """
    before, after = np.zeros_like(values), np.zeros_like(values)
    np.cumsum(values[..., :-1], axis=-1, out=before[..., 1:])
    np.cumsum(values[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return before + after


def leave_one_out(metric: Metric, sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """The metric without each unit in turn, shape (seeds, units).

    Args:
        metric: what is computed.
        sums: from ``uncertainty.unit_sums``; of an additive metric any arrays whose last axis
            holds the units.

    Raises:
        TypeError: the metric is pooled and ``sums`` do not hold the terms of single samples.
    """
    if metric.pool is None:
        names = [name for name in metric.reads(sums) if name in sums]
        # Metrics of the same sums share terms.
        known = sums.without_each if isinstance(sums, SumsOfUnits) else {}
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for name in names:
                if name not in known:
                    known[name] = without_each(sums[name])
            return metric.of({name: known[name] for name in names})
    if not isinstance(sums, SumsOfUnits):
        raise TypeError(f"{metric.id} is pooled: it needs the terms of single samples")
    # The rows of each matrix are resamples without one unit, a few at a time to bound memory.
    units = units_of(sums)
    size = max(1, AT_ONCE // units)
    parts = [
        sums.pooled(metric, 1.0 - np.eye(min(size, units - start), units, k=start))
        for start in range(0, units, size)
    ]
    return np.concatenate(parts, axis=1)


def counted(metric: Metric, sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which units have a value of the metric, shape (units,): only these are independent data."""
    if metric.counted_by is None or metric.counted_by not in sums:
        return np.ones(units_of(sums), dtype=bool)
    return np.any(sums[metric.counted_by] > 0, axis=0)


def interval(metric: Metric, sums: SumsOfUnits) -> tuple[float, float] | None:
    """95 % interval of the mean score over seeds.

    Of one seed it is an interval for this fit; of several, for fits with other seeds.

    Args:
        metric: what is scored.
        sums: from ``uncertainty.unit_sums``.

    Returns:
        Low and high; None with fewer than six units, or where the score lies at the end of its
        scale (an error of zero, an accuracy of one).
    """
    units = counted(metric, sums)
    left_out = leave_one_out(metric, sums)[:, units]
    return _interval(score(metric, sums), left_out, metric.scale)


def intervals(metrics: Sequence[Metric], sums: SumsOfUnits) -> list[tuple[float, float] | None]:
    """``interval`` of several metrics."""
    return [interval(metric, sums) for metric in metrics]


IntervalsOf = Callable[[Sequence[Metric], SumsOfUnits], list[tuple[float, float] | None]]
METHODS: dict[IntervalMethod, IntervalsOf] = {BOOTSTRAP: bootstrap_intervals, METHOD: intervals}
"""The function that computes the intervals of each method, to check those of a record."""


def method_in_words(
    method: str, units: str, seeds: int | None = None, *, deterministic: bool = False
) -> str:
    """The interval method of a record in plain words.

    Args:
        method: ``interval_method`` of the record.
        units: what is left out or resampled, in the plural, such as ``papers``.
        seeds: how often the model was fitted; None leaves unsaid what that means.
        deterministic: whether another seed gives the same predictions.

    Returns:
        A phrase; ``method`` itself if it is unknown here.
    """
    if method == BOOTSTRAP:
        return f"percentile bootstrap, {RESAMPLES:,} resamples of the {units}"
    if method != METHOD:
        return method
    phrase = f"jackknife over the {units} with Student's t"
    if seeds is None:
        return phrase
    if deterministic:
        return f"{phrase}; another seed changes nothing"
    return f"{phrase}, for this fit" if seeds == 1 else f"{phrase}, {seeds} seeds included"


def why_none(units: int, unit_names: str) -> str:
    """Why a score that is known has no interval, in a few words.

    Args:
        units: how many there are.
        unit_names: what they are, in the plural, such as ``papers``.
    """
    if units < FEWEST_UNITS:
        return f"no interval: too few {unit_names} ({units})"
    return "no interval: the score is at the end of its scale"


def _interval(
    per_seed: np.ndarray, left_out: np.ndarray, scale: Scale
) -> tuple[float, float] | None:
    """From the scores of all seeds, shape (seeds,), and those without each unit."""
    count = left_out.shape[1]
    if count < FEWEST_UNITS:
        return None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        centre = scale.forward(np.asarray(per_seed.mean()))
        away = reach(*variance(per_seed, left_out, scale))
        ends = scale.inverse(np.array([centre - away, centre + away]))
    if not np.isfinite(ends).all():
        return None
    return float(ends.min()), float(ends.max())


def jackknife_variance(left_out: np.ndarray) -> np.ndarray:
    """Sampling variance from values without each unit, which the last axis holds."""
    units = left_out.shape[-1]
    deviations = left_out - left_out.mean(axis=-1, keepdims=True)
    return np.asarray((units - 1) / units * np.sum(deviations**2, axis=-1))


def added(*parts: tuple[np.ndarray, float]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of independent variances and its degrees of freedom, after Satterthwaite.

    Args:
        parts: variances of any one shape, with the degrees of freedom of each.
    """
    total = sum((part for part, _ in parts), np.zeros(()))
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / sum((part**2 / free for part, free in parts), np.zeros(()))
    # Without any variance, as of a model against itself, the degrees do not matter.
    return total, np.where(total > 0, freedom, parts[0][1])


def variance(
    per_seed: np.ndarray, left_out: np.ndarray, scale: Scale
) -> tuple[np.ndarray, np.ndarray]:
    """Sampling variance of the mean score on a scale, and its degrees of freedom.

    Args:
        per_seed: shape (seeds,).
        left_out: scores without each unit, shape (seeds, units).
        scale: of the metric.
    """
    units, seeds = left_out.shape[1], len(per_seed)
    mean = left_out.mean(axis=0)
    spread, of_seeds = scale.forward(mean), scale.forward(per_seed)
    # One seed may have no error at all, or one unit all of it: the score has a scale even so.
    if scale.bounded or not (np.isfinite(spread).all() and np.isfinite(of_seeds).all()):
        slope = scale.slope(np.asarray(per_seed.mean()))
        spread, of_seeds = mean * slope, per_seed * slope
    parts = [(jackknife_variance(spread), units - 1.0)]
    if seeds > 1:
        parts.append((np.asarray(of_seeds.var(ddof=1) / seeds), seeds - 1.0))
    return added(*parts)


def reach(variance: np.ndarray, freedom: np.ndarray | float) -> np.ndarray:
    """How far an interval extends to either side, elementwise."""
    from scipy.special import stdtrit

    return stdtrit(freedom, 0.5 + LEVEL / 2) * np.sqrt(variance)


def difference(
    metric: Metric, first: SumsOfUnits, second: SumsOfUnits
) -> tuple[float, float, float]:
    """Score of ``first`` minus that of ``second`` with its paired 95 % interval, NaN without one.

    Both are unit sums over the same units.
    """
    scores = score(metric, first), score(metric, second)
    units = counted(metric, first) & counted(metric, second)
    left_out = [leave_one_out(metric, sums)[:, units] for sums in (first, second)]
    value = float(scores[0].mean() - scores[1].mean())
    if units.sum() < FEWEST_UNITS:
        return value, float("nan"), float("nan")
    paired = left_out[0].mean(axis=0) - left_out[1].mean(axis=0)
    parts = [(jackknife_variance(paired), len(paired) - 1.0)]
    parts += [
        (np.asarray(of_seeds.var(ddof=1) / len(of_seeds)), len(of_seeds) - 1.0)
        for of_seeds in scores
        if len(of_seeds) > 1
    ]
    away = float(reach(*added(*parts)))
    return value, value - away, value + away


def over_horizon(
    squared_error: np.ndarray, units: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root mean squared error of each predicted frame and its 95 % interval, NaN without one.

    Over several seeds it is the root of the mean over all of them.

    Args:
        squared_error: mean over the values of a frame, shape (seeds, samples, frames).
        units: label of each sample's unit, shape (samples,).

    Returns:
        Value, low and high, each of shape (frames,).
    """
    _, index = np.unique(units, return_inverse=True)
    size = np.bincount(index).astype(np.float64)
    mean = squared_error.mean(axis=0, dtype=np.float64)
    sums = np.stack([np.bincount(index, weights=frame) for frame in mean.T])
    value = np.sqrt(mean.mean(axis=0))
    count = len(size)
    if count < FEWEST_UNITS:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 0.5 * np.log(without_each(sums) / without_each(size))
        factor = np.exp(reach(jackknife_variance(logs), count - 1.0))
    known = np.isfinite(factor)
    return value, np.where(known, value / factor, np.nan), np.where(known, value * factor, np.nan)

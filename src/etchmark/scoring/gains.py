"""By how much a model's error is smaller than that of the declared reference.

A gain is ``100 (1 - e / e_ref)`` in %, where e is an error: the score itself where smaller is
better, and one minus it for R² and for shares of which more is better. Its interval is that of the
logarithm of the ratio, by the jackknife over the units that both have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etchmark.scoring.intervals import (
    FEWEST_UNITS,
    added,
    counted,
    jackknife_variance,
    leave_one_out,
    reach,
)
from etchmark.targets import Metric
from etchmark.targets.scales import LINEAR

Sums = Mapping[str, np.ndarray]
AT_ONCE = 1 << 21
"""Sums of units that are worked on at once."""


def has_gains(metric: Metric) -> bool:
    """Whether a metric has an error of which one can be a part of another."""
    return metric.scale is not LINEAR


def errors_of(metric: Metric, scores: np.ndarray) -> np.ndarray:
    """Errors: scores where smaller is better, else one minus them."""
    return 1.0 - scores if metric.higher_is_better else scores


def gains(metric: Metric, rows: Sequence[Sums | None], reference: Sums) -> np.ndarray:
    """Gain of every row over the reference with its 95 % interval, in %.

    Args:
        metric: the score.
        rows: terms of shape (seeds, units) of each row, over the units of the reference in the same
            order; None if it has none.
        reference: terms of the reference.

    Returns:
        Shape (rows, 3): gain, low and high; NaN where there is none.
    """
    result = np.full((len(rows), 3), np.nan)
    if not has_gains(metric):
        return result
    units = counted(metric, reference)
    if not units.all():
        # The others hold no data: they must not count as degrees of freedom.
        reference = _of_units(reference, units)
        rows = [None if row is None else _of_units(row, units) for row in rows]
    log, left_out, spread = _logs(metric, [reference])
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row is not None:
            shape = next(iter(row.values())).shape
            alike.setdefault((shape, tuple(row)), []).append(place)
    for (shape, _), places in alike.items():
        size = max(1, AT_ONCE // int(np.prod(shape)))  # type: ignore[call-overload]
        for start in range(0, len(places), size):
            some = places[start : start + size]
            sums = [row for place in some if (row := rows[place]) is not None]
            result[some] = _bounded(_logs(metric, sums), (log, left_out, spread))
    for place, row in enumerate(rows):
        # The seeds of the reference are no independent draws of itself.
        if row is not None and _same(row, reference) and np.isfinite(result[place]).all():
            result[place] = 0.0
    return result


def _same(row: Sums, reference: Sums) -> bool:
    return row.keys() == reference.keys() and all(
        np.array_equal(values, reference[name]) for name, values in row.items()
    )


def _of_units(sums: Sums, units: np.ndarray) -> Sums:
    return {name: values[:, units] for name, values in sums.items()}


Logs = tuple[np.ndarray, np.ndarray, tuple[np.ndarray, int]]
"""Logarithms of errors (rows,), those without each unit (rows, units); variance over seeds (rows,)
with the number of seeds."""


@np.errstate(invalid="ignore", divide="ignore")
def _logs(metric: Metric, rows: Sequence[Sums]) -> Logs:
    if metric.pool is not None:
        parts = [_logs_of_one(metric, row) for row in rows]
        logs, left_out, variances = (np.concatenate(part) for part in zip(*parts, strict=True))
        return logs, left_out, (variances, len(next(iter(rows[0].values()))))
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    seeds = next(iter(stacked.values())).shape[1]
    totals = {name: values.sum(axis=-1) for name, values in stacked.items()}
    scores = metric.of(totals)
    whole = errors_of(metric, scores.mean(axis=1))
    left_out = errors_of(metric, leave_one_out(metric, stacked).mean(axis=1))
    return np.log(whole), _near(left_out, whole), (_over_seeds(metric, scores), seeds)


def _logs_of_one(metric: Metric, row: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from etchmark.scoring.uncertainty import SumsOfUnits, score

    if not isinstance(row, SumsOfUnits):
        raise TypeError(f"{metric.id} is pooled: it needs the terms of single samples")
    scores = score(metric, row)[None]
    left_out = errors_of(metric, leave_one_out(metric, row).mean(axis=0)[None])
    whole = errors_of(metric, scores.mean(axis=1))
    return np.log(whole), _near(left_out, whole), _over_seeds(metric, scores)


def _near(errors: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Logarithms of errors, shape (rows, k), that vary about those of ``whole``, shape (rows,).

    By the slope there in rows of which an error is zero: one seed, or all units but one, may have
    none.
    """
    logs = np.log(errors)
    by_slope = np.log(whole)[:, None] + errors / whole[:, None] - 1.0
    return np.where(np.isfinite(logs).all(axis=1, keepdims=True), logs, by_slope)


def _over_seeds(metric: Metric, scores: np.ndarray) -> np.ndarray:
    """Variance of the mean of logarithms over seeds, shape (rows,); scores have (rows, seeds)."""
    if scores.shape[1] == 1:
        return np.zeros(len(scores))
    errors = errors_of(metric, scores)
    return _near(errors, errors.mean(axis=1)).var(axis=1, ddof=1) / scores.shape[1]


@np.errstate(invalid="ignore", divide="ignore")
def _bounded(rows: Logs, reference: Logs) -> np.ndarray:
    ratio, units = rows[0] - reference[0], rows[1].shape[1]
    gain = 100.0 * (1.0 - np.exp(ratio))
    if units < FEWEST_UNITS:
        return np.stack([gain, *np.full((2, len(gain)), np.nan)], axis=1)
    parts = [(jackknife_variance(rows[1] - reference[1]), units - 1.0)]
    parts += [(spread, seeds - 1.0) for spread, seeds in (rows[2], reference[2]) if seeds > 1]
    away = reach(*added(*parts))
    low, high = (100.0 * (1.0 - np.exp(ratio + sign * away)) for sign in (1.0, -1.0))
    return np.where(np.isfinite([gain, low, high]), [gain, low, high], np.nan).T

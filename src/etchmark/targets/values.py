"""Errors of numbers: terms and metrics that scalars, arrays and frames have in common.

A sample's terms are summed over the elements of its prediction, so that a metric weighs every
element equally.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etchmark.targets.definitions import Metric, not_additive
from etchmark.targets.losses import Array, Sums, term_loss
from etchmark.targets.scales import LOG, UNEXPLAINED

VALUE_TERMS = (
    "n", "sum_e", "sum_abs_e", "sum_sq_e", "sum_rel_e", "sum_y", "sum_sq_y", "sum_outside",
)  # fmt: skip
"""Per-sample terms: count, Σe, Σ|e|, Σe², Σ|e|/|y|, Σ(y-c), Σ(y-c)², with e = prediction - target
and c a constant shift that keeps the variance exact where the mean is large; and the number of
predictions outside the sample's bounds, NaN where a benchmark declares none."""


def _mae(s: Sums) -> Array:
    return s["sum_abs_e"] / s["n"]


def _rmse(s: Sums) -> Array:
    return np.sqrt(s["sum_sq_e"] / s["n"])


def _mape(s: Sums) -> Array:
    return 100.0 * s["sum_rel_e"] / s["n"]


def _r2(s: Sums) -> Array:
    # The total sum of squares is taken about the mean of the very samples that are summed.
    spread = s["sum_sq_y"] - s["sum_y"] ** 2 / s["n"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 1.0 - s["sum_sq_e"] / spread, np.nan)


def typical_relative_error(sums: Mapping[str, Array], drawn: Array) -> Array:
    """Geometric mean over units of the mean relative error of each, in %.

    Args:
        sums: ``sum_rel_e`` and ``n`` of each unit, shape (seeds, units) each.
        drawn: how often each unit is drawn, shape (resamples, units).

    Returns:
        Shape (seeds, resamples); zero where a unit without any error is drawn.
    """
    errors = _mape(sums)
    without = errors <= 0
    logs = np.log(np.where(without, 1.0, errors))
    typical = np.exp(logs @ drawn.T / drawn.sum(axis=1))
    return np.where(without.astype(float) @ drawn.T > 0, 0.0, typical)


def _log_relative_error(s: Sums) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(_mape(s))


VALUE_METRICS = (
    Metric(
        "mae",
        "Mean absolute error",
        None,
        False,
        _mae,
        "Σ|ŷ-y| / n",
        ("sum_abs_e", "n"),
        scale=LOG,
        loss=term_loss("sum_abs_e"),
    ),
    Metric(
        "rmse",
        "Root mean squared error",
        None,
        False,
        _rmse,
        "√(Σ(ŷ-y)² / n)",
        ("sum_sq_e", "n"),
        scale=LOG,
        loss=term_loss("sum_sq_e"),
    ),
    Metric(
        "mape",
        "Mean absolute percentage error",
        "%",
        False,
        _mape,
        "100 Σ|ŷ-y|/|y| / n",
        ("sum_rel_e", "n"),
        scale=LOG,
        loss=term_loss("sum_rel_e"),
    ),
    Metric(
        "r2",
        "Coefficient of determination",
        "1",
        True,
        _r2,
        "1 - Σ(ŷ-y)² / Σ(y-ȳ)²",
        ("sum_sq_e", "sum_y", "sum_sq_y", "n"),
        scale=UNEXPLAINED,
        # Of the same labels R² falls as the sum of squares rises.
        loss=term_loss("sum_sq_e"),
    ),
    Metric(
        "mape_typical",
        "Typical absolute percentage error",
        "%",
        False,
        not_additive,
        "geometric mean over independent units of 100 Σ|ŷ-y|/|y| / n of each",
        ("sum_rel_e", "n"),
        typical_relative_error,
        of_units=True,
        scale=LOG,
        loss=_log_relative_error,
    ),
)


def sample_terms(
    target: NDArray[Any],
    prediction: NDArray[Any],
    shift: float = 0.0,
    beyond: NDArray[np.bool_] | None = None,
) -> dict[str, Array]:
    """Terms of each sample.

    Args:
        target: shape (samples, ...), in the target's unit.
        prediction: the same shape and unit.
        shift: constant c taken from the target in the variance terms.
        beyond: whether the prediction lies outside its bounds, shape (samples,).

    Returns:
        One array of shape (samples,) per name in ``VALUE_TERMS``.
    """
    y = np.asarray(target, dtype=np.float64).reshape(len(target), -1)
    predicted = np.asarray(prediction, dtype=np.float64).reshape(y.shape)
    e = predicted - y
    magnitude = np.abs(y)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(magnitude > 0, np.abs(e) / magnitude, np.where(e == 0, 0.0, np.inf))
    centred = y - shift
    # Errors too large to be squared or summed become infinite, and the score is refused for it.
    with np.errstate(over="ignore", invalid="ignore"):
        return {
            "n": np.full(len(y), float(y.shape[1])),
            "sum_e": e.sum(axis=1),
            "sum_abs_e": np.abs(e).sum(axis=1),
            "sum_sq_e": (e * e).sum(axis=1),
            "sum_rel_e": relative.sum(axis=1),
            "sum_y": centred.sum(axis=1),
            "sum_sq_y": (centred * centred).sum(axis=1),
            "sum_outside": np.full(len(y), np.nan) if beyond is None else beyond.astype(float),
        }


def value_terms(
    target: np.ndarray, values: np.ndarray, beyond: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Terms of all samples, shape (seeds, samples) each.

    Args:
        target: labels, shape (samples, ...).
        values: predictions, shape (seeds, samples, ...).
        beyond: whether a prediction lies outside its bounds, shape (seeds, samples).
    """
    shift = float(np.mean(target, dtype=np.float64))
    per_seed = [
        sample_terms(target, predicted, shift, None if beyond is None else beyond[seed])
        for seed, predicted in enumerate(values)
    ]
    return {name: np.stack([terms[name] for terms in per_seed]) for name in VALUE_TERMS}

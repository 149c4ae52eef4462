"""Metrics as functions of sums over samples.

Every metric is ``finish(sums)`` where the sums are additive terms of single samples. The same
terms therefore give the score, the score of any split, fold or group, and every bootstrap
resample (a weighted sum), without touching the predictions again.

For array targets a sample's terms are summed over its elements, so that a metric weighs every
element equally.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etchmark.errors import UserError
from etchmark.scoring.frames import FRAME_METRICS, FRAME_TERMS

Array = NDArray[np.float64]
Sums = Mapping[str, Array]

VALUE_TERMS = (
    "n", "sum_e", "sum_abs_e", "sum_sq_e", "sum_rel_e", "sum_y", "sum_sq_y", "sum_outside",
)  # fmt: skip
"""Per-sample terms: count, Σe, Σ|e|, Σe², Σ|e|/|y|, Σ(y-c), Σ(y-c)², with e = prediction - target
and c a constant shift that keeps the variance exact where the mean is large; and the number of
predictions outside the sample's bounds, NaN where a benchmark declares none."""
TERMS = (*VALUE_TERMS, *FRAME_TERMS)
"""All of them; those of frames are NaN for other targets."""

BOUND_TOLERANCE = 1e-6
"""Relative; a prediction that touches a bound does not violate it by rounding."""


@dataclass(frozen=True)
class Metric:
    """A metric: identifier, how its unit derives from the target's, direction and definition."""

    id: str
    title: str
    unit: str | None
    """None: the unit of the target."""
    higher_is_better: bool
    finish: Callable[[Sums], Array]
    definition: str
    terms: tuple[str, ...]
    """Those that ``finish`` reads."""

    def unit_for(self, target_unit: str) -> str:
        return target_unit if self.unit is None else self.unit

    def sign(self) -> float:
        """+1 where larger is worse, so that ``sign * score`` orders best first."""
        return -1.0 if self.higher_is_better else 1.0


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


def _bound_violations(s: Sums) -> Array:
    return 100.0 * s["sum_outside"] / s["n"]


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric("mae", "Mean absolute error", None, False, _mae, "Σ|ŷ-y| / n", ("sum_abs_e", "n")),
        Metric(
            "rmse",
            "Root mean squared error",
            None,
            False,
            _rmse,
            "√(Σ(ŷ-y)² / n)",
            ("sum_sq_e", "n"),
        ),
        Metric(
            "mape",
            "Mean absolute percentage error",
            "%",
            False,
            _mape,
            "100 Σ|ŷ-y|/|y| / n",
            ("sum_rel_e", "n"),
        ),
        Metric(
            "r2",
            "Coefficient of determination",
            "1",
            True,
            _r2,
            "1 - Σ(ŷ-y)² / Σ(y-ȳ)²",
            ("sum_sq_e", "sum_y", "sum_sq_y", "n"),
        ),
        Metric(
            "bound_violations",
            "Predictions outside the physical bounds",
            "%",
            False,
            _bound_violations,
            "share of samples predicted outside [lower, upper], by more than 1e-6 of the bound",
            ("sum_outside", "n"),
        ),
        *(Metric(*one) for one in FRAME_METRICS),
    )
}


def metric(name: str) -> Metric:
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}; known are: {', '.join(METRICS)}")
    return METRICS[name]


def outside(prediction: Array, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """True for each prediction beyond its bounds; shapes (..., samples), (samples,), (samples,)."""
    below = prediction < lower - BOUND_TOLERANCE * np.abs(lower)
    above = prediction > upper + BOUND_TOLERANCE * np.abs(upper)
    return below | above


def sample_terms(
    target: Array,
    prediction: Array,
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
    given = np.asarray(prediction, dtype=np.float64).reshape(y.shape)
    e = given - y
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

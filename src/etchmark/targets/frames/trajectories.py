"""Errors of whole trajectories: the typical one, and that of the worst.

Errors of rollouts differ by orders of magnitude from one trajectory to the next, so that a pooled
RMSE may be that of a handful. The geometric mean says what a trajectory is usually off by, the mean
of the worst tenth what must be expected when things go wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etchmark.targets.definitions import Metric, not_additive
from etchmark.targets.losses import Array, Sums, term_loss
from etchmark.targets.scales import LOG

TRAJECTORY_TERMS = ("trajectories", "sum_log_rmse")
"""Per-sample terms that follow from the others: 1, and the logarithm of the sample's own RMSE."""
LEAST = 1e-4
"""RMSE of a trajectory, as a share of the standard deviation of its true values, below which it
counts as no smaller: a trajectory that was hit exactly must not make the geometric mean zero,
whatever the others are. Half precision is five times coarser."""
WORST = 0.1
"""Share of the trajectories that count as the worst."""


def trajectory_terms(terms: Mapping[str, Array]) -> dict[str, Array]:
    """``TRAJECTORY_TERMS`` of each sample, in the shape of the arguments.

    Args:
        terms: ``sum_sq_e`` and ``n`` of each sample; without ``sum_y`` and ``sum_sq_y``, which give
            the standard deviation, only an error of zero is replaced, by a tiny one.
    """
    n = terms["n"]
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = terms["sum_sq_e"] / n
        smallest = np.full_like(squared, np.finfo(np.float64).tiny)
        if "sum_y" in terms and "sum_sq_y" in terms:
            variance = terms["sum_sq_y"] / n - (terms["sum_y"] / n) ** 2
            smallest = np.maximum(smallest, LEAST**2 * variance)
        return {
            "trajectories": np.ones_like(n, dtype=np.float64),
            "sum_log_rmse": 0.5 * np.log(np.maximum(squared, smallest)),
        }


def _typical(s: Sums) -> Array:
    return np.exp(s["sum_log_rmse"] / s["trajectories"])


def worst_tenth(terms: Mapping[str, Array], drawn: Array) -> Array:
    """Mean RMSE of the worst tenth of the samples.

    Where a tenth is not a whole number, the next sample counts in part, so that the value does not
    jump with the number of samples (expected shortfall; Acerbi & Tasche, J. Bank. Finance 26 (2002)
    1487, DOI 10.1016/S0378-4266(02)00283-2).

    Args:
        terms: ``sum_sq_e`` and ``n``, shape (seeds, samples) each.
        drawn: how often each sample is drawn, shape (resamples, samples).

    Returns:
        Shape (seeds, resamples).
    """
    values = np.empty((len(terms["n"]), len(drawn)))
    quota = WORST * drawn.sum(axis=1, keepdims=True)
    for seed, (squares, counts) in enumerate(zip(terms["sum_sq_e"], terms["n"], strict=True)):
        rmse = np.sqrt(squares / counts)
        order = np.argsort(-rmse, kind="stable")
        times = drawn[:, order]
        before = times.cumsum(axis=1) - times
        taken = np.clip(quota - before, 0.0, times)
        values[seed] = (taken @ rmse[order]) / quota[:, 0]
    return values


TRAJECTORY_METRICS = (
    Metric(
        "rmse_typical",
        "Typical root mean squared error",
        None,
        False,
        _typical,
        "geometric mean over trajectories of the RMSE over the values of each, which counts as at"
        " least 10⁻⁴ of the standard deviation of the true values",
        ("sum_log_rmse", "trajectories"),
        scale=LOG,
        loss=term_loss("sum_log_rmse"),
    ),
    Metric(
        "rmse_worst_tenth",
        "Root mean squared error of the worst tenth",
        None,
        False,
        not_additive,
        "mean RMSE of the tenth of the trajectories in which it is largest",
        ("sum_sq_e", "n"),
        worst_tenth,
        scale=LOG,
    ),
)

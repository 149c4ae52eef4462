"""Losses of single units: what the difference between two models is made of, for ``Metric``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sums = Mapping[str, Array]


def term_loss(*terms: str, sign: float = 1.0) -> Callable[[Sums], Array]:
    """``Metric.loss`` that is the sum of some terms, times ``sign``."""

    def loss(s: Sums) -> Array:
        return sign * np.sum([s[term] for term in terms], axis=0)

    return loss


def shares_contrast(parts: tuple[Array, Array], wholes: tuple[Array, Array]) -> Array:
    """What each unit adds to the difference of two models' mean share, such as a mean IoU.

    With I and U the part and the whole of a class, Iₐ/Uₐ - I_b/U_b is exactly the sum over units of
    K (ΔI - J ΔU), J = (Iₐ + I_b) / (Uₐ + U_b), K = (Uₐ + U_b) / (2 Uₐ U_b).

    Args:
        parts: of both models, shape (classes, ..., units) each; the axes between are of pairs.
        wholes: the same shapes.

    Returns:
        First model minus second, mean over the classes that occur, shape (..., units).
    """
    part = [values.sum(axis=-1, keepdims=True) for values in parts]
    whole = [values.sum(axis=-1, keepdims=True) for values in wholes]
    both = whole[0] + whole[1]
    occurs = (whole[0] > 0) & (whole[1] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (part[0] + part[1]) / both
        weight = both / (2.0 * whole[0] * whole[1])
        terms = weight * ((parts[0] - parts[1]) - share * (wholes[0] - wholes[1]))
    return np.where(occurs, terms, 0.0).sum(axis=0) / np.maximum(occurs.sum(axis=0), 1)

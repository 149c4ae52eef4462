"""Order parameters at the start, from a map of grains: sharp, or as wide as boundaries at rest."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

REACH = 5.0
"""Widths from a boundary beyond which a profile is flat."""


class Start:
    """Order parameters that a map of grains begins with.

    A flat boundary at rest with gamma = 3/2 has eta = (1 ± tanh(x / sqrt(2 kappa))) / 2 on its two
    sides, whose sum is one, so that kappa eta'' = 2 eta (1 - eta) (1 - 2 eta): the equation with no
    change in time (see ``grain_growth``).

    Args:
        labels: grain of each cell of a periodic square, shape (n, n).
        width: sqrt(2 kappa) in cells; 0 for sharp boundaries.
    """

    def __init__(self, labels: np.ndarray, width: float) -> None:
        self.labels, self.width = labels, width
        if width:
            self.distance, self.neighbour = _distances(labels, math.ceil(REACH * width) + 1)

    def of(self, label: int) -> np.ndarray:
        """Order parameter of one grain, shape (n, n)."""
        inside = self.labels == label
        if not self.width:
            return inside.astype(np.float64)
        own = (1 + np.tanh(self.distance / self.width)) / 2
        own[self.distance > REACH * self.width] = 1.0
        return np.where(inside, own, np.where(self.neighbour == label, 1 - own, 0.0))


def _distances(labels: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance in cells to the nearest other grain's boundary, and that grain; infinite and itself
    where there is no other within ``reach``."""
    n = len(labels)
    rim = min(reach, n)
    wide = np.pad(labels, rim, mode="wrap")
    other = wide.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            beside = np.roll(wide, shift, axis=axis)
            other = np.where((other == wide) & (beside != wide), beside, other)
    if (other == wide).all():
        return np.full((n, n), np.inf), labels
    away, (rows, columns) = ndimage.distance_transform_edt(other == wide, return_indices=True)  # type: ignore[misc]
    along = slice(rim, rim + n)
    nearest, beyond = wide[rows, columns], other[rows, columns]
    # The nearest boundary cell is one's own, or one beyond the boundary.
    neighbour = np.where(nearest == wide, beyond, nearest)
    # The boundary runs between two cells, half a cell from the middle of either.
    return (away + 0.5)[along, along], neighbour[along, along]

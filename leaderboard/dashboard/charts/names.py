"""Where the names of points are written in a plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PLOT_PX, LETTER_PX, POINT_PX = (640.0, 340.0), (6.2, 15.0), 5.0
"""Approximate size of a plot's inside and of a letter in it, and half the size of a point."""


def name_places(
    across: np.ndarray,
    up: np.ndarray,
    wanted: np.ndarray,
    names: Sequence[str],
    ends: tuple[np.ndarray, np.ndarray] | None = None,
    path: np.ndarray | None = None,
) -> list[str]:
    """Places of names beside their points so that none covers a name, a point or a line.

    A name without room has "".

    Args:
        across: of all points, shape (points,).
        up: of all points, shape (points,).
        wanted: indices of the points to be named, the most important ones first.
        names: of all points.
        ends: lower and upper ends of the intervals, each of shape (points,).
        path: points that a line joins in steps, across and then up or down; none if not given.
    """
    x = pixels(across, PLOT_PX[0])
    below, above = (up, up) if ends is None else ends
    low, y, high = pixels(np.stack([below, up, above]), PLOT_PX[1])
    drawn = np.stack([x, low, x, high], axis=1) + POINT_PX * np.array([-1, -1, 1, 1])
    taken = np.empty((0, 4)) if path is None else _steps(x[path], y[path])
    places = []
    for point in map(int, wanted):
        # A name never covers its own point and interval, wherever it is.
        others = np.concatenate([np.delete(drawn, point, axis=0), taken])
        # Inward first, so that names stay within the plot.
        sides = ("left", "right") if x[point] > PLOT_PX[0] / 2 else ("right", "left")
        free = ""
        for place in (f"{row} {side}" for side in sides for row in ("top", "bottom")):
            box = name_box(float(x[point]), float(y[point]), place, names[point])
            covers = (box[:2] < others[:, 2:]) & (others[:, :2] < box[2:])
            if not covers.all(axis=1).any() and box[0] >= 0 and box[2] <= PLOT_PX[0]:
                free = place
                taken = np.concatenate([taken, box[None]])
                break
        places.append(free)
    return places


def _steps(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the steps from point to point cover, in pixels: shape (pieces, 4)."""
    (left, right), (first, last) = (x[:-1], x[1:]), (y[:-1], y[1:])
    across = np.stack([left, first - 1, right, first + 1], axis=1)
    low, high = np.minimum(first, last), np.maximum(first, last)
    return np.concatenate([across, np.stack([right - 1, low, right + 1, high], axis=1)])


def name_box(x: float, y: float, place: str, name: str) -> np.ndarray:
    """Left, lower, right and upper end of a name beside a point, in pixels."""
    wide, high = LETTER_PX[0] * len(name), LETTER_PX[1]
    left = x - POINT_PX - wide if place.endswith("left") else x + POINT_PX
    low = y + POINT_PX if place.startswith("top") else y - POINT_PX - high
    return np.array([left, low, left + wide, low + high])


def pixels(values: np.ndarray, size: float) -> np.ndarray:
    """Positions along an axis of ``size`` pixels, logarithmic where the plot's axis is."""
    shown = np.log(values) if values.min() > 0 else values
    spread = np.ptp(shown)
    return size * (shown - shown.min()) / spread if spread > 0 else np.full(shown.shape, size / 2)

"""Where the names of points stand in a plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PLOT_PX, LETTER_PX, POINT_PX = (640.0, 340.0), (6.2, 15.0), 5.0
"""About the size of a plot's inside, of a letter of a name in it, and half that of a point."""


def name_places(
    across: np.ndarray,
    up: np.ndarray,
    wanted: np.ndarray,
    names: Sequence[str],
    ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[str]:
    """Where names stand beside their points so that none covers another name, point or interval.

    "" for a name without room.

    Args:
        across: of all points, shape (points,).
        up: of all points, shape (points,).
        wanted: numbers of the points to be named, the most important ones first.
        names: of all points.
        ends: of the intervals up and down from the points, each of shape (points,).
    """
    x = pixels(across, PLOT_PX[0])
    below, above = (up, up) if ends is None else ends
    low, y, high = pixels(np.stack([below, up, above]), PLOT_PX[1])
    drawn = np.stack([x, low, x, high], axis=1) + POINT_PX * np.array([-1, -1, 1, 1])
    taken = np.empty((0, 4))
    found = []
    for one in map(int, wanted):
        # Its own point and interval lie beside a name wherever it stands.
        others = np.concatenate([np.delete(drawn, one, axis=0), taken])
        # Names point inwards first, so that none leaves the plot.
        sides = ("left", "right") if x[one] > PLOT_PX[0] / 2 else ("right", "left")
        chosen = ""
        for place in (f"{row} {side}" for side in sides for row in ("top", "bottom")):
            box = name_box(float(x[one]), float(y[one]), place, names[one])
            covers = (box[:2] < others[:, 2:]) & (others[:, :2] < box[2:])
            if not covers.all(axis=1).any() and box[0] >= 0 and box[2] <= PLOT_PX[0]:
                chosen = place
                taken = np.concatenate([taken, box[None]])
                break
        found.append(chosen)
    return found


def name_box(x: float, y: float, place: str, name: str) -> np.ndarray:
    """Left, lower, right and upper end of a name beside a point, in pixels."""
    wide, high = LETTER_PX[0] * len(name), LETTER_PX[1]
    left = x - POINT_PX - wide if place.endswith("left") else x + POINT_PX
    low = y + POINT_PX if place.startswith("top") else y - POINT_PX - high
    return np.array([left, low, left + wide, low + high])


def pixels(values: np.ndarray, size: float) -> np.ndarray:
    """Places on an axis of so many pixels, logarithmic where it can be, as the plot has it."""
    shown = np.log(values) if values.min() > 0 else values
    spread = np.ptp(shown)
    return size * (shown - shown.min()) / spread if spread > 0 else np.full(shown.shape, size / 2)

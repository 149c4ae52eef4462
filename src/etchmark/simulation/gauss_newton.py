"""Parameters that bring simulated frames as near to given ones as they come.

The Gauss–Newton method with slopes by differences: a change that helps nothing is halved, and no
parameter leaves its limits. See Nocedal & Wright, Numerical Optimization (2006), chapter 10,
DOI 10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ROUNDS, ENOUGH, FARTHEST = 12, 1e-4, 0.7
"""Rounds; the change of a parameter below which they end; the largest change of one in a round."""
NUDGE = 1e-3
"""Of a parameter, for the slope of the frames in it."""
HALVINGS = 6
SINGULAR = 1e12
"""Condition of the squared slopes beyond which parameters are not told apart."""


class NotIdentified(ValueError):
    """The frames do not say what the parameters are; the message says why."""


@dataclass(frozen=True)
class Nearest:
    """Parameters, and how well the frames tell them.

    Attributes:
        parameters: shape (parameters,).
        errors: standard errors, from what is left as if it were independent from value to value.
        residual: root mean square of what is left.
    """

    parameters: np.ndarray
    errors: np.ndarray
    residual: float


def nearest(
    left: Callable[[np.ndarray], np.ndarray | None],
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    names: str,
    enough: float = ENOUGH,
) -> Nearest:
    """Parameters with the smallest sum of squares of what is left.

    Args:
        left: simulated less given values for some parameters, flat; None where the simulation
            fails.
        start: where to begin.
        low, high: limits, which no parameter leaves.
        names: of the parameters, for messages.
        enough: where no parameter changes by more, the last is taken.

    Raises:
        NotIdentified: a simulation fails, or the frames do not tell the parameters apart.
    """
    now, rest = start, left(start)
    if rest is None:
        raise NotIdentified("no simulation follows the frames")
    for _ in range(ROUNDS):
        change = np.linalg.lstsq(_slopes(left, now, rest, high), -rest, rcond=None)[0]
        change = np.clip(change, -FARTHEST, FARTHEST)
        for _ in range(HALVINGS):
            tried = np.clip(now + change, low, high)
            after = left(tried)
            if after is not None and after @ after <= rest @ rest:
                break
            change = change / 2
        else:
            break
        moved = float(np.abs(tried - now).max())
        now, rest = tried, after
        if moved < enough:
            break
    slopes = _slopes(left, now, rest, high)
    residual = math.sqrt(float(rest @ rest) / len(rest))
    information = slopes.T @ slopes
    if np.linalg.cond(information) > SINGULAR:
        raise NotIdentified(f"the frames do not tell {names} apart")
    errors = residual * np.sqrt(np.diag(np.linalg.inv(information)))
    return Nearest(now, errors, residual)


def _slopes(
    left: Callable[[np.ndarray], np.ndarray | None],
    now: np.ndarray,
    rest: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Change of what is left with each parameter, shape (values, parameters)."""
    columns = []
    for place in range(len(now)):
        # Towards the other side at the upper limit.
        step = NUDGE if now[place] + NUDGE <= high[place] else -NUDGE
        nudged = now.copy()
        nudged[place] += step
        values = left(nudged)
        if values is None:
            raise NotIdentified("no simulation follows the frames")
        columns.append((values - rest) / step)
    return np.stack(columns, axis=1)

"""Mobility of grain boundaries, and how it depends on direction, from a few frames.

Grains are read off the first frame, and the equation of ``grain_growth`` is solved on from them. As
long as the mobility does not depend on direction it scales the time, so one simulation tells which
mobility is about right; mobility and anisotropy that bring the simulation nearest to later frames
are then found by the Gauss–Newton method. Grains about to vanish are too faint to be found, so the
first frames, in which they still are, are not compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from etchmark.simulation import checks
from etchmark.simulation.gauss_newton import NotIdentified as NotIdentified
from etchmark.simulation.gauss_newton import nearest
from etchmark.simulation.grain_growth import Unstable
from etchmark.simulation.grain_maps import Cells, Law, grains_of

SLOWEST, FASTEST = 0.1, 10.0
"""Limits of mobility times time between frames, in squared pixels over the gradient energy."""
TRIED = 25
"""Mobilities compared first, equal ratios apart."""
STRONGEST = 0.95
"""Largest anisotropy."""
SETTLED, LONGEST = 1.0, 10.0
"""Frames are compared from when grains too small to be found are gone to when enough has moved:
mobility times time since the first frame, in squared pixels over the gradient energy."""
LEAST = 4
"""Frames that are compared, where there are as many."""
CLOSE = 3e-3
"""The parameters are final where they change by less: a map of grains tells them no better."""
UNCERTAIN = 0.2
"""Standard error of log L or of the anisotropy beyond which it counts as not told by the frames."""
UNEXPLAINED = 0.7
"""Share of the change from the first frame that may be left between simulated and given ones."""
SAME = 1e-6
"""Frames that change by less than this on average say nothing."""


@dataclass(frozen=True)
class IdentifiedGrains:
    """Parameters of the equation.

    Attributes:
        mobility: L.
        anisotropy: delta.
        errors: standard errors of log L and delta, from what is left between simulated and given
            frames as if it were independent from pixel to pixel.
        residual: root mean square of what is left.
    """

    mobility: float
    anisotropy: float
    errors: tuple[float, float]
    residual: float


def identify_grains(
    frames: np.ndarray, interval: float, *, gradient_energy: float = 1.0, cells: int = 2
) -> IdentifiedGrains:
    """Mobility and anisotropy of the equation that frames follow.

    Args:
        frames: bright grains and dark boundaries on a periodic square whose pixels are one unit
            apart, shape (frames, n, n), at least three.
        interval: time between two frames.
        gradient_energy: kappa, which the width of boundaries tells.
        cells: of the simulation, per pixel and direction.

    Raises:
        ValueError: an argument is wrong.
        NotIdentified: frames do not change, hold one grain, or no parameters explain how they
            change.
    """
    fields = np.ascontiguousarray(checks.reals(frames, "frames"))
    if (
        fields.ndim != 3
        or len(fields) < 3
        or fields.shape[1] != fields.shape[2]
        or fields.shape[1] < 8
    ):
        raise ValueError(f"frames of shape {fields.shape} must be (3 or more, n, n), n 8 or more")
    if not np.isfinite(fields).all() or np.abs(fields).max() > 2:
        raise ValueError("frames hold values that are not finite or beyond 2")
    interval = checks.number(interval, "interval", 0.0, math.inf)
    gradient_energy = checks.number(gradient_energy, "gradient_energy", 0.0, math.inf)
    checks.whole(cells, "cells", 1, 8)
    if math.sqrt(np.mean(np.diff(fields, axis=0) ** 2)) < SAME:
        raise NotIdentified("the frames do not change")
    grains = grains_of(fields[0], cells)
    if len(np.unique(grains)) < 2:
        raise NotIdentified("there is one grain, which has no boundary that moves")
    return _Problem(fields, grains, interval, gradient_energy, cells).solved()


class _Problem:
    """The frames, and how far the equation with some parameters is from them."""

    def __init__(
        self,
        fields: np.ndarray,
        grains: np.ndarray,
        interval: float,
        gradient_energy: float,
        cells: int,
    ) -> None:
        self.fields, self.grains = fields, grains
        self.interval, self.cells = interval, Cells(cells, wide=True)
        self.gradient_energy = gradient_energy
        self.numbers = np.arange(1, len(fields))
        self.scale = interval * gradient_energy

    def solved(self) -> IdentifiedGrains:
        low = np.array([math.log(SLOWEST / self.scale), 0.0])
        high = np.array([math.log(FASTEST / self.scale), STRONGEST])
        about = self._scaled(low[0], high[0])
        moved = math.exp(about) * self.scale
        self.numbers = _compared(len(self.fields), moved)
        start = np.array([about, 0.1])
        names = "mobility and anisotropy"
        best = nearest(self._left, start, low, high, names=names, enough=CLOSE)
        log, anisotropy = best.parameters.tolist()
        moved = math.sqrt(np.mean((self.fields[self.numbers] - self.fields[0]) ** 2))
        if best.residual > UNEXPLAINED * moved:
            raise NotIdentified("the equation does not explain how the frames change")
        if (best.errors > UNCERTAIN).any() or not low[0] < log < high[0]:
            raise NotIdentified("the frames leave the parameters open")
        errors = (float(best.errors[0]), float(best.errors[1]))
        return IdentifiedGrains(math.exp(log), anisotropy, errors, best.residual)

    def _scaled(self, low: float, high: float) -> float:
        """log L of the isotropic simulation that is nearest, from one simulation with L = 1."""
        logs = np.linspace(low, high, TRIED)
        times = np.exp(logs)[:, None] * self.interval * self.numbers
        moments, places = np.unique(times.ravel(), return_inverse=True)
        frames = self._simulated(1.0, 0.0, moments.tolist())[places]
        given = self.fields[self.numbers]
        frames = frames.reshape(len(logs), *given.shape)
        misfit = np.square(frames - given).mean(axis=(1, 2, 3))
        return float(logs[np.argmin(misfit)])

    def _left(self, parameters: np.ndarray) -> np.ndarray | None:
        """Simulated less given frames, flat; None where the simulation fails."""
        log, anisotropy = parameters.tolist()
        mobility = math.exp(log)
        times = self.interval * self.numbers
        try:
            frames = self._simulated(mobility, anisotropy, times.tolist())
        except Unstable:
            return None
        return (frames - self.fields[self.numbers]).ravel()

    def _simulated(self, mobility: float, anisotropy: float, times: list[float]) -> np.ndarray:
        law = Law(mobility=mobility, gradient_energy=self.gradient_energy, anisotropy=anisotropy)
        return self.cells.grown(self.grains, times, law)


def _compared(count: int, moved: float) -> np.ndarray:
    """Numbers of the frames to compare with.

    Args:
        count: of frames.
        moved: mobility times the time between two frames, in squared pixels over kappa.
    """
    numbers = np.arange(1, count)
    wanted = numbers[(numbers * moved >= SETTLED) & (numbers * moved <= LONGEST)]
    if len(wanted) >= LEAST:
        return wanted
    return numbers[-LEAST:] if numbers[-1] * moved < LONGEST else numbers[:LEAST]

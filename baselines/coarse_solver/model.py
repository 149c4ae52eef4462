"""The equation itself, solved on with long steps from the last frame known.

dc/dt = M laplace(c³ - c - kappa laplace(c)), of which mobility M and gradient energy kappa are read
from the inputs and the free energy (c² - 1)² / 4 is known; a frame is (c + 1) / 2. The method is
exponential, of second order, with a stabilising curvature: see ``etchmark.simulation.long_steps``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from etchmark.learning.forecasting import AT_ONCE, context_of, horizon_of, require_told
from etchmark.learning.training import batches
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation.long_steps import solve_on

KNOWN = ("mobility", "gradient_energy", "frame_spacing")


class CoarseSolver(Savable):
    """Solves the equation from the last frame; learns nothing, since it knows the law.

    Args:
        steps: of time, per frame.
        mobility_factor: what the true mobility is mistaken by.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, steps: int, mobility_factor: float, device: str) -> None:
        if type(steps) is not int or steps < 1 or not mobility_factor > 0:
            raise ValueError(
                f"steps {steps!r} must be a whole number from 1 on, and mobility_factor"
                f" {mobility_factor!r} positive"
            )
        self.steps, self.mobility_factor, self.device = steps, mobility_factor, device
        # Of the first forecast: pixels of a frame, and steps per frame, the mean over trajectories.
        self._counted: tuple[int, float] | None = None

    def fit(self, train: Samples, validation: Samples | None = None) -> CoarseSolver:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises:
            UserError: the track does not tell the parameters.
            ValueError: an input has a wrong shape, is not positive or not finite.
            Unstable: even 64 times as many steps are too few for the mobility of a trajectory.
        """
        require_told(inputs, KNOWN)
        context, frames = context_of(inputs), horizon_of(inputs)
        predicted = np.empty((len(context), frames, *context.shape[2:]), np.float16)
        taken_by = np.empty(len(context))
        for rows, (mobility, gradient_energy, spacing) in _alike(inputs, len(context)):
            at_once = max(1, AT_ONCE["cpu"] // math.prod(context.shape[2:]))
            for part in batches(len(rows), at_once):
                found, taken = solve_on(
                    2 * context[rows[part], -1].astype(np.float64) - 1,
                    frames,
                    mobility=mobility * self.mobility_factor,
                    gradient_energy=gradient_energy,
                    interval=spacing,
                    steps=self.steps,
                    device=self.device,
                )
                predicted[rows[part]] = (found + 1) / 2
                taken_by[rows[part]] = taken
        longer = taken_by[taken_by > self.steps].astype(int).tolist()
        for taken, count in sorted(Counter(longer).items()):
            what = "trajectory" if count == 1 else "trajectories"
            print(f"{count} {what} took {taken} steps per frame: fewer were not stable")
        if self._counted is None:
            self._counted = math.prod(context.shape[2:]), float(taken_by.mean())
        return predicted

    def parameter_count(self) -> int:
        return 0

    def flops(self) -> float | None:
        """Operations of a frame of the first forecast, as transforms are usually counted.

        A real Fourier transform of N points is put at 2.5 N log2 N, there are two in a step, and
        some twenty operations per pixel beside them.
        """
        if self._counted is None:
            return None
        pixels, steps = self._counted
        return steps * pixels * (2 * 2.5 * math.log2(pixels) + 20)


def _alike(inputs: Inputs, rows: int) -> Iterator[tuple[np.ndarray, tuple[float, float, float]]]:
    """Rows that share mobility, gradient energy and time between frames, with the three."""
    columns = [np.asarray(inputs[name], dtype=np.float64) for name in KNOWN]
    for name, column in zip(KNOWN, columns, strict=True):
        if column.shape != (rows,) or not (np.isfinite(column) & (column > 0)).all():
            raise ValueError(f"{name} must be a positive finite number for each of {rows} samples")
    values, where = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
    for number, (mobility, gradient_energy, spacing) in enumerate(values.tolist()):
        yield np.flatnonzero(where.ravel() == number), (mobility, gradient_energy, spacing)


@keeps_arguments
def build(seed: int, device: str, *, steps: int, mobility_factor: float = 1.0) -> CoarseSolver:
    """A model that is never trained.

    Args:
        seed: not used.
        device: ``cpu`` or ``cuda``.
        steps: of time, per frame.
        mobility_factor: what the true mobility is mistaken by.
    """
    return CoarseSolver(steps, mobility_factor, device)


def load(folder: Path, device: str) -> CoarseSolver:
    return rebuild(build, folder, device)

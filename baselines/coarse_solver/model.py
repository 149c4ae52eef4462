"""The equation itself, solved on with long steps from the last frame known.

dc/dt = M laplace(c³ - c - kappa laplace(c)), of which mobility M and gradient energy kappa are read
from the inputs and the free energy (c² - 1)² / 4 is known; a frame is (c + 1) / 2. The method is
exponential, of second order, with a stabilising curvature: see ``etchmark.simulation.phase_field``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from etchmark.learning.forecasting import AT_ONCE, context_of, horizon_of
from etchmark.learning.training import batches
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation.phase_field import CahnHilliard, Polynomial

STABILISER = 1.5
"""With less, steps as long as a frame blow up; with more, they are less exact."""
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
        self._pixels: int | None = None

    def fit(self, train: Samples, validation: Samples | None = None) -> CoarseSolver:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises:
            ValueError: an input has a wrong shape, is not positive or not finite.
            Unstable: a step is too long for the mobility of a trajectory.
        """
        context, frames = context_of(inputs), horizon_of(inputs)
        predicted = np.empty((len(context), frames, *context.shape[2:]), np.float16)
        for rows, (mobility, gradient_energy, spacing) in _alike(inputs, len(context)):
            solver = CahnHilliard(
                context.shape[2],
                Polynomial.double_well(),
                gradient_energy=gradient_energy,
                mobility=mobility * self.mobility_factor,
                dt=spacing / self.steps,
                stabiliser=STABILISER,
                device=self.device,
            )
            times = spacing * np.arange(1, frames + 1)
            at_once = max(1, AT_ONCE["cpu"] // math.prod(context.shape[2:]))
            for part in batches(len(rows), at_once):
                start = 2 * context[rows[part], -1].astype(np.float64) - 1
                predicted[rows[part]] = (solver.evolve(start, times.tolist()).frames + 1) / 2
        if self._pixels is None:
            self._pixels = math.prod(context.shape[2:])
        return predicted

    def parameter_count(self) -> int:
        return 0

    def flops(self) -> float | None:
        """Operations of a frame of the first forecast, as transforms are usually counted.

        A real Fourier transform of N points is put at 2.5 N log2 N, there are two in a step, and
        some twenty operations per pixel beside them.
        """
        if self._pixels is None:
            return None
        return self.steps * self._pixels * (2 * 2.5 * math.log2(self._pixels) + 20)


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

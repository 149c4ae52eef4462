"""The equation itself, solved on from a map of the grains in the last frame known.

A frame is the sum of the squared order parameters, which does not tell which of them is where. So
the grains are found as the basins of the inverted frame (a watershed), each is given an order
parameter of its own, sharply bounded or as wide as at rest, and these are stepped on by the
multi-order-parameter model with the true coefficients: see ``etchmark.simulation.grain_growth``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from etchmark.learning.forecasting import context_of, horizon_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation.grain_maps import Cells, Law

KNOWN = ("mobility", "anisotropy", "gradient_energy", "frame_spacing")


class GrainSolver(Savable):
    """Solves the equation from the last frame; learns nothing, since it knows the law.

    Args:
        cells: per pixel and direction.
        dt: time step; less where that is unstable.
        mobility_factor: what the true mobility is mistaken by.
        wide: begin with boundaries as wide as at rest, in place of sharp ones.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self, cells: int, dt: float, mobility_factor: float, wide: bool, device: str
    ) -> None:
        if type(cells) is not int or cells < 1 or not (dt > 0 and mobility_factor > 0):
            raise ValueError(f"cells {cells}, dt {dt}, mobility_factor {mobility_factor}: positive")
        self.cells = Cells(cells, wide, dt, device)
        self.mobility_factor = mobility_factor

    def fit(self, train: Samples, validation: Samples | None = None) -> GrainSolver:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises:
            ValueError: an input has a wrong shape, is out of range or not finite.
        """
        context, frames = context_of(inputs), horizon_of(inputs)
        rows, n = len(context), context.shape[2]
        laws = _laws(inputs, rows)
        predicted = np.empty((rows, frames, n, n), np.float16)
        for row, (mobility, anisotropy, energy, interval) in enumerate(laws.tolist()):
            law = Law(
                mobility=mobility * self.mobility_factor,
                gradient_energy=energy,
                anisotropy=anisotropy,
            )
            predicted[row] = self.cells.forecast(context[row, -1], frames, interval, law)
        return predicted

    def parameter_count(self) -> int:
        return 0


def _laws(inputs: Inputs, rows: int) -> np.ndarray:
    """Mobility, anisotropy, gradient energy and time between frames, shape (rows, 4)."""
    columns = [np.asarray(inputs[name], dtype=np.float64) for name in KNOWN]
    for name, column in zip(KNOWN, columns, strict=True):
        least = 0.0 if name == "anisotropy" else math.nextafter(0.0, 1.0)
        if column.shape != (rows,) or not (np.isfinite(column) & (column >= least)).all():
            raise ValueError(f"{name} must be a finite number in its range for each of {rows} rows")
    return np.stack(columns, axis=1)


@keeps_arguments
def build(
    seed: int,
    device: str,
    *,
    cells: int,
    dt: float,
    mobility_factor: float = 1.0,
    wide: bool = False,
) -> GrainSolver:
    """A model that is never trained.

    Args:
        seed: not used.
        device: ``cpu`` or ``cuda``.
        cells: per pixel and direction.
        dt: longest time step.
        mobility_factor: what the true mobility is mistaken by.
        wide: begin with boundaries as wide as at rest, in place of sharp ones.
    """
    return GrainSolver(cells, dt, mobility_factor, wide, device)


def load(folder: Path, device: str) -> GrainSolver:
    return rebuild(build, folder, device)

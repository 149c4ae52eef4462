"""Mobility and gradient energy found in the frames given, then the equation solved on with them.

The free energy (c² - 1)² / 4 is known, and that a frame is (c + 1) / 2; see
``etchmark.simulation.identification`` for the estimate, ``etchmark.simulation.long_steps`` for the
forecast.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.learning.identified import IdentifiedForecaster
from etchmark.saving import keeps_arguments, rebuild
from etchmark.simulation.identification import NotIdentified, identify
from etchmark.simulation.long_steps import solve_on
from etchmark.simulation.phase_field import Unstable


class IdentifiedSolver(IdentifiedForecaster):
    """The Cahn–Hilliard equation with the mobility and gradient energy of the frames given.

    Args:
        steps: of time, per frame.
        device: ``cpu`` or ``cuda``.
    """

    refusals = (NotIdentified, Unstable)

    def __init__(self, steps: int, device: str) -> None:
        super().__init__()
        if type(steps) is not int or steps < 1:
            raise ValueError(f"steps {steps!r} must be a whole number from 1 on")
        self.steps, self.device = steps, device

    def forecast(self, given: np.ndarray, frames: int, interval: float) -> np.ndarray:
        composition = 2 * given - 1
        parameters = identify(composition, interval)
        followed, _ = solve_on(
            composition[-1:],
            frames,
            mobility=parameters.mobility,
            gradient_energy=parameters.gradient_energy,
            interval=interval,
            steps=self.steps,
            device=self.device,
        )
        return (followed[0] + 1) / 2


@keeps_arguments
def build(seed: int, device: str, *, steps: int) -> IdentifiedSolver:
    """A model that is never trained.

    Args:
        seed: not used.
        device: ``cpu`` or ``cuda``; parameters are always estimated on the CPU.
        steps: of time, per frame.
    """
    return IdentifiedSolver(steps, device)


def load(folder: Path, device: str) -> IdentifiedSolver:
    return rebuild(build, folder, device)

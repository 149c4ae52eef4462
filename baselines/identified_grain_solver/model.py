"""Mobility and anisotropy found in the frames given, then grains grown on with them.

That a frame is the sum of squared order parameters is known, and the gradient energy; see
``etchmark.simulation.grain_identification`` for the estimate, ``grain_maps`` for the forecast.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.learning.identified import IdentifiedForecaster
from etchmark.saving import keeps_arguments, rebuild
from etchmark.simulation.grain_growth import Unstable
from etchmark.simulation.grain_identification import NotIdentified, identify_grains
from etchmark.simulation.grain_maps import Cells, Law


class IdentifiedGrainSolver(IdentifiedForecaster):
    """Grain growth with the mobility and anisotropy of the frames given.

    Args:
        cells: per pixel and direction.
        gradient_energy: kappa, the same for all.
        device: ``cpu`` or ``cuda``.
    """

    refusals = (NotIdentified, Unstable)

    def __init__(self, cells: int, gradient_energy: float, device: str) -> None:
        super().__init__()
        if type(cells) is not int or cells < 1 or not gradient_energy > 0:
            raise ValueError(f"cells {cells}, gradient_energy {gradient_energy}: positive")
        self.cells = Cells(cells, wide=True, device=device)
        self.gradient_energy = gradient_energy

    def forecast(self, given: np.ndarray, frames: int, interval: float) -> np.ndarray:
        kappa = self.gradient_energy
        grains = identify_grains(given, interval, gradient_energy=kappa, cells=self.cells.per_pixel)
        law = Law(mobility=grains.mobility, gradient_energy=kappa, anisotropy=grains.anisotropy)
        return self.cells.forecast(given[-1], frames, interval, law)


@keeps_arguments
def build(
    seed: int, device: str, *, cells: int, gradient_energy: float = 1.0
) -> IdentifiedGrainSolver:
    """A model that is never trained.

    Args:
        seed: not used.
        device: ``cpu`` or ``cuda``; parameters are always estimated on the CPU.
        cells: per pixel and direction.
        gradient_energy: kappa, the same for all.
    """
    return IdentifiedGrainSolver(cells, gradient_energy, device)


def load(folder: Path, device: str) -> IdentifiedGrainSolver:
    return rebuild(build, folder, device)

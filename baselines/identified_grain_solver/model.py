"""Mobility and anisotropy found in the frames given, then grains grown on with them.

That a frame is the sum of squared order parameters is known, and the gradient energy; see
``etchmark.simulation.grain_identification`` for the estimate, ``grain_maps`` for the forecast.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from etchmark.learning.forecasting import context_of, horizon_of, intervals_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation.grain_growth import Unstable
from etchmark.simulation.grain_identification import NotIdentified, identify_grains
from etchmark.simulation.grain_maps import Cells, Law

LEAST_FRAMES = 3


class IdentifiedGrainSolver(Savable):
    """Learns nothing from other trajectories: each says itself what its parameters are.

    Where its frames do not, the last one is repeated; a line says how often and why.

    Args:
        cells: per pixel and direction.
        gradient_energy: kappa, the same for all.
        device: ``cpu`` or ``cuda``.

    Attributes:
        repeated: how often the last frame was repeated in the last forecast, by reason.
    """

    def __init__(self, cells: int, gradient_energy: float, device: str) -> None:
        if type(cells) is not int or cells < 1 or not gradient_energy > 0:
            raise ValueError(f"cells {cells}, gradient_energy {gradient_energy}: positive")
        self.cells = Cells(cells, wide=True, device=device)
        self.gradient_energy = gradient_energy
        self.repeated: Counter[str] = Counter()

    def fit(self, train: Samples, validation: Samples | None = None) -> IdentifiedGrainSolver:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises:
            ValueError: an input has a wrong shape, is not positive or not finite, or there are
                fewer than three frames.
        """
        context, frames = context_of(inputs, at_least=LEAST_FRAMES), horizon_of(inputs)
        intervals = intervals_of(inputs, len(context))
        predicted = np.empty((len(context), frames, *context.shape[2:]), np.float16)
        self.repeated = Counter()
        for row, (given, interval) in enumerate(zip(context, intervals.tolist(), strict=True)):
            try:
                predicted[row] = self._forecast(given.astype(np.float64), frames, interval)
            except (NotIdentified, Unstable) as error:
                self.repeated[str(error)] += 1
                predicted[row] = given[-1]
        for reason, count in self.repeated.items():
            print(f"{count} of {len(context)} trajectories: {reason}; their last frame is repeated")
        return predicted

    def _forecast(self, given: np.ndarray, frames: int, interval: float) -> np.ndarray:
        kappa = self.gradient_energy
        grains = identify_grains(given, interval, gradient_energy=kappa, cells=self.cells.per_pixel)
        law = Law(mobility=grains.mobility, gradient_energy=kappa, anisotropy=grains.anisotropy)
        return self.cells.forecast(given[-1], frames, interval, law)

    def parameter_count(self) -> int:
        return 0


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

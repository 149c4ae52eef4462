"""Mobility and gradient energy found in the frames given, then the equation solved on with them.

The free energy (c² - 1)² / 4 is known, and that a frame is (c + 1) / 2; see
``etchmark.simulation.identification`` for the estimate, ``etchmark.simulation.long_steps`` for the
forecast.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from etchmark.learning.forecasting import context_of, horizon_of, intervals_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation.identification import NotIdentified, identify
from etchmark.simulation.long_steps import solve_on
from etchmark.simulation.phase_field import Unstable

LEAST_FRAMES = 3


class IdentifiedSolver(Savable):
    """Learns nothing from other trajectories: each says itself what its parameters are.

    Where its frames do not, the last one is repeated; a line says how often and why.

    Args:
        steps: of time, per frame.
        device: ``cpu`` or ``cuda``.

    Attributes:
        repeated: how often the last frame was repeated in the last forecast, by reason.
    """

    def __init__(self, steps: int, device: str) -> None:
        if type(steps) is not int or steps < 1:
            raise ValueError(f"steps {steps!r} must be a whole number from 1 on")
        self.steps, self.device = steps, device
        self.repeated: Counter[str] = Counter()

    def fit(self, train: Samples, validation: Samples | None = None) -> IdentifiedSolver:
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
            composition = 2 * given.astype(np.float64) - 1
            try:
                found = identify(composition, interval)
                followed, _ = solve_on(
                    composition[-1:],
                    frames,
                    mobility=found.mobility,
                    gradient_energy=found.gradient_energy,
                    interval=interval,
                    steps=self.steps,
                    device=self.device,
                )
            except (NotIdentified, Unstable) as error:
                self.repeated[str(error)] += 1
                predicted[row] = given[-1]
                continue
            predicted[row] = (followed[0] + 1) / 2
        for reason, count in self.repeated.items():
            print(f"{count} of {len(context)} trajectories: {reason}; their last frame is repeated")
        return predicted

    def parameter_count(self) -> int:
        return 0


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

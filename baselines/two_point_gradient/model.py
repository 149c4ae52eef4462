"""Gradient matching of the two-point function at all lags: a continuous image, then cut by rank.

After differentiable microstructure reconstruction (Seibert, Ambati, Rassloff & Kaestner, Comput.
Mater. Sci. 199 (2021) 110687, DOI 10.1016/j.commatsci.2021.110687).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator

from etchmark.learning.reconstruction import Exemplar, Reconstruction, checked
from etchmark.learning.statistics_matching import TwoPointLoss, descend, scaled_logits
from etchmark.saving import keeps_arguments, rebuild

SPREADS = (0.3, 1.0, 3.0, 9.0)
"""Standard deviation of the logits at the start of each part of the descent."""


class TwoPointGradient(Reconstruction):
    """Noise that descends until the two-point function of its logistic function is the exemplar's.

    Args:
        reach: largest lag along each axis, pixels.
        steps: of each part of the descent.
        seed: of the noise.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, reach: int, steps: int, seed: int, device: str) -> None:
        super().__init__(seed)
        self.reach, self.steps, self.device = reach, steps, device

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        shape = exemplar.image.shape
        noise = np.stack([generator.standard_normal(shape) for generator in generators])
        logits = torch.from_numpy(noise).float().to(self.device)
        two_point = TwoPointLoss(exemplar, self.reach, self.device)

        def loss(logits: torch.Tensor) -> torch.Tensor:
            return two_point(logits.sigmoid())

        for spread in SPREADS:
            logits = descend(scaled_logits(logits, exemplar.fraction, spread), loss, self.steps)
        return np.stack([exemplar.cut(field) for field in logits.cpu().numpy()])


@keeps_arguments
def build(seed: int, device: str, reach: int = 31, steps: int = 50) -> TwoPointGradient:
    checked({"reach": (reach, 1), "steps": (steps, 1)})
    return TwoPointGradient(reach, steps, seed, device)


def load(folder: Path, device: str) -> TwoPointGradient:
    return rebuild(build, folder, device)

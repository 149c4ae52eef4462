"""Bounds and an estimate of the stiffness tensor from the volume fraction; nothing is fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation import bounds

POISSON = 0.3


class IsotropicStiffness(Savable):
    """The isotropic tensor of a scheme, so that a rotated volume has the same one."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme

    def fit(self, train: Samples, validation: Samples | None = None) -> IsotropicStiffness:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        cells = inputs["microstructure"]
        fraction = cells.reshape(len(cells), -1).mean(axis=1)
        contrast = np.asarray(inputs["contrast"], dtype=np.float64)
        return bounds.stiffness(self.scheme, fraction, contrast, POISSON)

    def parameter_count(self) -> int:
        return 0


@keeps_arguments
def build(seed: int, device: str, scheme: str) -> IsotropicStiffness:
    return IsotropicStiffness(scheme)


def load(folder: Path, device: str) -> IsotropicStiffness:
    return rebuild(build, folder, device)

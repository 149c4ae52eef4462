"""Bounds and estimates of micromechanics from the volume fraction alone; nothing is fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation import bounds

POISSON = 0.3
SECTIONS = ("section_x", "section_y", "section_z")


def fraction_of(inputs: Inputs) -> tuple[np.ndarray, int]:
    """Stiff fraction of each sample and the dimensions of the material; from faces, their mean."""
    names = [name for name in ("microstructure", *SECTIONS) if name in inputs]
    parts = [inputs[name] for name in names]
    fraction = np.mean([part.reshape(len(part), -1).mean(axis=1) for part in parts], axis=0)
    return fraction, 3 if len(names) > 1 else parts[0].ndim - 1


class Estimate(Savable):
    """C1111 of an isotropic arrangement of the phases."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def fit(self, train: Samples, validation: Samples | None = None) -> Estimate:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        fraction, dimensions = fraction_of(inputs)
        # Three faces may show one phase only; the formulas hold up to there.
        fraction = np.clip(fraction, 1e-6, 1 - 1e-6)
        contrast = np.asarray(inputs["contrast"], dtype=np.float64)
        if self.kind == "hashin_shtrikman_mean":
            both = bounds.hashin_shtrikman(fraction, contrast, poisson=POISSON, ndim=dimensions)
            return (both[0] + both[1]) / 2
        formula = getattr(bounds, self.kind)
        return formula(fraction, contrast, poisson=POISSON, ndim=dimensions)

    def parameter_count(self) -> int:
        return 0


@keeps_arguments
def build(seed: int, device: str, kind: str) -> Estimate:
    return Estimate(kind)


def load(folder: Path, device: str) -> Estimate:
    return rebuild(build, folder, device)

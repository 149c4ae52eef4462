"""Polynomial in the volume fraction (and the logarithm of the contrast): no geometry at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

SECTIONS = ("section_x", "section_y", "section_z")
# Only keeps equations solvable; a cubic in one or two variables cannot overfit thousands of rows.
ALPHA = 1e-6


def features_of(inputs: Inputs) -> np.ndarray:
    """Stiff fraction and log contrast, shape (samples, 2)."""
    parts = [inputs[name] for name in ("microstructure", *SECTIONS) if name in inputs]
    fraction = np.mean([part.reshape(len(part), -1).mean(axis=1) for part in parts], axis=0)
    return np.stack([fraction, np.log(np.asarray(inputs["contrast"], dtype=np.float64))], axis=1)


class VolumeFraction(Savable):
    saved = ("regressor",)

    def __init__(self, degree: int, log_target: bool) -> None:
        self.log_target = log_target
        self.regressor = make_pipeline(
            StandardScaler(), PolynomialFeatures(degree), StandardScaler(), Ridge(ALPHA)
        )

    def fit(self, train: Samples, validation: Samples | None = None) -> VolumeFraction:
        target = np.log(train.target) if self.log_target else train.target
        self.regressor.fit(features_of(train.inputs), target)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        values = self.regressor.predict(features_of(inputs))
        return np.exp(values) if self.log_target else values

    def parameter_count(self) -> int:
        # Terms that are constant (a single contrast) carry no weight.
        ridge: Ridge = self.regressor[-1]  # type: ignore[assignment]
        return int(np.count_nonzero(ridge.coef_)) + 1


@keeps_arguments
def build(seed: int, device: str, log_target: bool, degree: int = 3) -> VolumeFraction:
    return VolumeFraction(degree, log_target)


def load(folder: Path, device: str) -> VolumeFraction:
    return rebuild(build, folder, device)

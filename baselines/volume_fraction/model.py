"""Polynomial in the volume fraction (and the logarithm of the contrast): no geometry at all."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from etchmark.model import Inputs, Samples

SECTIONS = ("section_x", "section_y", "section_z")
# Only keeps equations solvable; a cubic in one or two variables cannot overfit thousands of rows.
ALPHA = 1e-6


def features_of(inputs: Inputs) -> np.ndarray:
    """Stiff fraction and log contrast, shape (samples, 2)."""
    parts = [inputs[name] for name in ("microstructure", *SECTIONS) if name in inputs]
    fraction = np.mean([part.reshape(len(part), -1).mean(axis=1) for part in parts], axis=0)
    return np.stack([fraction, np.log(np.asarray(inputs["contrast"], dtype=np.float64))], axis=1)


class VolumeFraction:
    def __init__(self, degree: int, log_target: bool) -> None:
        self.log_target = log_target
        self.ridge = Ridge(ALPHA)
        self.regressor = make_pipeline(
            StandardScaler(), PolynomialFeatures(degree), StandardScaler(), self.ridge
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
        return int(np.count_nonzero(self.ridge.coef_)) + 1


def build(seed: int, device: str, log_target: bool, degree: int = 3) -> VolumeFraction:
    return VolumeFraction(degree, log_target)

"""Two-point statistics of the binarised micrograph → principal components → linear regression."""

from __future__ import annotations

import numpy as np

from etchmark.descriptors import two_point_statistics
from etchmark.evaluation.model import Inputs, Samples
from etchmark.heads import PCARegression


class TwoPointRegression:
    """Autocorrelation of the bright phase up to ``max_lag`` pixels, one half of the lags.

    Micrographs are not periodic and differ in size, so each lag is normalised by its own number of
    pairs. No scale bars are given: lags are in pixels, which is part of what the score says.
    """

    def __init__(self, max_lag: int, seed: int) -> None:
        self.max_lag = max_lag
        self.head = PCARegression("linear", seed=seed)

    def _features(self, inputs: Inputs) -> np.ndarray:
        rows = []
        for image in inputs["micrograph"]:
            statistics = two_point_statistics(image > 127, self.max_lag, periodic=False)
            # A lag and its opposite are the same number.
            rows.append(statistics.ravel()[: statistics.size // 2 + 1])
        return np.stack(rows)

    def fit(self, train: Samples, validation: Samples | None = None) -> TwoPointRegression:
        self.head.fit(self._features(train.inputs), train.target, train.groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(self._features(inputs))

    def parameter_count(self) -> int:
        return self.head.parameter_count()


def build(seed: int, device: str, max_lag: int = 100) -> TwoPointRegression:
    return TwoPointRegression(max_lag, seed)

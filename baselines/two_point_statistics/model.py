"""Two-point statistics → principal components → regression.

Two settings: binarised micrographs (not periodic, of different sizes, few samples) with a linear
regression, and periodic microstructures or their faces (thousands of samples) with a polynomial or
a Gaussian process, on principal components of the whole map or on a few short lags as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from etchmark.descriptors import two_point_statistics
from etchmark.learning.heads import PCARegression
from etchmark.learning.surfaces import Data, GaussianProcess, PolynomialRidge
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

PERIODIC = ("microstructure", "section_x", "section_y", "section_z")


def _half(statistics: np.ndarray) -> np.ndarray:
    # A lag and its opposite are the same number.
    return statistics.ravel()[: statistics.size // 2 + 1]


class MicrographRegression(Savable):
    """Autocorrelation of the bright phase up to ``max_lag`` pixels, linear.

    Micrographs are not periodic and differ in size, so each lag is normalised by its own number of
    pairs. No scale bars are given: lags are in pixels, which is part of what the score says.
    """

    saved = ("head",)

    def __init__(self, max_lag: int, seed: int) -> None:
        self.max_lag = max_lag
        self.head = PCARegression("linear", seed=seed)

    def _features(self, inputs: Inputs) -> np.ndarray:
        rows = []
        for image in inputs["micrograph"]:
            statistics = two_point_statistics(image > 127, self.max_lag, periodic=False)
            rows.append(_half(statistics))
        return np.stack(rows)

    def fit(self, train: Samples, validation: Samples | None = None) -> MicrographRegression:
        self.head.fit(self._features(train.inputs), train.target, train.groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(self._features(inputs))

    def parameter_count(self) -> int:
        return self.head.parameter_count()


class PeriodicRegression(Savable):
    """Autocorrelation of the stiff phase of periodic cells, and the logarithm of the contrast."""

    saved = ("head",)

    def __init__(
        self,
        max_lag: int,
        head: PolynomialRidge | GaussianProcess,
        lags: Sequence[int] | None = None,
    ) -> None:
        self.max_lag = max_lag
        self.head = head
        self.lags = lags

    def _features(self, inputs: Inputs) -> np.ndarray:
        blocks = []
        for name in PERIODIC:
            if name not in inputs:
                continue
            cells = inputs[name]
            lag = min(self.max_lag, (cells.shape[1] - 1) // 2)
            rows = [_half(two_point_statistics(cell, lag)).astype(np.float32) for cell in cells]
            blocks.append(np.stack(rows))
        return np.concatenate(blocks, axis=1)

    def _short(self, inputs: Inputs, lags: Sequence[int]) -> np.ndarray:
        """Fraction, and its autocorrelation at some lags along each axis of each image."""
        blocks = []
        for name in PERIODIC:
            if name not in inputs:
                continue
            rows = []
            for cell in inputs[name]:
                statistics = two_point_statistics(cell, max(lags))
                centre = np.array(statistics.shape) // 2
                steps = [step * axis for axis in np.eye(cell.ndim, dtype=int) for step in lags]
                rows.append([statistics[tuple(centre + step)] for step in [0 * centre, *steps]])
            blocks.append(np.array(rows))
        return np.concatenate(blocks, axis=1)

    def _read(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """What is reduced to principal components, and what is taken as it is."""
        if self.lags is None:
            return self._features(inputs), _scalars(inputs)
        short = self._short(inputs, self.lags)
        return np.empty((len(short), 0)), np.concatenate([_scalars(inputs), short], axis=1)

    def _data(self, samples: Samples) -> Data:
        return Data(*self._read(samples.inputs), np.asarray(samples.target), samples.groups)

    def fit(self, train: Samples, validation: Samples | None = None) -> PeriodicRegression:
        held_out = None if validation is None else self._data(validation)
        self.head.fit(self._data(train), held_out)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(*self._read(inputs))

    def parameter_count(self) -> int:
        return self.head.parameter_count()


def _scalars(inputs: Inputs) -> np.ndarray:
    return np.log(np.asarray(inputs["contrast"], dtype=np.float64))[:, None]


@keeps_arguments
def build(
    seed: int,
    device: str,
    head: str,
    max_lag: int,
    log_target: bool = True,
    degree: int = 2,
    lags: Sequence[int] | None = None,
) -> MicrographRegression | PeriodicRegression:
    if head == "micrograph-linear":
        return MicrographRegression(max_lag, seed)
    if head == "gaussian-process":
        process = GaussianProcess(log_target=log_target, seed=seed)
        return PeriodicRegression(max_lag, process, lags)
    ridge = PolynomialRidge(degree, log_target=log_target, seed=seed)
    return PeriodicRegression(max_lag, ridge, lags)


def load(folder: Path, device: str) -> MicrographRegression | PeriodicRegression:
    return rebuild(build, folder, device)

"""Two-point statistics at short lags → matrix logarithm of the stiffness, by polynomial ridge.

The regression is of the logarithm of the tensor in Mandel's notation, so that every prediction is
symmetric and positive definite. It is equivariant: for each axis, one polynomial reads the lags
along it and along the other two, in both orders, and gives the three entries of the logarithm that
belong to the axis. A volume turned by a rotation of the cube therefore has the turned prediction.
Lags along the axes do not change when the volume is reflected, so the entries that change sign are
predicted as zero: the tensor is orthotropic.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from etchmark.descriptors import two_point_statistics
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

PENALTIES = tuple(np.logspace(-6, 2, 9))
MANDEL = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
"""Factors of rows and columns that make rotations of a Voigt stiffness orthogonal."""
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 2, 0), (1, 0, 2), (2, 0, 1), (2, 1, 0))
"""An axis and the other two, in both orders."""


def logarithm(stiffness: np.ndarray) -> np.ndarray:
    """Matrix logarithm of Voigt stiffnesses in Mandel's notation, shape (..., 6, 6)."""
    values, vectors = np.linalg.eigh(stiffness * np.multiply.outer(MANDEL, MANDEL))
    return (vectors * np.log(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def exponential(logarithms: np.ndarray) -> np.ndarray:
    """Voigt stiffnesses whose `logarithm` is given, shape (..., 6, 6)."""
    values, vectors = np.linalg.eigh(logarithms)
    mandel = (vectors * np.exp(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return mandel / np.multiply.outer(MANDEL, MANDEL)


def relative_error(target: np.ndarray, prediction: np.ndarray) -> float:
    """Mean relative error in the Frobenius norm."""
    difference = np.linalg.norm(prediction - target, axis=(1, 2))
    return float((difference / np.linalg.norm(target, axis=(1, 2))).mean())


class OrthotropicRegression(Savable):
    """Autocorrelation of the stiff phase at some lags along each axis."""

    saved = ("regressor",)

    def __init__(self, lags: Sequence[int], degree: int) -> None:
        self.lags = list(lags)
        self.degree = degree

    def _features(self, inputs: Inputs) -> np.ndarray:
        """For each of `ORDERS` fraction, log contrast and lags, shape (samples, 6, features)."""
        reach = max(self.lags, default=0)
        rows = []
        for cells in inputs["microstructure"]:
            statistics = two_point_statistics(cells, reach)
            fraction = statistics[reach, reach, reach]
            along = [
                [statistics[tuple(reach + lag * axis)] for lag in self.lags]
                for axis in np.eye(3, dtype=int)
            ]
            rows.append(
                [[fraction, *(value for a in order for value in along[a])] for order in ORDERS]
            )
        contrast = np.log(np.asarray(inputs["contrast"], dtype=np.float64))
        repeated = np.broadcast_to(contrast[:, None, None], (len(rows), len(ORDERS), 1))
        return np.concatenate([np.array(rows), repeated], axis=2)

    def fit(self, train: Samples, validation: Samples | None = None) -> OrthotropicRegression:
        features = self._features(train.inputs)
        logs = logarithm(train.target)
        outputs = np.stack([[_entries(log, order) for order in ORDERS] for log in logs])
        flat = features.reshape(-1, features.shape[2]), outputs.reshape(-1, 3)
        if validation is None:
            self.regressor = self._regressor(1e-3).fit(*flat)
            return self
        held_out = self._features(validation.inputs)
        fitted = [self._regressor(penalty).fit(*flat) for penalty in PENALTIES]
        errors = [
            relative_error(validation.target, _stiffness(model, held_out)) for model in fitted
        ]
        self.regressor = fitted[int(np.argmin(errors))]
        return self

    def _regressor(self, penalty: float) -> Pipeline:
        return make_pipeline(
            StandardScaler(), PolynomialFeatures(self.degree), StandardScaler(), Ridge(penalty)
        )

    def predict(self, inputs: Inputs) -> np.ndarray:
        return _stiffness(self.regressor, self._features(inputs))

    def parameter_count(self) -> int:
        # Terms that are constant (a single contrast) carry no weight.
        ridge: Ridge = self.regressor[-1]  # type: ignore[assignment]
        return int(np.count_nonzero(ridge.coef_)) + 3


def _places(order: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Entries that belong to an axis: along it, between the other two, their shear."""
    axis, second, third = order
    return (axis, axis), (second, third), (3 + axis, 3 + axis)


def _entries(log: np.ndarray, order: Sequence[int]) -> list[float]:
    return [log[place] for place in _places(order)]


def _stiffness(regressor: Pipeline, features: np.ndarray) -> np.ndarray:
    samples = len(features)
    outputs = regressor.predict(features.reshape(-1, features.shape[2])).reshape(samples, -1, 3)
    logs = np.zeros((samples, 6, 6))
    for number, order in enumerate(ORDERS):
        for part, (row, column) in enumerate(_places(order)):
            # Both orders of the other two axes count alike.
            logs[:, row, column] += outputs[:, number, part] / 2
    # Between two axes each order fills one half of the matrix.
    normal = logs[:, :3, :3]
    both = normal + np.swapaxes(normal, 1, 2)
    diagonal = np.eye(3, dtype=bool)
    logs[:, :3, :3] = np.where(diagonal, normal, both)
    return exponential(logs)


@keeps_arguments
def build(seed: int, device: str, lags: Sequence[int], degree: int) -> OrthotropicRegression:
    return OrthotropicRegression(lags, degree)


def load(folder: Path, device: str) -> OrthotropicRegression:
    return rebuild(build, folder, device)

"""Regression of a positive property on principal components: polynomial ridge, Gaussian process.

For thousands of samples with thousands of features (two-point statistics, image features);
``etchmark.learning.heads`` is for tens to hundreds of samples. Parameters are chosen to minimise
the mean absolute percentage error: on validation samples if there are any, else on inner folds of
the training samples, with whole groups left out if there are groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from scipy.linalg import get_lapack_funcs

# At the top, not where they are used: each fold of an evaluation is a forked process, which would
# import them again.
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.preprocessing import PolynomialFeatures

from etchmark.learning.heads import Fold, inner_folds
from etchmark.saving import Savable

COMPONENTS = (2, 4, 8, 16, 24, 32, 48)
PENALTIES = tuple(np.logspace(-6, 2, 17))
MAX_TERMS = 3300
"""Numbers of components are not tried if their polynomial has more terms than this."""
GP_COMPONENTS = (16,)
GP_ROWS = 1000
GP_STARTS = ((3.0, 1e-3), (10.0, 0.03), (30.0, 0.3))
"""Lengths, in standard deviations of each column, and noise from which the optimiser starts; the
next only where the one before ends in noise alone."""
INNER_FOLDS = 5

Fitted = tuple[Any, float, float, int]
"""A fitted Gaussian process, the offset and unit of its target, and the number of its columns."""


@dataclass(frozen=True)
class Data:
    """Samples of a regression.

    Attributes:
        features: reduced to principal components, shape (samples, features); may have no columns.
        scalars: used as they are, shape (samples, k); k may be 0.
        target: positive values, shape (samples,).
        groups: group label of each sample, shape (samples,), or None.
    """

    features: np.ndarray
    scalars: np.ndarray
    target: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.target)


class Components(Savable):
    """Leading principal components, all divided by the standard deviation of the first.

    The common scale keeps small components small, so that the ridge penalty weighs on polynomial
    terms that rely on them.

    Args:
        rows: training rows, shape (samples, features).
        count: maximum number of components.
        seed: seed of the randomised decomposition.
    """

    saved = ("pca", "scale")

    def __init__(self, rows: np.ndarray, count: int, seed: int) -> None:
        kept = min(count, min(rows.shape) - 1)
        self.pca = PCA(kept, svd_solver="randomized", random_state=seed).fit(rows)
        # scikit-learn leaves a view of a larger array. Only a contiguous array is saved with its
        # memory layout, and with another layout the last bits of the scores differ.
        self.pca.components_ = np.asfortranarray(self.pca.components_)
        self.scale = float(np.sqrt(self.pca.explained_variance_[0])) or 1.0

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Scores of rows, float64, shape (samples, components)."""
        return self.pca.transform(rows).astype(np.float64) / self.scale


def mape(target: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute percentage error."""
    return 100.0 * float(np.mean(np.abs(prediction / target - 1.0)))


def check_positive(target: np.ndarray, *, log: bool) -> None:
    """Check that relative errors, and logarithms if ``log``, are defined for a target.

    Raises:
        ValueError: a target is zero, or not above zero although its logarithm is regressed.
    """
    if log and not (target > 0).all():
        raise ValueError(f"a target of {target.min():g} has no logarithm; set log_target to false")
    if not np.all(target):
        raise ValueError("a target is zero, where a relative error says nothing")


def _divisions(data: Data, held_out: Data | None, seed: int) -> list[Fold]:
    """Rows to fit on and rows to choose on.

    Row numbers of ``held_out`` continue those of ``data``.
    """
    if held_out is not None:
        return [(np.arange(len(data)), len(data) + np.arange(len(held_out)))]
    folds = list(inner_folds(len(data), data.groups, seed))
    if len(folds) <= INNER_FOLDS:
        return folds
    # Folds are merged into fewer ones to save time.
    parts = [
        np.concatenate([left_out for _, left_out in folds[number::INNER_FOLDS]])
        for number in range(INNER_FOLDS)
    ]
    everything = np.arange(len(data))
    return [(np.setdiff1d(everything, left_out), left_out) for left_out in parts]


def ridge_path(matrix: np.ndarray, vector: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Solutions of (matrix + penalty · identity) x = vector, shape (penalties, size).

    One reduction to tridiagonal form serves all penalties, in a third of the time that
    eigenvectors take.

    Args:
        matrix: symmetric, without negative eigenvalues, shape (size, size).
        vector: shape (size,).
        penalties: positive numbers.
    """
    size = len(matrix)
    if size == 1:
        return vector / (matrix[0] + np.asarray(penalties)[:, None])
    work = 64 * size
    reduce, reflect, solve = get_lapack_funcs(("sytrd", "ormqr", "ptsv"), (matrix,))
    packed, diagonal, subdiagonal, scales, _ = reduce(matrix, lower=1, lwork=work)

    def rotated(block: np.ndarray, direction: str) -> np.ndarray:
        # LAPACK stores the reflectors below the diagonal; they leave the first row unchanged.
        rest, _, _ = reflect("L", direction, packed[1:, :-1], scales, block[1:], lwork=work)
        return np.concatenate([block[:1], rest])

    inner = rotated(vector[:, None], "T")[:, 0]
    solutions = [solve(diagonal + penalty, subdiagonal, inner)[2] for penalty in penalties]
    return rotated(np.stack(solutions, axis=1), "N").T


class _Surface(Savable):
    """Shared by the regressions: components, target transform, numbers of columns to try."""

    saved = ("components", "centre", "spread", "columns", "fitted")
    parts = (Components,)
    choices: Sequence[int] = ()

    def __init__(self, *, log_target: bool, seed: int) -> None:
        self.log_target = log_target
        self.seed = seed

    def _forth(self, target: np.ndarray) -> np.ndarray:
        return np.log(target) if self.log_target else np.asarray(target, dtype=np.float64)

    def _back(self, values: np.ndarray) -> np.ndarray:
        # Even a wild extrapolation must stay finite, or the whole submission is refused.
        return np.exp(np.clip(values, -50, 50)) if self.log_target else values

    def _prepare(self, data: Data, held_out: Data | None) -> tuple[np.ndarray, np.ndarray]:
        """Columns (scalars, then scores of components) and targets of all rows."""
        check_positive(data.target, log=self.log_target)
        self.components = None
        if data.features.shape[1]:
            self.components = Components(data.features, max(self.choices), self.seed)
        self.centre = data.scalars.mean(axis=0)
        self.spread = np.where(data.scalars.std(axis=0) > 0, data.scalars.std(axis=0), 1.0)
        parts = [data] if held_out is None else [data, held_out]
        rows = np.concatenate([self._rows(part.features, part.scalars) for part in parts])
        return rows, np.concatenate([part.target for part in parts])

    def _rows(self, features: np.ndarray, scalars: np.ndarray) -> np.ndarray:
        scaled = (scalars - self.centre) / self.spread
        if self.components is None:
            return scaled
        return np.concatenate([scaled, self.components.scores(features)], axis=1)

    def _candidates(self, rows: np.ndarray) -> list[int]:
        """Numbers of columns to try: the scalars and some components."""
        scalars = len(self.centre)
        limit = rows.shape[1] - scalars
        return [scalars + count for count in self.choices if count <= limit] or [rows.shape[1]]


class PolynomialRidge(_Surface):
    """Principal components and scalars → full polynomial → ridge regression.

    ``left_out_error`` is the error, in %, of the chosen components and penalty on validation
    samples or inner folds.

    Args:
        degree: degree of the polynomial.
        log_target: regress the logarithm of the target.
        components: numbers of components to choose from.
        seed: seed of the decomposition and of inner folds.
    """

    def __init__(
        self,
        degree: int = 2,
        *,
        log_target: bool = True,
        components: Sequence[int] = COMPONENTS,
        seed: int = 0,
    ) -> None:
        super().__init__(log_target=log_target, seed=seed)
        self.degree = degree
        self.choices = components

    def _terms(self, rows: np.ndarray) -> np.ndarray:
        return PolynomialFeatures(self.degree, include_bias=False).fit_transform(rows)

    def fit(self, data: Data, validation: Data | None = None) -> PolynomialRidge:
        rows, target = self._prepare(data, validation)
        best = (np.inf, 0, 0.0)
        candidates = self._candidates(rows)
        feasible = [count for count in candidates if comb(count + self.degree, count) <= MAX_TERMS]
        for columns in feasible or candidates[:1]:
            terms = self._terms(rows[:, :columns])
            errors = np.zeros(len(PENALTIES))
            for fit, held_out in _divisions(data, validation, self.seed):
                paths = self._paths(terms[fit], self._forth(target[fit]))
                for index, prediction in enumerate(self._apply(terms[held_out], paths)):
                    error = mape(target[held_out], self._back(prediction))
                    errors[index] += error * len(held_out)
            index = int(np.argmin(errors))
            best = min(best, (float(errors[index]), columns, PENALTIES[index]))
        total, self.columns, self.penalty = best
        held = len(data) if validation is None else len(validation)
        self.left_out_error = total / held
        terms = self._terms(rows[: len(data), : self.columns])
        index = PENALTIES.index(self.penalty)
        mean, scale, offset, slopes = self._paths(terms, self._forth(data.target))
        self.fitted = (mean, scale, offset, slopes[index : index + 1])
        return self

    @staticmethod
    def _paths(
        terms: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Mean, scale, offset, and coefficients for every penalty.

        Penalties are relative to the number of samples.
        """
        mean, scale = terms.mean(axis=0), terms.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        scaled, offset = (terms - mean) / scale, float(values.mean())
        count, size = scaled.shape
        centred = (values - offset) / count
        # With fewer samples than terms, the matrix of samples is smaller; the solution is the same.
        if size > count:
            slopes = ridge_path(scaled @ scaled.T / count, centred, PENALTIES) @ scaled
        else:
            slopes = ridge_path(scaled.T @ scaled / count, scaled.T @ centred, PENALTIES)
        return mean, scale, offset, slopes

    @staticmethod
    def _apply(
        terms: np.ndarray, fitted: tuple[np.ndarray, np.ndarray, float, np.ndarray]
    ) -> np.ndarray:
        mean, scale, offset, slopes = fitted
        return offset + slopes @ ((terms - mean) / scale).T

    def predict(self, features: np.ndarray, scalars: np.ndarray) -> np.ndarray:
        terms = self._terms(self._rows(features, scalars)[:, : self.columns])
        return self._back(self._apply(terms, self.fitted)[0])

    def parameter_count(self) -> int:
        """Parameters of the regression; components are not counted, since they need no labels."""
        return int(self.fitted[3].size) + 1


class GaussianProcess(_Surface):
    """Principal components and scalars → Gaussian process with one length per column.

    Lengths and noise maximise the marginal likelihood of at most ``GP_ROWS`` training samples; the
    posterior uses all training samples. Where there is a choice, the number of components is chosen
    by the validation error.

    Source: Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006,
    DOI 10.7551/mitpress/3206.001.0001.
    """

    choices = GP_COMPONENTS

    def _fit_process(self, rows: np.ndarray, values: np.ndarray) -> Fitted:
        size = rows.shape[1]
        spread = np.maximum(rows.std(axis=0), 1e-3)
        drawn = np.random.default_rng(self.seed).permutation(len(rows))[:GP_ROWS]
        offset, unit = float(values.mean()), float(values.std()) or 1.0
        small = self._maximum(rows[drawn], (values[drawn] - offset) / unit, spread)
        fixed: dict[str, Any] = {"optimizer": None}
        whole: Any = GaussianProcessRegressor(small.kernel_, **fixed)
        whole.fit(rows, (values - offset) / unit)
        return whole, offset, unit, size

    def _maximum(self, rows: np.ndarray, values: np.ndarray, spread: np.ndarray) -> Any:
        """The process of largest marginal likelihood, of standardised values.

        The optimiser's first step may overshoot into the optimum where everything is noise and the
        prediction is constant; then it starts again from longer lengths and more noise.
        """
        variance = float(values.var()) or 1.0
        noise_alone = -0.5 * len(rows) * (math.log(2 * math.pi * variance) + 1)
        best: Any = None
        for lengths, noise in GP_STARTS:
            # Scikit-learn's annotation knows one length only.
            start: Any = lengths * spread
            kernel: Any = ConstantKernel(1.0, (1e-2, 1e3)) * RBF(start, (1e-3, 1e4)) + WhiteKernel(
                noise, (1e-7, 1.0)
            )
            process: Any = GaussianProcessRegressor(
                kernel, n_restarts_optimizer=0, random_state=self.seed
            )
            process.fit(rows, values)
            likelihood = process.log_marginal_likelihood_value_
            if best is None or likelihood > best.log_marginal_likelihood_value_:
                best = process
            if likelihood > noise_alone + 1:
                break
        return best

    def _apply(self, fitted: Fitted, rows: np.ndarray) -> np.ndarray:
        model, offset, unit, size = fitted
        # In blocks, since the kernel between all pairs of rows is held in memory.
        blocks = np.array_split(rows[:, :size], max(1, len(rows) // 1000))
        values = np.concatenate([model.predict(block) for block in blocks])
        return self._back(offset + unit * values)

    def fit(self, data: Data, validation: Data | None = None) -> GaussianProcess:
        rows, target = self._prepare(data, validation)
        candidates = self._candidates(rows)
        best = (np.inf, candidates[0])
        for columns in candidates if len(candidates) > 1 else []:
            error = 0.0
            for fit, held_out in _divisions(data, validation, self.seed):
                fitted = self._fit_process(rows[fit, :columns], self._forth(target[fit]))
                predicted = self._apply(fitted, rows[held_out])
                error += mape(target[held_out], predicted) * len(held_out)
            best = min(best, (error, columns))
        self.columns = best[1]
        training_rows = rows[: len(data), : self.columns]
        self.fitted = self._fit_process(training_rows, self._forth(data.target))
        return self

    def predict(self, features: np.ndarray, scalars: np.ndarray) -> np.ndarray:
        return self._apply(self.fitted, self._rows(features, scalars))

    def parameter_count(self) -> int:
        """Lengths, amplitude, noise, and one weight per training sample."""
        return int(self.fitted[0].kernel_.theta.size + len(self.fitted[0].alpha_))

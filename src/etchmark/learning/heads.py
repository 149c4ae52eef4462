"""Light regression heads that choose their parameters inside the training samples.

Each has ``fit(X, y, groups=None)`` and ``predict(X)``. The number of components or the penalty is
chosen by inner folds: with groups, one whole group is left out at a time; without, folds are
random. Use them as ``SklearnModel(head, columns=..., groups=True)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from etchmark.saving import Savable

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SVR_COMPONENTS = (4, 8, 16, 32, 64)
SVR_C = (0.1, 1.0, 10.0, 100.0)
RIDGE_ALPHA = tuple(np.logspace(-2, 4, 25))
RANDOM_FOLDS = 10

SMALL = 2_000_000
"""Samples × smaller side below which several threads are no faster and wait for each other."""

Fold = tuple[np.ndarray, np.ndarray]


def inner_folds(rows: int, groups: np.ndarray | None = None, seed: int = 0) -> Iterator[Fold]:
    """Training and held-out row indices: one group left out at a time, or ten random folds.

    Args:
        rows: number of samples.
        groups: group label per sample, shape (rows,), or None.
        seed: seed of the random folds.
    """
    if groups is None or len(np.unique(groups)) < 2:
        labels = np.random.default_rng(seed).permutation(rows) % min(RANDOM_FOLDS, rows)
    else:
        labels = np.unique(groups, return_inverse=True)[1]
    for label in np.unique(labels):
        yield np.flatnonzero(labels != label), np.flatnonzero(labels == label)


def _threads(features: np.ndarray) -> AbstractContextManager[object]:
    """One BLAS thread for small matrices; on a busy machine several took 15 times as long."""
    if len(features) * min(features.shape) > SMALL:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


class Projection(Savable):
    """Principal components of training rows, applied to other rows.

    Args:
        rows: training rows, shape (samples, features).
    """

    saved = ("mean", "scale", "axes")

    def __init__(self, rows: np.ndarray) -> None:
        self.mean = rows.mean(axis=0)
        self.left, self.scale, self.axes = np.linalg.svd(rows - self.mean, full_matrices=False)
        # A regression divides by the scale, which would amplify directions of mere rounding.
        keep = self.scale > 1e-9 * max(self.scale[0], 1e-300)
        self.left, self.scale, self.axes = self.left[:, keep], self.scale[keep], self.axes[keep]

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Scores of rows, shape (samples, components)."""
        return (rows - self.mean) @ self.axes.T


def linear_path(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Least-squares predictions with 0, 1, 2, … components, shape (components + 1, test rows)."""
    space = Projection(train)
    # Components are orthogonal, so each adds its own term to the regression.
    slopes = (space.left.T @ (target - target.mean())) / space.scale
    terms = space.scores(test) * slopes
    path = np.concatenate([np.zeros((len(test), 1)), np.cumsum(terms, axis=1)], axis=1)
    return target.mean() + path.T


class BlockScaler(Savable):
    """Centres columns and scales each block of columns to unit total variance.

    Args:
        blocks: number of columns of each block; one may be -1, for all remaining columns.
    """

    saved = ("centre", "scale")

    def __init__(self, blocks: Sequence[int]) -> None:
        self.blocks = blocks

    def fit(self, features: np.ndarray) -> BlockScaler:
        stated = sum(count for count in self.blocks if count >= 0)
        widths = [count if count >= 0 else features.shape[1] - stated for count in self.blocks]
        if sum(widths) != features.shape[1] or min(widths) < 1:
            raise ValueError(f"blocks {list(self.blocks)} do not fit {features.shape[1]} columns")
        self.centre = features.mean(axis=0)
        total = np.split(features.var(axis=0), np.cumsum(widths)[:-1])
        scales = [np.sqrt(part.sum()) or 1.0 for part in total]
        self.scale = np.repeat(scales, widths)
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        return (features - self.centre) / self.scale


class PCARegression(Savable):
    """Blocks of features → principal components → linear or support vector regression.

    The number of components, and for the SVR (RBF kernel) also C, are chosen to minimise the
    absolute error over inner folds.

    Args:
        head: ``linear`` or ``svr``.
        blocks: number of columns of each block, as in ``BlockScaler``.
        seed: seed of random inner folds.
    """

    saved = ("scaler", "space", "components", "centre", "slopes", "spread", "svr")
    parts = (BlockScaler, Projection)

    def __init__(self, head: str = "linear", blocks: Sequence[int] = (-1,), seed: int = 0) -> None:
        if head not in {"linear", "svr"}:
            raise ValueError(f"head is 'linear' or 'svr', not {head!r}")
        self.head = head
        self.blocks = blocks
        self.seed = seed
        # Saved for both heads: ``linear`` has no support vectors and no spread, ``svr`` no slopes.
        self.slopes: Any = None
        self.spread = 1.0
        self.svr: Any = None

    def fit(
        self, features: np.ndarray, target: np.ndarray, groups: np.ndarray | None = None
    ) -> PCARegression:
        with _threads(features):
            self.scaler = BlockScaler(self.blocks).fit(features)
            rows, target = self.scaler.transform(features), np.asarray(target, dtype=np.float64)
            self.space = Projection(rows)
            # A rotation loses no information and leaves at most as many columns as samples.
            rotated = self.space.scores(rows)
            folds = list(inner_folds(len(rows), groups, self.seed))
            if self.head == "linear":
                self._fit_linear(rotated, target, folds)
            else:
                self._fit_svr(rotated, target, folds)
        return self

    def _fit_linear(self, rows: np.ndarray, target: np.ndarray, folds: list[Fold]) -> None:
        limit = min(min(len(fit) - 1, rows.shape[1]) for fit, _ in folds)
        choices = [count for count in COMPONENTS if count <= limit] or [0]
        errors = np.zeros(len(choices))
        for fit, held_out in folds:
            path = linear_path(rows[fit], target[fit], rows[held_out])
            counts = np.minimum(choices, len(path) - 1)
            errors += np.abs(path[counts] - target[held_out]).sum(axis=1)
        self.components = choices[int(np.argmin(errors))]
        slopes = (self.space.left.T @ (target - target.mean())) / self.space.scale
        self.slopes, self.centre = slopes[: self.components], float(target.mean())

    def _fit_svr(self, rows: np.ndarray, target: np.ndarray, folds: list[Fold]) -> None:
        choices = [(count, c) for count in SVR_COMPONENTS for c in SVR_C]
        errors = np.zeros(len(choices))
        for fit, held_out in folds:
            space = Projection(rows[fit])
            train_scores, test_scores = space.scores(rows[fit]), space.scores(rows[held_out])
            for index, (count, c) in enumerate(choices):
                self._fit_support_vectors(train_scores[:, :count], target[fit], c)
                predicted = self._svr(test_scores[:, :count])
                errors[index] += np.abs(predicted - target[held_out]).sum()
        self.components, c = choices[int(np.argmin(errors))]
        self._fit_support_vectors(rows[:, : self.components], target, c)

    def _fit_support_vectors(self, scores: np.ndarray, target: np.ndarray, c: float) -> None:
        from sklearn.svm import SVR

        self.centre, self.spread = float(target.mean()), float(target.std()) or 1.0
        # Components keep their relative sizes; gamma="scale" adapts to their common scale.
        self.svr = SVR(C=c, epsilon=0.1, gamma="scale")
        self.svr.fit(scores, (target - self.centre) / self.spread)

    def _svr(self, scores: np.ndarray) -> np.ndarray:
        return self.centre + self.spread * self.svr.predict(scores)

    def predict(self, features: np.ndarray) -> np.ndarray:
        scores = self.space.scores(self.scaler.transform(features))[:, : self.components]
        if self.head == "linear":
            return self.centre + scores @ self.slopes
        return self._svr(scores)

    def parameter_count(self) -> int:
        """Parameters of the regression; components are not counted, since they need no labels."""
        return (len(self.slopes) if self.head == "linear" else int(self.svr.dual_coef_.size)) + 1


class GroupedRidge(Savable):
    """Ridge regression with a penalty chosen by inner folds.

    Args:
        alphas: penalties to choose from, on the scale of scikit-learn's ``Ridge(alpha)``.
        standardise: divide each feature by its standard deviation. Set it to false where all
            features share a unit: a trace element that hardly varies in training is then not
            amplified when a new sample contains more of it.
        seed: seed of random inner folds.
    """

    saved = ("mean", "spread", "space", "inner", "centre", "alpha")
    parts = (Projection,)

    def __init__(
        self, alphas: Sequence[float] = RIDGE_ALPHA, *, standardise: bool = True, seed: int = 0
    ) -> None:
        self.alphas = np.asarray(alphas)
        self.standardise = standardise
        self.seed = seed

    def fit(
        self, features: np.ndarray, target: np.ndarray, groups: np.ndarray | None = None
    ) -> GroupedRidge:
        with _threads(features):
            target = np.asarray(target, dtype=np.float64)
            errors = np.zeros(len(self.alphas))
            for fit, held_out in inner_folds(len(features), groups, self.seed):
                path = self._path(features[fit], target[fit])(features[held_out])
                errors += np.abs(path - target[held_out]).sum(axis=1)
            self.alpha = float(self.alphas[int(np.argmin(errors))])
            self._path(features, target)
        return self

    def _path(self, features: np.ndarray, target: np.ndarray):
        """Fit every alpha; returns a function from rows to predictions, shape (alphas, rows)."""
        self.mean, spread = features.mean(axis=0), features.std(axis=0)
        self.spread = np.where((spread > 0) & self.standardise, spread, 1.0)
        space = Projection((features - self.mean) / self.spread)
        inner = space.left.T @ (target - target.mean())
        self.centre, self.space, self.inner = float(target.mean()), space, inner
        slopes = inner * space.scale / (space.scale**2 + self.alphas[:, None])

        def predict(rows: np.ndarray) -> np.ndarray:
            return target.mean() + slopes @ space.scores((rows - self.mean) / self.spread).T

        return predict

    def predict(self, features: np.ndarray) -> np.ndarray:
        slopes = self.inner * self.space.scale / (self.space.scale**2 + self.alpha)
        return self.centre + self.space.scores((features - self.mean) / self.spread) @ slopes

    def parameter_count(self) -> int:
        return len(self.mean) + 1

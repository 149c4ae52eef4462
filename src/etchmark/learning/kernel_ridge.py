"""Ridge and kernel ridge regression with a penalty chosen by exact leave-one-out errors.

Ridge regression is linear in the targets, so one fit also gives the predictions for a sample, or a
whole group of samples, as if it had been left out: with the hat matrix H and residuals e, the
residuals of a left-out block g are (1 - H_gg)^-1 e_g. Source: Golub, Heath & Wahba, Technometrics
21 (1979) 215, DOI 10.1080/00401706.1979.10489751 (single samples); the block form is the same
identity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etchmark.learning.surfaces import Data, check_positive, mape
from etchmark.saving import Savable

PENALTIES = tuple(np.logspace(-7, 2, 28))
"""Penalties to choose from, in units of the mean eigenvalue of the kernel matrix."""
LENGTHS = (0.5, 1.0, 2.0)
"""Lengths of the radial kernel to choose from, in median distances between samples."""
MEDIAN_OF = 1000
"""Number of samples from which the median distance is estimated."""
LARGEST_BLOCK = 1000
"""Larger groups are left out in parts, since the cost of a block grows with its size cubed."""


class KernelRidge(Savable):
    """Ridge regression in the space of a kernel, with an intercept that is not penalised.

    Features and scalars are two blocks, each centred and scaled to unit total variance.

    Args:
        kernel: ``linear`` (ordinary ridge) or ``rbf``.
        log_target: regress the logarithm of the target.
        lengths: lengths of the radial kernel to choose from, in median distances between samples.
        seed: draws the samples from which the median distance is estimated.
    """

    saved = ("centres", "scales", "train", "offset", "weights", "means", "length", "penalty")

    def __init__(
        self,
        kernel: str = "linear",
        *,
        log_target: bool = True,
        lengths: Sequence[float] = LENGTHS,
        seed: int = 0,
    ) -> None:
        if kernel not in {"linear", "rbf"}:
            raise ValueError(f"kernel is 'linear' or 'rbf', not {kernel!r}")
        self.kernel, self.log_target, self.seed = kernel, log_target, seed
        self.lengths = tuple(lengths) if kernel == "rbf" else (1.0,)

    # --- rows and kernels ---

    def _fit_rows(self, data: Data) -> np.ndarray:
        blocks = [data.features, data.scalars] if data.scalars.shape[1] else [data.features]
        self.centres = [block.mean(axis=0, dtype=np.float64) for block in blocks]
        self.scales = [
            float(np.sqrt(block.var(axis=0, dtype=np.float64).sum())) for block in blocks
        ]
        return self._rows(data.features, data.scalars)

    def _rows(self, features: np.ndarray, scalars: np.ndarray) -> np.ndarray:
        parts = zip((features, scalars), self.centres, self.scales, strict=False)
        return np.concatenate(
            [(block - mean) / (scale or 1.0) for block, mean, scale in parts], axis=1
        )

    def _gram(self, left: np.ndarray, right: np.ndarray, length: float) -> np.ndarray:
        inner = left @ right.T
        if self.kernel == "linear":
            return inner
        squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * inner
        return np.exp(-np.maximum(squares, 0) / (2 * length**2))

    def _median(self, rows: np.ndarray) -> float:
        drawn = np.random.default_rng(self.seed).permutation(len(rows))[:MEDIAN_OF]
        part = rows[drawn]
        squares = (part**2).sum(axis=1)[:, None] + (part**2).sum(axis=1) - 2 * part @ part.T
        above = squares[np.triu_indices(len(part), 1)]
        return float(np.sqrt(np.median(np.maximum(above, 0)))) or 1.0 if len(above) else 1.0

    # --- fit ---

    def fit(self, data: Data, validation: Data | None = None) -> KernelRidge:
        """Fit on ``data``; leave-one-out errors choose, so ``validation`` is not used."""
        check_positive(data.target, log=self.log_target)
        self.train = self._fit_rows(data)
        values = np.log(data.target) if self.log_target else np.asarray(data.target, np.float64)
        self.offset = float(values.mean())
        blocks = left_out_blocks(len(values), data.groups)
        unit = self._median(self.train) if self.kernel == "rbf" else 1.0
        best = (np.inf, 0.0, 0.0)
        for length in self.lengths:
            path = self._path(length * unit, values - self.offset)
            for penalty in PENALTIES:
                residuals = path.left_out(penalty, blocks)
                predicted = self._back(values - residuals)
                error = mape(data.target, predicted)
                if error < best[0]:
                    best = (error, length * unit, penalty)
                    self.weights, self.means = path.weights(penalty)
        self.left_out_error, self.length, self.penalty = best
        return self

    def _path(self, length: float, values: np.ndarray) -> Path:
        rows, columns = self.train.shape
        if self.kernel == "linear" and columns < rows:
            return Path.of_rows(self.train, values)
        return Path.of_kernel(self._gram(self.train, self.train, length), values)

    def _back(self, values: np.ndarray) -> np.ndarray:
        return np.exp(np.clip(values, -50, 50)) if self.log_target else values

    def predict(self, features: np.ndarray, scalars: np.ndarray) -> np.ndarray:
        rows = self._rows(features, scalars)
        values = []
        for part in np.array_split(rows, max(1, len(rows) // 1000)):
            kernel = self._gram(part, self.train, self.length)
            kernel -= kernel.mean(axis=1, keepdims=True) + self.means - self.means.mean()
            values.append(self.offset + kernel @ self.weights)
        return self._back(np.concatenate(values))

    def parameter_count(self) -> int:
        """Fitted parameters: slopes of a linear kernel, else one weight per sample; an offset."""
        return min(self.train.shape) + 1 if self.kernel == "linear" else len(self.train) + 1


class Path:
    """One eigendecomposition of a centred kernel matrix, which serves every penalty.

    Args:
        squares: eigenvalues, shape (rank,); all others are zero.
        axes: their eigenvectors, shape (samples, rank).
        means: means of the kernel over training samples, shape (samples,).
        values: targets minus their mean, shape (samples,).
    """

    def __init__(
        self, squares: np.ndarray, axes: np.ndarray, means: np.ndarray, values: np.ndarray
    ) -> None:
        self.unit = float(np.maximum(squares, 0.0).sum() / len(values)) or 1.0
        # With a small penalty, eigenvalues that are zero up to rounding would count.
        kept = squares > squares.max(initial=0.0) * len(values) * np.finfo(float).eps
        self.squares, self.axes, self.means = squares[kept], axes[:, kept], means
        self.inner = self.axes.T @ values
        self.values = values
        self._blocks: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def of_kernel(cls, gram: np.ndarray, values: np.ndarray) -> Path:
        """From a kernel matrix, shape (samples, samples)."""
        means = gram.mean(axis=0)
        centred = gram - means - means[:, None] + means.mean()
        return cls(*np.linalg.eigh(centred), means, values)

    @classmethod
    def of_rows(cls, rows: np.ndarray, values: np.ndarray) -> Path:
        """From samples of a linear kernel, shape (samples, columns) with fewer columns."""
        mean = rows.mean(axis=0)
        centred = rows - mean
        squares, vectors = np.linalg.eigh(centred.T @ centred)
        axes = centred @ vectors / np.sqrt(np.where(squares > 0, squares, 1.0))
        return cls(squares, axes, rows @ mean, values)

    def _shrink(self, penalty: float) -> np.ndarray:
        return self.squares / (self.squares + penalty * self.unit)

    def left_out(self, penalty: float, blocks: Sequence[np.ndarray] | None) -> np.ndarray:
        """Residual of each sample in a fit without it, or without its block; shape (samples,).

        Args:
            penalty: in units of the mean eigenvalue.
            blocks: rows of each block; None to leave out single samples.
        """
        shrink = self._shrink(penalty)
        residuals = self.values - self.axes @ (shrink * self.inner)
        share = 1.0 / len(self.values)  # the intercept's part of the hat matrix
        if blocks is None:
            hat = share + (self.axes**2) @ shrink
            return residuals / np.maximum(1.0 - hat, 1e-12)
        left_out = np.empty_like(residuals)
        for number, rows in enumerate(blocks):
            if len(rows) <= len(shrink) + 1:
                part = self.axes[rows]
                hat = share + (part * shrink) @ part.T
                left = np.eye(len(rows)) * (1 + 1e-12) - hat
                left_out[rows] = np.linalg.solve(left, residuals[rows])
            else:
                left_out[rows] = self._without_many(number, rows, shrink, residuals[rows])
        return left_out

    def _without_many(
        self, number: int, rows: np.ndarray, shrink: np.ndarray, residuals: np.ndarray
    ) -> np.ndarray:
        """``left_out`` for a block larger than the rank, by the Woodbury identity."""
        if number not in self._blocks:
            part = np.concatenate([self.axes[rows], np.ones((len(rows), 1))], axis=1)
            self._blocks[number] = (part, part.T @ part)
        part, inner = self._blocks[number]
        weights = np.append(shrink, 1.0 / len(self.values))
        left = np.eye(len(weights)) * (1 + 1e-12) - weights[:, None] * inner
        return residuals + part @ np.linalg.solve(left, weights * (part.T @ residuals))

    def weights(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the centred kernel, and the kernel's means over training samples.

        Components outside the rank are left out: no prediction depends on them.
        """
        return self.axes @ (self.inner / (self.squares + penalty * self.unit)), self.means


def left_out_blocks(rows: int, groups: np.ndarray | None) -> list[np.ndarray] | None:
    """Rows of each group, large groups in parts; None (single samples) if there are no groups."""
    if groups is None or len(np.unique(groups)) < 2:
        return None
    labels = np.unique(groups, return_inverse=True)[1]
    blocks = []
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        blocks += np.array_split(members, -(-len(members) // LARGEST_BLOCK))
    return blocks

"""Light classifiers of features that choose their parameters inside the training samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etchmark.errors import UserError
from etchmark.learning.heads import inner_folds
from etchmark.saving import Savable

HEADS = ("linear", "forest")
COMPONENTS = 128
"""Most principal components of a linear classifier."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the penalty to choose from, as scikit-learn's ``C``."""
INNER_FOLDS = 4
"""Folds in which the penalty is chosen; with groups, whole groups share one."""
TREES, LEAF = 300, 2


class Classifier(Savable):
    """Features → principal components → multinomial logistic regression, or a random forest.

    Features are standardised. The penalty of the logistic regression minimises the logarithmic loss
    over inner folds of whole groups; the forest is fitted on the features as they are.

    Args:
        head: ``linear`` or ``forest``.
        top: keep only this many features, those with the largest ratio of the variance between
            classes to that within; all if None.
        seed: of the forest, and of inner folds without groups.
    """

    saved = ("kept", "mean", "spread", "axes", "estimator", "classes")

    def __init__(self, head: str = "linear", *, top: int | None = None, seed: int = 0) -> None:
        if head not in HEADS:
            raise UserError(f"head {head!r}: give one of {', '.join(HEADS)}")
        self.head, self.top, self.seed = head, top, seed

    def fit(
        self,
        features: np.ndarray,
        target: np.ndarray,
        classes: Sequence[str],
        groups: np.ndarray | None = None,
    ) -> Classifier:
        """Fit on features of shape (samples, features) and the class of each sample."""
        self.classes = list(classes)
        self.mean, spread = features.mean(axis=0), features.std(axis=0)
        self.kept = np.flatnonzero(spread > 1e-9 * max(float(spread.max(initial=0.0)), 1e-300))
        self.spread = np.where(spread > 0, spread, 1.0)
        if self.top is not None:
            self.kept = self.kept[_most_telling(features[:, self.kept], target)[: self.top]]
        self.axes = None
        rows = self._rows(features)
        if self.head == "linear" and min(rows.shape) > COMPONENTS:
            self.axes = _principal_axes(rows)
            rows = self._rows(features)
        self.estimator = self._fitted(rows, target, groups)
        return self

    def _rows(self, features: np.ndarray) -> np.ndarray:
        """What the estimator reads of each sample."""
        kept = features[:, self.kept]
        if self.head == "forest":
            return kept
        rows = (kept - self.mean[self.kept]) / self.spread[self.kept]
        return rows if self.axes is None else rows @ self.axes

    def _fitted(self, rows: np.ndarray, target: np.ndarray, groups: np.ndarray | None) -> Any:
        if self.head == "forest":
            from sklearn.ensemble import RandomForestClassifier

            forest = RandomForestClassifier(
                TREES, min_samples_leaf=LEAF, random_state=self.seed, n_jobs=1
            )
            return forest.fit(rows, target)
        losses = np.zeros(len(PENALTIES))
        for fit, held_out in _few_folds(len(rows), groups, self.seed):
            for number, penalty in enumerate(PENALTIES):
                model = _logistic(penalty).fit(rows[fit], target[fit])
                losses[number] += _loss(model, rows[held_out], target[held_out])
        return _logistic(PENALTIES[int(np.argmin(losses))]).fit(rows, target)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities in the order of ``classes``, shape (samples, classes)."""
        shares = np.zeros((len(features), len(self.classes)))
        # A class that no training sample has keeps the probability zero.
        places = [self.classes.index(str(name)) for name in self.estimator.classes_]
        shares[:, places] = self.estimator.predict_proba(self._rows(features))
        return shares

    def parameter_count(self) -> int:
        """Parameters that were fitted to the classes; nodes of a forest."""
        if self.head == "forest":
            return sum(tree.tree_.node_count for tree in self.estimator.estimators_)
        return int(self.estimator.coef_.size + self.estimator.intercept_.size)


def _logistic(penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    # L-BFGS takes ten times as long on a few hundred components, and may not arrive.
    return LogisticRegression(C=penalty, solver="newton-cg", max_iter=200, tol=1e-5)


def _loss(model: Any, rows: np.ndarray, target: np.ndarray) -> float:
    """Sum of the logarithmic losses."""
    shares = model.predict_proba(rows)
    places = np.searchsorted(model.classes_, target)
    known = model.classes_[np.minimum(places, len(model.classes_) - 1)] == target
    right = np.where(known, shares[np.arange(len(rows)), np.where(known, places, 0)], 0.0)
    return float(-np.log(np.clip(right, 1e-12, None)).sum())


def _principal_axes(rows: np.ndarray) -> np.ndarray:
    """Axes of the largest variance of rows of zero mean, shape (features, components)."""
    if rows.shape[0] < rows.shape[1]:
        _, axes = np.linalg.eigh(rows @ rows.T)
        wide = rows.T @ axes[:, ::-1][:, :COMPONENTS]
        return wide / np.linalg.norm(wide, axis=0)
    _, axes = np.linalg.eigh(rows.T @ rows)
    return np.ascontiguousarray(axes[:, ::-1][:, :COMPONENTS])


def _most_telling(features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Features by falling ratio of the variance between classes to that within them."""
    names, members = np.unique(target, return_inverse=True)
    counts = np.bincount(members)
    means = np.stack([features[members == number].mean(axis=0) for number in range(len(names))])
    centred = means - features.mean(axis=0)
    between = (counts[:, None] * centred**2).sum(axis=0)
    within = ((features - means[members]) ** 2).sum(axis=0)
    return np.argsort(-between / np.where(within > 0, within, np.inf), kind="stable")


def _few_folds(
    rows: int, groups: np.ndarray | None, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inner folds, several groups in one where there are many."""
    if groups is not None and len(np.unique(groups)) > INNER_FOLDS:
        groups = np.unique(groups, return_inverse=True)[1] % INNER_FOLDS
    return list(inner_folds(rows, groups, seed))

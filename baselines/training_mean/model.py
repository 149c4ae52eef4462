"""Predicts the mean of the training target: what any model must beat."""

from __future__ import annotations

import numpy as np

from etchmark.model import Inputs, Samples


class TrainingMean:
    def fit(self, train: Samples, validation: Samples | None = None) -> TrainingMean:
        self.mean = train.target.mean(axis=0)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        rows = len(next(iter(inputs.values())))
        return np.broadcast_to(self.mean, (rows, *np.shape(self.mean)))

    def parameter_count(self) -> int:
        return int(np.size(self.mean))


def build(seed: int, device: str) -> TrainingMean:
    return TrainingMean()

"""Predicts the mean of the training target: what any model must beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild


class TrainingMean(Savable):
    saved = ("mean",)

    def fit(self, train: Samples, validation: Samples | None = None) -> TrainingMean:
        self.mean = train.target.mean(axis=0)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        rows = len(next(iter(inputs.values())))
        return np.broadcast_to(self.mean, (rows, *np.shape(self.mean)))

    def parameter_count(self) -> int:
        return int(np.size(self.mean))


@keeps_arguments
def build(seed: int, device: str) -> TrainingMean:
    return TrainingMean()


def load(folder: Path, device: str) -> TrainingMean:
    return rebuild(build, folder, device)

"""Predicts how frequent each class is among the training samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild


class ClassFrequencies(Savable):
    """Shares of the classes, the same for every sample."""

    saved = ("shares",)

    def fit(self, train: Samples, validation: Samples | None = None) -> ClassFrequencies:
        if train.classes is None:
            raise ValueError("class_frequencies predicts probabilities of classes alone")
        self.shares = np.array([np.mean(train.target == name) for name in train.classes])
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        rows = len(next(iter(inputs.values())))
        return np.broadcast_to(self.shares, (rows, len(self.shares)))

    def parameter_count(self) -> int:
        return len(self.shares)


@keeps_arguments
def build(seed: int, device: str) -> ClassFrequencies:
    return ClassFrequencies()


def load(folder: Path, device: str) -> ClassFrequencies:
    return rebuild(build, folder, device)

"""Predicts the most frequent training class for every pixel: what any model must beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild


class MajorityClass(Savable):
    saved = ("number", "shape")

    def fit(self, train: Samples, validation: Samples | None = None) -> MajorityClass:
        self.number = int(np.bincount(np.ravel(train.target)).argmax())
        self.shape = list(np.shape(train.target)[1:])
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        rows = len(next(iter(inputs.values())))
        return np.full((rows, *self.shape), self.number, dtype=np.uint8)

    def parameter_count(self) -> int:
        return 1


@keeps_arguments
def build(seed: int, device: str) -> MajorityClass:
    return MajorityClass()


def load(folder: Path, device: str) -> MajorityClass:
    return rebuild(build, folder, device)

"""Thresholds of the grey level: each micrograph is cut into bands, and each band is a class.

Multi-Otsu thresholds of every micrograph by itself, as many bands as there are classes. Which band
is which class is learnt: bands and training classes are paired so that they agree on as many
pixels, as a share of the class, as can be.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from etchmark.learning.pixels import class_count, grey_bands, pictures_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild


class GreyLevels(Savable):
    saved = ("class_of_band",)

    def fit(self, train: Samples, validation: Samples | None = None) -> GreyLevels:
        classes = class_count(train.target)
        agreed = np.zeros((classes, classes))
        for picture, mask in zip(pictures_of(train.inputs), train.target, strict=True):
            pairs = grey_bands(picture, classes) * classes + mask
            agreed += np.bincount(pairs.ravel(), minlength=classes**2).reshape(agreed.shape)
        shares = agreed / np.maximum(agreed.sum(axis=0), 1)
        self.class_of_band = linear_sum_assignment(-shares)[1].astype(np.int64)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        classes = len(self.class_of_band)
        bands = [grey_bands(picture, classes) for picture in pictures_of(inputs)]
        return np.stack([self.class_of_band[band] for band in bands]).astype(np.uint8)

    def parameter_count(self) -> int:
        return len(self.class_of_band)


@keeps_arguments
def build(seed: int, device: str) -> GreyLevels:
    return GreyLevels()


def load(folder: Path, device: str) -> GreyLevels:
    return rebuild(build, folder, device)

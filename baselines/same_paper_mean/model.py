"""Predicts the mean of the training samples from the same paper, from the DOI alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild


class SamePaperMean(Savable):
    """Mean per DOI; the mean of all training samples for a DOI that was never seen."""

    saved = ("overall", "means")

    def fit(self, train: Samples, validation: Samples | None = None) -> SamePaperMean:
        papers = train.inputs["doi"]
        self.overall = float(train.target.mean())
        self.means = {doi: float(train.target[papers == doi].mean()) for doi in np.unique(papers)}
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return np.array([self.means.get(doi, self.overall) for doi in inputs["doi"]])

    def parameter_count(self) -> int:
        return len(self.means) + 1


@keeps_arguments
def build(seed: int, device: str) -> SamePaperMean:
    return SamePaperMean()


def load(folder: Path, device: str) -> SamePaperMean:
    return rebuild(build, folder, device)

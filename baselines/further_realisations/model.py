"""Further realisations of the exemplar's material: what a perfect method would draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etchmark.errors import UserError
from etchmark.learning.reconstruction import Reconstruction
from etchmark.model import Inputs
from etchmark.saving import keeps_arguments, rebuild

FURTHER = "further"
"""The input that is returned."""


class FurtherRealisations(Reconstruction):
    """Returns images that the track gives away."""

    def predict(self, inputs: Inputs) -> np.ndarray:
        if FURTHER not in inputs:
            raise UserError(
                f"this model reads the input {FURTHER!r}; give a --track that has it (its inputs:"
                f" {', '.join(list(inputs)[:5])})"
            )
        return np.stack([np.asarray(images, np.uint8) for images in inputs[FURTHER]])


@keeps_arguments
def build(seed: int, device: str) -> FurtherRealisations:
    return FurtherRealisations(seed)


def load(folder: Path, device: str) -> FurtherRealisations:
    return rebuild(build, folder, device)

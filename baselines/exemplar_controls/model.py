"""Controls: white noise of the exemplar's volume fraction, the exemplar itself, and bent copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from etchmark.errors import UserError
from etchmark.learning.reconstruction import Exemplar, Reconstruction
from etchmark.saving import keeps_arguments, rebuild

NOISE, COPY, WARPED = KINDS = "noise", "copy", "warped"
DISPLACED_PX, SMOOTH_PX = 4.0, 12.0
"""Standard deviation of the displacements along each axis, and of the filter that smooths them."""


class Control(Reconstruction):
    """Noise, copies, or copies whose cells are displaced by a smooth random field.

    Args:
        kind: ``noise``, ``copy`` or ``warped``.
        seed: of the noise and of the displacements.
    """

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__(seed)
        self.kind = kind

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        if self.kind == COPY:
            return np.stack([exemplar.image] * len(generators))
        if self.kind == WARPED:
            return np.stack([warped(exemplar, generator) for generator in generators])
        shape = exemplar.image.shape
        return np.stack([exemplar.cut(generator.random(shape)) for generator in generators])


def warped(exemplar: Exemplar, generator: Generator) -> np.ndarray:
    """The exemplar with its cells displaced by a smooth random field, at its volume fraction."""
    mode = "wrap" if exemplar.periodic else "reflect"
    noise = generator.standard_normal((2, *exemplar.image.shape))
    field = ndimage.gaussian_filter(noise, (0, SMOOTH_PX, SMOOTH_PX), mode=mode)
    field *= DISPLACED_PX / field.std(axis=(1, 2), keepdims=True)
    # A blur of half a cell orders the cells along edges, where the field cuts between them.
    soft = ndimage.gaussian_filter(exemplar.image.astype(float), 0.5, mode=mode)
    edges = "grid-wrap" if exemplar.periodic else "reflect"
    places = np.indices(exemplar.image.shape) + field
    return exemplar.cut(ndimage.map_coordinates(soft, places, order=1, mode=edges))


@keeps_arguments
def build(seed: int, device: str, kind: str) -> Control:
    if kind not in KINDS:
        raise UserError(f"kind {kind!r}: give one of {', '.join(KINDS)}")
    return Control(kind, seed)


def load(folder: Path, device: str) -> Control:
    return rebuild(build, folder, device)

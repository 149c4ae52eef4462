"""What models share that draw images from one exemplar: reading it, seeds, the two-point function.

Such a model learns nothing from other exemplars. What it draws depends on the exemplar and the seed
alone, not on which other exemplars it is given or in which order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from etchmark.descriptors import two_point_statistics
from etchmark.errors import UserError
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable
from etchmark.simulation.microstructures import digest, generator_of, threshold

EXEMPLAR, PERIODIC = "exemplar", "periodic"
"""The inputs that such models read."""
IMAGES = 16
"""How many images are drawn of each exemplar."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Exemplar:
    """A microstructure of two phases that others are to be like.

    Attributes:
        image: zeros and ones, shape (height, width), uint8.
        periodic: whether opposite edges meet.
    """

    image: Image
    periodic: bool

    @property
    def fraction(self) -> float:
        """Share of phase 1."""
        return float(self.image.mean())

    def two_point(self, max_lag: int) -> NDArray[np.float64]:
        """Probability that both ends of a vector lie in phase 1, zero lag at the centre.

        Without bias by edges where the exemplar is not periodic; see
        ``etchmark.descriptors.two_point_statistics``.

        Args:
            max_lag: largest lag along each axis, in pixels.
        """
        return two_point_statistics(self.image, max_lag, periodic=self.periodic)

    def cut(self, field: np.ndarray) -> Image:
        """A field cut so that exactly as many pixels are of phase 1 as in the exemplar.

        Args:
            field: of the exemplar's shape; its largest values become phase 1.
        """
        return threshold(field, self.fraction)


class Reconstruction(Savable):
    """A model that draws images of every exemplar by a method, and is not fitted.

    Args:
        seed: of what it draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        """Images of one exemplar, one with each generator: zeros and ones (images, height, width).

        An exemplar of one phase alone is never given.
        """
        raise NotImplementedError

    def fit(self, train: Samples, validation: Samples | None = None) -> Reconstruction:
        return self

    def predict(self, inputs: Inputs) -> Image:
        """Images of every exemplar, shape (exemplars, 16, height, width), uint8."""
        made = []
        for exemplar in exemplars_of(inputs):
            if 0 < exemplar.image.sum() < exemplar.image.size:
                images = self.draw(exemplar, generators(self.seed, exemplar.image))
            else:
                images = np.stack([exemplar.image] * IMAGES)
            made.append(np.asarray(images, dtype=np.uint8))
        return np.stack(made)

    def parameter_count(self) -> int:
        """Nothing is fitted."""
        return 0


def exemplars_of(inputs: Inputs) -> list[Exemplar]:
    """The exemplars of some samples.

    Raises:
        UserError: the track has none, or does not say whether they are periodic.
    """
    for name in (EXEMPLAR, PERIODIC):
        if name not in inputs:
            raise UserError(
                f"this model reads the input {name!r}; give a --track that has it (its inputs:"
                f" {', '.join(list(inputs)[:5])})"
            )
    pairs = zip(inputs[EXEMPLAR], inputs[PERIODIC], strict=True)
    return [Exemplar(np.asarray(image, np.uint8), bool(periodic)) for image, periodic in pairs]


def generators(seed: int, image: Image, count: int = IMAGES) -> list[Generator]:
    """A generator for each image that is drawn of an exemplar, by the exemplar's content."""
    return [generator_of(seed, int(digest(image)[:8], 16), number) for number in range(count)]


def checked(options: Mapping[str, tuple[float, float]]) -> None:
    """Refuse options of a card that are too small or not finite.

    Args:
        options: by name the value and the least that is allowed.

    Raises:
        UserError: names the option and what it may be.
    """
    for name, (value, least) in options.items():
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not (known and least <= value < float("inf")):
            raise UserError(f"{name} {value!r}: give a number from {least} on")

"""Statistics of a micrograph's grey levels or of its bright phase → light classifier.

Reads ``micrograph`` (samples, height, width); or, as a control, ``fraction`` and ``interface``
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from etchmark.descriptors import two_point_statistics
from etchmark.errors import UserError
from etchmark.learning.classifiers import Classifier
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

LEVELS = 16
"""Grey levels of a co-occurrence matrix."""
DISTANCES = (1, 2, 4, 8)
"""Of pixels that a co-occurrence matrix compares, and of the neighbours of a binary pattern."""
RADII = (1, 2, 4)
MAX_LAG = 24
NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Eight neighbours in turn."""


def otsu(image: np.ndarray) -> int:
    """The grey level that divides an image into two classes with the least variance within.

    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62, DOI 10.1109/TSMC.1979.4310076.
    """
    counts = np.bincount(image.ravel(), minlength=256).astype(np.float64)
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * np.arange(256))
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below - total * sums) ** 2 / (below * above)
    return int(np.argmax(np.nan_to_num(between, nan=-1.0, posinf=-1.0)))


def two_point(image: np.ndarray) -> np.ndarray:
    """Autocorrelation of the bright phase, cut at Otsu's level, on one half of all lags."""
    statistics = two_point_statistics(image > otsu(image), MAX_LAG, periodic=False)
    return statistics.ravel()[: statistics.size // 2 + 1]


def binary_patterns(image: np.ndarray) -> np.ndarray:
    """Shares of rotation-invariant uniform binary patterns of eight neighbours, at each radius.

    Source: Ojala, Pietikäinen & Mäenpää, IEEE Trans. Pattern Anal. Mach. Intell. 24 (2002) 971,
    DOI 10.1109/TPAMI.2002.1017623; with neighbours on the grid of pixels.
    """
    grey, shares = image.astype(np.int16), []
    for radius in RADII:
        centre = grey[radius:-radius, radius:-radius]
        ring = np.stack(
            [
                np.roll(grey, (-radius * row, -radius * column), (0, 1))[
                    radius:-radius, radius:-radius
                ]
                >= centre
                for row, column in NEIGHBOURS
            ]
        )
        changes = (ring != np.roll(ring, 1, axis=0)).sum(axis=0)
        # Nine uniform patterns by how many neighbours are as bright, and all others.
        code = np.where(changes <= 2, ring.sum(axis=0), 9)
        shares.append(np.bincount(code.ravel(), minlength=10) / code.size)
    return np.concatenate(shares)


def co_occurrence(image: np.ndarray) -> np.ndarray:
    """Contrast, homogeneity, energy and correlation of pairs of grey levels, at each distance.

    Grey levels are cut into 16 between the 1st and the 99th percentile; rows, columns and both
    diagonals are averaged.

    Source: Haralick, Shanmugam & Dinstein, IEEE Trans. Syst. Man Cybern. 3 (1973) 610,
    DOI 10.1109/TSMC.1973.4309314.
    """
    low, high = np.percentile(image, (1, 99))
    scaled = (image - low) / max(float(high - low), 1.0)
    coarse = np.clip((scaled * LEVELS).astype(np.int64), 0, LEVELS - 1)
    first, second = np.meshgrid(np.arange(LEVELS), np.arange(LEVELS), indexing="ij")
    measures = []
    for distance in DISTANCES:
        pairs = np.zeros((LEVELS, LEVELS))
        for row, column in NEIGHBOURS[:4]:
            ours, theirs = _shifted(coarse, distance * row, distance * column)
            counts = np.bincount((ours * LEVELS + theirs).ravel(), minlength=LEVELS**2)
            pairs += counts.reshape(LEVELS, LEVELS)
        pairs = (pairs + pairs.T) / (2 * pairs.sum())
        mean = (first * pairs).sum()
        variance = ((first - mean) ** 2 * pairs).sum()
        covariance = ((first - mean) * (second - mean) * pairs).sum()
        measures += [
            ((first - second) ** 2 * pairs).sum(),
            (pairs / (1 + (first - second) ** 2)).sum(),
            np.sqrt((pairs**2).sum()),
            covariance / variance if variance > 0 else 1.0,
        ]
    return np.array(measures)


def _shifted(image: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and those that lie some rows below and columns to the right, inside the image."""
    height, width = image.shape
    left, right = max(0, -columns), min(width, width - columns)
    ours = image[: height - rows, left:right]
    return ours, image[rows:, left + columns : right + columns]


def texture(image: np.ndarray) -> np.ndarray:
    """Binary patterns and co-occurrence side by side."""
    return np.concatenate([binary_patterns(image), co_occurrence(image)])


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "two-point": two_point,
    "texture": texture,
}
NUMBERS = "two-numbers"


class TextureStatistics(Savable):
    """Statistics of each micrograph, and a classifier."""

    saved = ("head",)

    def __init__(self, statistics: str, head: Classifier) -> None:
        if statistics not in (*STATISTICS, NUMBERS):
            known = ", ".join((*STATISTICS, NUMBERS))
            raise UserError(f"statistics {statistics!r}: give one of {known}")
        self.statistics, self.head = statistics, head

    def _features(self, inputs: Inputs) -> np.ndarray:
        if self.statistics == NUMBERS:
            return np.stack([inputs["fraction"], inputs["interface"]], axis=1)
        measure = STATISTICS[self.statistics]
        return np.stack([measure(image) for image in inputs["micrograph"]])

    def fit(self, train: Samples, validation: Samples | None = None) -> TextureStatistics:
        if train.classes is None:
            raise UserError("texture_statistics predicts probabilities of classes alone")
        features = self._features(train.inputs)
        self.head.fit(features, np.asarray(train.target), train.classes, train.groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.head.predict(self._features(inputs))

    def parameter_count(self) -> int:
        return self.head.parameter_count()


@keeps_arguments
def build(
    seed: int, device: str, statistics: str, head: str = "linear", top: int | None = None
) -> TextureStatistics:
    return TextureStatistics(statistics, Classifier(head, top=top, seed=seed))


def load(folder: Path, device: str) -> TextureStatistics:
    return rebuild(build, folder, device)

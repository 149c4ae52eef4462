"""Random forest on multi-scale filters of the micrograph, pixel by pixel.

What interactive tools for micrographs do, such as Trainable Weka Segmentation (Arganda-Carreras et
al., Bioinformatics 33 (2017) 2424, DOI 10.1093/bioinformatics/btx180).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from etchmark.learning.pixels import draw_pixels, pictures_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild

ROWS_AT_ONCE = 1 << 17


def filters(picture: NDArray[np.uint8], scales: Sequence[float]) -> NDArray[np.float32]:
    """Grey level and five filters of each scale, shape (height, width, 1 + 5 * scales).

    Blur, size of the gradient, both eigenvalues of the second derivatives, and the standard
    deviation in the neighbourhood, each times the power of the scale that makes scales compare.

    Args:
        picture: shape (height, width).
        scales: standard deviations of the Gaussian, in pixels.
    """
    grey = picture.astype(np.float32) / 255.0
    maps = [grey]
    for scale in scales:
        blur = ndimage.gaussian_filter(grey, scale)
        square = ndimage.gaussian_filter(grey**2, scale)
        down, across = np.gradient(blur)
        yy, yx = np.gradient(down)
        xx = np.gradient(across, axis=1)
        middle, radius = (xx + yy) / 2, np.hypot((xx - yy) / 2, yx)
        maps += [
            blur,
            scale * np.hypot(down, across),
            scale**2 * (middle + radius),
            scale**2 * (middle - radius),
            np.sqrt(np.maximum(square - blur**2, 0.0)),
        ]
    return np.stack(maps, axis=-1).astype(np.float32)


class PixelForest(Savable):
    """Forest on the filters of drawn pixels.

    Args:
        scales: of the filters, pixels.
        trees: of the forest.
        pixels: drawn of each training micrograph.
        leaf: fewest pixels of a leaf.
        seed: of pixels and trees.
    """

    saved = ("forest",)

    def __init__(
        self, scales: Sequence[float], trees: int, pixels: int, leaf: int, seed: int
    ) -> None:
        self.scales, self.pixels, self.seed = list(scales), pixels, seed
        self.forest = RandomForestClassifier(
            trees, min_samples_leaf=leaf, max_features="sqrt", random_state=seed, n_jobs=1
        )

    def fit(self, train: Samples, validation: Samples | None = None) -> PixelForest:
        generator = np.random.default_rng(self.seed)
        rows, labels = [], []
        for picture, mask in zip(pictures_of(train.inputs), train.target, strict=True):
            places = draw_pixels(self.pixels, picture.size, generator)
            made = filters(picture, self.scales)
            rows.append(made.reshape(picture.size, -1)[places])
            labels.append(mask.ravel()[places])
        self.forest.fit(np.concatenate(rows), np.concatenate(labels))
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return np.stack([self._mask(picture) for picture in pictures_of(inputs)])

    def _mask(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows = filters(picture, self.scales).reshape(picture.size, -1)
        parts = [
            self.forest.predict(rows[start : start + ROWS_AT_ONCE])
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts).astype(np.uint8).reshape(picture.shape)

    def parameter_count(self) -> int:
        return sum(2 * tree.tree_.node_count for tree in self.forest.estimators_)


@keeps_arguments
def build(
    seed: int,
    device: str,
    scales: Sequence[float] = (1.0, 2.0, 4.0, 8.0, 16.0),
    trees: int = 30,
    pixels: int = 2000,
    leaf: int = 5,
) -> PixelForest:
    """An unfitted model; see ``PixelForest``."""
    return PixelForest(scales, trees, pixels, leaf, seed)


def load(folder: Path, device: str) -> PixelForest:
    return rebuild(build, folder, device)

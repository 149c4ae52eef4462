"""Vectors of locally aggregated descriptors: one vector from many descriptors of one image."""

from __future__ import annotations

import numpy as np

from etchmark.saving import Savable

DRAWN = 20_000
"""Descriptors of the training images from which the centres are found."""


class Vlad(Savable):
    """Sums of what descriptors differ by from the nearest of some centres, centre by centre.

    The sum of each centre is scaled to unit length, and so is the whole. Sources: Jégou, Douze,
    Schmid & Pérez, CVPR 2010, DOI 10.1109/CVPR.2010.5540039; scaling: Arandjelović & Zisserman,
    CVPR 2013, DOI 10.1109/CVPR.2013.207.

    Args:
        centres: how many.
        seed: of the descriptors that are drawn and of the first centres.
    """

    saved = ("places",)

    def __init__(self, centres: int, *, seed: int = 0) -> None:
        self.centres, self.seed = centres, seed

    def fit(self, descriptors: np.ndarray) -> Vlad:
        """Find centres by k-means.

        Args:
            descriptors: of training images, shape (images, positions, channels).

        Raises:
            ValueError: there are fewer descriptors than centres.
        """
        from sklearn.cluster import KMeans

        flat = descriptors.reshape(-1, descriptors.shape[-1])
        if len(flat) > DRAWN:
            drawn = np.random.default_rng(self.seed).choice(len(flat), DRAWN, replace=False)
            flat = flat[np.sort(drawn)]
        means = KMeans(self.centres, random_state=self.seed).fit(flat.astype(np.float64))
        self.places = means.cluster_centers_
        return self

    def transform(self, descriptors: np.ndarray) -> np.ndarray:
        """Vectors of images, shape (images, centres x channels), float64."""
        vectors = [self._vector(each.astype(np.float64)) for each in descriptors]
        return np.stack(vectors)

    def _vector(self, descriptors: np.ndarray) -> np.ndarray:
        products = descriptors @ self.places.T
        nearest = np.argmax(products - (self.places**2).sum(axis=1) / 2, axis=1)
        members = np.eye(len(self.places))[nearest]
        sums = members.T @ descriptors - members.sum(axis=0)[:, None] * self.places
        return _unit(_unit(sums).ravel())


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last axis with length one; those of length zero stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)

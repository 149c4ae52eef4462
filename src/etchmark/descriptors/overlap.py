"""How much of one image is found again in others: the search for copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etchmark.descriptors.ensembles import two_phases

PATCH = 32
"""Cells per side of the patches that are searched for."""
LIKELIEST = 4
"""Patches of an image that are compared in full; they look most alike at half the resolution."""
WEAK = 0.5
"""A patch counts as structured from this share of the variance of the others upwards."""


class Overlap(NamedTuple):
    """Largest correlations of each image with any of the others, shape (images,) each."""

    whole: NDArray[np.float64]
    """Of the whole image, shifted around its edges."""
    patch: NDArray[np.float64]
    """Of one of its patches of 32 x 32 cells."""


def largest_overlaps(images: np.ndarray, others: np.ndarray, *, stride: int = PATCH) -> Overlap:
    """How much each image repeats the most similar of some others.

    Every shift and the eight symmetries of the square are tried. Overlaps are correlation
    coefficients: 1 for a copy, near 0 for images that have nothing in common. The variance of a
    patch counts as at least half that of all the others, so that two patches of nearly one phase
    are no copies of each other.

    With more than four patches, all are compared at half the resolution, and the four that look
    most alike there in full.

    Args:
        images: 0 and 1, shape (images, n, n), at least 32 cells per side.
        others: 0 and 1, shape (others, n, n).
        stride: cells between patches of an image.

    Raises:
        ValueError: the images have another shape or other values.
    """
    first, second = (two_phases(part).astype(np.float32) for part in (images, others))
    size = first.shape[1]
    if first.shape[1:] != second.shape[1:] or first.shape[2] != size or size < PATCH:
        raise ValueError(
            f"images of {first.shape[1:]} and {second.shape[1:]} cells; both must be squares of"
            f" one size, of {PATCH} cells at least"
        )
    full, coarse = _Searched(second, PATCH), None
    deviation = np.maximum(second.std(axis=(1, 2)), 1e-3)[:, None, None]
    starts = range(0, size - PATCH + 1, stride)
    if len(starts) ** 2 > LIKELIEST and size % 2 == 0:
        coarse = _Searched(_halved(second), PATCH // 2)
    whole, patch = np.zeros(len(first)), np.zeros(len(first))
    for place, image in enumerate(first):
        turned = np.stack(_symmetries(image))
        scale = max(float(image.std()), 1e-3) * image.size
        found = full.correlations(turned - image.mean())
        whole[place] = max(float((part / (scale * deviation)).max()) for part in found)
        patches = [image[row : row + PATCH, column : column + PATCH]
                   for row in starts for column in starts]  # fmt: skip
        if coarse is not None:
            alike = [coarse.overlap(half) for half in _halved(np.stack(patches))]
            patches = [patches[number] for number in np.argsort(alike)[-LIKELIEST:]]
        patch[place] = max(full.overlap(each) for each in patches)
    return Overlap(whole, patch)


class _Searched:
    """Images in which patches are searched for.

    Args:
        images: shape (images, n, n).
        side: cells per side of a patch.
    """

    def __init__(self, images: NDArray[np.float32], side: int) -> None:
        self.size = images.shape[1]
        self.spectra: Any = fft.rfft2(images)
        # Standard deviation of the patch that starts at each cell, around the edges; never small.
        box = np.zeros((self.size, self.size), dtype=np.float32)
        box[:side, :side] = 1.0 / side**2
        window = np.conj(np.asarray(fft.rfft2(box)))
        shape = (self.size, self.size)
        mean: Any = fft.irfft2(self.spectra * window, shape)
        # Of values 0 and 1 the mean square is the mean.
        binary = bool(np.isin(images, (0, 1)).all())
        squares: Any = self.spectra if binary else fft.rfft2(images**2)
        square: Any = fft.irfft2(squares * window, shape)
        variance = max(float(images.var()), 1e-6)
        self.local = np.sqrt(np.maximum(square - mean**2, WEAK * variance))

    def correlations(self, templates: np.ndarray) -> Any:
        """Sums of products of each template with all images at every shift, one at a time."""
        shape = (self.size, self.size)
        transformed: Any = fft.rfft2(templates.astype(np.float32), shape)
        for template in transformed:
            yield fft.irfft2(self.spectra * np.conj(template), shape)

    def overlap(self, patch: np.ndarray) -> float:
        """The largest correlation of a patch, in any symmetry, with a place of any image."""
        turned = np.stack(_symmetries(patch)) - patch.mean()
        scale = max(float(patch.std()), float(self.local.min())) * patch.size
        found = self.correlations(turned)
        return max(float((part / self.local).max()) / scale for part in found)


def _halved(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images at half the resolution, each cell the mean of four."""
    count, size, _ = images.shape
    return images.reshape(count, size // 2, 2, size // 2, 2).mean(axis=(2, 4))


def _symmetries(image: np.ndarray) -> list[np.ndarray]:
    """An image and its mirror image, each turned by 0, 90, 180 and 270 degrees."""
    return [np.rot90(flipped, turns) for flipped in (image, image.T) for turns in range(4)]


def overlap_limits(
    exemplar: np.ndarray, realisations: np.ndarray, further: Sequence[np.ndarray] | np.ndarray = ()
) -> NDArray[np.float64]:
    """Overlaps beyond which an image is a copy: of the whole image, and of a patch.

    Each realisation is compared with the exemplar, with all other realisations and with further
    images. A limit lies midway between the largest overlap found and that of a copy, 1.

    Args:
        exemplar: 0 and 1, shape (n, n).
        realisations: shape (realisations, n, n), independent of the exemplar and of each other.
        further: shape (further, n, n), independent of all of them; none if empty.

    Returns:
        Shape (2,).
    """
    largest = np.zeros(2)
    others = [exemplar[None], realisations, np.asarray(further).reshape(-1, *exemplar.shape)]
    for place, image in enumerate(realisations):
        rest = [others[0], np.delete(realisations, place, axis=0), others[2]]
        found = largest_overlaps(image[None], np.concatenate(rest))
        largest = np.maximum(largest, [found.whole[0], found.patch[0]])
    return (1.0 + largest) / 2.0

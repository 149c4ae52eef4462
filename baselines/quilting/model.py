"""Image quilting: patches of the exemplar, each cut along the seam that shows least.

Efros & Freeman, SIGGRAPH 2001, DOI 10.1145/383259.383296. It resamples the exemplar rather than
modelling it. A quilt of a periodic exemplar is periodic, and patches then also lie across the
exemplar's edges. In an exemplar as small as these, the patch that fits best is often the one that
follows its neighbour in the exemplar, and quilts would become copies: such patches are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from etchmark.errors import UserError
from etchmark.learning.reconstruction import Exemplar, Image, Reconstruction, checked
from etchmark.saving import keeps_arguments, rebuild

BLUR_PX = 1.0
"""Of the blur before a quilt is cut at the exemplar's volume fraction: edges alone are moved."""

Values = NDArray[np.float64]


def cheapest_path(costs: Values) -> NDArray[np.intp]:
    """Column at each row of the path down an array that costs least, one column a row at most.

    Args:
        costs: of a pixel, shape (rows, columns).
    """
    rows, columns = costs.shape
    total = costs.copy()
    for row in range(1, rows):
        above = np.pad(total[row - 1], 1, constant_values=np.inf)
        total[row] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    path = np.empty(rows, dtype=np.intp)
    path[-1] = np.argmin(total[-1])
    for row in range(rows - 2, -1, -1):
        first = max(0, path[row + 1] - 1)
        path[row] = first + np.argmin(total[row, first : min(columns, path[row + 1] + 2)])
    return path


class Quilting(Reconstruction):
    """Quilts of the exemplar at its volume fraction.

    Args:
        patch: side of a patch, pixels.
        overlap: of neighbouring patches, pixels.
        tolerance: one of the patches that differ from what is there by at most the least difference
            times one plus this is drawn.
        tries: quilts that are made of each image; the one with the volume fraction nearest to the
            exemplar's is kept.
        seed: of the quilts.
    """

    def __init__(self, patch: int, overlap: int, tolerance: float, tries: int, seed: int) -> None:
        super().__init__(seed)
        self.patch, self.overlap = patch, overlap
        self.tolerance, self.tries = tolerance, tries

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        patches = self._patches(exemplar)
        images = []
        for generator in generators:
            quilts = [self._quilt(exemplar, patches, generator) for _ in range(self.tries)]
            nearest = min(quilts, key=lambda quilt: abs(float(quilt.mean()) - exemplar.fraction))
            images.append(self._at_fraction(nearest, exemplar))
        return np.stack(images)

    def _patches(self, exemplar: Exemplar) -> Image:
        """Every patch of the exemplar, shape (rows, columns, patch, patch)."""
        image, side = exemplar.image, self.patch
        if side > min(image.shape):
            raise UserError(f"patch {side}: the exemplar has {image.shape} pixels; give fewer")
        if exemplar.periodic:
            image = np.pad(image, (0, side - 1), mode="wrap")
        return sliding_window_view(image, (side, side))

    def _places(self, exemplar: Exemplar) -> tuple[list[int], list[int], tuple[int, int]]:
        """First rows and columns of the patches, and the shape of the quilt that they make."""
        step = self.patch - self.overlap
        counts = [-(-side // step) for side in exemplar.image.shape]
        if exemplar.periodic:
            # The last patch overlaps with the first; they lie closer where that does not divide.
            sides = exemplar.image.shape
            rows, columns = (
                [round(number * side / count) for number in range(count)]
                for side, count in zip(sides, counts, strict=True)
            )
            return rows, columns, (sides[0], sides[1])
        rows, columns = ([step * number for number in range(count)] for count in counts)
        return rows, columns, (rows[-1] + self.patch, columns[-1] + self.patch)

    def _quilt(self, exemplar: Exemplar, patches: Image, generator: Generator) -> Image:
        rows, columns, shape = self._places(exemplar)
        quilt, made = np.zeros(shape, np.uint8), np.zeros(shape, bool)
        # Where in the exemplar each pixel comes from, less where it is.
        shifts = np.zeros((*shape, 2), np.int64)
        reach = np.arange(self.patch)
        for row in rows:
            for column in columns:
                place = np.ix_((row + reach) % shape[0], (column + reach) % shape[1])
                there, known = quilt[place], made[place]
                here = np.array([row, column])
                source = self._chosen(patches, there, known, shifts[place][known] + here, generator)
                kept = self._kept(there != patches[tuple(source)], known)
                quilt[place] = np.where(kept, there, patches[tuple(source)])
                shifts[place] = np.where(kept[..., None], shifts[place], source - here)
                made[place] = True
        height, width = exemplar.image.shape
        return quilt[:height, :width]

    def _chosen(
        self,
        patches: Image,
        there: Image,
        known: NDArray[np.bool_],
        following: NDArray[np.int64],
        generator: Generator,
    ) -> NDArray[np.int64]:
        """Row and column of a patch that differs little from what is there already.

        Args:
            patches: all of them.
            there: pixels at its place.
            known: which of them are there already.
            following: row and column of the patches that would go on with these pixels.
            generator: draws.
        """
        counts = patches.shape[:2]
        if not known.any():
            return generator.integers(counts)
        differences = np.count_nonzero(patches[:, :, known] != there[known], axis=2)
        differences[self._near(np.unique(following, axis=0), counts)] = known.size
        # A least difference of zero would leave no choice.
        limit = (1 + self.tolerance) * max(int(differences.min()), 1)
        candidates = np.argwhere(differences <= limit)
        return candidates[generator.integers(len(candidates))]

    def _near(self, sources: NDArray[np.int64], counts: tuple[int, ...]) -> NDArray[np.bool_]:
        """Patches less than half a patch away from some others along both axes."""
        near = np.zeros(counts, bool)
        for source in sources:
            apart = [
                np.abs((np.arange(count) - first + count // 2) % count - count // 2)
                for first, count in zip(source, counts, strict=True)
            ]
            near |= np.logical_and.outer(*(distance < self.patch // 2 for distance in apart))
        return near

    def _kept(self, differ: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Pixels of what is there that stay, on the far side of the cheapest seams."""
        kept = np.zeros_like(known)
        for turns in self._sides(known):
            costs = np.rot90(differ, turns)[:, : self.overlap].astype(np.float64)
            seam = cheapest_path(costs)
            before = np.zeros_like(known)
            before[:, : self.overlap] = np.arange(self.overlap) < seam[:, None]
            kept |= np.rot90(before, -turns)
        return kept & known

    def _sides(self, known: NDArray[np.bool_]) -> Iterator[int]:
        """Quarter turns that bring each side with a neighbour to the left."""
        for turns in range(4):
            strip = np.rot90(known, turns)[:, : self.overlap]
            if strip[len(strip) // 2].all():
                yield turns

    @staticmethod
    def _at_fraction(quilt: Image, exemplar: Exemplar) -> Image:
        """The quilt with its edges moved until it has the exemplar's volume fraction."""
        if quilt.sum() == exemplar.image.sum():
            return quilt
        mode = "wrap" if exemplar.periodic else "nearest"
        return exemplar.cut(ndimage.gaussian_filter(quilt.astype(np.float64), BLUR_PX, mode=mode))


@keeps_arguments
def build(
    seed: int,
    device: str,
    patch: int = 20,
    overlap: int = 4,
    tolerance: float = 0.1,
    tries: int = 4,
) -> Quilting:
    checked({"overlap": (overlap, 1), "tolerance": (tolerance, 0), "tries": (tries, 1)})
    checked({"patch": (patch, 2 * overlap + 1)})
    return Quilting(patch, overlap, tolerance, tries, seed)


def load(folder: Path, device: str) -> Quilting:
    return rebuild(build, folder, device)

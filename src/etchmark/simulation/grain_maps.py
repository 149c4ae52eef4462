"""Which cell belongs to which grain, read off a frame of grain growth.

A frame is the sum of the squared order parameters, which does not tell which of them is where:
grains are the basins of the inverted frame (a watershed). The equation can be solved on from such a
map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from scipy import ndimage

from etchmark.simulation.grain_growth import GrainGrowth, longest_step

DEPTH = 0.01
"""By how much a frame rises from the boundary of a grain to its middle, at least."""
RIM = 8
"""Pixels put around a frame for the splines, whose influence fades faster."""


class Law(TypedDict):
    """Coefficients of the equation, with pixels one unit apart: see ``GrainGrowth``."""

    mobility: float
    gradient_energy: float
    anisotropy: float


@dataclass(frozen=True)
class Cells:
    """How the equation is solved on.

    Attributes:
        per_pixel: cells per pixel and direction.
        wide: begin with boundaries as wide as at rest, in place of sharp ones.
        dt: longest time step; None for the longest that is stable.
        device: ``cpu`` or ``cuda``.
    """

    per_pixel: int
    wide: bool = False
    dt: float | None = None
    device: str = "cpu"

    def grown(self, grains: np.ndarray, times: list[float], law: Law) -> np.ndarray:
        """Frames at some times after a map of grains, shape (times, n, n), float64.

        Args:
            grains: of each cell, shape (n * per_pixel, n * per_pixel).
            times: rising, not negative.
            law: coefficients.

        Raises:
            ValueError: a coefficient is out of its range.
            Unstable: a value is no longer finite.
        """
        cells, spacing = self.per_pixel, 1 / self.per_pixel
        # Just below the limit: at it the shortest wave neither grows nor fades.
        dt = 0.98 * longest_step(spacing=spacing, **law)
        if self.dt is not None:
            dt = min(self.dt, dt)
        solver = GrainGrowth(len(grains), spacing=spacing, **law, dt=dt, device=self.device)
        frames = solver.evolve(grains, times, wide=self.wide).frames[0]
        n = len(grains) // cells
        return frames.reshape(len(times), n, cells, n, cells).mean(axis=(2, 4))

    def forecast(self, frame: np.ndarray, frames: int, interval: float, law: Law) -> np.ndarray:
        """Frames that follow one, shape (frames, n, n), float64."""
        times = (interval * np.arange(1, frames + 1)).tolist()
        return self.grown(grains_of(frame, self.per_pixel), times, law)


def grains_of(frame: np.ndarray, cells: int = 1, depth: float = DEPTH) -> np.ndarray:
    """Number of the grain of each cell of a periodic frame, shape (n * cells, n * cells).

    Args:
        frame: bright grains and dark boundaries, shape (n, n).
        cells: per pixel and direction; the frame is interpolated by cubic splines between them.
        depth: maxima that rise by less than this above the way to a higher one are none.
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    n = len(frame)
    fine = _interpolated(np.asarray(frame, dtype=np.float64), cells)
    # Twice the cell in either direction holds every basin whole.
    half = n * cells // 2
    wide = np.pad(fine, half, mode="wrap")
    along = slice(half, half + n * cells)
    peaks = np.asarray(local_maxima(reconstruction(wide - depth, wide)))[along, along]
    marks = _periodic_components(peaks)
    return watershed(-wide, np.pad(marks, half, mode="wrap"))[along, along].astype(np.int64)


def _interpolated(frame: np.ndarray, cells: int) -> np.ndarray:
    if cells == 1:
        return frame
    places = (np.arange(len(frame) * cells) + 0.5) / cells - 0.5 + RIM
    grid = np.meshgrid(places, places, indexing="ij")
    return ndimage.map_coordinates(np.pad(frame, RIM, mode="wrap"), grid, order=3)


def _periodic_components(mask: np.ndarray) -> np.ndarray:
    """Numbers of the connected parts of a periodic mask, 0 outside."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts = np.empty(mask.shape, dtype=np.int64)
    count = int(ndimage.label(mask, structure=np.ones((3, 3)), output=parts))  # type: ignore[arg-type]
    meet = [(parts[0], parts[-1]), (parts[:, 0], parts[:, -1])]
    # Pieces that touch across an edge, straight or diagonally.
    pairs = [
        np.stack([first, np.roll(last, shift)]) for first, last in meet for shift in (-1, 0, 1)
    ]
    first, last = np.concatenate(pairs, axis=1)
    both = (first > 0) & (last > 0)
    edges = (np.ones(int(both.sum())), (first[both], last[both]))
    whole = connected_components(coo_array(edges, shape=(count + 1, count + 1)), directed=False)[1]
    return np.where(parts > 0, whole[parts] + 1, 0)

"""The equation itself, solved on from a map of the grains in the last frame known.

A frame is the sum of the squared order parameters, which does not tell which of them is where. So
the grains are found as the basins of the inverted frame (a watershed), each is given an order
parameter of its own, sharply bounded, and these are stepped on by the multi-order-parameter model
with the true coefficients: see ``etchmark.simulation.grain_growth``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import ndimage

from etchmark.learning.forecasting import context_of, horizon_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable, keeps_arguments, rebuild
from etchmark.simulation.grain_growth import GrainGrowth, longest_step

DEPTH = 0.01
"""By how much a frame rises from the boundary of a grain to its middle, at least."""
RIM = 8
"""Pixels put around a frame for the splines, whose influence fades faster."""
KNOWN = ("mobility", "anisotropy", "gradient_energy", "frame_spacing")


class GrainSolver(Savable):
    """Solves the equation from the last frame; learns nothing, since it knows the law.

    Args:
        cells: per pixel and direction.
        dt: time step; less where that is unstable.
        mobility_factor: what the true mobility is mistaken by.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, cells: int, dt: float, mobility_factor: float, device: str) -> None:
        if type(cells) is not int or cells < 1 or not (dt > 0 and mobility_factor > 0):
            raise ValueError(f"cells {cells}, dt {dt}, mobility_factor {mobility_factor}: positive")
        self.cells, self.dt, self.device = cells, dt, device
        self.mobility_factor = mobility_factor

    def fit(self, train: Samples, validation: Samples | None = None) -> GrainSolver:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises:
            ValueError: an input has a wrong shape, is out of range or not finite.
        """
        context, frames = context_of(inputs), horizon_of(inputs)
        rows, n, cells = len(context), context.shape[2], self.cells
        laws = _laws(inputs, rows)
        predicted = np.empty((rows, frames, n, n), np.float16)
        for row, (mobility, anisotropy, energy, spacing) in enumerate(laws.tolist()):
            law = {
                "spacing": 1 / cells,
                "mobility": mobility * self.mobility_factor,
                "gradient_energy": energy,
                "anisotropy": anisotropy,
            }
            # Just below the limit: at it the shortest wave neither grows nor fades.
            dt = min(self.dt, 0.98 * longest_step(**law))
            solver = GrainGrowth(n * cells, **law, dt=dt, device=self.device)
            labels = grains_of(context[row, -1], cells)
            grown = solver.evolve(labels, (spacing * np.arange(1, frames + 1)).tolist()).frames[0]
            predicted[row] = grown.reshape(frames, n, cells, n, cells).mean(axis=(2, 4))
        return predicted

    def parameter_count(self) -> int:
        return 0


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


def _laws(inputs: Inputs, rows: int) -> np.ndarray:
    """Mobility, anisotropy, gradient energy and time between frames, shape (rows, 4)."""
    columns = [np.asarray(inputs[name], dtype=np.float64) for name in KNOWN]
    for name, column in zip(KNOWN, columns, strict=True):
        least = 0.0 if name == "anisotropy" else math.nextafter(0.0, 1.0)
        if column.shape != (rows,) or not (np.isfinite(column) & (column >= least)).all():
            raise ValueError(f"{name} must be a finite number in its range for each of {rows} rows")
    return np.stack(columns, axis=1)


@keeps_arguments
def build(
    seed: int, device: str, *, cells: int, dt: float, mobility_factor: float = 1.0
) -> GrainSolver:
    """A model that is never trained.

    Args:
        seed: not used.
        device: ``cpu`` or ``cuda``.
        cells: per pixel and direction.
        dt: longest time step.
        mobility_factor: what the true mobility is mistaken by.
    """
    return GrainSolver(cells, dt, mobility_factor, device)


def load(folder: Path, device: str) -> GrainSolver:
    return rebuild(build, folder, device)

"""Grain growth by a phase-field model with one order parameter per grain.

    d eta_i / dt = -L (-eta_i + eta_i³ + 2 gamma eta_i sum_{j != i} eta_j² - kappa laplace(eta_i))

after Chen & Yang, Phys. Rev. B 50 (1994) 15752, DOI 10.1103/PhysRevB.50.15752, on a periodic
square. Each order parameter is kept only on a box around its grain, beyond which it is below a
tolerance, and is dropped when its grain has vanished: the cost of a step is the number of cells in
boxes, not the number of grains. Differences are taken with the isotropic stencil of nine
points; steps are explicit, in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etchmark.simulation import checks
from etchmark.simulation.grain_model import PRESENT, GrainModel, longest_step
from etchmark.simulation.grain_tensors import NotFinite, Run
from etchmark.simulation.microstructures import nearest_points
from etchmark.simulation.phase_field import Evolution, Unstable, moments

SYMMETRIC = 1.5
"""The gamma at which the order parameters on the two sides of a boundary sum to one."""

__all__ = ["GrainGrowth", "Grains", "Unstable", "longest_step", "voronoi"]


@dataclass(frozen=True)
class Grains(Evolution):
    """An evolution whose frames are sum eta_i², with what is known of its grains.

    Attributes:
        count: number of grains, shape (batch, frames).
        area: mean grain area, shape (batch, frames); infinite where there is none.
    """

    count: np.ndarray
    area: np.ndarray


@dataclass(eq=False, kw_only=True)
class GrainGrowth(GrainModel):
    """Solver on n x n cells.

    Args:
        n: cells per side.
        spacing: side of a cell.
        gradient_energy: kappa.
        mobility: L.
        gamma: factor of the cross terms; at 1.5 profiles are symmetric.
        dt: the longest time step.
        anisotropy: delta, from 0 to below 1: the mobility of a boundary whose normal has the angle
            theta to the first axis is L (1 + delta cos 2 theta).
        tolerance: values below it are dropped beyond a grain's box; 0 keeps every order parameter
            everywhere.
        rebox: steps between two fittings of the boxes.
        compiled: whether a CPU runs the loops of ``grain_boxes`` (some ten times as fast) in place
            of torch.
        device: of torch.

    Raises:
        ValueError: a parameter is out of its range, or ``dt`` is unstable on this grid.
    """

    compiled: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._device = checks.device(self.device)
        self.compiled = self.compiled and self._device.type == "cpu"

    def evolve(self, labels: np.ndarray, times: Sequence[float], *, wide: bool = False) -> Grains:
        """Grow grains from a map of labels.

        Args:
            labels: number of the grain of each cell at t = 0, shape (batch, n, n) or (n, n);
                whole numbers of at least 0.
            times: rising, not negative.
            wide: begin with boundaries as wide as flat ones are at rest, in place of sharp ones;
                for gamma = 3/2 alone.

        Raises:
            ValueError: an argument is wrong.
            Unstable: a value is no longer finite.
        """
        try:
            array = np.asarray(labels)
        except ValueError:
            raise ValueError("labels must be an array: every row has to be as long as n") from None
        cells = array[None] if array.ndim == 2 else array
        if cells.ndim != 3 or cells.shape[1:] != (self.n, self.n) or not len(cells):
            raise ValueError(
                f"labels of shape {array.shape} must be (batch, {self.n}, {self.n}) or"
                f" ({self.n}, {self.n})"
            )
        if cells.dtype.kind not in "iu" or cells.min() < 0:
            raise ValueError("labels must be whole numbers of at least 0")
        if wide and self.gamma != SYMMETRIC:
            raise ValueError(f"boundaries at rest are known for gamma = {SYMMETRIC:g} alone")
        width = math.sqrt(2 * self.gradient_energy) / self.spacing if wide else 0.0
        instants = moments(times)
        solve = self._compiled if self.compiled else self._on_device
        try:
            frames, energy, count = solve(cells, instants, width)
        except NotFinite as error:
            raise Unstable(
                f"grain growth: values are not finite at t = {error.args[0]:g}; take a smaller dt"
            ) from None
        with np.errstate(divide="ignore"):
            area = (self.n * self.spacing) ** 2 / count.astype(np.float64)
        return Grains(np.array(instants), frames, energy, frames.mean(axis=(2, 3)), count, area)

    def _compiled(
        self, cells: np.ndarray, moments: Sequence[float], width: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames, energies and counts, one cell of the batch after the other."""
        # Compiling takes seconds the first time: only where the loops are run.
        from etchmark.simulation.grain_boxes import Boxes

        shape = (len(cells), len(moments))
        checks.memory(cells.shape, 8 * self.n**2 * (len(cells) * len(moments) + 64))
        frames, energy = np.empty((*shape, self.n, self.n)), np.empty(shape)
        count = np.empty(shape, dtype=np.int64)
        for row, cell in enumerate(cells):
            boxes = Boxes(self, cell, width)
            for column, moment in enumerate(moments):
                boxes.until(moment)
                frames[row, column], energy[row, column] = boxes.total, boxes.energy()
                count[row, column] = boxes.count(PRESENT)
        return frames, energy, count

    def _on_device(
        self, cells: np.ndarray, moments: Sequence[float], width: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same by torch, all cells of the batch at once."""
        run = Run(self, cells, self._device, width)
        seen = [run.frame(moment) for moment in moments]
        frames, energy, count = (np.stack(part, axis=1) for part in zip(*seen, strict=True))
        return frames, energy, count


def voronoi(n: int, seeds: int, generator: np.random.Generator) -> np.ndarray:
    """Labels of the nearest of random points on a periodic square, shape (n, n).

    The same generator gives the same grains on any number of cells.
    """
    checks.whole(n, "n", 2, 2**15)
    checks.whole(seeds, "seeds", 2, n * n)
    # The first cell reaches from 0 to 1, and its centre counts.
    points = generator.random((seeds, 2)) * n - 0.5
    return nearest_points((n, n), points)[1]

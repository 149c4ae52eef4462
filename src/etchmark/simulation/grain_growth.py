"""Grain growth by a phase-field model with one order parameter per grain.

    d eta_i / dt = -L (-eta_i + eta_i³ + 2 gamma eta_i sum_{j != i} eta_j² - kappa laplace(eta_i))

after Chen & Yang, Phys. Rev. B 50 (1994) 15752, DOI 10.1103/PhysRevB.50.15752, on a periodic
square. Each order parameter is kept only on a box around its grain, beyond which it is less than a
tolerance, and is dropped when its grain has gone: a step costs as much as there are cells in boxes,
however many grains there ever were. Differences are taken with the isotropic stencil of nine
points; steps are explicit, in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from etchmark.simulation import checks
from etchmark.simulation.microstructures import nearest_points
from etchmark.simulation.phase_field import Evolution, Unstable, moments

MARGIN = 3
"""Cells between a grain's outermost value above the tolerance and the edge of its box."""
SIDES = 16
"""Boxes have sides of multiples of this, so that those of one size are stepped together."""
COPIES = 8
"""Arrays of the size of all boxes that a step holds at once."""
WIDENING = 40
"""Steps at the beginning during which boxes are fitted at every other one."""
PRESENT = 0.5
"""A grain counts while its order parameter exceeds this somewhere."""


@dataclass(frozen=True)
class Grains(Evolution):
    """An evolution whose frames are sum eta_i², with what is known of its grains.

    Attributes:
        count: number of grains, shape (batch, frames).
        area: mean grain area, shape (batch, frames); infinite where there is none.
    """

    count: np.ndarray
    area: np.ndarray


@dataclass
class _Boxes:
    """Order parameters on boxes of one size.

    Attributes:
        field: values with a rim of one cell, shape (grains, side + 2, side + 2).
        origin: first row and column of each box in its cell, shape (grains, 2).
        owner: which cell of the batch, shape (grains,).
        index: place of each box cell in the flat batch, shape (grains * side²,).
        whole: the box is the whole cell, whose edges meet.
    """

    field: Tensor
    origin: Tensor
    owner: Tensor
    index: Tensor
    whole: bool

    @property
    def inner(self) -> Tensor:
        return self.field[:, 1:-1, 1:-1]


class GrainGrowth:
    """Solver on n x n cells.

    Args:
        n: cells per side.
        spacing: of the cells.
        gradient_energy: kappa.
        mobility: L.
        gamma: of the cross terms; at 1.5 profiles are symmetric.
        dt: the longest time step.
        anisotropy: delta, from 0 to below 1: the mobility of a boundary whose normal has the angle
            theta to the first axis is L (1 + delta cos 2 theta).
        tolerance: values below it are dropped beyond a grain's box; 0 keeps every order parameter
            everywhere.
        rebox: steps after which boxes are fitted again.
        compiled: whether a CPU runs the loops of ``grain_boxes`` (some ten times as fast) in place
            of torch.
        device: of torch.
    """

    def __init__(
        self,
        n: int,
        *,
        spacing: float = 0.5,
        gradient_energy: float = 1.0,
        mobility: float = 1.0,
        gamma: float = 1.5,
        dt: float = 0.05,
        anisotropy: float = 0.0,
        tolerance: float = 1e-4,
        rebox: int = 10,
        compiled: bool = True,
        device: str = "cpu",
    ) -> None:
        self.n = checks.whole(n, "n", 8, 8192)
        self.spacing = checks.number(spacing, "spacing", 0.0, math.inf)
        self.gradient_energy = checks.number(gradient_energy, "gradient_energy", 0.0, math.inf)
        self.mobility = checks.number(mobility, "mobility", 0.0, math.inf)
        self.gamma = checks.number(gamma, "gamma", 0.5, math.inf)
        self.dt = checks.number(dt, "dt", 0.0, math.inf)
        self.anisotropy = checks.number(anisotropy, "anisotropy", 0.0, 0.999, ends=True)
        self.tolerance = checks.number(tolerance, "tolerance", 0.0, 0.01, ends=True)
        self.rebox = checks.whole(rebox, "rebox", 1)
        self.device = checks.device(device)
        self.compiled = compiled and self.device.type == "cpu"
        limit = longest_step(
            spacing=self.spacing,
            gradient_energy=self.gradient_energy,
            mobility=self.mobility,
            gamma=self.gamma,
            anisotropy=self.anisotropy,
        )
        if self.dt > limit:
            raise ValueError(f"dt {dt:g} is unstable on this grid; take at most {limit:.3g}")

    def evolve(self, labels: np.ndarray, times: Sequence[float]) -> Grains:
        """Grow grains from a map of labels.

        Args:
            labels: number of the grain of each cell at t = 0, shape (batch, n, n) or (n, n);
                whole numbers of at least 0.
            times: rising, not negative.

        Raises:
            ValueError: an argument is wrong.
            Unstable: a value is no longer finite.
        """
        try:
            given = np.asarray(labels)
        except ValueError:
            raise ValueError("labels must be an array: every row has to be as long as n") from None
        cells = given[None] if given.ndim == 2 else given
        if cells.ndim != 3 or cells.shape[1:] != (self.n, self.n) or not len(cells):
            raise ValueError(
                f"labels of shape {given.shape} must be (batch, {self.n}, {self.n}) or"
                f" ({self.n}, {self.n})"
            )
        if cells.dtype.kind not in "iu" or cells.min() < 0:
            raise ValueError("labels must be whole numbers of at least 0")
        wanted = moments(times)
        if self.compiled:
            frames, energy, count = self._compiled(cells, wanted)
        else:
            run = _Run(self, cells)
            seen = [run.frame(moment) for moment in wanted]
            frames, energy, count = (np.stack(part, axis=1) for part in zip(*seen, strict=True))
        with np.errstate(divide="ignore"):
            area = (self.n * self.spacing) ** 2 / count.astype(np.float64)
        return Grains(np.array(wanted), frames, energy, frames.mean(axis=(2, 3)), count, area)

    def _compiled(
        self, cells: np.ndarray, wanted: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames, energies and counts, one cell of the batch after the other."""
        # Compiling takes seconds where it was never done before.
        from etchmark.simulation.grain_boxes import Boxes, NotFinite

        shape = (len(cells), len(wanted))
        checks.memory(cells.shape, 8 * self.n**2 * (len(cells) * len(wanted) + 64))
        frames, energy = np.empty((*shape, self.n, self.n)), np.empty(shape)
        count = np.empty(shape, dtype=np.int64)
        for row, cell in enumerate(cells):
            boxes = Boxes(self, cell)
            for at, moment in enumerate(wanted):
                try:
                    boxes.until(moment)
                except NotFinite as error:
                    raise _unstable(float(error.args[0])) from None
                frames[row, at], energy[row, at] = boxes.total, boxes.energy()
                count[row, at] = boxes.count(PRESENT)
        return frames, energy, count


class _Run:
    """One integration: the boxes of all grains of a batch."""

    def __init__(self, solver: GrainGrowth, cells: np.ndarray) -> None:
        self.solver, self.batch, self.time = solver, len(cells), 0.0
        self.total = torch.zeros(
            self.batch * solver.n**2, dtype=torch.float64, device=solver.device
        )
        self.groups = list(self._first(cells))
        self.age = 0

    # --- boxes ---

    def _first(self, cells: np.ndarray) -> Iterator[_Boxes]:
        """Boxes around every label of every cell."""
        n = self.solver.n
        reach = MARGIN + 1
        found: dict[int, list[tuple[int, int, int, np.ndarray]]] = {}
        for owner, cell in enumerate(cells):
            for label in np.unique(cell):
                mask = cell == label
                spans = [_span(mask.any(axis=1 - axis)) for axis in (0, 1)]
                side = self._side(max(length for _, length in spans) + 2 * reach)
                starts = [0, 0]
                if side < n:
                    starts = [first - (side - length) // 2 for first, length in spans]
                rows, columns = ((start + np.arange(side)) % n for start in starts)
                part = (owner, *starts, mask[np.ix_(rows, columns)])
                found.setdefault(side, []).append(part)  # type: ignore[arg-type]
        for side, parts in sorted(found.items()):
            checks.memory((side, side), len(parts) * side**2 * 8 * COPIES)
            values = torch.from_numpy(np.stack([part[3] for part in parts]).astype(np.float64))
            origin = torch.tensor([part[1:3] for part in parts])
            owner = torch.tensor([part[0] for part in parts])
            yield self._boxes(side, values, origin, owner)

    def _side(self, needed: int) -> int:
        """Side of the box for what is needed: the whole cell if that is no larger."""
        if self.solver.tolerance == 0:
            return self.solver.n
        return min(self.solver.n, SIDES * math.ceil(needed / SIDES))

    def _boxes(self, side: int, values: Tensor, origin: Tensor, owner: Tensor) -> _Boxes:
        n, device = self.solver.n, self.solver.device
        values, origin, owner = (one.to(device) for one in (values, origin, owner))
        along = torch.arange(side, device=device)
        rows = (origin[:, :1] + along) % n
        columns = (origin[:, 1:] + along) % n
        index = (owner[:, None, None] * n + rows[:, :, None]) * n + columns[:, None, :]
        return _Boxes(functional.pad(values, (1, 1, 1, 1)), origin, owner, index.ravel(), side == n)

    def _refit(self) -> None:
        """Fit boxes to what is above the tolerance; drop what is nowhere above it."""
        solver = self.solver
        moved: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}
        for group in self.groups:
            if solver.tolerance == 0:
                return
            self._sort_out(group, moved)
        self.groups = [
            self._boxes(side, *(torch.cat(part) for part in zip(*parts, strict=True)))
            for side, parts in sorted(moved.items())
        ]

    def _sort_out(
        self, group: _Boxes, moved: dict[int, list[tuple[Tensor, Tensor, Tensor]]]
    ) -> None:
        """Cut the boxes of one group anew and put them with others of their size."""
        solver, inner = self.solver, group.inner
        # What is no number is not above the tolerance either: it must not be left behind unseen.
        self._finite(inner)
        above = inner > solver.tolerance
        spans = [_spans(above.any(2 - axis).cpu().numpy(), cyclic=group.whole) for axis in (0, 1)]
        needed = np.maximum(spans[0][1], spans[1][1]) + 2 * MARGIN
        sides = np.array([self._side(int(one)) for one in needed])
        # What is nowhere above the tolerance has no span and is left behind.
        sides[spans[0][1] == 0] = 0
        for side in np.unique(sides[sides > 0]).tolist():
            rows = np.flatnonzero(sides == side)
            chosen = torch.from_numpy(rows).to(solver.device)
            values, origin, owner = inner[chosen], group.origin[chosen], group.owner[chosen]
            if side == solver.n:
                if not group.whole:
                    values = _wrapped(values, origin, side)
                origin = torch.zeros_like(origin)
            else:
                starts = [first[rows] - (side - length[rows]) // 2 for first, length in spans]
                offset = torch.from_numpy(np.stack(starts, axis=1)).to(solver.device)
                values = _cut(values, offset, side, solver.n if group.whole else None)
                origin = (origin + offset) % solver.n
            moved.setdefault(side, []).append((values, origin, owner))

    # --- steps ---

    def frame(self, moment: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frame, energy and number of grains of every cell of the batch at a moment."""
        solver = self.solver
        span = moment - self.time
        steps = max(0, math.ceil(span / solver.dt - 1e-9))
        for _ in range(steps):
            self._step(span / steps)
            self.time += span / steps
        self.time = moment
        self._sum()
        self._finite(self.total)
        frame = self.total.view(self.batch, solver.n, solver.n)
        count = torch.zeros(self.batch, dtype=torch.int64, device=solver.device)
        for group in self.groups:
            present = (group.inner.amax((1, 2)) > PRESENT).long()
            count.index_add_(0, group.owner, present)
        energy = self._energy(frame)
        return frame.cpu().numpy().copy(), energy.cpu().numpy(), count.cpu().numpy()

    def _finite(self, values: Tensor) -> None:
        if not math.isfinite(float(values.sum())):
            raise _unstable(self.time)

    def _sum(self) -> None:
        self.total.zero_()
        for group in self.groups:
            self.total.scatter_add_(0, group.index, group.inner.square().reshape(-1))

    def _rim(self, group: _Boxes) -> None:
        """Across the edges of a whole cell; around other boxes there is nothing."""
        if group.whole:
            field = group.field
            field[:, 0], field[:, -1] = field[:, -2], field[:, 1]
            field[:, :, 0], field[:, :, -1] = field[:, :, -2], field[:, :, 1]

    def _laplace(self, group: _Boxes) -> Tensor:
        """Laplacian times 6 h²."""
        field = group.field
        rows = field[:, :-2] + field[:, 2:]
        near = 4 * rows[:, :, 1:-1]
        near += rows[:, :, :-2]
        near += rows[:, :, 2:]
        near.add_(field[:, 1:-1, :-2], alpha=4).add_(field[:, 1:-1, 2:], alpha=4)
        return near.sub_(field[:, 1:-1, 1:-1], alpha=20)

    def _step(self, dt: float) -> None:
        solver = self.solver
        # Sharp boundaries widen at first.
        if self.age % (2 if self.age < WIDENING else solver.rebox) == 0:
            self._refit()
        self.age += 1
        self._sum()
        scale = solver.gradient_energy / (6 * solver.spacing**2)
        for group in self.groups:
            self._rim(group)
            eta = group.inner
            others = self.total.index_select(0, group.index).view(eta.shape)
            # -f' = eta (1 + (2 gamma - 1) eta² - 2 gamma sum eta²)
            change = eta.square().mul_(2 * solver.gamma - 1).add_(1.0)
            change.sub_(others, alpha=2 * solver.gamma).mul_(eta)
            change.add_(self._laplace(group), alpha=scale)
            if solver.anisotropy:
                change.mul_(self._direction(group))
            eta.add_(change, alpha=dt * solver.mobility)

    def _direction(self, group: _Boxes) -> Tensor:
        """1 + delta cos 2 theta, theta being the angle of the gradient to the first axis."""
        field = group.field
        first = field[:, 2:, 1:-1] - field[:, :-2, 1:-1]
        second = field[:, 1:-1, 2:] - field[:, 1:-1, :-2]
        first, second = first.square(), second.square()
        # Where there is no gradient the mean mobility holds.
        cosine = (first - second) / (first + second + 1e-12)
        return 1.0 + self.solver.anisotropy * cosine

    def _energy(self, frame: Tensor) -> Tensor:
        """Total free energy of every cell of the batch."""
        solver = self.solver
        area = solver.spacing**2
        local = 0.25 - 0.5 * frame + 0.5 * solver.gamma * frame.square()
        energy = area * local.sum((1, 2))
        scale = solver.gradient_energy / (12 * solver.spacing**2)
        for group in self.groups:
            self._rim(group)
            eta = group.inner
            fourth = (0.25 - 0.5 * solver.gamma) * eta.square().square()
            part = (fourth - scale * eta * self._laplace(group)).sum((1, 2))
            energy.index_add_(0, group.owner, area * part)
        return energy


def longest_step(
    *,
    spacing: float,
    gradient_energy: float = 1.0,
    mobility: float = 1.0,
    gamma: float = 1.5,
    anisotropy: float = 0.0,
) -> float:
    """The longest time step that is stable; the arguments are those of ``GrainGrowth``."""
    # The stencil's largest eigenvalue is 16 / (3 h²); the reaction adds 2 gamma - 1 and 2.
    diffusion = 16 * gradient_energy / 3 / spacing / spacing
    return 2 / (mobility * (1 + anisotropy) * (diffusion + max(2 * gamma - 1, 2.0)))


def _unstable(time: float) -> Unstable:
    return Unstable(f"grain growth: values are not finite at t = {time:g}; take a smaller dt")


def _span(occupied: np.ndarray) -> tuple[int, int]:
    """First place and length of the shortest arc of a circle that holds all occupied places."""
    first, length = _spans(occupied[None], cyclic=True)
    return int(first[0]), int(length[0])


def _spans(occupied: np.ndarray, *, cyclic: bool) -> tuple[np.ndarray, np.ndarray]:
    """First place and length of what is occupied, shape (rows, n); length 0 if nothing is."""
    rows, n = occupied.shape
    empty = ~occupied.any(axis=1)
    if not cyclic:
        first = occupied.argmax(axis=1)
        last = n - 1 - occupied[:, ::-1].argmax(axis=1)
        return first, np.where(empty, 0, last - first + 1)
    first, length = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for row in np.flatnonzero(~empty):
        places = np.flatnonzero(occupied[row])
        # The arc begins after the widest gap.
        gaps = np.diff(np.append(places, places[0] + n))
        widest = int(gaps.argmax())
        first[row] = places[(widest + 1) % len(places)]
        length[row] = n - gaps[widest] + 1
    return first, length


def _cut(values: Tensor, offset: Tensor, side: int, period: int | None) -> Tensor:
    """Squares of ``side`` cells that begin at ``offset``; zero outside, or periodic."""
    old = values.shape[1]
    along = torch.arange(side, device=values.device)
    grains = torch.arange(len(values), device=values.device)[:, None, None]
    rows, columns = offset[:, :1] + along, offset[:, 1:] + along
    if period is not None:
        rows, columns = rows % period, columns % period
        return values[grains, rows[:, :, None], columns[:, None, :]]
    inside = ((rows >= 0) & (rows < old))[:, :, None] & ((columns >= 0) & (columns < old))[:, None]
    rows, columns = rows.clamp(0, old - 1), columns.clamp(0, old - 1)
    return values[grains, rows[:, :, None], columns[:, None, :]] * inside


def _wrapped(values: Tensor, origin: Tensor, n: int) -> Tensor:
    """Boxes put into whole cells."""
    side = values.shape[1]
    along = torch.arange(side, device=values.device)
    grains = torch.arange(len(values), device=values.device)[:, None, None]
    rows, columns = (origin[:, :1] + along) % n, (origin[:, 1:] + along) % n
    cells = values.new_zeros(len(values), n, n)
    cells[grains, rows[:, :, None], columns[:, None, :]] = values
    return cells


def voronoi(n: int, seeds: int, generator: np.random.Generator) -> np.ndarray:
    """Labels of the nearest of random points on a periodic square, shape (n, n).

    The same generator gives the same grains on any number of cells.
    """
    checks.whole(n, "n", 2, 2**15)
    checks.whole(seeds, "seeds", 2, n * n)
    # The first cell reaches from 0 to 1, and its centre counts.
    points = generator.random((seeds, 2)) * n - 0.5
    return nearest_points((n, n), points)[1]

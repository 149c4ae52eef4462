"""Order parameters on boxes, as torch tensors: what ``grain_growth`` runs on a GPU.

Boxes of one size are stepped together, so that a step is a few operations on large tensors. On a
CPU ``grain_boxes`` does the same in one pass over memory; tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from etchmark.simulation import checks
from etchmark.simulation.grain_model import MARGIN, PRESENT, GrainModel
from etchmark.simulation.grain_starts import Start

SIDES = 16
"""Boxes have sides of multiples of this, so that those of one size are stepped together."""
COPIES = 8
"""Tensors of the size of all boxes that a step holds at once."""

Part = tuple[Tensor, Tensor, Tensor]
"""Values, origins and owners of some boxes of one size."""


class NotFinite(ArithmeticError):
    """A value is no longer a number; the argument is the time."""


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


class Run:
    """One integration: the boxes of all grains of a batch.

    Args:
        model: the equation.
        cells: grain of each cell, shape (batch, n, n).
        device: where the tensors lie.
        width: of the boundaries at the start, in cells: see ``grain_starts``.
    """

    def __init__(
        self, model: GrainModel, cells: np.ndarray, device: torch.device, width: float = 0.0
    ) -> None:
        self.model, self.device, self.batch, self.time = model, device, len(cells), 0.0
        self.total = torch.zeros(self.batch * model.n**2, dtype=torch.float64, device=device)
        self.groups = list(self._first(cells, width))
        self.age = 0

    # --- boxes ---

    def _first(self, cells: np.ndarray, width: float) -> Iterator[_Boxes]:
        """Boxes around every label of every cell."""
        n = self.model.n
        reach = MARGIN + 1
        by_side: dict[int, list[tuple[int, int, int, np.ndarray]]] = {}
        for owner, cell in enumerate(cells):
            start = Start(cell, width)
            for label in np.unique(cell):
                values = start.of(label)
                mask = values > self.model.tolerance
                spans = [_span(np.asarray(mask.any(axis=1 - axis))) for axis in (0, 1)]
                side = self._side(max(length for _, length in spans) + 2 * reach)
                starts = [0, 0]
                if side < n:
                    starts = [first - (side - length) // 2 for first, length in spans]
                rows, columns = ((start + np.arange(side)) % n for start in starts)
                part = (owner, *starts, values[np.ix_(rows, columns)])
                by_side.setdefault(side, []).append(part)  # type: ignore[arg-type]
        for side, parts in sorted(by_side.items()):
            checks.memory((side, side), len(parts) * side**2 * 8 * COPIES)
            values = torch.from_numpy(np.stack([part[3] for part in parts]))
            origin = torch.tensor([part[1:3] for part in parts])
            owner = torch.tensor([part[0] for part in parts])
            yield self._boxes(side, values, origin, owner)

    def _side(self, needed: int) -> int:
        """Side of a box of at least ``needed`` cells: the whole cell if that is no larger."""
        if self.model.tolerance == 0:
            return self.model.n
        return min(self.model.n, SIDES * math.ceil(needed / SIDES))

    def _boxes(self, side: int, values: Tensor, origin: Tensor, owner: Tensor) -> _Boxes:
        n, device = self.model.n, self.device
        values, origin, owner = (part.to(device) for part in (values, origin, owner))
        along = torch.arange(side, device=device)
        rows = (origin[:, :1] + along) % n
        columns = (origin[:, 1:] + along) % n
        index = (owner[:, None, None] * n + rows[:, :, None]) * n + columns[:, None, :]
        return _Boxes(functional.pad(values, (1, 1, 1, 1)), origin, owner, index.ravel(), side == n)

    def _refit(self) -> None:
        """Fit boxes to what is above the tolerance; drop grains that are nowhere above it."""
        if self.model.tolerance == 0:
            return
        moved: dict[int, list[Part]] = {}
        for group in self.groups:
            self._sort_out(group, moved)
        self.groups = [
            self._boxes(side, *(torch.cat(part) for part in zip(*parts, strict=True)))
            for side, parts in sorted(moved.items())
        ]

    def _sort_out(self, group: _Boxes, moved: dict[int, list[Part]]) -> None:
        """Cut the boxes of one group to their new sides and put each with others of its side."""
        model, inner = self.model, group.inner
        # NaN is not above the tolerance either: without this check its box would vanish unseen.
        self._finite(inner)
        above = inner > model.tolerance
        spans = [_spans(above.any(2 - axis).cpu().numpy(), cyclic=group.whole) for axis in (0, 1)]
        needed = np.maximum(spans[0][1], spans[1][1]) + 2 * MARGIN
        sides = np.array([self._side(int(length)) for length in needed])
        # A grain that is nowhere above the tolerance has no span: it is gone.
        sides[spans[0][1] == 0] = 0
        for side in np.unique(sides[sides > 0]).tolist():
            rows = np.flatnonzero(sides == side)
            kept = torch.from_numpy(rows).to(self.device)
            values, origin, owner = inner[kept], group.origin[kept], group.owner[kept]
            if side == model.n:
                if not group.whole:
                    values = _wrapped(values, origin, side)
                origin = torch.zeros_like(origin)
            else:
                starts = [first[rows] - (side - length[rows]) // 2 for first, length in spans]
                offset = torch.from_numpy(np.stack(starts, axis=1)).to(self.device)
                values = _cut(values, offset, side, model.n if group.whole else None)
                origin = (origin + offset) % model.n
            moved.setdefault(side, []).append((values, origin, owner))

    # --- steps ---

    def frame(self, moment: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frame, energy and number of grains of every cell of the batch at a moment."""
        model = self.model
        span = moment - self.time
        steps = max(0, math.ceil(span / model.dt - 1e-9))
        for _ in range(steps):
            self._step(span / steps)
            self.time += span / steps
        self.time = moment
        self._sum()
        self._finite(self.total)
        frame = self.total.view(self.batch, model.n, model.n)
        count = torch.zeros(self.batch, dtype=torch.int64, device=self.device)
        for group in self.groups:
            present = (group.inner.amax((1, 2)) > PRESENT).long()
            count.index_add_(0, group.owner, present)
        energy = self._energy(frame)
        return frame.cpu().numpy().copy(), energy.cpu().numpy(), count.cpu().numpy()

    def _finite(self, values: Tensor) -> None:
        if not math.isfinite(float(values.sum())):
            raise NotFinite(self.time)

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
        model = self.model
        if model.refits(self.age):
            self._refit()
        self.age += 1
        self._sum()
        scale = model.gradient_energy / (6 * model.spacing**2)
        for group in self.groups:
            self._rim(group)
            eta = group.inner
            others = self.total.index_select(0, group.index).view(eta.shape)
            # -f' = eta (1 + (2 gamma - 1) eta² - 2 gamma sum eta²)
            change = eta.square().mul_(2 * model.gamma - 1).add_(1.0)
            change.sub_(others, alpha=2 * model.gamma).mul_(eta)
            change.add_(self._laplace(group), alpha=scale)
            if model.anisotropy:
                change.mul_(self._direction(group))
            eta.add_(change, alpha=dt * model.mobility)

    def _direction(self, group: _Boxes) -> Tensor:
        """1 + delta cos 2 theta, theta being the angle of the gradient to the first axis."""
        field = group.field
        first = field[:, 2:, 1:-1] - field[:, :-2, 1:-1]
        second = field[:, 1:-1, 2:] - field[:, 1:-1, :-2]
        first, second = first.square(), second.square()
        # Where there is no gradient the mean mobility holds.
        cosine = (first - second) / (first + second + 1e-12)
        return 1.0 + self.model.anisotropy * cosine

    def _energy(self, frame: Tensor) -> Tensor:
        """Total free energy of every cell of the batch."""
        model = self.model
        area = model.spacing**2
        local = 0.25 - 0.5 * frame + 0.5 * model.gamma * frame.square()
        energy = area * local.sum((1, 2))
        scale = model.gradient_energy / (12 * model.spacing**2)
        for group in self.groups:
            self._rim(group)
            eta = group.inner
            fourth = (0.25 - 0.5 * model.gamma) * eta.square().square()
            part = (fourth - scale * eta * self._laplace(group)).sum((1, 2))
            energy.index_add_(0, group.owner, area * part)
        return energy


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

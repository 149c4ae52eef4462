"""Order parameters on boxes, compiled for the processor: what ``grain_growth`` runs on a CPU.

One pass over memory per step does what takes the tensors of ``grain_tensors`` some twenty. Boxes
have sides of their own here and lie one behind the other in one array, each with a rim of one cell.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etchmark.simulation.grain_model import MARGIN, GrainModel
from etchmark.simulation.grain_starts import Start
from etchmark.simulation.grain_tensors import NotFinite

FIRST, ROW, ROWS, COLUMN, COLUMNS = range(5)
"""Of each box: place in the array, first row, number of rows, first column, number of columns."""

Values = NDArray[np.float64]
Places = NDArray[np.int64]


class Boxes:
    """One periodic cell and the boxes of all its grains.

    Args:
        model: the equation.
        labels: grain of each cell, shape (n, n).
        width: of the boundaries at the start, in cells: see ``grain_starts``.
    """

    def __init__(self, model: GrainModel, labels: np.ndarray, width: float = 0.0) -> None:
        self.model, self.n, self.time, self.age = model, model.n, 0.0, 0
        self.total = np.zeros((self.n, self.n))
        known, start = np.unique(labels), Start(labels, width)
        whole = np.tile(np.array([0, 0, self.n, 0, self.n], dtype=np.int64), (len(known), 1))
        # Every grain by itself on the whole cell first, of which its box is cut: never all at once.
        parts, boxes, first = [], [], 0
        for label in known:
            alone = np.zeros((self.n + 2, self.n + 2))
            alone[1:-1, 1:-1] = start.of(label)
            values, box = alone.ravel(), whole[:1]
            if model.tolerance:
                values, box = _fitted(values, box, self.n, model.tolerance, MARGIN + 1)
            box = box.copy()
            box[0, FIRST] = first
            first += len(values)
            parts.append(values)
            boxes.append(box)
        self.values, self.boxes = np.concatenate(parts), np.concatenate(boxes)

    def until(self, moment: float) -> None:
        """Step to a moment, in equal steps."""
        model = self.model
        span = moment - self.time
        steps = max(0, math.ceil(span / model.dt - 1e-9))
        scale = model.gradient_energy / (6 * model.spacing**2)
        for _ in range(steps):
            if model.tolerance and model.refits(self.age):
                # Boxes are fitted by comparisons, and NaN fails every one: it would vanish unseen.
                self._check()
                self.values, self.boxes = _fitted(
                    self.values, self.boxes, self.n, model.tolerance, MARGIN
                )
            self.age += 1
            _sum(self.values, self.boxes, self.total)
            _step(
                self.values,
                self.boxes,
                self.total,
                span / steps * model.mobility,
                scale,
                model.gamma,
                model.anisotropy,
            )
            self.time += span / steps
        self.time = moment
        self._check()
        _sum(self.values, self.boxes, self.total)

    def _check(self) -> None:
        # One value that is not finite makes the sum no number, or infinite.
        with np.errstate(invalid="ignore"):
            total = float(self.values.sum())
        if not math.isfinite(total):
            raise NotFinite(self.time)

    def count(self, present: float) -> int:
        """Grains whose order parameter exceeds a value somewhere."""
        return int((_largest(self.values, self.boxes) > present).sum())

    def energy(self) -> float:
        """Total free energy."""
        model = self.model
        local = 0.25 - 0.5 * self.total + 0.5 * model.gamma * self.total**2
        scale = model.gradient_energy / (12 * model.spacing**2)
        part = _energy(self.values, self.boxes, self.n, scale, 0.25 - 0.5 * model.gamma)
        return model.spacing**2 * (float(local.sum()) + part)


@njit(cache=True)
def _inner(values: Values, box: Places) -> Values:
    """A box with its rim, shape (rows + 2, columns + 2)."""
    rows, columns = box[ROWS] + 2, box[COLUMNS] + 2
    return values[box[FIRST] : box[FIRST] + rows * columns].reshape(rows, columns)


@njit(cache=True)
def _add_squares(total: Values, values: Values) -> None:
    for at in range(len(total)):
        total[at] += values[at] * values[at]


@njit(cache=True)
def _sum(values: Values, boxes: Places, total: Values) -> None:
    """total = sum of squares of all order parameters."""
    n = len(total)
    total[:] = 0.0
    for at in range(len(boxes)):
        box = boxes[at]
        field = _inner(values, box)
        # What reaches over the edge of the cell comes back on its other side.
        straight = min(box[COLUMNS], n - box[COLUMN])
        for row in range(box[ROWS]):
            line, source = total[(box[ROW] + row) % n], field[row + 1][1:-1]
            _add_squares(line[box[COLUMN] : box[COLUMN] + straight], source[:straight])
            _add_squares(line[: box[COLUMNS] - straight], source[straight:])


@njit(cache=True)
def _rim(field: Values, box: Places, n: int) -> None:
    """Across the edges of the cell where a box spans it; elsewhere there is nothing around."""
    rows, columns = box[ROWS], box[COLUMNS]
    if rows == n:
        field[0], field[rows + 1] = field[rows], field[1]
    else:
        field[0], field[rows + 1] = 0.0, 0.0
    if columns == n:
        field[:, 0], field[:, columns + 1] = field[:, columns], field[:, 1]
    else:
        field[:, 0], field[:, columns + 1] = 0.0, 0.0


@njit(cache=True)
def _others(total: Values, box: Places, out: Values) -> None:
    """The sum over all grains at the cells of a box, laid out like the box with its rim."""
    n = len(total)
    straight = min(box[COLUMNS], n - box[COLUMN])
    for row in range(box[ROWS]):
        line, target = total[(box[ROW] + row) % n], out[row + 1]
        target[1 : straight + 1] = line[box[COLUMN] : box[COLUMN] + straight]
        target[straight + 1 : box[COLUMNS] + 1] = line[: box[COLUMNS] - straight]


@njit(cache=True)
def _laplace(flat: Values, width: int, out: Values) -> None:
    """Laplacian times 6 h² by the isotropic stencil of nine points.

    A box is one line of numbers here, ``width`` to a row, so that one loop runs over all of it;
    what comes out at the rim means nothing.

    Args:
        flat: the box with its rim.
        width: length of a row.
        out: shape of ``flat`` less width + 1 at either end, overwritten.
    """
    # Slices of their own: a loop that must check for negative indices is not vectorised.
    size = len(out)
    here = flat[width + 1 : width + 1 + size]
    west, east = flat[width : width + size], flat[width + 2 : width + 2 + size]
    north, south = flat[1 : 1 + size], flat[2 * width + 1 : 2 * width + 1 + size]
    for at in range(size):
        out[at] = 4.0 * ((north[at] + south[at]) + (west[at] + east[at])) - 20.0 * here[at]
    first, second = flat[:size], flat[2 : 2 + size]
    third, fourth = flat[2 * width : 2 * width + size], flat[2 * width + 2 : 2 * width + 2 + size]
    for at in range(size):
        out[at] += (first[at] + second[at]) + (third[at] + fourth[at])


@njit(cache=True)
def _direct(flat: Values, width: int, delta: float, out: Values) -> None:
    """out *= 1 + delta cos 2 theta, theta being the angle of the gradient to the first axis."""
    size = len(out)
    west, east = flat[width : width + size], flat[width + 2 : width + 2 + size]
    north, south = flat[1 : 1 + size], flat[2 * width + 1 : 2 * width + 1 + size]
    for at in range(size):
        first, second = (south[at] - north[at]) ** 2, (east[at] - west[at]) ** 2
        # Where there is no gradient the mean mobility holds.
        out[at] *= 1.0 + delta * ((first - second) / (first + second + 1e-12))


@njit(cache=True)
def _drive(line: Values, others: Values, gamma: float, scale: float, out: Values) -> None:
    """out = -f' + scale out, with -f' = eta (1 + (2 gamma - 1) eta² - 2 gamma sum eta²)."""
    own, twice = 2.0 * gamma - 1.0, 2.0 * gamma
    for at in range(len(out)):
        eta = line[at]
        out[at] = eta * (1.0 + own * eta * eta - twice * others[at]) + scale * out[at]


@njit(cache=True)
def _step(
    values: Values,
    boxes: Places,
    total: Values,
    rate: float,
    scale: float,
    gamma: float,
    anisotropy: float,
) -> None:
    """One explicit step of every box in its place; ``rate`` is L dt."""
    n = len(total)
    largest = 0
    for at in range(len(boxes)):
        largest = max(largest, (boxes[at, ROWS] + 2) * (boxes[at, COLUMNS] + 2))
    change, others = np.zeros(largest), np.zeros(largest)
    for at in range(len(boxes)):
        box = boxes[at]
        field = _inner(values, box)
        _rim(field, box, n)
        width = box[COLUMNS] + 2
        flat = field.reshape(field.size)
        around = others[: field.size]
        _others(total, box, around.reshape(field.shape))
        moved = change[: field.size - 2 * width - 2]
        inner = flat[width + 1 : width + 1 + len(moved)]
        _laplace(flat, width, moved)
        _drive(inner, around[width + 1 : width + 1 + len(moved)], gamma, scale, moved)
        if anisotropy != 0.0:
            _direct(flat, width, anisotropy, moved)
        for cell in range(len(moved)):
            inner[cell] += rate * moved[cell]


@njit(cache=True)
def _largest(values: Values, boxes: Places) -> Values:
    largest = np.empty(len(boxes))
    for at in range(len(boxes)):
        largest[at] = _inner(values, boxes[at])[1:-1, 1:-1].max()
    return largest


@njit(cache=True)
def _energy(values: Values, boxes: Places, n: int, scale: float, fourth: float) -> float:
    """Sum of the terms of single order parameters over all boxes."""
    total = 0.0
    for at in range(len(boxes)):
        field = _inner(values, boxes[at])
        _rim(field, boxes[at], n)
        width = boxes[at, COLUMNS] + 2
        bend = np.zeros(field.size)
        _laplace(field.reshape(field.size), width, bend[width + 1 : field.size - width - 1])
        bends = bend.reshape(field.shape)
        for row in range(1, boxes[at, ROWS] + 1):
            for column in range(1, boxes[at, COLUMNS] + 1):
                eta = field[row, column]
                total += fourth * eta**4 - scale * eta * bends[row, column]
    return total


@njit(cache=True)
def _arc(occupied: NDArray[np.bool_]) -> tuple[int, int]:
    """First place and length of the shortest arc of a circle that holds what is occupied."""
    n = len(occupied)
    first, last, gap, start = -1, -1, 0, 0
    for place in range(n):
        if not occupied[place]:
            continue
        if last < 0:
            first = place
        elif place - last > gap:
            gap, start = place - last, place
        last = place
    if last < 0:
        return 0, 0
    # The arc begins after the widest gap, which may lie across the end.
    if first + n - last >= gap:
        gap, start = first + n - last, first
    return start, n - gap + 1


@njit(cache=True)
def _axis(occupied: NDArray[np.bool_], start: int, n: int, margin: int) -> tuple[int, int]:
    """First place in the cell and length of a box along one axis; 0 if there is nothing."""
    if len(occupied) == n:
        first, length = _arc(occupied)
    else:
        first, last = -1, -1
        for place in range(len(occupied)):
            if occupied[place]:
                first, last = (place if first < 0 else first), place
        length = last - first + 1 if first >= 0 else 0
    if length == 0:
        return 0, 0
    if length + 2 * margin >= n:
        return 0, n
    return (start + first - margin) % n, length + 2 * margin


@njit(cache=True)
def _fitted(
    values: Values, boxes: Places, n: int, tolerance: float, margin: int
) -> tuple[Values, Places]:
    """Boxes around what is above a tolerance; those with nothing above it are dropped."""
    fitted = np.zeros((len(boxes), 5), np.int64)
    size = 0
    for at in range(len(boxes)):
        box = boxes[at]
        field = _inner(values, box)
        rows, columns = np.zeros(box[ROWS], np.bool_), np.zeros(box[COLUMNS], np.bool_)
        for row in range(box[ROWS]):
            for column in range(box[COLUMNS]):
                if field[row + 1, column + 1] > tolerance:
                    rows[row] = columns[column] = True
        new = fitted[at]
        new[FIRST] = size
        new[ROW], new[ROWS] = _axis(rows, box[ROW], n, margin)
        new[COLUMN], new[COLUMNS] = _axis(columns, box[COLUMN], n, margin)
        if new[ROWS]:
            size += (new[ROWS] + 2) * (new[COLUMNS] + 2)
    moved = np.zeros(size)
    for at in range(len(boxes)):
        if fitted[at, ROWS]:
            _copy(_inner(values, boxes[at]), boxes[at], _inner(moved, fitted[at]), fitted[at], n)
    return moved, fitted[fitted[:, ROWS] > 0]


@njit(cache=True)
def _copy(source: Values, old: Places, target: Values, new: Places, n: int) -> None:
    """Values of one box into another that lies elsewhere; zero where the first has none."""
    for row in range(new[ROWS]):
        above = (new[ROW] + row - old[ROW]) % n
        if above >= old[ROWS]:
            continue
        for column in range(new[COLUMNS]):
            left = (new[COLUMN] + column - old[COLUMN]) % n
            if left < old[COLUMNS]:
                target[row + 1, column + 1] = source[above + 1, left + 1]

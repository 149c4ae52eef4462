"""Simulated annealing: pixels of two phases change places until two-point functions agree.

Yeong & Torquato, Phys. Rev. E 57 (1998) 495, DOI 10.1103/PhysRevE.57.495. Pixels that are exchanged
are, where it is easy, at an interface (after Tang, Teng & He, Comput. Mater. Sci. 46 (2009) 262,
DOI 10.1016/j.commatsci.2009.03.001, who prefer pixels with many neighbours of the other phase).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from etchmark.errors import UserError
from etchmark.learning.reconstruction import Exemplar, Reconstruction, checked
from etchmark.saving import keeps_arguments, rebuild

LINES, MAP = "lines", "map"
STAGES = 100
"""Of equal numbers of trials, each at one temperature."""
START, END = 0.5, 1e-5
"""First and last temperature, relative to the mean change of energy by a trial at the start."""
ATTEMPTS = 8
"""To draw a pixel at an interface, before any is taken."""

Values = NDArray[np.float64]
Places = NDArray[np.int64]


def lags_of(kind: str, reach: int) -> Places:
    """Lags that are compared, one of each pair of opposite ones, shape (lags, 2)."""
    steps = np.arange(1, reach + 1)
    if kind == LINES:
        directions = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])
        return (directions[:, None] * steps[:, None]).reshape(-1, 2)
    below = [(row, column) for row in steps for column in range(-reach, reach + 1)]
    return np.array([(0, int(column)) for column in steps] + below, dtype=np.int64)


@njit(cache=False)
def put(padded, place, value, rim, periodic):  # pragma: no cover
    """Set a pixel of an image with a rim around it, and its images in a periodic rim."""
    height, width = padded.shape[0] - 2 * rim, padded.shape[1] - 2 * rim
    row, column = place // width, place % width
    padded[rim + row, rim + column] = value
    if periodic:
        for down in range(-1, 2):
            for right in range(-1, 2):
                there, across = rim + row + down * height, rim + column + right * width
                if 0 <= there < padded.shape[0] and 0 <= across < padded.shape[1]:
                    padded[there, across] = value


@njit(cache=False)
def drawn(padded, places, rim, generator):  # pragma: no cover
    """Number of a pixel among some of one phase, at an interface if that is easily drawn."""
    width = padded.shape[1] - 2 * rim
    number = 0
    for _ in range(ATTEMPTS):
        number = generator.integers(0, len(places))
        row, column = rim + places[number] // width, rim + places[number] % width
        around = padded[row - 1, column] + padded[row + 1, column]
        around += padded[row, column - 1] + padded[row, column + 1]
        if around != 4 * padded[row, column]:
            break
    return number


@njit(cache=False)
def changes(flat, first, second, offsets, change):  # pragma: no cover
    """Pairs at each lag that a move of phase 1 from one pixel, already empty, to another adds."""
    for lag in range(len(offsets)):
        step = offsets[lag]
        gained = np.int32(flat[second + step]) + np.int32(flat[second - step])
        change[lag] = gained - np.int32(flat[first + step]) - np.int32(flat[first - step])


@njit(cache=False)
def anneal(padded, ones, zeros, offsets, energy, options, generator):  # pragma: no cover
    """Trials at one temperature, in place; the sum of the absolute changes of energy.

    Args:
        padded: image with a rim.
        ones: places of phase 1.
        zeros: places of phase 0.
        offsets: of the lags, in the flattened padded image.
        energy: pairs at each lag less those wanted, and the weights of the squares of that surplus.
        options: trials, temperature, width of the rim, whether the image is periodic.
        generator: draws.
    """
    trials, temperature, rim, periodic = options
    wide, width = padded.shape[1], padded.shape[1] - 2 * rim
    flat, surplus, weights = padded.ravel(), energy[0], energy[1]
    change = np.zeros(len(offsets))
    total = 0.0
    for _ in range(trials):
        one = drawn(padded, ones, rim, generator)
        zero = drawn(padded, zeros, rim, generator)
        old, new = ones[one], zeros[zero]
        put(padded, old, 0, rim, periodic)
        first = (rim + old // width) * wide + rim + old % width
        second = (rim + new // width) * wide + rim + new % width
        changes(flat, first, second, offsets, change)
        rise = 0.0
        for lag in range(len(offsets)):
            rise += weights[lag] * change[lag] * (2 * surplus[lag] + change[lag])
        total += abs(rise)
        if rise <= 0 or (temperature > 0 and generator.random() < np.exp(-rise / temperature)):
            put(padded, new, 1, rim, periodic)
            ones[one], zeros[zero] = new, old
            for lag in range(len(offsets)):
                surplus[lag] += change[lag]
        else:
            put(padded, old, 1, rim, periodic)
    return total


class Annealing(Reconstruction):
    """White noise of the exemplar's volume fraction, annealed.

    Args:
        lags: ``lines`` for rows, columns and both diagonals, ``map`` for all lags.
        reach: largest lag along each axis, pixels.
        trials: exchanges that are tried, per pixel of the image.
        seed: of the noise and the exchanges.
    """

    def __init__(self, lags: str, reach: int, trials: float, seed: int) -> None:
        super().__init__(seed)
        self.lags, self.reach, self.trials = lags, reach, trials

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        return np.stack([self._image(exemplar, generator) for generator in generators])

    def _image(self, exemplar: Exemplar, generator: Generator) -> np.ndarray:
        shape, periodic = exemplar.image.shape, exemplar.periodic
        reach = min(self.reach, (min(shape) - 1) // 2)
        lags = lags_of(self.lags, reach)
        image = exemplar.cut(generator.random(shape))
        start = Exemplar(image, periodic)
        rows, columns = lags.T
        apart = exemplar.two_point(reach)[reach + rows, reach + columns]
        pairs = np.full(len(lags), float(image.size))
        if not periodic:
            pairs = (shape[0] - np.abs(rows)) * (shape[1] - np.abs(columns)).astype(float)
        surplus = (start.two_point(reach)[reach + rows, reach + columns] - apart) * pairs
        padded = np.pad(image, reach, mode="wrap") if periodic else np.pad(image, reach)
        ones, zeros = np.flatnonzero(image), np.flatnonzero(image == 0)
        offsets = rows * padded.shape[1] + columns
        given = (padded, ones, zeros, offsets, np.stack([surplus, pairs**-2.0]))
        trials = max(1, round(self.trials * image.size / STAGES))
        # A few exchanges at no cost tell how much energy changes.
        scale = anneal(*given, (trials, np.inf, reach, periodic), generator) / trials
        for temperature in scale * np.geomspace(START, END, STAGES - 2):
            anneal(*given, (trials, temperature, reach, periodic), generator)
        anneal(*given, (trials, 0.0, reach, periodic), generator)
        return padded[reach : reach + shape[0], reach : reach + shape[1]]


@keeps_arguments
def build(
    seed: int, device: str, lags: str = LINES, reach: int = 31, trials: float = 60.0
) -> Annealing:
    if lags not in (LINES, MAP):
        raise UserError(f"lags {lags!r}: give {LINES} or {MAP}")
    checked({"reach": (reach, 1), "trials": (trials, 0)})
    return Annealing(lags, reach, trials, seed)


def load(folder: Path, device: str) -> Annealing:
    return rebuild(build, folder, device)

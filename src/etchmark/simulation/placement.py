"""Random sequential addition: inclusions placed one after another in a periodic cell, in voxels.

An inclusion that would meet another one is tried elsewhere; a placement that jams starts from
scratch. The families of inclusions in ``microstructures`` share these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np
from numpy.random import Generator

from etchmark.simulation.checks import reals

TOLERANCE = 0.01
"""Largest |volume fraction - target| of a family of inclusions."""
RESTARTS = 10
"""Placements tried from scratch before giving up."""
TRIALS = 20_000
"""Rejected positions in a row after which a placement counts as jammed."""

Interval = float | tuple[float, float]
"""A value, or the smallest and the largest."""


def interval(value: Interval, name: str) -> tuple[float, float]:
    """Both ends of a range, a single value being both."""
    ends = np.atleast_1d(reals(value, name))
    if ends.shape not in ((1,), (2,)) or not 1 <= ends[0] <= ends[-1] < math.inf:
        raise ValueError(f"{name} {value} must be a number of at least 1 or an ascending pair")
    return float(ends[0]), float(ends[-1])


def separation(first: np.ndarray, second: np.ndarray, size: float) -> np.ndarray:
    """Distance along one axis to the nearest periodic image."""
    direct = np.abs(first - second)
    return np.minimum(direct, size - direct)


def _distances(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Minimum-image distances between two sets of points, shape (first, second)."""
    total = np.zeros((len(first), len(second)))
    for axis, size in enumerate(shape):
        total += separation(first[:, axis, None], second[:, axis], size) ** 2
    return np.sqrt(total)


def draw_radii(
    shape: tuple[int, ...], radius: Interval, fraction: float, generator: Generator
) -> np.ndarray:
    """Descending radii whose disks or balls fill the fraction exactly, by one common factor."""
    low, high = interval(radius, "radius")
    axes, unit = len(shape), math.pi if len(shape) == 2 else 4 * math.pi / 3
    target = fraction * math.prod(shape) / unit
    if 2 * high >= min(shape):
        raise ValueError(f"radius {radius} must be less than half of the cell {shape}")
    if low**axes > 2 * target:
        raise ValueError(f"one inclusion of radius {low} exceeds fraction {fraction} of {shape}")
    powers = generator.uniform(low, high, math.ceil(target / low**axes)) ** axes
    total = np.cumsum(powers)
    count = 1 + int(np.abs(total - target).argmin())
    return np.sort((powers[:count] * (target / total[count - 1])) ** (1 / axes))[::-1]


def place(
    shape: tuple[int, ...],
    radii: np.ndarray,
    gap: float,
    generator: Generator,
    region: np.ndarray | None = None,
) -> np.ndarray | None:
    """Centres of shape (n, axes) that keep inclusions apart, None if they jam.

    `region`: voxels (bool) in which centres may lie; anywhere if None.
    """
    if 2 * radii[0] + gap > min(shape):  # the largest would meet its own image
        return None
    centres = np.empty((radii.size, len(shape)))
    batch = max(16, min(256, 20_000 // radii.size))  # distances stay in the cache
    placed = rejected = 0
    while placed < radii.size and rejected < TRIALS:
        trial = generator.random((batch, len(shape))) * shape
        if region is not None:
            trial = trial[region[tuple(trial.astype(int).T)]]
        room = (_distances(trial, centres[:placed], shape) - radii[:placed]).min(1, initial=np.inf)
        start = 0
        while placed < radii.size:
            free = np.flatnonzero(room[start:] >= radii[placed] + gap)
            if not free.size:
                rejected += batch - start
                break
            centres[placed] = trial[start + free[0]]
            # The rest of the batch must keep clear of the newcomer as well.
            start, rejected = start + int(free[0]) + 1, 0
            newcomer = _distances(trial[start:], centres[placed : placed + 1], shape)[:, 0]
            np.minimum(room[start:], newcomer - radii[placed], out=room[start:])
            placed += 1
    return centres if placed == radii.size else None


def rasterise(shape: tuple[int, ...], centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Mark the voxels whose centre lies within a radius of a periodic centre."""
    marked = np.zeros(shape, np.uint8)
    for centre, radius in zip(centres, radii, strict=True):
        spans = [np.arange(math.ceil(c - radius), math.floor(c + radius) + 1) for c in centre]
        squares = [(span - c) ** 2 for span, c in zip(spans, centre, strict=True)]
        window = np.ix_(*[span % size for span, size in zip(spans, shape, strict=True)])
        marked[window] |= reduce(np.add.outer, squares) <= radius**2
    return marked


Outline = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Whether points, given by their steps from a centre along the axes, lie within a shape or within a
margin around it."""


def add_shape(
    marked: np.ndarray,
    reach: float,
    outline: Callable[[], Outline],
    generator: Generator,
    gap: float = 0.0,
) -> bool:
    """Mark one shape where no pixel within the gap is taken; False if no place is found.

    `reach`: distance of its farthest point from its centre, gap included; `outline` draws a shape
    for each batch of trial positions.
    """
    flat, (height, width), reach = marked.reshape(-1), marked.shape, math.ceil(reach) + 1
    steps = np.arange(-reach, reach + 1.0)
    batch = rejected = 0
    while rejected < TRIALS:
        batch = min(2 * batch + 8, 64)  # the first shapes need few trials
        inside, (y, x) = outline(), generator.random(2)
        y, x = steps[:, None] - y, steps - x
        rows, columns = np.nonzero(inside(y, x, gap))
        corner = generator.integers(0, marked.shape, (batch, 2))
        pixels = (corner[:, :1] + rows) % height * width + (corner[:, 1:] + columns) % width
        free = np.flatnonzero(~flat[pixels].any(1))
        if free.size:
            own = inside(y, x, 0.0)[rows, columns]
            flat[pixels[free[0], own]] = 1
            return True
        rejected += batch
    return False


def add_ellipse(marked: np.ndarray, major: float, minor: float, generator: Generator) -> bool:
    """Mark one ellipse of given semi-axes where no pixel is taken; False if no place is found."""

    def outline() -> Outline:
        angle = generator.uniform(0, np.pi)
        cos, sin = math.cos(angle), math.sin(angle)

        def inside(y: np.ndarray, x: np.ndarray, margin: float) -> np.ndarray:
            along, across = x * cos + y * sin, y * cos - x * sin
            return (along / (major + margin)) ** 2 + (across / (minor + margin)) ** 2 <= 1

        return inside

    return add_shape(marked, major, outline, generator)


def add_fibre(
    marked: np.ndarray,
    size: tuple[float, float],
    angle: Callable[[], float],
    generator: Generator,
    gap: float,
) -> bool:
    """Mark one fibre with round ends, clear of others by a gap; False if no place is found.

    `size`: its length, ends included, and its width; `angle` draws its direction from the second
    axis.
    """
    length, width = size
    half = (length - width) / 2

    def outline() -> Outline:
        direction = angle()
        cos, sin = math.cos(direction), math.sin(direction)

        def inside(y: np.ndarray, x: np.ndarray, margin: float) -> np.ndarray:
            along, across = x * cos + y * sin, y * cos - x * sin
            beyond = np.maximum(np.abs(along) - half, 0)
            return beyond**2 + across**2 <= (width / 2 + margin) ** 2

        return inside

    return add_shape(marked, length / 2 + gap, outline, generator, gap)


def first_success(
    attempt: Callable[[], np.ndarray | None], fraction: float | None, what: str
) -> np.ndarray:
    """The first attempt that succeeds with the volume fraction, if one is given, in tolerance."""
    for _ in range(RESTARTS):
        marked = attempt()
        if marked is None:
            continue
        if fraction is None or abs(marked.mean() - fraction) <= TOLERANCE:
            return marked
    if fraction is None:
        raise ValueError(f"no room for {what}: fewer or smaller ones are needed")
    raise ValueError(f"no room for {what} at fraction {fraction}: lower it or the radius")

"""More periodic two-phase microstructures from a seed, in two dimensions.

What is common to the families of `microstructures` holds here too: shape, lengths in pixels, the
volume fraction of the marked phase, the generator, the uint8 result, ValueError on bad input, and
arithmetic in float64 on the CPU. Every strip, wall, layer and channel is as wide as its parameter
says, so that one of at least 3 pixels covers at least three in each row and column that it crosses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.random import Generator

from etchmark.simulation.checks import number, whole
from etchmark.simulation.microstructures import (
    check,
    filtered,
    frequencies,
    gaussian_field,
    threshold,
)
from etchmark.simulation.placement import (
    Interval,
    add_fibre,
    draw_radii,
    first_success,
    interval,
    place,
    rasterise,
    separation,
)

QUENCH_SPACING, QUENCH_STEP, QUENCH_NOISE = 0.6, 0.1, 0.1
"""Distance of the nodes, time step and standard deviation of the initial noise of `quench`."""
SEED_SPACING = 0.7
"""Least distance of the seeds of `cell_walls`, in sides of a square of a cell's mean area."""
CUBOID_SIZES = (0.85, 1.0)
"""Sides of the squares of `cuboids` relative to the room between the channels."""


def two_scale_field(
    shape: Sequence[int],
    widths: tuple[float, float],
    share: float,
    fraction: float,
    generator: Generator,
) -> np.ndarray:
    """Sum of a fine and a coarse Gaussian random field, cut at a level.

    `widths`: of the two fields, as in `gaussian_field`; `share`: of the coarse one in the variance,
    inside (0, 1). The volume fraction is exact to one pixel.

    Source: Teubner, Europhys. Lett. 14 (1991) 403, DOI 10.1209/0295-5075/14/5/003.
    """
    shape = check(shape, fraction, dimensions=(2,))
    number(share, "share", 0, 1)
    fine, coarse = (gaussian_field(shape, width, generator) for width in widths)
    total = math.sqrt(1 - share) * fine / fine.std() + math.sqrt(share) * coarse / coarse.std()
    return threshold(total, fraction)


def tilted_field(
    shape: Sequence[int],
    widths: tuple[float, float],
    angle: float,
    fraction: float,
    generator: Generator,
) -> np.ndarray:
    """Gaussian random field with two widths along turned axes, cut at a level.

    `widths`: as in `gaussian_field`, along and across a direction at `angle` (radians) from the
    first axis. The volume fraction is exact to one pixel.

    Source: Teubner, Europhys. Lett. 14 (1991) 403, DOI 10.1209/0295-5075/14/5/003.
    """
    shape = check(shape, fraction, dimensions=(2,), bytes_per_voxel=40)
    for width in widths:
        number(width, "width", 0, min(shape))
    first, second = frequencies(shape)
    cos, sin = math.cos(number(angle, "angle", -math.inf, math.inf)), math.sin(angle)
    along, across = cos * first + sin * second, cos * second - sin * first
    exponent = (np.pi * widths[0] * along) ** 2 + (np.pi * widths[1] * across) ** 2
    return threshold(filtered(shape, np.exp(-2 * exponent), generator), fraction)


def quench(shape: Sequence[int], time: float, fraction: float, generator: Generator) -> np.ndarray:
    """A mixture that separates after a quench, by the Cahn–Hilliard equation, at one time.

    The free energy is (c² - 1)² / 4 with kappa = M = 1 and a mean composition of 2 fraction - 1,
    from which the lever rule gives the volume fraction of the phase at c = 1; the field is cut so
    that this is exact to one pixel. The cell must be a square. `time`: positive, in units of the
    equation with nodes 0.6 apart; patterns have formed at about 20 and coarsen from there.

    Source: Cahn & Hilliard, J. Chem. Phys. 28 (1958) 258, DOI 10.1063/1.1744102.
    """
    from etchmark.simulation.phase_field import CahnHilliard, Polynomial, noise

    shape = check(shape, fraction, dimensions=(2,))
    number(time, "time", 0, math.inf)
    if shape[0] != shape[1]:
        raise ValueError(f"shape {shape} must be a square")
    start = noise(shape[0], generator, mean=2 * fraction - 1, amplitude=QUENCH_NOISE)
    solver = CahnHilliard(
        shape[0], Polynomial.double_well(), spacing=QUENCH_SPACING, dt=QUENCH_STEP
    )
    return threshold(solver.evolve(start, [time]).frames[0, 0], fraction)


def lamellae(
    shape: Sequence[int],
    wave: tuple[int, int],
    fault: tuple[int, int],
    faults: int,
    fraction: float,
    generator: Generator,
) -> np.ndarray:
    """Parallel layers, cut by parallel faults and shifted between them.

    `wave` and `fault`: periods of the layers and of the faults along each axis, whole numbers that
    are not both zero; those of `fault` without a common factor. `faults`: how many, from 0; they
    are at least half as far apart as on average, and each block is shifted by a random part of the
    period. The volume fraction is met on average, and exactly without faults if the cell is fine.
    """
    shape = check(shape, fraction, dimensions=(2,))
    whole(faults, "faults", 0)
    if math.gcd(*wave) == 0 or math.gcd(*fault) != 1:
        raise ValueError(f"wave {wave} must not be zero and fault {fault} have no common factor")
    shifts = generator.random(max(faults, 1))
    starts = _spaced(faults, 0.5, generator)
    block = np.searchsorted(starts, _phase(shape, fault)) % len(shifts)
    return ((_phase(shape, wave) + shifts[block]) % 1.0 < fraction).astype(np.uint8)


def strips(
    shape: Sequence[int],
    directions: Sequence[tuple[int, int]],
    counts: Sequence[int],
    width: float,
    generator: Generator,
) -> np.ndarray:
    """Straight strips in several directions that cross each other.

    `directions`: for each family of parallel strips, how often its normal repeats along each axis,
    two whole numbers without a common factor; `counts`: of strips in each family; `width`: of every
    strip, at least 1. The cell must be a square. Parallel strips are at least one width apart:
    raises ValueError if there are too many.
    """
    shape = check(shape, dimensions=(2,))
    number(width, "width", 1, min(shape), ends=True)
    if shape[0] != shape[1]:
        raise ValueError(f"shape {shape} must be a square")
    marked = np.zeros(shape, bool)
    for direction, count in zip(directions, counts, strict=True):
        if math.gcd(*direction) != 1:
            raise ValueError(f"direction {direction} must be whole numbers without common factor")
        # The distance from one image of a strip to the next, in which all of its family lie.
        period = shape[0] / math.hypot(*direction)
        room = 2 * width * whole(count, "count of strips", 1) / period
        if room > 1:
            raise ValueError(f"{count} strips of width {width} find no room in {period:.1f} pixels")
        centres = _spaced(count, room, generator)
        distances = separation(_phase(shape, direction)[..., None], centres, 1.0)
        marked |= distances.min(axis=-1) <= width / 2 / period
    return marked.view(np.uint8)


def _phase(shape: tuple[int, ...], wave: tuple[int, int]) -> np.ndarray:
    """Periods of a plane wave at each pixel, modulo 1."""
    first, second = (
        periods * np.arange(size) / size for periods, size in zip(wave, shape, strict=True)
    )
    return (first[:, None] + second) % 1.0


def _spaced(count: int, gap: float, generator: Generator) -> np.ndarray:
    """Ascending points on a circle of length 1, at least `gap` / `count` apart."""
    if count == 0:
        return np.empty(0)
    steps = (np.arange(count) + (1 - gap) * generator.random(count)) / count
    return np.sort((steps + generator.random()) % 1.0)


def cell_walls(shape: Sequence[int], cells: int, width: float, generator: Generator) -> np.ndarray:
    """Walls of one width between the Voronoi cells of points that keep a distance.

    `cells`: number of points, at least 4; `width`: of the walls, at least 1.

    Source: Gilbert, Ann. Math. Stat. 33 (1962) 958, DOI 10.1214/aoms/1177704464.
    """
    shape = check(shape, dimensions=(2,))
    count = whole(cells, "cells", 4, math.prod(shape))
    number(width, "width", 1, min(shape), ends=True)
    radii = np.full(count, SEED_SPACING / 2 * math.sqrt(math.prod(shape) / count))

    def attempt() -> np.ndarray | None:
        points = place(shape, radii, 0.0, generator)
        return None if points is None else _walls(shape, points, width)

    return first_success(attempt, None, f"{cells} cells in {shape}")


def _walls(shape: tuple[int, ...], points: np.ndarray, width: float) -> np.ndarray:
    """Pixels within half a width of the nearest boundary of their Voronoi cell."""
    # All images around the cell: a Voronoi cell may meet its own image, or two of another.
    offsets = np.array([(row, column) for row in (0, -1, 1) for column in (0, -1, 1)])
    images = (points + offsets[:, None] * np.array(shape)).reshape(-1, 2)

    def squares(point: int) -> np.ndarray:
        first, second = (
            (np.arange(size) - place) ** 2 for size, place in zip(shape, images[point], strict=True)
        )
        return np.add.outer(first, second)

    nearest, owner = np.full(shape, np.inf), np.zeros(shape, np.int32)
    for point in range(len(images)):
        squared = squares(point)
        np.copyto(owner, point, where=squared < nearest)
        np.minimum(nearest, squared, out=nearest)
    apart = np.sqrt(((images[:, None] - images) ** 2).sum(axis=-1))
    np.fill_diagonal(apart, 1.0)
    distance = np.full(shape, np.inf)
    for point in range(len(images)):
        # To the line midway between the owner and this point; there is none to the owner itself.
        beyond = np.where(owner == point, np.inf, squares(point) - nearest)
        np.minimum(distance, beyond / (2 * apart[point])[owner], out=distance)
    return (distance <= width / 2).astype(np.uint8)


def clustered_disks(
    shape: Sequence[int],
    radius: Interval,
    fraction: float,
    crowding: float,
    width: float,
    generator: Generator,
) -> np.ndarray:
    """Disks that do not overlap and crowd in parts of the cell.

    Centres lie where a Gaussian random field of a `width` is largest, in a share of the cell
    fraction / `crowding`; other parameters, errors and source as `spheres`. A crowding of 0.4 is
    near the most that finds room.
    """
    shape = check(shape, fraction, dimensions=(2,), bytes_per_voxel=24)
    share = fraction / number(crowding, "crowding", fraction, 1)

    def attempt() -> np.ndarray | None:
        region = threshold(gaussian_field(shape, width, generator), share).view(bool)
        radii = draw_radii(shape, radius, fraction, generator)
        centres = place(shape, radii, 0.0, generator, region)
        return None if centres is None else rasterise(shape, centres, radii)

    what = f"disks of radius {radius} with crowding {crowding} in {shape}"
    return first_success(attempt, fraction, what)


def aligned_fibres(
    shape: Sequence[int],
    size: tuple[float, float],
    scatter: float,
    fraction: float,
    generator: Generator,
    *,
    gap: float = 1.0,
    direction: float | None = None,
) -> np.ndarray:
    """Fibres with round ends and nearly one direction, by random sequential addition.

    `size`: length and width, the length shorter than half the cell; it is adjusted so that a whole
    number of fibres fills the fraction. `scatter`: standard deviation of the angles (radians)
    around `direction`, an angle from the second axis that is drawn if it is None; `gap`: least
    distance between two surfaces. The volume fraction is met within 0.01. Raises ValueError if no
    room is found.

    Source: Viot, Tarjus, Ricci & Talbot, J. Chem. Phys. 97 (1992) 5212, DOI 10.1063/1.463820.
    """
    shape = check(shape, fraction, dimensions=(2,))
    width, length = interval((size[1], size[0]), "size")
    number(scatter, "scatter", 0, math.pi, ends=True)
    target = fraction * math.prod(shape)
    ends = math.pi * width**2 / 4
    count = max(1, round(target / (ends + (length - width) * width)))
    length = width + max((target / count - ends) / width, 0.0)
    if length >= min(shape) / 2:
        raise ValueError(f"size {size} is too long for the cell {shape}")
    middle = generator.uniform(0, math.pi) if direction is None else direction

    def attempt() -> np.ndarray | None:
        marked = np.zeros(shape, np.uint8)
        for _ in range(count):
            angle = middle + scatter * generator.standard_normal()
            if not add_fibre(marked, (length, width), lambda angle=angle: angle, generator, gap):
                return None
        return marked

    return first_success(attempt, fraction, f"fibres of size {size}, gap {gap} in {shape}")


def overlapping_disks(
    shape: Sequence[int], radius: tuple[float, float], fraction: float, generator: Generator
) -> np.ndarray:
    """Disks of many sizes at independent points, which may overlap (the Boolean model).

    Radii are drawn log-uniformly until the expected volume fraction is reached; one common factor
    makes it exact to one pixel. `radius`: smallest and largest, at most a quarter of the cell.

    Source: Torquato, Random Heterogeneous Materials, Springer 2002, DOI 10.1007/978-1-4757-6355-3.
    """
    shape = check(shape, fraction, dimensions=(2,))
    low, high = interval(radius, "radius")
    if high > min(shape) / 4:
        raise ValueError(f"radius {radius} must be at most a quarter of the cell {shape}")
    # Disks of total area a per area of the cell leave exp(-a) of it free.
    target = -math.log(1 - fraction) * math.prod(shape) / math.pi
    sizes = np.exp(generator.uniform(math.log(low), math.log(high), math.ceil(target / low**2)))
    count = 1 + int(np.abs(np.cumsum(sizes**2) - target).argmin())
    nearest = np.full(shape, np.inf)
    for size in sizes[:count]:
        centre = generator.random(2) * shape
        squares = (
            separation(np.arange(side), middle, side) ** 2
            for side, middle in zip(shape, centre, strict=True)
        )
        np.minimum(nearest, reduce(np.add.outer, squares) / size**2, out=nearest)
    return threshold(-nearest, fraction)


def rings(
    shape: Sequence[int],
    radius: Interval,
    thickness: float,
    packing: float,
    generator: Generator,
) -> np.ndarray:
    """Rings that do not overlap: the outer parts of the disks of `spheres`.

    `radius`: the outer one; `thickness`: of the ring, less than the radius; `packing`: area of the
    disks, rings and what they enclose, relative to the cell. Errors and source as `spheres`.
    """
    shape = check(shape, packing, dimensions=(2,))
    number(thickness, "thickness", 1, interval(radius, "radius")[0], ends=True)

    def attempt() -> np.ndarray | None:
        radii = draw_radii(shape, radius, packing, generator)
        centres = place(shape, radii, 1.0, generator)
        if centres is None:
            return None
        outer, inner = (rasterise(shape, centres, r) for r in (radii, radii - thickness))
        return outer - inner

    what = f"rings of radius {radius} with packing {packing} in {shape}"
    return first_success(attempt, None, what)


def cuboids(
    shape: Sequence[int], rows: int, channel: float, axis: int, generator: Generator
) -> np.ndarray:
    """Squares with rounded corners in rows, as precipitates of a superalloy in section.

    Each row is shifted along itself by a random distance, and each square is smaller than its place
    in a row by a random part and lies at random in it; where the first row lies is random, too.
    `rows`: number of rows and of squares in each, at least 2; `channel`: least width of what is
    between, at least 1; `axis`: along which the rows run.
    """
    shape = check(shape, dimensions=(2,))
    number_of_rows, axis = whole(rows, "rows", 2), whole(axis, "axis", 0, 1)
    cell = shape if axis == 1 else shape[::-1]
    places = np.array(cell) / number_of_rows
    number(channel, "channel", 1, float(places.min()) - 2)
    room = places - channel
    marked = np.zeros(cell, bool)
    first = generator.random() * places[0]
    for row in range(number_of_rows):
        shift = generator.random() * places[1]
        for column in range(number_of_rows):
            sides = room * generator.uniform(*CUBOID_SIZES, 2)
            centre = np.array([row + 0.5, column + 0.5]) * places + (first, shift)
            centre += (room - sides) * (generator.random(2) - 0.5)
            y, x = (
                separation(np.arange(size), middle % size, size) / (side / 2)
                for size, middle, side in zip(cell, centre, sides, strict=True)
            )
            # |y|⁴ + |x|⁴ <= 1 by products alone, which are equal on every machine.
            marked |= np.add.outer((y * y) * (y * y), (x * x) * (x * x)) <= 1
    return np.ascontiguousarray(marked if axis == 1 else marked.T).view(np.uint8)

"""Periodic two-phase microstructures from a seed, in two and three dimensions.

Common to all families: `shape` is the number of voxels per axis, lengths are in voxels, opposite
faces of the cell meet, `fraction` is the volume fraction of the marked phase inside (0, 1), and all
randomness comes from `generator`. The result is a uint8 array of that shape: 1 in the marked phase
(the inclusions), 0 elsewhere. Bad input raises ValueError, and so does, before any work, a fraction
that marks no or every voxel, or a cell that needs more memory than is free.

Arithmetic is float64 on the CPU and fields are cut by rank, so that a difference in the last bit of
a transform cannot move a voxel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from scipy import fft

from etchmark.simulation.checks import memory, number, reals, whole

TOLERANCE = 0.01  # largest |volume fraction - target| of a family of inclusions
RESTARTS = 10  # placements tried from scratch before giving up
TRIALS = 20_000  # rejected positions in a row after which a placement counts as jammed

Interval = float | tuple[float, float]
Widths = float | Sequence[float]


def generator_of(*key: int) -> Generator:
    """The PCG64 generator of one sample, named by integers such as (seed, split, sample).

    A sample thus depends on its own key alone, never on those drawn before it. Keys of different
    length differ too. Raises ValueError without a key or for an integer outside [0, 2**32).

    Source: O'Neill, Harvey Mudd College report HMC-CS-2014-0905 (PCG; no DOI).
    """
    if not key:
        raise ValueError("key () must hold at least one integer")
    parts = [whole(part, "part of the key", 0, 2**32 - 1) for part in key]
    # SeedSequence pads with zeros: without the length, (1, 2) and (1, 2, 0) would be one stream.
    return Generator(PCG64(SeedSequence([len(key), *parts])))


def check(
    shape: Sequence[int],
    fraction: float = 0.5,
    *,
    dimensions: Sequence[int] = (2, 3),
    bytes_per_voxel: int = 1,
) -> tuple[int, ...]:
    """The shape of a periodic cell as a tuple, once it and the volume fraction are valid.

    Raises ValueError for another number of axes than `dimensions` allows, an axis of less than 2
    or not whole voxels, a fraction outside (0, 1) or that rounds to no or all voxels, or a cell
    for which `bytes_per_voxel`, the most that its making takes up, are more than the free memory.
    """
    if np.ndim(shape) != 1 or len(shape) not in dimensions:
        axes = " or ".join(str(count) for count in dimensions)
        raise ValueError(f"shape {shape} must be {axes} whole numbers of at least 2 voxels")
    sides = tuple(whole(size, "side of the shape", 2) for size in shape)
    number(fraction, "fraction", 0, 1)
    voxels = math.prod(sides)
    if not 0 < round(fraction * voxels) < voxels:
        raise ValueError(f"fraction {fraction} of {voxels} voxels leaves one phase only")
    memory(sides, voxels * bytes_per_voxel)
    return sides


def gaussian_field(shape: Sequence[int], widths: Widths, generator: Generator) -> np.ndarray:
    """Periodic white noise smoothed by a Gaussian: float64 array of zero mean.

    The noise is multiplied by exp(-2 π² Σ (σ_i f_i)²) at the frequencies f_i (cycles per voxel).
    Its autocorrelation is exp(-Σ r_i² / (4 σ_i²)) if the cell is much larger than σ. `widths`: the
    standard deviations σ_i in voxels, one per axis or one for all, positive, at most the side.

    Source: Teubner, Europhys. Lett. 14 (1991) 403, DOI 10.1209/0295-5075/14/5/003.
    """
    shape = check(shape, bytes_per_voxel=24)
    sigmas = reals(widths, "widths")
    if sigmas.shape not in ((), (len(shape),)) or not np.all((sigmas > 0) & (sigmas <= shape)):
        raise ValueError(f"widths {widths} must be one or one per axis, from 0 to the side {shape}")
    axes = zip(np.broadcast_to(sigmas, len(shape)), _frequencies(shape), strict=True)
    filters = [np.exp(-2 * (np.pi * sigma * frequency) ** 2) for sigma, frequency in axes]
    return _filtered(shape, reduce(np.multiply, filters), generator)


def threshold(field: np.ndarray, fraction: float) -> np.ndarray:
    """Mark the round(fraction * size) largest values of a field of any shape (uint8).

    The volume fraction is exact to one voxel; of equal values at the threshold those with the
    lowest flat index are marked. Raises ValueError for a fraction outside (0, 1), an empty field
    and values that are not finite.
    """
    values = reals(field, "field")
    number(fraction, "fraction", 0, 1)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("the field must hold at least one value, and finite ones only")
    flat, count = values.ravel(), round(fraction * values.size)
    rank = min(flat.size - count, flat.size - 1)
    level = np.partition(flat, rank)[rank]
    marked = flat > level
    marked[np.flatnonzero(flat == level)[: count - np.count_nonzero(marked)]] = True
    return marked.view(np.uint8).reshape(values.shape)


def random_field(
    shape: Sequence[int], widths: Widths, fraction: float, generator: Generator
) -> np.ndarray:
    """Gaussian random field cut at a level; the volume fraction is exact to one voxel.

    Parameters, errors and source as `gaussian_field` and `threshold`.
    """
    return threshold(gaussian_field(check(shape, fraction), widths, generator), fraction)


def spinodal(
    shape: Sequence[int],
    wavelength: float,
    fraction: float,
    generator: Generator,
    *,
    bandwidth: float = 0.1,
) -> np.ndarray:
    """Spinodal-like structure: waves of one length and all directions, cut at a level.

    White noise is kept in a Gaussian shell around |k| = 2 π / wavelength. `wavelength`: in voxels,
    from 2 to the shortest side; `bandwidth`: standard deviation of the amplitudes relative to |k|,
    positive. The volume fraction is exact to one voxel.

    Source: Cahn, J. Chem. Phys. 42 (1965) 93, DOI 10.1063/1.1695731.
    """
    shape = check(shape, fraction, bytes_per_voxel=32)
    number(wavelength, "wavelength", 2, min(shape), ends=True)
    number(bandwidth, "bandwidth", 0, math.inf)
    radius = np.sqrt(sum(frequency**2 for frequency in _frequencies(shape)))
    exponent = ((radius * wavelength - 1) / bandwidth) ** 2 / 2
    exponent.flat[0] = np.inf
    # In a small cell a narrow shell may hold no mode; then the nearest ones are kept.
    return threshold(_filtered(shape, np.exp(exponent.min() - exponent), generator), fraction)


def spheres(
    shape: Sequence[int],
    radius: Interval,
    fraction: float,
    generator: Generator,
    *,
    gap: float = 0.0,
) -> np.ndarray:
    """Spheres (3D) or disks (2D) that do not overlap, by random sequential addition.

    Radii are drawn uniformly, as many as bring their total volume nearest to the target; one common
    factor, close to 1 if there are many, then makes it equal. The largest are placed first, at any
    point; a voxel is marked if its centre lies inside. `radius`: in voxels, or (smallest, largest),
    at least 1 and less than half the cell; `gap`: least distance between two surfaces. The volume
    fraction is met within 0.01; equal radii without gap reach about 0.34 in 3D, 0.5 in 2D. Raises
    ValueError if no room is found.

    Source: Widom, J. Chem. Phys. 44 (1966) 3888, DOI 10.1063/1.1726548.
    """
    shape = check(shape, fraction, bytes_per_voxel=8)
    number(gap, "gap", 0, math.inf, ends=True)

    def attempt() -> np.ndarray | None:
        radii = _radii(shape, radius, fraction, generator)
        centres = _place(shape, radii, gap, generator)
        return None if centres is None else _rasterise(shape, centres, radii)

    return _retried(attempt, fraction, f"spheres of radius {radius}, gap {gap} in {shape}")


def fibres(
    shape: Sequence[int],
    axis: int,
    radius: Interval,
    fraction: float,
    generator: Generator,
    *,
    gap: float = 0.0,
) -> np.ndarray:
    """Parallel round fibres through a 3D cell: the disks of `spheres` drawn out along `axis`.

    `axis` is 0, 1 or 2; other parameters, errors and source as `spheres` in the cross-section.
    """
    shape = check(shape, fraction, dimensions=(3,))
    axis = whole(axis, "axis", 0, 2)
    section = shape[:axis] + shape[axis + 1 :]
    disks = spheres(section, radius, fraction, generator, gap=gap)
    return np.repeat(np.expand_dims(disks, axis), shape[axis], axis)


def ellipses(
    shape: Sequence[int], radius: Interval, aspect: Interval, fraction: float, generator: Generator
) -> np.ndarray:
    """Ellipses (2D) of random orientation that share no pixel, by random sequential addition.

    Neighbours may touch. Sizes follow from `radius`, that of the disk of equal area, as in
    `spheres`; `aspect`: major over minor axis, or (smallest, largest), at least 1, drawn uniformly;
    the major axis must be shorter than the cell. Each batch of trial positions has a new angle. The
    area fraction is met within 0.01. Raises ValueError if no room is found.

    Source: Viot, Tarjus, Ricci & Talbot, J. Chem. Phys. 97 (1992) 5212, DOI 10.1063/1.463820.
    """
    shape = check(shape, fraction, dimensions=(2,))
    lowest, highest = _interval(aspect, "aspect")
    largest = _interval(radius, "radius")[1]
    if largest * math.sqrt(highest) >= min(shape) / 2:
        raise ValueError(f"radius {radius} with aspect {aspect} is too long for the cell {shape}")
    # The pixels of an ellipse are looked up at 64 places at once.
    memory(shape, 40 * math.prod(shape) + math.ceil(1800 * math.pi * largest**2))

    def attempt() -> np.ndarray | None:
        radii = _radii(shape, radius, fraction, generator)
        ratios = generator.uniform(lowest, highest, radii.size)
        marked = np.zeros(shape, np.uint8)
        for major, minor in zip(radii * np.sqrt(ratios), radii / np.sqrt(ratios), strict=True):
            if major >= min(shape) / 2 or not _add_ellipse(marked, major, minor, generator):
                return None
        return marked

    return _retried(attempt, fraction, f"ellipses of radius {radius}, aspect {aspect} in {shape}")


def nearest_points(
    shape: Sequence[int], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Callable[[int], np.ndarray]]:
    """The nearest of some points to every voxel of a periodic cell.

    Args:
        shape: of the cell.
        points: places in voxels, shape (points, dimensions).

    Returns:
        Squared distance to the nearest point and its number, each of the cell's shape, and a
        function that gives the squared distances to one point.
    """
    squares = [
        _separation(np.arange(size), points[:, axis, None], size) ** 2
        for axis, size in enumerate(shape)
    ]

    def distance(point: int) -> np.ndarray:
        # The squared minimum-image distance is a sum over axes: cheaper than a tree.
        return reduce(np.add.outer, [square[point] for square in squares])

    nearest, owner = np.full(shape, np.inf), np.zeros(shape, np.int32)
    for point in range(len(points)):
        found = distance(point)
        np.copyto(owner, point, where=found < nearest)
        np.minimum(nearest, found, out=nearest)
    return nearest, owner, distance


def voronoi(shape: Sequence[int], cells: int, fraction: float, generator: Generator) -> np.ndarray:
    """Voronoi cells of random points, each cell given to one of two phases.

    As many cells are marked, in random order, as bring their volume nearest to the target; what is
    missing is met by moving all boundaries between the phases: the marked points get one common
    weight, which makes it a power diagram. The volume fraction is exact to one voxel. `cells`:
    number of points, from 2 to the number of voxels.

    Source: Gilbert, Ann. Math. Stat. 33 (1962) 958, DOI 10.1214/aoms/1177704464; Aurenhammer,
    SIAM J. Comput. 16 (1987) 78, DOI 10.1137/0216006.
    """
    shape = check(shape, fraction)
    cells = whole(cells, "cells", 2, math.prod(shape))
    # Each point has its distances to the planes of voxels across each axis.
    memory(shape, 56 * math.prod(shape) + 24 * cells * sum(shape))
    points = generator.random((cells, len(shape))) * shape
    nearest, owner, distance = nearest_points(shape, points)
    # The points are drawn independently, so their own order is a random one.
    volumes = np.cumsum(np.bincount(owner.ravel(), minlength=cells))[:-1]
    count = 1 + int(np.abs(volumes - fraction * nearest.size).argmin())
    inside, outside = np.full(shape, np.inf), np.full(shape, np.inf)
    for point in range(cells):
        side = inside if point < count else outside
        np.minimum(side, distance(point), out=side)
    return threshold(outside - inside, fraction)


def polarity(inclusions: np.ndarray, stiff: bool) -> np.ndarray:
    """Indicator of the stiff phase (uint8): the inclusions if they are stiff, else the rest.

    Raises ValueError for a value other than 0 and 1.
    """
    marked = _bits(inclusions).view(np.uint8)
    return marked if stiff else 1 - marked


def digest(microstructure: np.ndarray) -> str:
    """Hash of zeros and ones of any type: 32 hexadecimal digits of SHA-256 over shape and bits.

    Raises ValueError for a value other than 0 and 1.
    """
    bits = _bits(microstructure)
    content = repr(bits.shape).encode() + np.packbits(bits).tobytes()
    return hashlib.sha256(content).hexdigest()[:32]


def sections(volume: np.ndarray) -> dict[str, np.ndarray]:
    """The orthogonal faces of a cube: copies of volume[0, :, :], volume[:, 0, :], volume[:, :, 0].

    Keys `section_x`, `section_y`, `section_z`. Raises ValueError if the volume is not a cube.
    """
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ValueError(f"volume of shape {volume.shape} must be a cube")
    return {f"section_{name}": volume.take(0, axis) for axis, name in enumerate("xyz")}


def _bits(microstructure: np.ndarray) -> np.ndarray:
    """Zeros and ones of any type as a new array of bools."""
    voxels = np.asarray(microstructure)
    bits = voxels.astype(bool)
    if not np.array_equal(bits, voxels):
        raise ValueError("microstructure must hold only 0 and 1")
    return bits


def _frequencies(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Frequencies of the real transform in cycles per voxel, one broadcastable array per axis."""
    axes = [np.fft.fftfreq(size) for size in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _filtered(shape: tuple[int, ...], response: np.ndarray, generator: Generator) -> np.ndarray:
    """White noise times a frequency response, back in space, with zero mean."""
    spectrum = np.asarray(fft.rfftn(generator.standard_normal(shape), workers=1)) * response
    spectrum.flat[0] = 0
    return np.asarray(fft.irfftn(spectrum, shape, overwrite_x=True, workers=1))


def _interval(value: Interval, name: str) -> tuple[float, float]:
    """Both ends of a range, a single value being both."""
    ends = np.atleast_1d(reals(value, name))
    if ends.shape not in ((1,), (2,)) or not 1 <= ends[0] <= ends[-1] < math.inf:
        raise ValueError(f"{name} {value} must be a number of at least 1 or an ascending pair")
    return float(ends[0]), float(ends[-1])


def _separation(first: np.ndarray, second: np.ndarray, size: float) -> np.ndarray:
    """Distance along one axis to the nearest periodic image."""
    direct = np.abs(first - second)
    return np.minimum(direct, size - direct)


def _distances(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Minimum-image distances between two sets of points, shape (first, second)."""
    total = np.zeros((len(first), len(second)))
    for axis, size in enumerate(shape):
        total += _separation(first[:, axis, None], second[:, axis], size) ** 2
    return np.sqrt(total)


def _radii(
    shape: tuple[int, ...], radius: Interval, fraction: float, generator: Generator
) -> np.ndarray:
    """Descending radii whose disks or balls fill the fraction exactly, by one common factor."""
    low, high = _interval(radius, "radius")
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


def _place(
    shape: tuple[int, ...], radii: np.ndarray, gap: float, generator: Generator
) -> np.ndarray | None:
    """Centres of shape (n, axes) that keep inclusions apart, None if they jam."""
    if 2 * radii[0] + gap > min(shape):  # the largest would meet its own image
        return None
    centres = np.empty((radii.size, len(shape)))
    batch = max(16, min(256, 20_000 // radii.size))  # distances stay in the cache
    placed = rejected = 0
    while placed < radii.size and rejected < TRIALS:
        trial = generator.random((batch, len(shape))) * shape
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


def _rasterise(shape: tuple[int, ...], centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Mark the voxels whose centre lies within a radius of a periodic centre."""
    marked = np.zeros(shape, np.uint8)
    for centre, radius in zip(centres, radii, strict=True):
        spans = [np.arange(math.ceil(c - radius), math.floor(c + radius) + 1) for c in centre]
        squares = [(span - c) ** 2 for span, c in zip(spans, centre, strict=True)]
        window = np.ix_(*[span % size for span, size in zip(spans, shape, strict=True)])
        marked[window] |= reduce(np.add.outer, squares) <= radius**2
    return marked


def _add_ellipse(marked: np.ndarray, major: float, minor: float, generator: Generator) -> bool:
    """Mark one ellipse of given semi-axes where no pixel is taken; False if no place is found."""
    flat, (height, width), reach = marked.reshape(-1), marked.shape, math.ceil(major) + 1
    steps = np.arange(-reach, reach + 1.0)
    batch = rejected = 0
    while rejected < TRIALS:
        batch = min(2 * batch + 8, 64)  # the first ellipses need few trials
        angle, (y, x) = generator.uniform(0, np.pi), generator.random(2)
        cos, sin, y, x = math.cos(angle), math.sin(angle), steps[:, None] - y, steps - x
        inside = ((x * cos + y * sin) / major) ** 2 + ((y * cos - x * sin) / minor) ** 2 <= 1
        rows, columns = np.nonzero(inside)
        corner = generator.integers(0, marked.shape, (batch, 2))
        pixels = (corner[:, :1] + rows) % height * width + (corner[:, 1:] + columns) % width
        free = np.flatnonzero(~flat[pixels].any(1))
        if free.size:
            flat[pixels[free[0]]] = 1
            return True
        rejected += batch
    return False


def _retried(attempt: Callable[[], np.ndarray | None], fraction: float, what: str) -> np.ndarray:
    """The first attempt that succeeds with the volume fraction within the tolerance."""
    for _ in range(RESTARTS):
        marked = attempt()
        if marked is not None and abs(marked.mean() - fraction) <= TOLERANCE:
            return marked
    raise ValueError(f"no room for {what} at fraction {fraction}: lower it or the radius")

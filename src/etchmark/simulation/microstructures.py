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
from etchmark.simulation.placement import (
    Interval,
    add_ellipse,
    draw_radii,
    first_success,
    interval,
    place,
    rasterise,
    separation,
)

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
    that needs more than the free memory at `bytes_per_voxel`.
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
    axes = zip(np.broadcast_to(sigmas, len(shape)), frequencies(shape), strict=True)
    filters = [np.exp(-2 * (np.pi * sigma * frequency) ** 2) for sigma, frequency in axes]
    return filtered(shape, reduce(np.multiply, filters), generator)


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
    radius = np.sqrt(sum(frequency**2 for frequency in frequencies(shape)))
    exponent = ((radius * wavelength - 1) / bandwidth) ** 2 / 2
    exponent.flat[0] = np.inf
    # In a small cell a narrow shell may hold no mode; then the nearest ones are kept.
    return threshold(filtered(shape, np.exp(exponent.min() - exponent), generator), fraction)


def spheres(
    shape: Sequence[int],
    radius: Interval,
    fraction: float,
    generator: Generator,
    *,
    gap: float = 0.0,
) -> np.ndarray:
    """Spheres (3D) or disks (2D) that do not overlap, by random sequential addition.

    Radii are drawn uniformly until their total volume is nearest to the target; one common factor,
    close to 1 if there are many, makes it equal. The largest are placed first, at any
    point; a voxel is marked if its centre lies inside. `radius`: in voxels, or (smallest, largest),
    at least 1 and less than half the cell; `gap`: least distance between two surfaces. The volume
    fraction is met within 0.01; equal radii without gap reach about 0.34 in 3D, 0.5 in 2D. Raises
    ValueError if no room is found.

    Source: Widom, J. Chem. Phys. 44 (1966) 3888, DOI 10.1063/1.1726548.
    """
    shape = check(shape, fraction, bytes_per_voxel=8)
    number(gap, "gap", 0, math.inf, ends=True)

    def attempt() -> np.ndarray | None:
        radii = draw_radii(shape, radius, fraction, generator)
        centres = place(shape, radii, gap, generator)
        return None if centres is None else rasterise(shape, centres, radii)

    return first_success(attempt, fraction, f"spheres of radius {radius}, gap {gap} in {shape}")


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
    lowest, highest = interval(aspect, "aspect")
    largest = interval(radius, "radius")[1]
    if largest * math.sqrt(highest) >= min(shape) / 2:
        raise ValueError(f"radius {radius} with aspect {aspect} is too long for the cell {shape}")
    # The pixels of an ellipse are looked up at 64 places at once.
    memory(shape, 40 * math.prod(shape) + math.ceil(1800 * math.pi * largest**2))

    def attempt() -> np.ndarray | None:
        radii = draw_radii(shape, radius, fraction, generator)
        ratios = generator.uniform(lowest, highest, radii.size)
        marked = np.zeros(shape, np.uint8)
        for major, minor in zip(radii * np.sqrt(ratios), radii / np.sqrt(ratios), strict=True):
            if major >= min(shape) / 2 or not add_ellipse(marked, major, minor, generator):
                return None
        return marked

    return first_success(
        attempt, fraction, f"ellipses of radius {radius}, aspect {aspect} in {shape}"
    )


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
        separation(np.arange(size), points[:, axis, None], size) ** 2
        for axis, size in enumerate(shape)
    ]

    def distance(point: int) -> np.ndarray:
        # The squared minimum-image distance is a sum over axes: cheaper than a tree.
        return reduce(np.add.outer, [square[point] for square in squares])

    nearest, owner = np.full(shape, np.inf), np.zeros(shape, np.int32)
    for point in range(len(points)):
        squared = distance(point)
        np.copyto(owner, point, where=squared < nearest)
        np.minimum(nearest, squared, out=nearest)
    return nearest, owner, distance


def voronoi(shape: Sequence[int], cells: int, fraction: float, generator: Generator) -> np.ndarray:
    """Voronoi cells of random points, each cell given to one of two phases.

    Cells are marked in random order until their volume is nearest to the target; the difference is
    made up by moving all boundaries between the phases: the marked points get one common weight,
    which makes it a power diagram. The volume fraction is exact to one voxel. `cells`: number of
    points, from 2 to the number of voxels.

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


def frequencies(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Frequencies of the real transform in cycles per voxel, one broadcastable array per axis."""
    axes = [np.fft.fftfreq(size) for size in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def filtered(shape: tuple[int, ...], response: np.ndarray, generator: Generator) -> np.ndarray:
    """White noise times a frequency response, back in space, with zero mean."""
    spectrum = np.asarray(fft.rfftn(generator.standard_normal(shape), workers=1)) * response
    spectrum.flat[0] = 0
    return np.asarray(fft.irfftn(spectrum, shape, overwrite_x=True, workers=1))

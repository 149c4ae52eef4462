"""How far apart two sets of two-phase images are, by groups of descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etchmark.descriptors.fields import components, two_point_statistics

Array = NDArray[np.float64]

GROUPS = ("two_point", "lineal_path", "chord_length", "surface", "clusters")
"""Groups of descriptors, in the order in which their distances are stored."""
LONGEST = 32
"""Segments of the lineal path are up to so many cells long; all longer chords count alike."""
LARGEST_LAG = 16
"""Cells of the largest lag of the two-point statistics along each axis."""
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours across which interface is counted: along rows, columns and both diagonals."""
OCTAVES = 13
"""Areas of clusters are told apart at 1, 2, 4, ... 4,096 cells."""


def descriptor_groups(images: np.ndarray, *, periodic: bool) -> dict[str, Array]:
    """Vectors of descriptors of two-phase images; every number lies between 0 and about 1.

    - ``two_point``: probability that both ends of a vector lie in phase 1, for all vectors of up to
      16 cells along each axis.
    - ``lineal_path``: probability that a segment of 1 to 32 cells lies in one phase, along rows and
      columns, for both phases.
    - ``chord_length``: share of chords of at most 1 to 31 cells, along rows and columns, for both
      phases. A chord that meets the edge of an image that is not periodic ends there.
    - ``surface``: pairs of unlike neighbours per pair, along rows, columns and both diagonals.
    - ``clusters``: for both phases, the share of the image in clusters of at least 1, 2, 4, ...
      4,096 cells, the share in the largest one, and the logarithm of their number. Cells that share
      an edge are connected.

    Args:
        images: 0 and 1, shape (images, n, m), at least 33 cells along each axis.
        periodic: whether the images continue across their edges.

    Returns:
        Shape (images, numbers) for each of ``GROUPS``.

    Raises:
        ValueError: the images have another shape or other values.

    Source: Torquato, Random Heterogeneous Materials, Springer 2002,
    DOI 10.1007/978-1-4757-6355-8, chapter 2.
    """
    phase = two_phases(images)
    if min(phase.shape[1:]) <= LONGEST:
        raise ValueError(f"images of {phase.shape[1:]} cells are smaller than {LONGEST + 1} cells")
    segments = [
        _segments(np.moveaxis(member, axis, -1), periodic=periodic)
        for member in (phase, ~phase)
        for axis in (1, 2)
    ]
    places = _places(phase.shape[1:], periodic=periodic)
    paths = [
        counts[:, :-1] / places[axis] for counts, axis in zip(segments, (0, 1) * 2, strict=True)
    ]
    return {
        "two_point": _two_point(phase, periodic=periodic),
        "lineal_path": np.concatenate(paths, axis=1),
        "chord_length": np.concatenate([_chords(counts) for counts in segments], axis=1),
        "surface": _surface(phase, periodic=periodic),
        "clusters": np.concatenate(
            [_clusters(member, periodic=periodic) for member in (phase, ~phase)], axis=1
        ),
    }


def two_phases(images: np.ndarray) -> NDArray[np.bool_]:
    """Images of 0 and 1 as truth values, shape (images, n, m).

    Raises:
        ValueError: the images have another shape or other values.
    """
    values = np.asarray(images)
    if values.ndim != 3 or not values.size:
        raise ValueError(f"images have the shape (images, n, m), not {values.shape}")
    phase = values.astype(bool)
    if not (values == phase).all():
        raise ValueError("images hold 0 and 1 alone")
    return phase


def _two_point(phase: NDArray[np.bool_], *, periodic: bool) -> Array:
    lags = [
        two_point_statistics(image, LARGEST_LAG, periodic=periodic).ravel()
        for image in phase.astype(np.uint8)
    ]
    # S(-r) = S(r): the first half holds all, the zero lag included.
    return np.stack(lags)[:, : len(lags[0]) // 2 + 1]


def _segments(member: NDArray[np.bool_], *, periodic: bool) -> Array:
    """Segments of 1 to 33 cells along the last axis that lie in a phase, shape (images, 33)."""
    inside, counts = member, []
    for length in range(1, LONGEST + 2):
        counts.append(inside.sum(axis=(1, 2)))
        if periodic:
            inside = inside & np.roll(member, -length, axis=2)
        else:
            inside = inside[:, :, :-1] & member[:, :, length:]
    return np.stack(counts, axis=1).astype(np.float64)


def _places(shape: tuple[int, ...], *, periodic: bool) -> list[Array]:
    """Segments of 1 to 32 cells that an image holds, along its rows' axis and its columns'."""
    lengths = np.arange(1, LONGEST + 1)
    whole = np.full(LONGEST, float(shape[0] * shape[1]))
    if periodic:
        return [whole, whole]
    return [whole * (size - lengths + 1) / size for size in shape]


def _chords(segments: Array) -> Array:
    """Share of chords of at most 1 to 31 cells; 0 where a phase has none."""
    # A run of l cells holds l - r + 1 segments of r cells, so a difference counts runs.
    at_least = segments[:, :-1] - segments[:, 1:]
    total = at_least[:, :1]
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, 1.0 - at_least[:, 1:] / total, 0.0)


def _surface(phase: NDArray[np.bool_], *, periodic: bool) -> Array:
    shares = []
    for down, right in STEPS:
        unlike = phase != np.roll(phase, (-down, -right), axis=(1, 2))
        if not periodic:
            rows = slice(None, -down or None)
            columns = slice(1, None) if right < 0 else slice(None, -right or None)
            unlike = unlike[:, rows, columns]
        shares.append(unlike.mean(axis=(1, 2)))
    return np.stack(shares, axis=1)


def _clusters(member: NDArray[np.bool_], *, periodic: bool) -> Array:
    areas, image = components(member, periodic=periodic)
    count, cells = len(member), member[0].size
    shares = [
        np.bincount(image, np.where(areas >= 2**octave, areas, 0), minlength=count) / cells
        for octave in range(OCTAVES)
    ]
    largest = np.zeros(count)
    np.maximum.at(largest, image, areas / cells)
    number = np.log2(1 + np.bincount(image, minlength=count)) / np.log2(1 + cells)
    return np.stack([*shares, largest, number], axis=1)


def energy_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| of two samples of vectors.

    Its expectation is 0 if and only if both come from one distribution; a value may be negative.

    Args:
        first: shape (samples, numbers), at least two samples.
        second: shape (samples, numbers), at least two samples.

    Raises:
        ValueError: there are fewer than two samples on a side.

    Source: Székely & Rizzo, J. Stat. Plan. Inference 143 (2013) 1249,
    DOI 10.1016/j.jspi.2013.03.018.
    """
    from scipy.spatial.distance import cdist, pdist

    if min(len(first), len(second)) < 2:
        raise ValueError("an energy distance needs two samples on each side at least")
    within = pdist(first).mean() + pdist(second).mean()
    return float(2.0 * cdist(first, second).mean() - within)


def group_distances(images: np.ndarray, others: np.ndarray, *, periodic: bool) -> Array:
    """Energy distance of two sets of images by each group of descriptors, shape (groups,).

    Args:
        images: 0 and 1, shape (images, n, m).
        others: 0 and 1, shape (others, n, m).
        periodic: whether the images continue across their edges.

    Raises:
        ValueError: see ``descriptor_groups`` and ``energy_distance``.
    """
    first, second = (descriptor_groups(part, periodic=periodic) for part in (images, others))
    return np.array([energy_distance(first[name], second[name]) for name in GROUPS])

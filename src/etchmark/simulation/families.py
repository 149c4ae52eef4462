"""Families of two-phase microstructures: parameters drawn from ranges, and the sample they give.

A family is described by a mapping: `morphology` names its generator, the other entries are ranges
``[lowest, highest]`` or values. Drawn parameters are rounded before they are used, so that what is
stored with a sample is exactly what it was made with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.random import Generator

from etchmark.simulation import microstructures, morphologies

DIGITS = 6
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
"""Normals of strips, as whole periods of the cell along each axis."""
FAULTS = DIRECTIONS[:4]
"""Normals of faults in lamellae."""

Drawn = tuple[np.ndarray, dict[str, Any]]
Shape = tuple[int, ...]
Ranges = Mapping[str, Any]


def uniform(generator: Generator, limits: Sequence[float]) -> float:
    """A number between two limits, rounded."""
    low, high = limits
    return round(float(generator.uniform(low, high)), DIGITS)


def log_uniform(generator: Generator, limits: Sequence[float]) -> float:
    """A number whose logarithm is uniform between two positive limits, rounded."""
    low, high = math.log(limits[0]), math.log(limits[1])
    return round(math.exp(generator.uniform(low, high)), DIGITS)


def count(generator: Generator, limits: Sequence[int]) -> int:
    """A whole number from the first limit to the last."""
    return int(generator.integers(limits[0], limits[1] + 1))


def draw(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    """A sample of a family.

    Args:
        shape: voxels per axis.
        family: `morphology` and the ranges that its generator needs. Where `stiff` is given, the
            marked phase (inclusions, walls, the upper part of a field) is stiff or soft by it;
            otherwise that of inclusions is drawn, and that of fields is stiff.
        generator: of all randomness.

    Returns:
        The stiff phase (uint8), and the parameters it was made with, as JSON values.

    Raises:
        ValueError: an unknown morphology, or parameters that its generator refuses.
    """
    kind = family["morphology"]
    if kind in _FIELDS:
        marked, drawn = _FIELDS[kind](shape, family, generator)
        stiff = family.get("stiff", True)
        return microstructures.polarity(marked, stiff), drawn
    if kind not in _INCLUSIONS:
        known = ", ".join(sorted({*_FIELDS, *_INCLUSIONS}))
        raise ValueError(f"morphology {kind!r} must be one of {known}")
    fraction = uniform(generator, family["fraction"])
    stiff = family["stiff"] if "stiff" in family else bool(generator.integers(2))
    radius = uniform(generator, family["radius"])
    marked, more = _INCLUSIONS[kind](shape, (radius, fraction), family, generator)
    drawn = {"inclusions": fraction, "stiff_inclusions": stiff, "radius": radius, **more}
    return microstructures.polarity(marked, stiff), drawn


# --- families without a radius of inclusions ------------------------------------------------------


def _gaussian(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    widths = [log_uniform(generator, family["width"]) for _ in shape]
    marked = microstructures.random_field(shape, widths, fraction, generator)
    return marked, {"fraction": fraction, "widths": widths}


def _isotropic_field(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    width = log_uniform(generator, family["width"])
    marked = microstructures.random_field(shape, width, fraction, generator)
    return marked, {"fraction": fraction, "width": width}


def _two_scale_field(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction, share = (uniform(generator, family[name]) for name in ("fraction", "share"))
    fine, coarse = (log_uniform(generator, family[name]) for name in ("fine", "coarse"))
    marked = morphologies.two_scale_field(shape, (fine, coarse), share, fraction, generator)
    return marked, {"fraction": fraction, "share": share, "fine": fine, "coarse": coarse}


def _tilted_field(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    width = log_uniform(generator, family["width"])
    aspect = log_uniform(generator, family["aspect"])
    angle = uniform(generator, (0, math.pi))
    widths = (width * aspect, width)
    marked = morphologies.tilted_field(shape, widths, angle, fraction, generator)
    return marked, {"fraction": fraction, "width": width, "aspect": aspect, "angle": angle}


def _lamellae(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    low, high = family["period"]
    while True:
        # A wave must fit the cell: the nearest whole numbers, if their period is in the range.
        period, angle = log_uniform(generator, (low, high)), generator.uniform(0, math.pi)
        wave = [
            round(size / period * part)
            for size, part in zip(shape, (math.cos(angle), math.sin(angle)), strict=True)
        ]
        length = math.hypot(*(part / size for part, size in zip(wave, shape, strict=True)))
        if length and low <= 1 / length <= high:
            break
    # Faults at 30 degrees or more to the layers.
    normals = [normal for normal in FAULTS if _sine(wave, normal) >= 0.5]
    fault = normals[generator.integers(len(normals))]
    faults = count(generator, family["faults"])
    pair = (wave[0], wave[1])
    marked = morphologies.lamellae(shape, pair, fault, faults, fraction, generator)
    return marked, {"fraction": fraction, "wave": wave, "fault": list(fault), "faults": faults}


def _sine(first: Sequence[int], second: Sequence[int]) -> float:
    """Sine of the angle between two vectors in the plane."""
    cross = abs(first[0] * second[1] - first[1] * second[0])
    return cross / (math.hypot(*first) * math.hypot(*second))


def _spinodal(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    wavelength = uniform(generator, family["wavelength"])
    marked = microstructures.spinodal(shape, wavelength, fraction, generator)
    return marked, {"fraction": fraction, "wavelength": wavelength}


def _quench(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    time = log_uniform(generator, family["time"])
    marked = morphologies.quench(shape, time, fraction, generator)
    return marked, {"fraction": fraction, "time": time}


def _voronoi(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    cells = count(generator, family["cells"])
    marked = microstructures.voronoi(shape, cells, fraction, generator)
    return marked, {"fraction": fraction, "cells": cells}


def _cell_walls(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    cells = count(generator, family["cells"])
    width = uniform(generator, family["width"])
    marked = morphologies.cell_walls(shape, cells, width, generator)
    return marked, {"cells": cells, "width": width}


def _strips(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    width = uniform(generator, family["width"])
    # Two directions at 30 degrees or more to each other.
    pairs = [pair for pair in combinations(DIRECTIONS, 2) if _sine(*pair) >= 0.5]
    directions = pairs[generator.integers(len(pairs))]
    counts = []
    for direction in directions:
        share = uniform(generator, family["share"])
        period = shape[0] / math.hypot(*direction)
        counts.append(max(1, round(share * period / width)))
    marked = morphologies.strips(shape, directions, counts, width, generator)
    listed = [list(direction) for direction in directions]
    return marked, {"width": width, "directions": listed, "counts": counts}


def _cuboids(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    rows = count(generator, family["rows"])
    channel = uniform(generator, family["channel"])
    axis = int(generator.integers(2))
    marked = morphologies.cuboids(shape, rows, channel, axis, generator)
    return marked, {"rows": rows, "channel": channel, "axis": axis}


def _overlapping_disks(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction = uniform(generator, family["fraction"])
    low, high = family["radius"]
    marked = morphologies.overlapping_disks(shape, (low, high), fraction, generator)
    return marked, {"fraction": fraction}


def _rings(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    packing, radius, thickness = (
        uniform(generator, family[name]) for name in ("packing", "radius", "thickness")
    )
    marked = morphologies.rings(shape, radius, thickness, packing, generator)
    return marked, {"packing": packing, "radius": radius, "thickness": thickness}


def _aligned_fibres(shape: Shape, family: Ranges, generator: Generator) -> Drawn:
    fraction, width, aspect = (
        uniform(generator, family[name]) for name in ("fraction", "width", "aspect")
    )
    scatter = math.radians(family["scatter_degrees"])
    size = (width * aspect, width)
    marked = morphologies.aligned_fibres(shape, size, scatter, fraction, generator)
    return marked, {"fraction": fraction, "width": width, "aspect": aspect}


_FIELDS: dict[str, Callable[[Shape, Ranges, Generator], Drawn]] = {
    "gaussian": _gaussian,
    "isotropic_field": _isotropic_field,
    "two_scale_field": _two_scale_field,
    "tilted_field": _tilted_field,
    "lamellae": _lamellae,
    "spinodal": _spinodal,
    "quench": _quench,
    "voronoi": _voronoi,
    "cell_walls": _cell_walls,
    "strips": _strips,
    "cuboids": _cuboids,
    "overlapping_disks": _overlapping_disks,
    "rings": _rings,
    "aligned_fibres": _aligned_fibres,
}


# --- inclusions of one radius ---------------------------------------------------------------------


def _spheres(
    shape: Shape, size: tuple[float, float], family: Ranges, generator: Generator
) -> Drawn:
    radius, fraction = size
    return microstructures.spheres(shape, radius, fraction, generator), {}


def _fibres(shape: Shape, size: tuple[float, float], family: Ranges, generator: Generator) -> Drawn:
    radius, fraction = size
    axis = family["axis"]
    return microstructures.fibres(shape, axis, radius, fraction, generator), {"axis": axis}


def _ellipses(
    shape: Shape, size: tuple[float, float], family: Ranges, generator: Generator
) -> Drawn:
    radius, fraction = size
    aspect = uniform(generator, family["aspect"])
    marked = microstructures.ellipses(shape, radius, aspect, fraction, generator)
    return marked, {"aspect": aspect}


def _clustered_disks(
    shape: Shape, size: tuple[float, float], family: Ranges, generator: Generator
) -> Drawn:
    radius, fraction = size
    crowding, width = family["crowding"], family["width"]
    marked = morphologies.clustered_disks(shape, radius, fraction, crowding, width, generator)
    return marked, {}


_INCLUSIONS: dict[str, Callable[[Shape, tuple[float, float], Ranges, Generator], Drawn]] = {
    "spheres": _spheres,
    "fibres": _fibres,
    "ellipses": _ellipses,
    "clustered_disks": _clustered_disks,
}

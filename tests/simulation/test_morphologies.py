"""Two-dimensional morphologies: same voxels everywhere, fractions, periodicity and geometry."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from runs import shortest_run
from scipy import ndimage

from etchmark.simulation import microstructures as micro
from etchmark.simulation import morphologies as morph
from etchmark.simulation import placement
from etchmark.simulation.microstructures import generator_of

SQUARE = (64, 64)
Family = Callable[[Generator], np.ndarray]

# The digest of key (1, 2, 3) shows when another machine or version draws other pixels.
FAMILIES: dict[str, tuple[Family, str]] = {
    "two-scale": (
        lambda g: morph.two_scale_field(SQUARE, (2, 8), 0.5, 0.4, g),
        "1f02f673ba5fc630bd51dd6e7a18e9d9",
    ),
    "tilted": (
        lambda g: morph.tilted_field(SQUARE, (6, 2), 0.5, 0.4, g),
        "138d7b5a83f1acd8ee0618b3d7103ee5",
    ),
    "lamellae": (
        lambda g: morph.lamellae(SQUARE, (3, 4), (1, 0), 3, 0.4, g),
        "43e74e3932df2cc25acd5cd3c74b667d",
    ),
    "strips": (
        lambda g: morph.strips(SQUARE, [(0, 1), (1, -2)], [3, 2], 3.5, g),
        "14a94e3588f647e57cda3243502fa9e5",
    ),
    "walls": (
        lambda g: morph.cell_walls(SQUARE, 9, 3.5, g),
        "b99a425eb64123d9370a2123add3a670",
    ),
    "clusters": (
        lambda g: morph.clustered_disks(SQUARE, (3, 4), 0.2, 0.38, 8, g),
        "faaa575670e56e0b23f620b8916ad134",
    ),
    "fibres": (
        lambda g: morph.aligned_fibres(SQUARE, (24, 4), 0.05, 0.3, g),
        "8d4785753d87fb6b424ed0da54c1ce73",
    ),
    "overlapping": (
        lambda g: morph.overlapping_disks(SQUARE, (3, 10), 0.4, g),
        "d3e29d32f92b190d6d9d47f2654178b0",
    ),
    "rings": (
        lambda g: morph.rings(SQUARE, (7, 9), 3, 0.35, g),
        "ccb1bc990e04ef65eefe14c40af2eb3f",
    ),
    "cuboids": (
        lambda g: morph.cuboids(SQUARE, 3, 4.5, 1, g),
        "53af451d6805cbb4a26a033725dedb03",
    ),
}
families = pytest.mark.parametrize("name", FAMILIES)


@families
def test_a_key_gives_the_same_pixels_on_every_machine(name: str) -> None:
    draw, pinned = FAMILIES[name]
    sample = draw(generator_of(1, 2, 3))
    assert sample.dtype == np.uint8
    assert set(np.unique(sample)) == {0, 1}
    assert draw(generator_of(1, 2, 3)).tobytes() == sample.tobytes()
    assert draw(generator_of(1, 2, 4)).tobytes() != sample.tobytes()
    assert micro.digest(sample) == pinned


@families
def test_the_border_is_no_more_of_a_boundary_than_the_interior(name: str) -> None:
    """Neighbours across the border differ as often as inside; without wrapping far more often."""
    draw = FAMILIES[name][0]
    samples = [draw(generator_of(6, seed)) for seed in range(40)]
    for axis in (0, 1):
        changes = [sample != np.roll(sample, 1, axis) for sample in samples]
        border = np.array([change.take(0, axis).mean() for change in changes])
        inside = np.mean([change.mean() for change in changes])
        spread = border.std() / math.sqrt(len(border))
        assert abs(border.mean() - inside) <= 4 * spread + 1e-9


@pytest.mark.parametrize("name", ["two-scale", "tilted", "overlapping"])
def test_fields_are_cut_by_rank(name: str) -> None:
    for seed in range(10):
        assert FAMILIES[name][0](generator_of(5, seed)).sum() == round(0.4 * 64 * 64)


@pytest.mark.parametrize(("name", "fraction"), [("clusters", 0.2), ("fibres", 0.3)])
def test_inclusions_meet_the_volume_fraction(name: str, fraction: float) -> None:
    for seed in range(10):
        assert abs(FAMILIES[name][0](generator_of(5, seed)).mean() - fraction) <= 0.01


@pytest.mark.parametrize("width", [3.0, 5.2])
def test_strips_walls_layers_and_channels_are_as_wide_as_they_should_be(width: float) -> None:
    least = math.floor(width)
    thinnest = 99
    for seed in range(10):
        marked = [
            morph.strips(SQUARE, [(1, 1), (2, -1)], [2, 2], width, generator_of(7, seed)),
            morph.cell_walls(SQUARE, 6, width, generator_of(8, seed)),
            1 - morph.cuboids(SQUARE, 3, width, 0, generator_of(9, seed)),
            # Period 64 / 5 pixels.
            morph.lamellae(SQUARE, (3, 4), (1, 0), 0, width * 5 / 64, generator_of(10, seed)),
        ]
        runs = [shortest_run(sample) for sample in marked]
        assert min(runs) >= least
        thinnest = min(thinnest, *runs[1:3])
    # No wider either, where a wall or channel lies across an axis.
    assert thinnest <= width + 1


def test_parallel_strips_are_one_width_apart_and_as_many_as_asked_for() -> None:
    for seed in range(10):
        sample = morph.strips(SQUARE, [(0, 1)], [4], 4, generator_of(11, seed))
        assert (sample == sample[0]).all()
        assert sample[0].sum() == 16
        assert np.count_nonzero(np.diff(sample[0].astype(int), append=sample[0, 0]) == 1) == 4
        assert shortest_run(1 - sample) >= 4
    with pytest.raises(ValueError, match="no room"):
        morph.strips(SQUARE, [(0, 1)], [9], 4, generator_of(11))


def test_layers_follow_their_wave_and_are_shifted_at_faults() -> None:
    plain = morph.lamellae(SQUARE, (0, 4), (1, 0), 0, 0.5, generator_of(12))
    assert (plain == plain[0]).all()
    assert np.abs(np.fft.rfft(plain[0] - plain.mean())).argmax() == 4
    cut = morph.lamellae(SQUARE, (0, 4), (1, 0), 3, 0.5, generator_of(12))
    changes = (cut != np.roll(cut, 1, 0)).any(axis=1)
    assert changes.sum() == 3
    # Half of the mean distance at least, less the pixel that rounding may take.
    assert np.diff(np.flatnonzero(changes)).min() >= 64 / 3 / 2 - 1
    with pytest.raises(ValueError, match="common factor"):
        morph.lamellae(SQUARE, (0, 4), (2, 2), 3, 0.5, generator_of(12))


def test_walls_are_what_lies_near_two_cells() -> None:
    """Brute force: the distance of a wall pixel's neighbours to two seeds differs little."""
    shape, cells, width = (40, 48), 7, 4.0
    sample = morph.cell_walls(shape, cells, width, generator_of(13))
    # The seeds again, as the generator draws them.
    radii = np.full(cells, morph.SEED_SPACING / 2 * math.sqrt(math.prod(shape) / cells))
    seeds = placement.place(shape, radii, 0.0, generator_of(13))
    assert seeds is not None
    images = np.concatenate(
        [seeds + np.array([row, column]) for row in (-40, 0, 40) for column in (-48, 0, 48)]
    )
    for pixel in np.argwhere(np.ones(shape)):
        distances = np.linalg.norm(images - pixel, axis=1)
        own = images[distances.argmin()]
        others = np.delete(images, distances.argmin(), axis=0)
        middle, normal = (others + own) / 2, others - own
        to_line = ((middle - pixel) * normal).sum(1) / np.linalg.norm(normal, axis=1)
        assert sample[tuple(pixel)] == (to_line.min() <= width / 2)


def test_clustered_disks_crowd() -> None:
    """In boxes of a quarter side the number of disks varies more than without clusters."""

    def spread(draw: Family) -> float:
        boxes = []
        for seed in range(20):
            sample = draw(generator_of(14, seed)).reshape(4, 32, 4, 32)
            boxes.append(sample.mean(axis=(1, 3)).ravel())
        return float(np.std(boxes))

    shape = (128, 128)
    crowded = spread(lambda g: morph.clustered_disks(shape, 5, 0.2, 0.4, 12, g))
    apart = spread(lambda g: micro.spheres(shape, 5, 0.2, g))
    assert crowded > 1.4 * apart


def test_fibres_are_aligned_and_keep_apart() -> None:
    for seed in range(5):
        sample = morph.aligned_fibres((96, 96), (30, 5), 0.0, 0.2, generator_of(15, seed), gap=2)
        # In the middle of a larger cut-out no fibre is split by the border.
        labels, count = ndimage.label(np.tile(sample, (3, 3)), np.ones((3, 3)))
        angles, lengths = [], []
        for part in range(1, count + 1):
            points = np.argwhere(labels == part)
            if (points.min(0) > 0).all() and (points.max(0) < 3 * 96 - 1).all():
                values, vectors = np.linalg.eigh(np.cov(points.T))
                angles.append(math.atan2(vectors[0, 1], vectors[1, 1]) * 2)
                lengths.append(math.sqrt(12 * values[1]))
        resultant = abs(np.mean(np.exp(1j * np.array(angles))))
        assert resultant > 0.999
        assert np.mean(lengths) == pytest.approx(29, rel=0.1)


def test_tilted_field_is_long_along_its_direction() -> None:
    widths, angle = (8.0, 2.0), 0.6
    direction = np.array([math.cos(angle), math.sin(angle)])
    turned = direction[::-1] * (1, -1)
    along, across = (np.rint(4 * step).astype(int) for step in (direction, turned))
    agree: dict[str, list[float]] = {"along": [], "across": []}
    for seed in range(10):
        sample = morph.tilted_field((96, 96), widths, angle, 0.5, generator_of(16, seed))
        agree["along"].append((sample == np.roll(sample, tuple(along), (0, 1))).mean())
        agree["across"].append((sample == np.roll(sample, tuple(across), (0, 1))).mean())
    # Sheppard's arcsine law for a correlation of exp(-r² / (4 width²)).
    for name, width, step in (("along", 8.0, along), ("across", 2.0, across)):
        correlation = math.exp(-float(step @ step) / (4 * width**2))
        expected = 0.5 + math.asin(correlation) / math.pi
        assert np.mean(agree[name]) == pytest.approx(expected, abs=0.04)


def test_two_scales_are_both_there() -> None:
    """Shares of the fine and the coarse field in the two-point function of the sum."""
    shape, lags = (192, 192), (3, 14)
    for share in (0.2, 0.8):
        measured = np.zeros(2)
        for seed in range(20):
            sample = morph.two_scale_field(shape, (2, 12), share, 0.5, generator_of(17, seed))
            measured += [(sample == np.roll(sample, lag, 0)).mean() / 20 for lag in lags]
        for lag, agreement in zip(lags, measured, strict=True):
            parts = [math.exp(-(lag**2) / (4 * width**2)) for width in (2, 12)]
            correlation = (1 - share) * parts[0] + share * parts[1]
            expected = 0.5 + math.asin(correlation) / math.pi
            assert agreement == pytest.approx(expected, abs=0.03)


def test_rings_are_hollow_and_as_thick_as_asked_for() -> None:
    sample = morph.rings((96, 96), 12, 4, 0.3, generator_of(18))
    number = round(0.3 * 96 * 96 / (math.pi * 12**2))
    outer = math.sqrt(0.3 * 96 * 96 / number / math.pi)
    area = number * math.pi * (outer**2 - (outer - 4) ** 2)
    assert sample.sum() == pytest.approx(area, rel=0.05)
    depth = ndimage.distance_transform_edt(np.tile(sample, (3, 3)))
    assert depth.max() == pytest.approx(2.5, abs=0.6)


def test_overlapping_disks_overlap() -> None:
    sample = morph.overlapping_disks((128, 128), (8, 8.1), 0.5, generator_of(19))
    labels, count = ndimage.label(sample)
    disks = -math.log(0.5) * 128**2 / (math.pi * 8**2)
    assert count < disks / 1.5
    assert np.bincount(labels.ravel())[1:].max() > 2 * math.pi * 8**2


def test_cuboids_are_squares_in_rows_along_either_axis() -> None:
    for axis in (0, 1):
        sample = morph.cuboids((60, 60), 3, 6, axis, generator_of(20))
        rows = sample if axis == 1 else sample.T
        # Between rows of squares a channel runs through the whole cell, between squares none does.
        free = ~rows.any(axis=1)
        assert np.count_nonzero(np.diff(free.astype(int), append=int(free[0])) == 1) == 3
        labels, _ = ndimage.label(np.tile(rows, (3, 3)))
        sizes = np.bincount(labels.ravel())[1:]
        assert np.sum(sizes > 100) >= 9 * 4
    assert not np.array_equal(
        morph.cuboids((60, 60), 3, 6, 0, generator_of(20)),
        morph.cuboids((60, 60), 3, 6, 1, generator_of(20)),
    )


def test_a_quench_separates_by_the_lever_rule_and_coarsens() -> None:
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    early, late = (morph.quench(SQUARE, time, 0.5, generator_of(1, 2, 3)) for time in (20, 200))
    assert early.sum() == late.sum() == 64 * 64 // 2
    interfaces = [(image != np.roll(image, 1, 0)).mean() for image in (early, late)]
    assert interfaces[1] < 0.8 * interfaces[0]
    again = morph.quench(SQUARE, 20, 0.5, generator_of(1, 2, 3))
    assert micro.digest(again) == micro.digest(early) == "d6758d7453ac7bcc7853bf73e4b0f921"
    # The first row continues the last.
    border, inside = (early != np.roll(early, 1, 0)).mean(axis=1)[0], interfaces[0]
    assert border < 2 * inside


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: morph.two_scale_field(SQUARE, (2, 8), 1.0, 0.5, g), "share"),
        (lambda g: morph.two_scale_field((8, 8, 8), (2, 8), 0.5, 0.5, g), "shape"),
        (lambda g: morph.tilted_field(SQUARE, (2, 65), 0, 0.5, g), "width 65"),
        (lambda g: morph.tilted_field(SQUARE, (2, 4), math.nan, 0.5, g), "angle"),
        (lambda g: morph.quench((32, 64), 20, 0.5, g), "square"),
        (lambda g: morph.quench(SQUARE, 0, 0.5, g), "time"),
        (lambda g: morph.lamellae(SQUARE, (0, 0), (1, 0), 2, 0.5, g), "wave"),
        (lambda g: morph.strips((32, 64), [(0, 1)], [1], 3, g), "square"),
        (lambda g: morph.strips(SQUARE, [(0, 2)], [1], 3, g), "direction"),
        (lambda g: morph.cell_walls(SQUARE, 3, 3, g), "cells 3"),
        (lambda g: morph.cell_walls(SQUARE, 9, 0.5, g), "width"),
        (lambda g: morph.clustered_disks(SQUARE, 4, 0.3, 0.2, 8, g), "crowding"),
        (lambda g: morph.clustered_disks(SQUARE, 4, 0.3, 0.9, 8, g), "no room"),
        (lambda g: morph.aligned_fibres(SQUARE, (50, 4), 0, 0.3, g), "too long"),
        (lambda g: morph.overlapping_disks(SQUARE, (3, 20), 0.3, g), "quarter"),
        (lambda g: morph.rings(SQUARE, 8, 9, 0.3, g), "thickness"),
        (lambda g: morph.rings(SQUARE, 8, 3, 0.6, g), "no room"),
        (lambda g: morph.cuboids(SQUARE, 1, 3, 0, g), "rows"),
        (lambda g: morph.cuboids(SQUARE, 3, 20, 0, g), "channel"),
        (lambda g: morph.cuboids(SQUARE, 3, 3, 2, g), "axis"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[Any], np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(generator_of(21))

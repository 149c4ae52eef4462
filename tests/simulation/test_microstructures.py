"""Generators of microstructures: fractions, periodicity, geometry and known statistics."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.random import Generator
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from etchmark.descriptors import two_point_statistics
from etchmark.simulation import microstructures as micro
from etchmark.simulation import placement
from etchmark.simulation.microstructures import generator_of

Family = Callable[[Generator], np.ndarray]

CUBE, SQUARE = (24, 24, 24), (64, 64)

# The digest of key (1, 2, 3) shows when another machine or version draws other voxels.
FAMILIES: dict[str, tuple[float, Family, str]] = {
    "random-2d": (
        0.3,
        lambda g: micro.random_field(SQUARE, (2, 5), 0.3, g),
        "673571e422a779d86232ae9b794c72cb",
    ),
    "random-3d": (
        0.6,
        lambda g: micro.random_field(CUBE, 2.5, 0.6, g),
        "b62ea893de6c7feaf8653f2c5b6c4c96",
    ),
    "spinodal-2d": (
        0.5,
        lambda g: micro.spinodal(SQUARE, 10, 0.5, g),
        "8416b4895b6da52368f4c2e9443869d8",
    ),
    "spinodal-3d": (
        0.4,
        lambda g: micro.spinodal(CUBE, 8, 0.4, g),
        "a940dd0fba2dbab58957ae4f57a50651",
    ),
    "disks": (
        0.4,
        lambda g: micro.spheres(SQUARE, (3, 8), 0.4, g),
        "8a37406194136d9e3b0e2acfcbe739fb",
    ),
    "disks-equal": (
        0.1,
        lambda g: micro.spheres(SQUARE, 6, 0.1, g),
        "439dcfb9e3bd0568993074a16a4f1b78",
    ),
    "disks-dense": (
        0.45,
        lambda g: micro.spheres(SQUARE, 6, 0.45, g),
        "b256b054473776d60952480c830ace96",
    ),
    "spheres": (
        0.3,
        lambda g: micro.spheres(CUBE, (3, 5), 0.3, g),
        "0a446cd41c2cea6004d1c032862c3d33",
    ),
    "spheres-equal": (
        0.15,
        lambda g: micro.spheres(CUBE, 4, 0.15, g),
        "d2ed0ccb27e7c81df647abe6e9ec82cf",
    ),
    "ellipses": (
        0.35,
        lambda g: micro.ellipses(SQUARE, (4, 6), (1.5, 4), 0.35, g),
        "a0290c18b6d598cec45428a6706f482e",
    ),
    "fibres": (
        0.4,
        lambda g: micro.fibres(CUBE, 1, (2, 4), 0.4, g),
        "df55afb7eb731aede3e5d4b248fcd56e",
    ),
    "voronoi-2d": (
        0.3,
        lambda g: micro.voronoi(SQUARE, 40, 0.3, g),
        "62a7fb9687e03b9a1817e091bfc7586f",
    ),
    "voronoi-3d": (
        0.3,
        lambda g: micro.voronoi(CUBE, 7, 0.3, g),
        "645f9093c1b365ede4d8cbf9ffad8565",
    ),
}
families = pytest.mark.parametrize("name", FAMILIES)


def components(marked: np.ndarray) -> np.ndarray:
    """Voxel counts of the parts connected through faces, also across the border of the cell."""
    labels, count = ndimage.label(marked)
    pairs = [
        np.stack([labels.take(0, axis), labels.take(-1, axis)]).reshape(2, -1)
        for axis in range(marked.ndim)
    ]
    first, second = np.concatenate(pairs, axis=1)
    both = (first > 0) & (second > 0)
    edges = (np.ones(both.sum()), (first[both], second[both]))
    graph = coo_array(edges, shape=(count + 1, count + 1))
    part = connected_components(graph, directed=False)[1][labels[marked > 0]]
    sizes = np.bincount(part)
    return sizes[sizes > 0]


@families
def test_a_key_gives_the_same_voxels_on_every_machine(name: str) -> None:
    _, draw, pinned = FAMILIES[name]
    sample = draw(generator_of(1, 2, 3))
    assert sample.dtype == np.uint8
    assert set(np.unique(sample)) == {0, 1}
    assert draw(generator_of(1, 2, 3)).tobytes() == sample.tobytes()
    assert draw(generator_of(1, 2, 4)).tobytes() != sample.tobytes()
    assert micro.digest(sample) == pinned


@families
def test_the_volume_fraction_is_met(name: str) -> None:
    target, draw, _ = FAMILIES[name]
    exact = name.startswith(("random", "spinodal", "voronoi"))
    for seed in range(20):
        sample = draw(generator_of(5, seed))
        limit = 0.5001 / sample.size if exact else 0.01
        assert abs(sample.mean() - target) <= limit


@families
def test_the_border_is_no_more_of_a_boundary_than_the_interior(name: str) -> None:
    """Neighbours across the border differ as often as inside; without wrapping far more often."""
    draw = FAMILIES[name][1]
    samples = [draw(generator_of(6, seed)) for seed in range(30)]
    for axis in range(samples[0].ndim):
        changes = [sample != np.roll(sample, 1, axis) for sample in samples]
        border = np.array([change.take(0, axis).mean() for change in changes])
        inside = np.mean([change.mean() for change in changes])
        spread = border.std() / math.sqrt(len(border))
        assert abs(border.mean() - inside) <= 4 * spread + 1e-9
        assert border.mean() < 2 * inside + 1e-9


def test_random_fields_are_exact_to_one_voxel_at_any_fraction() -> None:
    for seed in range(20):
        generator = generator_of(seed)
        fraction = generator.uniform(0.001, 0.999)
        for sample in (
            micro.random_field((17, 23), 2, fraction, generator),
            micro.spinodal((9, 12, 11), 5, fraction, generator),
            micro.voronoi((15, 20), 6, fraction, generator),
        ):
            assert sample.sum() == round(fraction * sample.size)


def test_threshold_marks_the_largest_and_breaks_ties_by_index() -> None:
    assert micro.threshold(np.array([3.0, 9.0, 1.0, 5.0]), 0.5).tolist() == [0, 1, 0, 1]
    assert micro.threshold(np.zeros((2, 4)), 0.375).tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]
    assert micro.threshold(np.array([1.0, 2.0, 1.0, 1.0]), 0.5).tolist() == [1, 1, 0, 0]
    assert micro.threshold(np.arange(4.0), 0.1).tolist() == [0, 0, 0, 0]
    assert micro.threshold(np.arange(4.0), 0.9).tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="finite"):
        micro.threshold(np.array([0.0, np.nan]), 0.5)
    with pytest.raises(ValueError, match="at least one value"):
        micro.threshold(np.array([]), 0.5)
    with pytest.raises(ValueError, match=r"field .* real numbers"):
        micro.threshold(np.array([1j, 2.0]), 0.5)
    with pytest.raises(ValueError, match=r"fraction '0\.5'"):
        micro.threshold(np.arange(4.0), "0.5")


def test_gaussian_field_is_the_noise_convolved_with_a_gaussian() -> None:
    shape, widths = (40, 33), (2.0, 3.5)
    field = micro.gaussian_field(shape, widths, generator_of(3))
    noise = generator_of(3).standard_normal(shape)
    expected = ndimage.gaussian_filter(noise, widths, mode="wrap", truncate=8)
    np.testing.assert_allclose(field, expected - expected.mean(), atol=1e-7)
    assert abs(field.mean()) < 1e-15


def test_two_point_function_of_a_cut_field_follows_the_arcsine_law() -> None:
    """Sheppard 1899; Teubner 1991, 10.1209/0295-5075/14/5/003."""
    width, lags = 3.0, np.arange(13)
    rows = []
    for seed in range(60):
        sample = micro.random_field((192, 192), width, 0.5, generator_of(8, seed))
        found = two_point_statistics(sample, 12)
        rows.append((found[12:, 12] + found[12, 12:]) / 2)
    measured, spread = np.mean(rows, 0), np.std(rows, 0) / math.sqrt(len(rows))
    expected = 0.25 + np.arcsin(np.exp(-(lags**2) / (4 * width**2))) / (2 * math.pi)
    # A fixed fraction takes away the variance of the mean, π σ² ln 2 / 192² = 0.0005.
    assert np.all(np.abs(measured - expected) <= 4 * spread + 0.0006)
    assert measured[0] == 0.5
    assert spread.max() < 0.001


@pytest.mark.parametrize(("shape", "wavelength"), [((128, 128), 12.0), ((128, 128), 20.0)])
def test_structure_factor_of_spinodal_peaks_at_the_wavelength_2d(
    shape: tuple[int, ...], wavelength: float
) -> None:
    assert peak(shape, wavelength) == pytest.approx(1 / wavelength, rel=0.1)


def test_structure_factor_of_spinodal_peaks_at_the_wavelength_3d() -> None:
    assert peak((48, 48, 48), 9.0) == pytest.approx(1 / 9, rel=0.1)


def peak(shape: tuple[int, ...], wavelength: float) -> float:
    """Frequency (per voxel) at which the shell average of the structure factor is largest."""
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    shells = np.rint(frequency * min(shape)).astype(int).ravel()
    power = np.zeros(shape)
    for seed in range(4):
        sample = micro.spinodal(shape, wavelength, 0.4, generator_of(9, seed))
        power += np.abs(np.fft.fftn(sample - sample.mean())) ** 2
    mean = np.bincount(shells, power.ravel()) / np.maximum(np.bincount(shells), 1)
    return float(mean.argmax() / min(shape))


def test_spheres_keep_apart_across_the_border() -> None:
    """With a gap wider than a voxel's diagonal every connected part is one whole sphere."""
    for seed in range(5):
        sample = micro.spheres((40, 40, 40), 4.5, 0.15, generator_of(10, seed), gap=1.8)
        sizes = components(sample)
        # 0.15 * 40³ / (4/3 π 4.5³) = 25.15: twenty-five spheres of 384 voxels.
        assert len(sizes) == 25
        np.testing.assert_allclose(sizes, 384, rtol=0.1)


def test_disks_without_gap_share_no_pixel() -> None:
    for seed in range(5):
        generator = generator_of(11, seed)
        radii = placement.draw_radii(SQUARE, (3, 7), 0.45, generator)
        centres = placement.place(SQUARE, radii, 0.0, generator)
        assert centres is not None
        alone = [
            placement.rasterise(SQUARE, centres[i : i + 1], radii[i : i + 1])
            for i in range(len(radii))
        ]
        assert np.sum(alone, axis=0).max() == 1
        assert np.sum(radii**2) * math.pi == pytest.approx(0.45 * 64 * 64)
        np.testing.assert_array_equal(
            np.max(alone, axis=0), placement.rasterise(SQUARE, centres, radii)
        )


def test_a_sphere_across_a_corner_comes_back_on_all_sides() -> None:
    whole = placement.rasterise(CUBE, np.array([[12.3, 12.1, 11.8]]), np.array([5.0]))
    split = placement.rasterise(CUBE, np.array([[0.3, 0.1, 23.8]]), np.array([5.0]))
    assert whole.sum() == pytest.approx(4 / 3 * math.pi * 125, rel=0.03)
    np.testing.assert_array_equal(split, np.roll(whole, (-12, -12, 12), (0, 1, 2)))


def test_ellipses_are_ellipses_that_share_no_pixel() -> None:
    shape, area = (96, 96), math.pi * 8 * 8
    longest = []
    for seed in range(10):
        # One ellipse alone, and its second moments: the axes are in the ratio asked for.
        sample = micro.ellipses(shape, 8, 3, area / 96**2, generator_of(12, seed))
        assert sample.sum() == pytest.approx(area, rel=0.05)
        middle = np.argwhere(sample)[0]
        points = np.argwhere(np.roll(sample, tuple(48 - middle), (0, 1)))
        low, high = np.linalg.eigvalsh(np.cov(points.T))
        assert math.sqrt(high / low) == pytest.approx(3, rel=0.05)
        direction = np.linalg.eigh(np.cov(points.T))[1][:, 1]
        longest.append(math.atan2(direction[0], direction[1]) % math.pi)
    assert np.ptp(longest) > 1
    marked = np.zeros((40, 40), np.uint8)
    for count in range(1, 5):
        before = marked.sum()
        assert placement.add_ellipse(marked, 9.0, 4.0, generator_of(13, count))
        assert marked.sum() - before == pytest.approx(math.pi * 36, rel=0.1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_fibres_are_constant_along_their_axis_and_round_across_it(axis: int) -> None:
    sample = micro.fibres((20, 30, 40), axis, 4, 0.3, generator_of(14))
    assert sample.shape == (20, 30, 40)
    np.testing.assert_array_equal(sample, np.roll(sample, 7, axis))
    for other in {0, 1, 2} - {axis}:
        assert not np.array_equal(sample, np.roll(sample, 7, other))


def test_voronoi_cells_are_nearest_to_their_points() -> None:
    """Brute force over all periodic images; the first points drawn are the marked ones."""
    shape, cells = (18, 22), 12
    generator = generator_of(15)
    points = generator_of(15).random((cells, 2)) * shape
    images = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 1, 2) * shape
    grid = np.stack(np.indices(shape), -1)[:, :, None, None]
    owner = ((grid - (points + images)) ** 2).sum(-1).min(2).argmin(-1)
    volumes = np.bincount(owner.ravel(), minlength=cells)
    assert volumes.sum() == 18 * 22
    assert np.all(volumes > 0)
    # At the volume of the first five cells no boundary needs to move.
    fraction = volumes[:5].sum() / owner.size
    np.testing.assert_array_equal(micro.voronoi(shape, cells, fraction, generator), owner < 5)


def test_voronoi_mean_chord_matches_the_cell_volume() -> None:
    """Poisson-Voronoi in the plane: boundary length 2 √intensity per area (Meijering 1953)."""
    cells, side = 60, 128
    crossings = []
    for seed in range(12):
        sample = micro.voronoi((side, side), cells, 0.5, generator_of(16, seed))
        crossings.append((sample != np.roll(sample, 1, 1)).mean())
    # Horizontal lines meet 2/π of the length, and half of the boundaries part two phases.
    expected = 2 / math.pi * 2 * math.sqrt(cells) / side / 2
    assert np.mean(crossings) == pytest.approx(expected, rel=0.1)


def test_polarity_swaps_the_phases() -> None:
    sample = micro.spheres(SQUARE, 6, 0.2, generator_of(17))
    np.testing.assert_array_equal(micro.polarity(sample, stiff=True), sample)
    soft = micro.polarity(sample, stiff=False)
    np.testing.assert_array_equal(soft, sample == 0)
    assert soft.dtype == np.uint8
    for bad in ([0, 2], [0, 0.5], [0, np.nan]):
        with pytest.raises(ValueError, match="0 and 1"):
            micro.polarity(np.array(bad), stiff=False)


def test_keys_of_samples_are_independent_of_each_other() -> None:
    keys = [(0,), (0, 0), (1,), (1, 0), (0, 1), (1, 2), (1, 2, 0), (2, 1)]
    firsts = {generator_of(*key).integers(2**63) for key in keys}
    assert len(firsts) == len(keys)
    assert generator_of(4, 5).random() == generator_of(4, 5).random()
    wrong: list[tuple[Any, ...]] = [(), (-1,), (2**32,), (1.0,), ("1",), (None,)]
    for bad in wrong:
        with pytest.raises(ValueError, match="key"):
            generator_of(*bad)


def test_digest_knows_shape_and_every_voxel() -> None:
    sample = micro.random_field(SQUARE, 2, 0.5, generator_of(18))
    changed = sample.copy()
    changed[63, 63] ^= 1
    found = micro.digest(sample)
    assert len(found) == 32
    assert found == micro.digest(sample.astype(bool)) == micro.digest(np.asfortranarray(sample))
    assert found not in {micro.digest(changed), micro.digest(sample.reshape(32, 128))}
    with pytest.raises(ValueError, match="0 and 1"):
        micro.digest(2 * sample)


def test_sections_are_the_three_faces() -> None:
    volume = np.arange(27).reshape(3, 3, 3)
    found = micro.sections(volume)
    assert list(found) == ["section_x", "section_y", "section_z"]
    np.testing.assert_array_equal(found["section_x"], volume[0])
    np.testing.assert_array_equal(found["section_y"], volume[:, 0])
    np.testing.assert_array_equal(found["section_z"], volume[:, :, 0])
    assert all(face.flags.c_contiguous for face in found.values())
    with pytest.raises(ValueError, match="cube"):
        micro.sections(np.zeros((3, 3, 4)))


LARGE: dict[str, Callable[[Any], np.ndarray]] = {
    "random": lambda g: micro.random_field((256, 256), 3, 0.5, g),
    "spinodal": lambda g: micro.spinodal((40, 40, 40), 8, 0.4, g),
    "voronoi": lambda g: micro.voronoi((256, 256), 20, 0.5, g),
    "voronoi-many": lambda g: micro.voronoi((64, 64), 1500, 0.5, g),
    "spheres": lambda g: micro.spheres((64, 64, 64), 25, 0.25, g),
    "ellipses": lambda g: micro.ellipses((256, 256), (10, 20), 2, 0.4, g),
    "fibres": lambda g: micro.fibres((64, 64, 64), 0, 8, 0.3, g),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_cell_beyond_the_memory_is_refused_before_any_work(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for is enough, and one byte less is refused before a number is drawn."""
    asked = [0]
    monkeypatch.setattr(micro, "memory", lambda shape, needed: asked.append(needed))
    tracemalloc.start()
    try:
        LARGE[name](generator_of(20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < max(asked) + 2**17  # what does not grow with the cell
    monkeypatch.undo()

    class Memory:
        available = max(asked) - 1

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    with pytest.raises(ValueError, match=r"cell of .* needs about .* GiB .* take a smaller one"):
        LARGE[name](None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: micro.random_field((8,), 1, 0.5, g), "shape"),
        (lambda g: micro.random_field((8, 1), 1, 0.5, g), "shape"),
        (lambda g: micro.random_field((8, 8.5), 1, 0.5, g), "shape"),
        (lambda g: micro.random_field((8, float("nan")), 1, 0.5, g), "shape"),
        (lambda g: micro.random_field(8, 1, 0.5, g), "shape 8"),
        (lambda g: micro.random_field("88", 1, 0.5, g), "shape 88"),
        (lambda g: micro.random_field((8, "8"), 1, 0.5, g), "shape '8'"),
        (lambda g: micro.random_field((8, 8), 1, 0.001, g), "fraction 0.001 of 64 .* one phase"),
        (lambda g: micro.spinodal((8, 8), 4, 0.999, g), "fraction 0.999 of 64 .* one phase"),
        (lambda g: micro.voronoi((8, 8), 4, 0.001, g), "fraction 0.001 of 64 .* one phase"),
        (lambda g: micro.random_field((8, 8), 1, "0.5", g), "fraction '0.5'"),
        (lambda g: micro.random_field((8, 8), 1, None, g), "fraction None"),
        (lambda g: micro.random_field((8, 8), {}, 0.5, g), "widths {}"),
        (lambda g: micro.random_field((8, 8), "1", 0.5, g), "widths '1'"),
        (lambda g: micro.random_field((8, 8), 1, 0.0, g), "fraction"),
        (lambda g: micro.random_field((8, 8), 1, 1.0, g), "fraction"),
        (lambda g: micro.random_field((8, 8), 1, float("nan"), g), "fraction"),
        (lambda g: micro.random_field((8, 8), 0, 0.5, g), "widths"),
        (lambda g: micro.random_field((8, 8), (1, -1), 0.5, g), "widths"),
        (lambda g: micro.random_field((8, 8), (1, 1, 1), 0.5, g), "widths"),
        (lambda g: micro.random_field((8, 8), float("inf"), 0.5, g), "widths"),
        (lambda g: micro.spinodal((8, 8), 1.5, 0.5, g), "wavelength"),
        (lambda g: micro.spinodal((8, 8), 9, 0.5, g), "wavelength"),
        (lambda g: micro.spinodal((8, 8), "4", 0.5, g), "wavelength '4'"),
        (lambda g: micro.spinodal((8, 8), 4, 0.5, g, bandwidth=0), "bandwidth"),
        (lambda g: micro.spheres(SQUARE, 32, 0.4, g), "radius"),
        (lambda g: micro.spheres(SQUARE, 0.5, 0.4, g), "radius"),
        (lambda g: micro.spheres(SQUARE, (5, 3), 0.4, g), "radius"),
        (lambda g: micro.spheres(SQUARE, float("nan"), 0.4, g), "radius"),
        (lambda g: micro.spheres(SQUARE, 20, 0.01, g), "exceeds"),
        (lambda g: micro.spheres(SQUARE, None, 0.4, g), "radius None"),
        (lambda g: micro.spheres(SQUARE, 10**400, 0.4, g), "radius 10"),
        (lambda g: micro.spheres(SQUARE, 6, 0.4, g, gap=-1), "gap"),
        (lambda g: micro.spheres(SQUARE, 6, 0.4, g, gap="1"), "gap '1'"),
        (lambda g: micro.spheres((32, 32), 5, 0.85, g), "no room"),
        (lambda g: micro.spheres((32, 32), 13, 0.55, g, gap=9), "no room"),
        (lambda g: micro.fibres(SQUARE, 0, 5, 0.3, g), "shape"),
        (lambda g: micro.fibres(CUBE, 3, 5, 0.3, g), "axis"),
        (lambda g: micro.fibres(CUBE, 1.0, 5, 0.3, g), "axis 1.0"),
        (lambda g: micro.ellipses(CUBE, 5, 2, 0.3, g), "shape"),
        (lambda g: micro.ellipses(SQUARE, 5, 0.5, 0.3, g), "aspect"),
        (lambda g: micro.ellipses(SQUARE, 10, 16, 0.3, g), "too long"),
        (lambda g: micro.ellipses((12, 12), 2, 2, 0.85, g), "no room"),
        (lambda g: micro.voronoi(SQUARE, 1, 0.3, g), "cells"),
        (lambda g: micro.voronoi(SQUARE, 5000, 0.3, g), "cells"),
        (lambda g: micro.voronoi(SQUARE, 5.0, 0.3, g), "cells 5.0"),
        (lambda g: micro.voronoi(SQUARE, "5", 0.3, g), "cells '5'"),
    ],
)
def test_bad_input_is_refused(call: Family, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "TRIALS", 500)  # no room stays no room, sooner
    with pytest.raises(ValueError, match=message):
        call(generator_of(19))

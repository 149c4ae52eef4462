"""Boundaries that begin as wide as at rest: a flat one does not change."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from etchmark.simulation.grain_growth import GrainGrowth, voronoi
from etchmark.simulation.grain_starts import Start

KAPPA, SPACING = 1.0, 0.125
WIDTH = np.sqrt(2 * KAPPA) / SPACING


def stripes(n: int) -> np.ndarray:
    return np.repeat((np.arange(n) // (n // 2))[:, None], n, axis=1)


def test_a_flat_boundary_has_the_profile_at_rest() -> None:
    """kappa eta'' = 2 eta (1 - eta) (1 - 2 eta), and both sides sum to one."""
    n = 512
    start = Start(stripes(n), WIDTH)
    first, second = start.of(0)[:, 0], start.of(1)[:, 0]
    np.testing.assert_allclose(first + second, 1, atol=1e-12)
    inside = slice(n // 4, 3 * n // 4)
    curved = KAPPA * np.gradient(np.gradient(first, SPACING), SPACING)
    law = 2 * first * (1 - first) * (1 - 2 * first)
    np.testing.assert_allclose(curved[inside], law[inside], atol=4e-3)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_flat_boundary_stays_as_it_is(compiled: bool) -> None:
    solver = GrainGrowth(96, spacing=0.5, gradient_energy=KAPPA, compiled=compiled)
    wide = solver.evolve(stripes(96), [0.0, 20.0], wide=True).frames[0]
    assert np.abs(wide[1] - wide[0]).max() < 4e-3
    sharp = solver.evolve(stripes(96), [0.0, 20.0]).frames[0]
    assert np.abs(sharp[1] - sharp[0]).max() > 0.2
    # Both end at the same profile.
    np.testing.assert_allclose(wide[1], sharp[1], atol=1e-4)


def test_both_solvers_begin_alike() -> None:
    labels = voronoi(64, 20, np.random.default_rng(0))
    frames = [
        GrainGrowth(64, compiled=compiled).evolve(labels, [0.0, 3.0], wide=True).frames
        for compiled in (True, False)
    ]
    np.testing.assert_allclose(*frames, atol=2e-4)


def test_profiles_do_not_depend_on_where_the_cell_begins() -> None:
    labels = voronoi(48, 9, np.random.default_rng(2))
    here, there = (
        np.sort([Start(one, 3.0).of(label) for label in range(9)], axis=0)
        for one in (labels, np.roll(labels, (7, 30), axis=(0, 1)))
    )
    # Where two neighbours are equally near, either may be taken.
    same = np.isclose(np.roll(here, (7, 30), axis=(1, 2)), there)
    assert same.mean() > 0.999


def test_one_grain_fills_the_cell() -> None:
    np.testing.assert_array_equal(Start(np.full((8, 8), 4), 2.0).of(4), np.ones((8, 8)))


def test_sharp_boundaries_are_the_map() -> None:
    labels = voronoi(32, 5, np.random.default_rng(1))
    np.testing.assert_array_equal(Start(labels, 0.0).of(3), labels == 3)


def test_profiles_are_known_for_one_gamma() -> None:
    with pytest.raises(ValueError, match=r"gamma = 1.5 alone"):
        GrainGrowth(32, gamma=2.0, dt=0.02).evolve(stripes(32), [1.0], wide=True)

"""Rotations of the cube, and that the solver turns the stiffness with the volume."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.simulation.rotations import (
    PAIRS,
    cube_rotations,
    rotate_stiffness,
    rotate_volume,
)

ROTATIONS = cube_rotations()


def test_the_rotations_are_the_group_of_the_cube() -> None:
    assert ROTATIONS.shape == (24, 3, 3)
    assert np.array_equal(ROTATIONS[0], np.eye(3))
    known = {matrix.tobytes() for matrix in ROTATIONS}
    assert len(known) == 24
    assert {(a @ b).tobytes() for a in ROTATIONS for b in ROTATIONS} == known
    assert np.allclose(np.linalg.det(ROTATIONS), 1)


def test_a_cell_moves_to_where_the_rotation_sends_it() -> None:
    n = 5
    volume = np.arange(n**3).reshape(n, n, n)
    centre = (n - 1) / 2
    for rotation in ROTATIONS:
        turned = rotate_volume(volume, rotation)
        for cell in ((0, 1, 2), (4, 3, 0), (2, 2, 1)):
            moved = np.rint(rotation @ (np.array(cell) - centre) + centre).astype(int)
            assert turned[tuple(moved)] == volume[cell]


def full(stiffness: np.ndarray) -> np.ndarray:
    """C_ijkl of a Voigt matrix, shape (3, 3, 3, 3)."""
    at = np.empty((3, 3), dtype=int)
    for row, (i, j) in enumerate(PAIRS):
        at[i, j] = at[j, i] = row
    return stiffness[at[:, :, None, None], at]


def test_rotated_stiffness_is_that_of_the_fourth_rank_tensor() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(6, 6))
    matrix += matrix.T
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    for rotation in (*ROTATIONS, turn):
        expected = np.einsum("ia,jb,kc,ld,abcd", *[rotation] * 4, full(matrix), optimize=True)
        np.testing.assert_allclose(full(rotate_stiffness(matrix, rotation)), expected, atol=1e-12)
        both = rotate_stiffness(np.stack([matrix, 2 * matrix]), rotation)
        np.testing.assert_allclose(both[1], 2 * both[0])


@pytest.mark.parametrize("n", [8, 9])
def test_a_rotated_volume_has_the_rotated_stiffness(n: int) -> None:
    """On grids of even and odd size, and for a volume without any symmetry."""
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    from etchmark.simulation.homogenization import homogenize

    volume = (np.random.default_rng(n).random((n, n, n)) < 0.4).astype(np.uint8)
    volume[:, : n // 3] = 1  # a layer, so that the axes differ
    stiffness = homogenize(volume, 50, tolerance=1e-8).stiffness
    assert np.abs(stiffness - rotate_stiffness(stiffness, ROTATIONS[-1])).max() > 0.1
    for rotation in ROTATIONS[1::5]:
        turned = homogenize(rotate_volume(volume, rotation), 50, tolerance=1e-8).stiffness
        scale = np.abs(stiffness).max()
        expected = rotate_stiffness(stiffness, rotation)
        np.testing.assert_allclose(turned, expected, atol=1e-6 * scale)

"""Rotations of the cube, of periodic volumes and of their stiffness."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Axes of each row of a Voigt matrix: 11, 22, 33, 23, 13, 12."""


def cube_rotations() -> np.ndarray:
    """The 24 proper rotations that map a cube onto itself, the identity first.

    Returns:
        Rotation matrices of -1, 0 and 1, shape (24, 3, 3), always in the same order.
    """
    matrices = []
    for axes in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3), dtype=np.int64)
            matrix[range(3), axes] = signs
            if round(np.linalg.det(matrix)) == 1:
                matrices.append(matrix)
    return np.stack(matrices)


def rotate_volume(volume: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """A volume turned by a rotation of the cube: the cell at x moves to R x.

    Args:
        volume: shape (n, n, n), axes x, y, z.
        rotation: one of `cube_rotations`, shape (3, 3).

    Returns:
        A new contiguous array of the same shape.
    """
    axes = np.abs(rotation).argmax(axis=1)
    backwards = tuple(axis for axis in range(3) if rotation[axis, axes[axis]] < 0)
    return np.ascontiguousarray(np.flip(np.transpose(volume, tuple(axes)), backwards))


def rotate_stiffness(stiffness: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The stiffness of a material turned by a rotation: C'_ijkl = R_ia R_jb R_kc R_ld C_abcd.

    Args:
        stiffness: Voigt matrices for engineering shear strains, shape (..., 6, 6).
        rotation: any rotation matrix, shape (3, 3).

    Returns:
        Voigt matrices, shape (..., 6, 6).

    Source: Bond, Proc. Phys. Soc. B 56 (1943) 1, DOI 10.1088/0370-1301/56/1/301 (its matrix M).
    """
    turn = np.asarray(rotation, dtype=np.float64)
    bond = np.empty((6, 6))
    for row, (i, j) in enumerate(PAIRS):
        for column, (a, b) in enumerate(PAIRS):
            # Stress is symmetric: a shear component stands for both of its orders.
            both = turn[i, b] * turn[j, a] if a != b else 0.0
            bond[row, column] = turn[i, a] * turn[j, b] + both
    return bond @ np.asarray(stiffness, dtype=np.float64) @ bond.T

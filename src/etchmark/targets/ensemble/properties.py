"""Effective stiffness of two-phase images, by which ensembles are compared beside descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etchmark.descriptors.ensembles import two_phases
from etchmark.errors import UserError
from etchmark.threads import one_thread

CONTRAST = 10.0
"""Young's modulus of phase 1 over that of phase 0."""
POISSON = 0.3
"""Poisson's ratio of both phases."""
TOLERANCE = 1e-3
"""Largest relative error of a constant, far below the spread between realisations."""


def stiffness_of(images: np.ndarray) -> NDArray[np.float64]:
    """Effective stiffness C1111 and C2222 of images taken as periodic cells, in plane strain.

    Phase 1 is ten times as stiff as phase 0; both have Poisson's ratio 0.3.

    Args:
        images: 0 and 1, shape (images, n, n).

    Returns:
        In units of the Young's modulus of phase 0, shape (images, 2).

    Raises:
        UserError: PyTorch, on which the solver runs, is not installed.
        ValueError: the images have another shape or other values.
    """
    try:
        from etchmark.simulation.homogenization import homogenize
    except ImportError:
        raise UserError(
            "the stiffness of images needs PyTorch; pip install 'etchmark[simulate]'"
        ) from None
    cells = two_phases(images).astype(np.uint8)
    # A second thread makes cells this small slower, forty times so on a busy machine.
    with one_thread():
        solved = [
            homogenize(image, CONTRAST, POISSON, loads=[0, 1], tolerance=TOLERANCE).stiffness
            for image in cells
        ]
    return np.stack([stiffness.diagonal()[:2] for stiffness in solved])

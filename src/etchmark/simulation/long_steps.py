"""The Cahn–Hilliard equation solved on with long steps, for a forecast instead of a reference.

A stabilising curvature is integrated with the linear part, so that steps may be as long as the time
between two stored frames; it makes them less exact.
"""

from __future__ import annotations

import numpy as np

from etchmark.simulation.phase_field import CahnHilliard, Polynomial, Unstable

STABILISER = 1.5
"""With less, steps of four units of time blow up at mobility 1; with more, they are less exact."""
DOUBLINGS = 6


def solve_on(
    start: np.ndarray,
    frames: int,
    *,
    mobility: float,
    gradient_energy: float,
    interval: float,
    steps: int,
    device: str = "cpu",
) -> tuple[np.ndarray, int]:
    """Frames that follow a composition c of free energy (c² - 1)² / 4 on nodes one unit apart.

    Where steps are too long for the mobility, twice as many are taken, and so on.

    Args:
        start: composition, shape (batch, n, n).
        frames: how many.
        mobility: M.
        gradient_energy: kappa.
        interval: time between two frames.
        steps: per frame, at least.
        device: of torch.

    Returns:
        Shape (batch, frames, n, n), float64, and the steps per frame that were taken.

    Raises:
        Unstable: 64 times as many steps are too few.
    """
    times = (interval * np.arange(1, frames + 1)).tolist()
    for doubling in range(DOUBLINGS + 1):
        taken = steps * 2**doubling
        solver = CahnHilliard(
            start.shape[1],
            Polynomial.double_well(),
            gradient_energy=gradient_energy,
            mobility=mobility,
            dt=interval / taken,
            stabiliser=STABILISER,
            device=device,
        )
        try:
            return solver.evolve(start, times).frames, taken
        except Unstable:
            if doubling == DOUBLINGS:
                raise
    raise AssertionError

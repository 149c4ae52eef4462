"""evoxels on the Cahn–Hilliard equation of our comparison; runs in an environment of its own.

    python evoxels_peer.py FIELDS.npy SPAN ACCURACY

Its own problem class has a mobility that vanishes in the phases, so the equation with a constant
one is written here in its stencils. All its time steppers for such equations are tried with the
longest step that is accurate enough, and the fastest is kept. The first line of the output says
what that is; each line of the input then asks for one solution, answered by its wall and processor
time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from evoxels import VoxelFields
from evoxels.pdes.phase_field import CahnHilliard
from evoxels.timesteppers import RKC2, ExponentialEuler, PseudoSpectralIMEX
from evoxels.voxelgrid import VoxelGridJax

jax.config.update("jax_enable_x64", True)

Solve = Callable[[], np.ndarray]


class ConstantMobility(CahnHilliard):
    """dc/dt = laplace(c³ - c - laplace(c))."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._fourier_symbol = -(self.k_squared() ** 2)

    def rhs(self, t: float, c: Any) -> Any:
        potential = c**3 - c - self.vg.laplace(self.pad_bc(c))
        return self.vg.laplace(self.pad_bc(potential))


STEPPERS: dict[str, Callable[[Any, Any], Any]] = {
    "IMEX": PseudoSpectralIMEX,
    "ETD1": ExponentialEuler,
    "RKC2": RKC2,
}
"""Runge-Kutta of fourth order is stable only with steps that cost several times as much."""


class Solver:
    """Fields of shape (batch, n, n), solved by evoxels over a span of time."""

    def __init__(self, fields: np.ndarray, span: float) -> None:
        batch, n, _ = fields.shape
        # Real transforms halve the last axis, so the plane lies across the first.
        grid = VoxelFields((1, n, n), (1, n, n))
        grid.precision = "float64"
        problem = ConstantMobility(VoxelGridJax(grid.grid_info(), precision="float64"))
        start = jax.numpy.asarray(fields.reshape(batch, 1, 1, n, n))
        assert start.dtype == np.float64

        def evolution(scheme: str) -> Callable[[Any, Any], Any]:
            def evolve(field: Any, steps: Any) -> Any:
                stepper = STEPPERS[scheme](problem, span / steps)
                return jax.lax.fori_loop(0, steps, lambda _, c: stepper.step(0.0, c), field)

            return jax.jit(jax.vmap(evolve, in_axes=(0, None)))

        # Compiled once for every number of steps.
        self.runs = {scheme: evolution(scheme) for scheme in STEPPERS}
        self.start = start

    def solve(self, scheme: str, steps: int) -> Solve:
        run = self.runs[scheme]
        return lambda: np.asarray(run(self.start, steps).block_until_ready())[:, 0, 0]


def timed(run: Solve) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def fastest(fields: np.ndarray, span: float, accuracy: float) -> tuple[str, int, float, Solve]:
    """Scheme, number of steps, error and solution of the fastest that is accurate enough."""
    few, whole = Solver(fields[:2], span), Solver(fields, span)
    # Second order: at this step the error in time is below 1e-6.
    limits = [solver.solve("RKC2", round(span / 0.05))() for solver in (few, whole)]
    kept: list[tuple[float, str, int, float, Solve]] = []
    for scheme in STEPPERS:
        for steps in [round(100 * 2 ** (power / 4)) for power in range(32)]:
            if not rms(few.solve(scheme, steps)() - limits[0]) <= accuracy:  # nor if not a number
                continue
            run = whole.solve(scheme, steps)
            error = rms(run() - limits[1])
            if error <= accuracy:
                kept.append((timed(run)[0], scheme, steps, error, run))
                break
    _, scheme, steps, error, run = min(kept, key=lambda entry: entry[0])
    return scheme, steps, error, run


def main() -> None:
    path, span, accuracy = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    scheme, steps, error, run = fastest(np.load(path), span, accuracy)
    print(json.dumps({"scheme": scheme, "dt": span / steps, "error": error}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed(run)), flush=True)


if __name__ == "__main__":
    main()

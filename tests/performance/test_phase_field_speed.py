"""Speed of the Cahn–Hilliard solver beside peers, in the same run, precision and accuracy.

`make speed` prints it. The field is the dataset's: 64², one unit per node, batches of 16. evoxels
runs in an environment of its own, whose Python is named by `ETCHMARK_EVOXELS`.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from side_by_side import Case, Seconds  # noqa: E402

from etchmark.simulation.phase_field import CahnHilliard, Polynomial, noise  # noqa: E402

pytestmark = [pytest.mark.speed, pytest.mark.timeout(1200)]

NODES, BATCH, SPAN = 64, 16, 40.0
ACCURACY = 1e-3
"""Root mean square error of the field after ``SPAN`` by which time steps are chosen."""
WELL = Polynomial.double_well()
Solve = Callable[[], np.ndarray]


@pytest.fixture(scope="module")
def fields() -> np.ndarray:
    """Mixtures that have just separated, shape (BATCH, NODES, NODES)."""
    generator = np.random.default_rng(5)
    start = np.stack([noise(NODES, generator) for _ in range(BATCH)])
    return CahnHilliard(NODES, WELL, dt=0.02).evolve(start, [20.0]).frames[:, 0]


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def ours(fields: np.ndarray, dt: float) -> Solve:
    solver = CahnHilliard(NODES, WELL, dt=dt)
    return lambda: solver.evolve(fields, [SPAN]).frames[:, 0]


def exponax(fields: np.ndarray, dt: float, order: int = 2, extent: float = float(NODES)) -> Solve:
    jax = pytest.importorskip("jax", reason="exponax is not installed (extra `speed`)")
    ex = pytest.importorskip("exponax", reason="exponax is not installed (extra `speed`)")
    jax.config.update("jax_enable_x64", True)
    stepper = ex.stepper.reaction.CahnHilliard(
        2, extent, NODES, dt, diffusivity=1.0, gamma=1.0, order=order, dealiasing_fraction=1.0
    )
    run = jax.jit(jax.vmap(ex.repeat(stepper, round(SPAN / dt))))
    start = jax.numpy.asarray(fields[:, None])
    assert start.dtype == np.float64
    return lambda: np.asarray(run(start).block_until_ready())[:, 0]


def py_pde(fields: np.ndarray, scheme: str, dt: float) -> Solve:
    """Central differences of the same equation, compiled by numba, one field after another."""
    pde = pytest.importorskip("pde", reason="py-pde is not installed (extra `speed`)")
    kind = {"euler": pde.EulerSolver, "runge-kutta": pde.RungeKuttaSolver}[scheme]
    grid = pde.CartesianGrid([[0, NODES], [0, NODES]], NODES, periodic=True)
    solver = kind(pde.CahnHilliardPDE(interface_width=1), backend="numba")
    stepper = solver.make_stepper(pde.ScalarField(grid, fields[0]), dt=dt)

    def run() -> np.ndarray:
        made = []
        for one in fields:
            state = pde.ScalarField(grid, one)
            stepper(state, 0.0, SPAN)
            made.append(np.array(state.data))
        return np.stack(made)

    return run


def chosen_step(
    make: Callable[[float], Solve], steps: list[float], truth: np.ndarray
) -> tuple[float, float]:
    """The longest step that is accurate enough, and its error."""
    for dt in steps:
        error = rms(make(dt)() - truth)
        if error <= ACCURACY:  # not a number is not
            return dt, error
    raise AssertionError(f"no step of {steps} is accurate to {ACCURACY:g}")


STEPS = [SPAN / count for count in (100, 140, 200, 280, 400, 560, 800, 1120, 1600)]


def test_agreement_with_exponax_under_refinement(report: Any) -> None:
    """On a resolved field both go to the same limit at second order in the step."""
    x = 2 * math.pi * np.arange(NODES) / NODES
    smooth = 0.4 * np.sin(2 * x)[:, None] * np.cos(x) + 0.2 * np.cos(x[:, None] + 3 * x)
    field = smooth[None]
    gaps = []
    for dt in (0.2, 0.1, 0.05, 0.025):
        solver = CahnHilliard(NODES, WELL, spacing=0.5, dt=dt)
        peer = exponax(field, dt, extent=0.5 * NODES)()
        gaps.append(rms(solver.evolve(field, [SPAN]).frames[:, 0] - peer))
    report(
        "Difference from exponax's ETD-RK2, resolved field",
        *((f"dt {0.2 / 2**n:g}", gap, "") for n, gap in enumerate(gaps)),
        goal="a quarter with every halving",
    )
    assert gaps[-1] < 1e-4
    assert all(3 < coarse / fine < 5.5 for coarse, fine in itertools.pairwise(gaps))


TITLE = f"Cahn–Hilliard, {NODES}², {BATCH} fields, {SPAN:g} units of time"
UNIT = "error of the field (RMS)"


def our_case(fields: np.ndarray) -> Case:
    dt, error = chosen_step(partial(ours, fields), STEPS, own_limit(fields))
    run = ours(fields, dt)
    return Case("etchmark, ETD-AB2", "Fourier", "float64", f"dt {dt:.3g}", error, run)


def test_beside_exponax(fields: np.ndarray, beside: Any) -> None:
    """ETD-RK2 on the same grid, each beside its own limit.

    These differ by some 4e-4, because the two treat the highest wave number differently and this
    grid does not resolve it: the dataset's own error in space.
    """
    limit, other_limit = own_limit(fields), exponax(fields, 0.01, order=4)()
    assert rms(limit - other_limit) < ACCURACY, "both solve the same problem"
    dt, error = chosen_step(partial(exponax, fields), STEPS, other_limit)
    run = exponax(fields, dt)
    peer = Case("exponax, ETD-RK2", "Fourier", "float64", f"dt {dt:.3g}", error, run)
    comparison = beside(f"{TITLE}, beside exponax", UNIT, our_case(fields), peer)
    print("    goal: no slower, in processor time")
    assert comparison.ratio("processor") >= 1


class Evoxels:
    """The peer's process: set up once, then one solution for every line it is sent."""

    def __init__(self, python: str, fields: np.ndarray, folder: Path) -> None:
        np.save(folder / "fields.npy", fields)
        script = Path(__file__).with_name("evoxels_peer.py")
        arguments = [str(folder / "fields.npy"), str(SPAN), str(ACCURACY)]
        self.process = subprocess.Popen(
            [python, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.setting = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "evoxels ended; what it said stands above"
        return json.loads(line)

    def solve(self) -> Seconds:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Seconds(*self._answer())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def test_beside_evoxels(fields: np.ndarray, beside: Any) -> None:
    """Central differences of the same equation, with the fastest of its time steppers."""
    python = os.environ.get("ETCHMARK_EVOXELS")
    if not python:
        pytest.skip("ETCHMARK_EVOXELS names no Python that has evoxels")
    with tempfile.TemporaryDirectory() as folder:
        peer = Evoxels(python, fields, Path(folder))
        try:
            setting = peer.setting
            case = Case(
                f"evoxels, {setting['scheme']}",
                "finite differences",
                "float64",
                f"dt {setting['dt']:.3g}",
                setting["error"],
                peer.solve,
            )
            comparison = beside(f"{TITLE}, beside evoxels", UNIT, our_case(fields), case, repeats=2)
        finally:
            peer.close()
    print("    goal: at least 10 times faster")
    assert comparison.ratio("processor") >= 10


def test_beside_py_pde(fields: np.ndarray, beside: Any) -> None:
    """Explicit steps as long as accuracy and stability allow, of two schemes."""
    truth = py_pde(fields[:1], "runge-kutta", 0.005)()
    cases = []
    for scheme, longest in (("euler", 0.032), ("runge-kutta", 0.04)):
        steps = [longest / 2**n for n in range(5)]
        dt, error = chosen_step(partial(py_pde, fields[:1], scheme), steps, truth)
        run = py_pde(fields, scheme, dt)
        setting = f"dt {dt:.3g}"
        cases.append(
            Case(f"py-pde, {scheme}", "finite differences", "float64", setting, error, run)
        )
    comparison = beside(f"{TITLE}, beside py-pde", UNIT, our_case(fields), *cases, repeats=1)
    print("    goal: at least 3; the 20 hoped for are not reached beside its compiled Euler scheme")
    assert comparison.ratio("processor") >= 3


def own_limit(fields: np.ndarray) -> np.ndarray:
    """Our own solution extrapolated in the step (second order), where no peer is needed."""
    coarse, fine = ours(fields, 0.01)(), ours(fields, 0.005)()
    return fine + (fine - coarse) / 3


def test_cost_grows_as_that_of_a_fourier_transform(
    report: Any, shortest: Callable[..., list[float]]
) -> None:
    generator = np.random.default_rng(0)
    took = {}
    for n in (64, 128, 256, 512):
        solver = CahnHilliard(n, WELL)
        # As many nodes in all, so that what is measured is the transform and not the cache.
        batch = (512 // n) ** 2
        start = np.stack([noise(n, generator) for _ in range(batch)])
        (best,) = shortest(2, partial(solver.evolve, start, [1.0]))
        took[n] = best / batch
    ratios = {n: took[n] / took[64] for n in took}
    expected = {n: n**2 * math.log(n) / (64**2 * math.log(64)) for n in took}
    report(
        "Time of 20 steps, beside that at 64²",
        *((f"{n}², N log N would be {expected[n]:.3g}", ratios[n], "") for n in (128, 256, 512)),
        goal="at most 1.5 times N log N",
    )
    assert all(ratios[n] <= 1.5 * expected[n] for n in took)

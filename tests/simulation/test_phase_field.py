"""Cahn–Hilliard: analytic solutions, conservation, order of convergence, PFHub's benchmark 1a."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from etchmark.simulation.phase_field import (  # noqa: E402
    CahnHilliard,
    Polynomial,
    RegularSolution,
    Unstable,
    noise,
)

WELL = Polynomial.double_well()
PFHUB = Polynomial.double_well(5.0, 0.3, 0.7)
"""Free energy of PFHub's benchmark 1 (Jokisaari et al., Comput. Mater. Sci. 126 (2017) 139,
DOI 10.1016/j.commatsci.2016.09.022)."""


def start(n: int = 32, seed: int = 0, mean: float = 0.0, batch: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.stack([noise(n, generator, mean=mean) for _ in range(batch)])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


# --- free energies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "energy", [WELL, PFHUB, Polynomial([1, -2, 0, 3.0, 0, 0.5]), RegularSolution(1.0, 3.0)]
)
def test_derivatives_are_those_of_the_density(energy: Any) -> None:
    at = torch.linspace(0.05, 0.95, 19, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy.density(at).sum(), at, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), at)
    with torch.no_grad():
        torch.testing.assert_close(energy.derivative(at.detach()), slope.detach())
        for place, value in zip(at.tolist(), bend.tolist(), strict=True):
            assert energy.curvature(place) == pytest.approx(value, rel=1e-9)


def test_the_default_well_is_a_quarter_of_its_square() -> None:
    at = torch.tensor([-1.2, 0.0, 0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(WELL.density(at), (at**2 - 1) ** 2 / 4)
    torch.testing.assert_close(WELL.derivative(at), at**3 - at)


# --- physics -----------------------------------------------------------------------------------


def test_mass_is_kept_and_energy_never_rises() -> None:
    times = np.arange(0, 40.5, 0.5)
    for boundary in ("periodic", "no-flux"):
        made = CahnHilliard(32, WELL, boundary=boundary).evolve(start(mean=0.1), times)
        assert np.abs(made.mean / made.mean[:, :1] - 1).max() < 1e-10
        rise = np.diff(made.energy) / made.energy[:, :1]
        assert rise.max() < 1e-13
        assert made.energy[0, -1] < 0.8 * made.energy[0, 0], "it has separated"


@pytest.mark.parametrize("boundary", ["periodic", "no-flux"])
@pytest.mark.parametrize("waves", [1, 2, 5])
def test_small_waves_grow_at_the_linear_rate(boundary: str, waves: int) -> None:
    """exp(-M k² (f'' + kappa k²) t), within 1 %."""
    n, h, mobility, kappa, mean, amplitude = 64, 0.8, 0.7, 1.3, 0.1, 1e-6
    length = n * h
    wave = 2 * math.pi * waves / length if boundary == "periodic" else math.pi * waves / length
    nodes = (np.arange(n) + 0.5) * h
    shape = np.cos(wave * nodes)[:, None] * np.ones(n)
    solver = CahnHilliard(
        n, WELL, spacing=h, gradient_energy=kappa, mobility=mobility, dt=0.05, boundary=boundary
    )
    made = solver.evolve(mean + amplitude * shape, [0.0, 5.0])
    grown = [float((frame * shape).mean() / (shape**2).mean()) for frame in made.frames[0] - mean]
    rate = math.log(grown[1] / grown[0]) / 5.0
    expected = -mobility * wave**2 * (WELL.curvature(mean) + kappa * wave**2)
    assert rate == pytest.approx(expected, rel=0.01)


def test_a_flat_interface_has_its_analytic_energy() -> None:
    """sqrt(2 kappa rho) (dc)³ / 6 = 0.047703 for PFHub's parameters, within 0.5 %."""
    n, h = 128, 0.5
    x = (np.arange(n) + 0.5) * h
    width = math.sqrt(2.0 / (2 * 5.0)) / 0.4 * 2
    profile = 0.3 + 0.2 * (np.tanh((x - 16) / width) - np.tanh((x - 48) / width))
    solver = CahnHilliard(n, PFHUB, spacing=h, gradient_energy=2.0, mobility=5.0, dt=0.01)
    made = solver.evolve(np.tile(profile, (n, 1)), [50.0])
    per_length = made.energy[0, 0] / (2 * n * h)
    assert math.sqrt(2 * 2.0 * 5.0) * 0.4**3 / 6 == pytest.approx(0.047703, rel=1e-4)
    assert per_length == pytest.approx(0.047703, rel=0.005)


def test_it_converges_at_second_order() -> None:
    field = start(32, 3)
    ends = {
        dt: CahnHilliard(32, WELL, dt=dt).evolve(field, [30.0]).frames
        for dt in (0.2, 0.1, 0.05, 0.025)
    }
    gaps = [rms(ends[dt] - ends[dt / 2]) for dt in (0.2, 0.1, 0.05)]
    orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert (orders > 1.7).all(), orders
    assert orders[-1] < 2.6


def test_steps_may_change_their_length() -> None:
    """Two-step weights follow the ratio of steps: still of second order."""
    field, fine = start(32, 3), 0.0125
    truth = CahnHilliard(32, WELL, dt=fine).evolve(field, [30.0]).frames
    errors = [
        rms(
            CahnHilliard(32, WELL, dt=lambda t, scale=scale: scale * (1 + 0.5 * math.sin(3 * t)))
            .evolve(field, [30.0])
            .frames
            - truth
        )
        for scale in (0.1, 0.05)
    ]
    assert errors[0] < 5e-3
    assert errors[0] / errors[1] > 3


def test_frames_do_not_depend_on_where_they_are_asked_for() -> None:
    field = start(32, 1, batch=2)
    whole = CahnHilliard(32, WELL).evolve(field, [5.0, 10.0, 20.0])
    last = CahnHilliard(32, WELL).evolve(field, [20.0])
    np.testing.assert_allclose(whole.frames[:, -1], last.frames[:, 0], atol=1e-12)
    one = CahnHilliard(32, WELL).evolve(field[1], [5.0, 10.0, 20.0])
    np.testing.assert_allclose(one.frames[0], whole.frames[1], atol=1e-12)
    np.testing.assert_allclose(one.energy[0], whole.energy[1], rtol=1e-12)


def test_walls_are_mirrors() -> None:
    """Without flux, the field is the quarter of a periodic one that is even about the walls."""
    n = 16
    quarter = start(n, 2)[0]
    even = np.concatenate([quarter, quarter[::-1]])
    even = np.concatenate([even, even[:, ::-1]], axis=1)
    walls = CahnHilliard(n, WELL, boundary="no-flux").evolve(quarter, [10.0])
    cell = CahnHilliard(2 * n, WELL).evolve(even, [10.0])
    np.testing.assert_allclose(walls.frames[0, 0], cell.frames[0, 0, :n, :n], atol=1e-12)
    assert walls.energy[0, 0] == pytest.approx(cell.energy[0, 0] / 4, rel=1e-12)


def test_odd_sizes_work_with_either_boundary() -> None:
    for boundary in ("periodic", "no-flux"):
        made = CahnHilliard(15, WELL, boundary=boundary).evolve(start(15), [0.0, 5.0])
        assert np.isfinite(made.frames).all()
        assert made.energy[0, 1] < made.energy[0, 0]


def test_regular_solution_separates_into_its_phases() -> None:
    """Equal slopes at c and 1 - c: ln(c / (1 - c)) = (omega / theta) (2 c - 1)."""
    solver = CahnHilliard(32, RegularSolution(1.0, 3.0), dt=0.01)
    x = np.arange(32)
    profile = 0.5 + 0.4 * np.where((x >= 8) & (x < 24), 1.0, -1.0)
    smooth = np.real(
        np.fft.ifft(np.fft.fft(profile) * np.exp(-0.5 * np.fft.fftfreq(32) ** 2 * 200))
    )
    made = solver.evolve(np.tile(smooth, (32, 1)), [100.0])
    low, high = made.frames.min(), made.frames.max()
    assert math.log(high / (1 - high)) == pytest.approx(3.0 * (2 * high - 1), rel=0.02)
    assert low == pytest.approx(1 - high, abs=2e-3)


# --- PFHub benchmark 1a ------------------------------------------------------------------------

EARLY = {1: 318.857, 5: 316.400, 10: 297.97, 20: 213.1}
LATE = {100: (136.81, 2e-3), 200: (118.2, 2e-3), 500: (98.53, 3e-3), 1000: (85.15, 3e-3),
        2000: (60.5, 3e-3), 3000: (52.04, 3e-3), 5000: (43.80, 3e-3)}  # fmt: skip


def benchmark_1a(dt: Any, stabiliser: float = 0.0) -> tuple[CahnHilliard, np.ndarray]:
    n, length = 256, 200.0
    x, y = np.meshgrid(np.arange(n) * length / n, np.arange(n) * length / n, indexing="ij")
    field = 0.5 + 0.01 * (
        np.cos(0.105 * x) * np.cos(0.11 * y)
        + (np.cos(0.13 * x) * np.cos(0.087 * y)) ** 2
        + np.cos(0.025 * x - 0.15 * y) * np.cos(0.07 * x - 0.02 * y)
    )
    solver = CahnHilliard(
        n,
        PFHUB,
        spacing=length / n,
        gradient_energy=2.0,
        mobility=5.0,
        dt=dt,
        stabiliser=stabiliser,
    )
    return solver, field


def test_pfhub_1a_to_its_twentieth_second() -> None:
    solver, field = benchmark_1a(0.05)
    made = solver.evolve(field, [float(one) for one in EARLY])
    for found, expected in zip(made.energy[0], EARLY.values(), strict=True):
        assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pfhub_1a_to_its_end() -> None:
    # Half of the wells' curvature; steps twice as long would give wrong energies.
    assert PFHUB.curvature(0.3) == pytest.approx(1.6)
    solver, field = benchmark_1a(lambda t: 0.05 if t < 20 else min(0.5, 0.05 + t / 1000), 0.8)
    made = solver.evolve(field, [float(one) for one in LATE])
    for found, (time, (expected, within)) in zip(made.energy[0], LATE.items(), strict=True):
        assert found == pytest.approx(expected, rel=within), time
    assert np.abs(made.mean / field.mean() - 1).max() < 1e-10


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"n": 3}, "n 3"),
        ({"n": 32.0}, "n 32.0"),
        ({"mobility": -1.0}, "mobility -1"),
        ({"mobility": math.nan}, "mobility nan"),
        ({"gradient_energy": 0.0}, "gradient_energy 0"),
        ({"spacing": -0.5}, "spacing"),
        ({"dt": 0.0}, "dt 0"),
        ({"stabiliser": -1.0}, "stabiliser"),
        ({"boundary": "walls"}, "periodic, no-flux"),
    ],
)
def test_wrong_parameters_are_refused(changed: dict[str, Any], why: str) -> None:
    arguments: dict[str, Any] = {"n": 32, "energy": WELL, **changed}
    with pytest.raises(ValueError, match=why):
        CahnHilliard(**arguments)


@pytest.mark.parametrize(
    ("field", "why"),
    [
        (np.zeros((32, 31)), r"\(32, 31\)"),
        (np.zeros((0, 32, 32)), r"\(0, 32, 32\)"),
        (np.zeros(32), r"\(32,\)"),
        (np.full((32, 32), np.nan), "not finite"),
        (np.zeros((32, 32), dtype=complex), "real numbers"),
        ([["a"] * 32] * 32, "real numbers"),
    ],
)
def test_wrong_fields_are_refused(field: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CahnHilliard(32, WELL).evolve(field, [1.0])


@pytest.mark.parametrize("times", [[], [2.0, 1.0], [1.0, 1.0], [-1.0], [math.inf], "soon"])
def test_wrong_times_are_refused(times: Any) -> None:
    with pytest.raises(ValueError, match="times"):
        CahnHilliard(32, WELL).evolve(start(), times)


def test_what_a_free_energy_is_not_defined_for_is_refused() -> None:
    with pytest.raises(ValueError, match="not defined"):
        CahnHilliard(32, RegularSolution(1.0, 3.0)).evolve(start(mean=0.0), [1.0])
    with pytest.raises(ValueError, match="three or more"):
        Polynomial([1.0, 2.0])
    with pytest.raises(ValueError, match="double well"):
        Polynomial.double_well(-1.0)


def test_a_blow_up_is_told_with_its_time() -> None:
    """Nothing that is not finite is ever a frame."""
    with pytest.raises(Unstable, match=r"not finite at t = .*smaller dt"):
        CahnHilliard(32, WELL, dt=50.0).evolve(40 * start(), [5000.0])
    # A free energy without a lower bound: values grow without limit, however short a step.
    endless = CahnHilliard(16, Polynomial([0.0, 0.0, -0.5, 0.0, -0.25]))
    told = []
    for times in ([50.0], list(np.arange(0.5, 50.5, 0.5))):
        with pytest.raises(Unstable) as error:
            endless.evolve(noise(16, np.random.default_rng(0)), times)
        told.append(re.search(r"not finite at t = ([\d.]+);", str(error.value)))
    first, second = (float(found[1]) for found in told if found)
    assert first == pytest.approx(second, abs=0.5), "whatever frames are asked for"
    assert 5 < first < 20


def test_energy_that_rises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long a step can be wrong without ever leaving the range of numbers."""
    solver = CahnHilliard(32, WELL)
    made = iter([3.0, 2.0, 2.5])
    monkeypatch.setattr(solver, "free_energy", lambda *_: torch.tensor([next(made)]))
    with pytest.raises(Unstable, match="free energy rose before t = 4; take a smaller dt"):
        solver.evolve(start(), [2.0, 4.0])


def test_rounding_at_equilibrium_is_no_rise_of_the_energy() -> None:
    generator = np.random.default_rng(0)
    fields = [noise(32, generator, mean=1.0, amplitude=size) for size in (0.05, 1e-3, 0.0)]
    made = CahnHilliard(32, WELL).evolve(np.stack(fields), np.arange(4.0, 400.0, 12.0))
    assert abs(made.energy[:, -1]).max() < 1e-10
    CahnHilliard(33, WELL, boundary="no-flux").evolve(np.full((33, 33), 0.99999), [20.0, 40.0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"energy": None}, "energy None must have"), ({"device": "nope"}, "device 'nope' must be")],
)
def test_what_is_no_argument_is_refused_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CahnHilliard(8, **{"energy": WELL, **arguments})


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device on this machine; use cpu"):
        CahnHilliard(8, WELL, device="cuda")
    with pytest.raises(ValueError, match="n -1 must be"):
        noise(-1, np.random.default_rng(0))


def test_a_run_beyond_memory_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    from etchmark.simulation import checks

    class Little:
        available = 1 << 16

    monkeypatch.setattr(checks.psutil, "virtual_memory", Little)
    with pytest.raises(ValueError, match="GiB"):
        CahnHilliard(32, WELL).evolve(start(), [1.0])

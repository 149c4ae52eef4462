"""Cahn–Hilliard equation, solved spectrally: how a mixture of two phases separates and coarsens.

    dc/dt = M laplace(f'(c) - kappa laplace(c))

The field is periodic, or without flux through the walls. Time integration is the exponential
two-step method of second order (ETD-AB2; Cox & Matthews, J. Comput. Phys. 176 (2002) 430,
DOI 10.1006/jcph.2002.6995): what is linear is integrated exactly, the rest is extrapolated from two
steps, so that a step costs one transform and its inverse. Everything is in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor

from etchmark.simulation import checks
from etchmark.simulation.free_energy import FreeEnergy, Polynomial, RegularSolution

__all__ = [
    "CahnHilliard", "Evolution", "FreeEnergy", "Polynomial", "RegularSolution", "Unstable",
    "moments", "noise",
]  # fmt: skip

BOUNDARIES = ("periodic", "no-flux")
MAX_CELLS = 8192
ROUNDING = 1e-10
"""Relative rise of the free energy between two frames that rounding explains."""
RESIDUE = 1e-14
"""Rounding of the free energy per area, in units of its curvature."""
COPIES = 12
"""Fields of the size of the state that a run holds at once, complex ones counted as two."""


@dataclass(frozen=True)
class Evolution:
    """Frames of a simulated evolution.

    Attributes:
        times: shape (frames,).
        frames: the field, shape (batch, frames, n, n), float64.
        energy: total free energy of each frame, shape (batch, frames).
        mean: mean of the field, shape (batch, frames).
    """

    times: np.ndarray
    frames: np.ndarray
    energy: np.ndarray
    mean: np.ndarray


class Unstable(ArithmeticError):
    """Values left the range of numbers: the step is too long or the field not admissible."""


# --- transforms --------------------------------------------------------------------------------


class _Periodic:
    """Real Fourier transform of the cell."""

    def __init__(self, n: int, spacing: float, device: torch.device) -> None:
        self.n = n
        double = {"dtype": torch.float64, "device": device}
        whole = 2 * math.pi * torch.fft.fftfreq(n, spacing, **double)
        half = 2 * math.pi * torch.fft.rfftfreq(n, spacing, **double)
        self.squares = whole[:, None] ** 2 + half[None] ** 2
        # Only one of two conjugate coefficients is stored; the sums count both.
        self.weights = torch.full((len(half),), 2.0, **double)
        self.weights[0] = 1.0
        if n % 2 == 0:
            self.weights[-1] = 1.0
        self.weights /= n**2

    def forward(self, field: Tensor) -> Tensor:
        return torch.fft.rfft2(field)

    def inverse(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=(self.n, self.n))


class _NoFlux:
    """Cosine transform (DCT-II) between walls, by products with an orthogonal matrix."""

    def __init__(self, n: int, spacing: float, device: torch.device) -> None:
        double = {"dtype": torch.float64, "device": device}
        order = torch.arange(n, **double)
        matrix = torch.cos(math.pi / n * order[:, None] * (order[None] + 0.5))
        matrix *= math.sqrt(2 / n)
        matrix[0] /= math.sqrt(2)
        self.matrix = matrix
        waves = math.pi * order / (n * spacing)
        self.squares = waves[:, None] ** 2 + waves[None] ** 2
        self.weights = torch.ones(n, **double)

    def forward(self, field: Tensor) -> Tensor:
        return self.matrix @ field @ self.matrix.T

    def inverse(self, spectrum: Tensor) -> Tensor:
        return self.matrix.T @ spectrum @ self.matrix


# --- the solver --------------------------------------------------------------------------------


@dataclass(eq=False)
class CahnHilliard:
    """Solver of the Cahn–Hilliard equation on n x n nodes.

    Args:
        n: nodes per side, any number of at least 4.
        energy: homogeneous free energy.
        spacing: distance of the nodes.
        gradient_energy: kappa.
        mobility: M.
        dt: the longest time step, or a function that gives it at each time.
        boundary: ``periodic`` or ``no-flux`` (nodes half a spacing from the walls).
        stabiliser: S >= 0, a curvature of the free energy that is integrated with the linear part.
            It allows longer steps and makes them less exact.
        device: of torch.

    Raises:
        ValueError: a parameter is out of its range.
    """

    n: int
    energy: FreeEnergy
    _: KW_ONLY
    spacing: float = 1.0
    gradient_energy: float = 1.0
    mobility: float = 1.0
    dt: float | Callable[[float], float] = 0.05
    boundary: str = "periodic"
    stabiliser: float = 0.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.n = checks.whole(self.n, "n", 4, MAX_CELLS)
        if not isinstance(self.energy, FreeEnergy):
            raise ValueError(
                f"energy {self.energy!r} must have a density, a derivative and a curvature"
            )
        self.spacing = checks.number(self.spacing, "spacing", 0.0, math.inf)
        self.gradient_energy = checks.number(self.gradient_energy, "gradient_energy", 0.0, math.inf)
        self.mobility = checks.number(self.mobility, "mobility", 0.0, math.inf)
        self.stabiliser = checks.number(self.stabiliser, "stabiliser", 0.0, 1e12, ends=True)
        if not callable(self.dt):
            self.dt = checks.number(self.dt, "dt", 0.0, math.inf)
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"boundary {self.boundary!r} must be one of {', '.join(BOUNDARIES)}")
        self._device = checks.device(self.device)
        basis = _Periodic if self.boundary == "periodic" else _NoFlux
        self.basis = basis(self.n, self.spacing, self._device)
        squares = self.basis.squares
        self._linear = -self.mobility * squares * (self.gradient_energy * squares + self.stabiliser)
        self._factor = -self.mobility * squares

    def step_at(self, time: float) -> float:
        """The longest step that may be taken at a time."""
        if callable(self.dt):
            return checks.number(self.dt(time), f"dt at t = {time:g}", 0.0, math.inf)
        return self.dt

    def free_energy(self, field: Tensor, spectrum: Tensor) -> Tensor:
        """Total free energy, shape (batch,)."""
        local = self.energy.density(field).sum((1, 2))
        power = spectrum.abs().square() if spectrum.is_complex() else spectrum.square()
        gradients = (self.basis.squares * self.basis.weights * power).sum((1, 2))
        return self.spacing**2 * (local + 0.5 * self.gradient_energy * gradients)

    def evolve(self, field: np.ndarray | Tensor, times: Sequence[float]) -> Evolution:
        """The field at the given times.

        Args:
            field: at t = 0, shape (batch, n, n) or (n, n).
            times: rising, not negative.

        Raises:
            ValueError: an argument is wrong.
            Unstable: a value is no longer finite, or the free energy is higher at one of the times
                than at the one before; says when. That it falls does not prove that ``dt`` is short
                enough: half of it does, if the frames stay the same.
        """
        instants = moments(times)
        values = self._start(field, len(instants))
        run = _Run(self, values)
        frames, energies = [], []
        highest = self.free_energy(run.values, run.spectrum)
        # Near equilibrium the energy changes by the rounding of its terms alone, up or down.
        area, means = (self.n * self.spacing) ** 2, values.mean((1, 2)).tolist()
        scales = [abs(self.energy.curvature(mean)) * max(1.0, mean * mean) for mean in means]
        floor = area * RESIDUE * torch.tensor(scales, device=highest.device)
        for moment in instants:
            run.until(moment)
            energy = self.free_energy(run.values, run.spectrum)
            if bool((energy > highest + ROUNDING * highest.abs() + floor).any()):
                # Too long a step can give a wrong field whose values all stay finite.
                raise Unstable(
                    f"Cahn–Hilliard: the free energy rose before t = {moment:g}; take a smaller dt"
                )
            highest = energy
            frames.append(run.values.cpu().numpy().copy())
            energies.append(energy.cpu().numpy())
        stacked = np.stack(frames, axis=1)
        return Evolution(
            np.array(instants), stacked, np.stack(energies, axis=1), stacked.mean(axis=(2, 3))
        )

    def _start(self, field: np.ndarray | Tensor, count: int) -> Tensor:
        array = field.detach().cpu().numpy() if isinstance(field, Tensor) else field
        values = checks.reals(array, "field")
        values = values[None] if values.ndim == 2 else values
        if values.ndim != 3 or values.shape[1:] != (self.n, self.n) or not len(values):
            raise ValueError(
                f"field of shape {np.shape(array)} must be (batch, {self.n}, {self.n}) or"
                f" ({self.n}, {self.n})"
            )
        if not np.isfinite(values).all():
            raise ValueError("field holds values that are not finite")
        checks.memory(values.shape, values.nbytes * (COPIES + 2 * count))
        start = torch.tensor(values, dtype=torch.float64, device=self._device)
        if not bool(torch.isfinite(self.energy.derivative(start)).all()):
            raise ValueError("field holds values that its free energy is not defined for")
        return start


def moments(times: Sequence[float]) -> list[float]:
    """Times at which frames are taken, as floats; ValueError unless they rise from 0 or later."""
    values = checks.reals(times, "times")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("times must be one or more finite numbers")
    if values[0] < 0 or (np.diff(values) <= 0).any():
        raise ValueError("times must rise and not be negative")
    return [float(value) for value in values]


class _Run:
    """One integration: the state, and the previous step, from which the method extrapolates."""

    def __init__(self, solver: CahnHilliard, values: Tensor) -> None:
        self.solver, self.values, self.time = solver, values, 0.0
        self.spectrum = solver.basis.forward(values)
        # Mass is conserved exactly: the mean is put back after every step.
        self.mean = self.spectrum[:, 0, 0].clone()
        self.before: Tensor | None = None
        self.last_step = 0.0
        self._steps: tuple[float, float] = (0.0, 0.0)
        self._factors: tuple[Tensor, Tensor, Tensor] | None = None

    def until(self, moment: float) -> None:
        """Step to a moment, in equal steps as far as the longest step stays the same."""
        while self.time < moment:
            span, longest = moment - self.time, self.solver.step_at(self.time)
            count = max(1, math.ceil(span / longest - 1e-9))
            step = span / count
            if not callable(self.solver.dt):
                for _ in range(count):
                    self._step(step)
                    # Only for the message of a step that fails: its rounding adds up.
                    self.time += step
                self.time = moment
            else:
                self._step(step)
                self.time = moment if count == 1 else self.time + step

    def _rest(self, values: Tensor) -> Tensor:
        """Transform of what is not integrated exactly, before the factor -M k²."""
        solver = self.solver
        derivative = solver.energy.derivative(values)
        if solver.stabiliser:
            derivative.sub_(values, alpha=solver.stabiliser)
        rest = solver.basis.forward(derivative)
        # One value that is not finite spreads to every coefficient, so the first one tells.
        if not bool(torch.isfinite(rest[:, 0, 0].real).all()):
            raise Unstable(
                f"Cahn–Hilliard: values are not finite at t = {self.time:g}; take a smaller dt or"
                " a field that the free energy is defined for"
            )
        return rest

    def _coefficients(self, step: float) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of the state, of the rest now, and of the rest one step before."""
        key = (step, self.last_step)
        if self._factors is None or key != self._steps:
            exponent = self.solver._linear * step
            first, second = _phi(exponent)
            ratio = step / self.last_step
            shape = self.solver._factor * step
            self._factors = (
                torch.exp(exponent), shape * (first + ratio * second), -shape * ratio * second,
            )  # fmt: skip
            self._steps = key
        return self._factors

    def _step(self, step: float) -> None:
        solver, now = self.solver, self._rest(self.values)
        if self.before is None:
            # The first step: two stages in place of two steps (ETD-RK2).
            exponent = solver._linear * step
            first, second = _phi(exponent)
            shape = solver._factor * step
            new = torch.exp(exponent) * self.spectrum + shape * first * now
            predicted = solver.basis.inverse(new)
            new += shape * second * (self._rest(predicted) - now)
        else:
            keep, present, past = self._coefficients(step)
            new = keep * self.spectrum
            _add_product(new, present, now)
            _add_product(new, past, self.before)
        new[:, 0, 0] = self.mean
        self.spectrum, self.before, self.last_step = new, now, step
        self.values = solver.basis.inverse(new)


def _add_product(total: Tensor, factor: Tensor, other: Tensor) -> None:
    """total += factor * other, for a real factor; in place."""
    if total.is_complex():
        torch.view_as_real(total).addcmul_(factor[..., None], torch.view_as_real(other))
    else:
        total.addcmul_(factor, other)


def _phi(exponent: Tensor) -> tuple[Tensor, Tensor]:
    """(e^z - 1) / z and (e^z - 1 - z) / z² for z <= 0, exact to rounding also near zero."""
    small = exponent.abs() < 0.1
    safe = torch.where(small, -torch.ones_like(exponent), exponent)
    grown = torch.expm1(safe)
    near = torch.where(small, exponent, torch.zeros_like(exponent))
    series = torch.zeros_like(exponent)
    for order in range(12, 1, -1):
        series = series * near + 1.0 / math.factorial(order)
    second = torch.where(small, series, (grown - safe) / safe**2)
    return 1.0 + exponent * second, second


def noise(
    n: int, generator: np.random.Generator, *, mean: float = 0.0, amplitude: float = 0.05
) -> np.ndarray:
    """Normal noise of a standard deviation around an exact mean, shape (n, n)."""
    checks.whole(n, "n", 1, 2**15)
    checks.number(mean, "mean", -math.inf, math.inf)
    checks.number(amplitude, "amplitude", 0.0, math.inf, ends=True)
    values = generator.standard_normal((n, n))
    return mean + amplitude * (values - values.mean())

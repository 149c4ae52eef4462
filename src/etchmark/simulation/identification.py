"""Mobility and gradient energy of the Cahn–Hilliard equation from a few of its frames.

Two estimates, one after the other. The first is linear: each Fourier coefficient c of a frame obeys

    c(t') - c(t) = -M k² ∫ f'(c)^ dt - M kappa k⁴ ∫ c dt

where the integrals between two frames are those of a cubic spline through all frames, and M and
M kappa follow by least squares. Integrals in time in place of derivatives keep rounding of stored
frames out (the weak form; Messenger & Bortz, J. Comput. Phys. 443 (2021) 110525,
DOI 10.1016/j.jcp.2021.110525). Frames are some way apart, so that estimate is off by some percent.
The second starts from it: the solver goes from each frame to the next, and log M and log kappa that
bring it nearest are found by the Gauss–Newton method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from etchmark.simulation import checks
from etchmark.simulation.gauss_newton import NotIdentified as NotIdentified
from etchmark.simulation.gauss_newton import nearest
from etchmark.simulation.phase_field import CahnHilliard, FreeEnergy, Polynomial, Unstable

STEP = 0.1
"""Time step times mobility with which frames are simulated: twice that of the released data."""
HIGHEST_READ = 0.35
"""The linear estimate reads wave numbers up to this share of the highest."""
SMALLEST, LARGEST = 1e-3, 1e3
"""Limits of the mobility in squared spacings per interval, and of the gradient energy in squared
spacings."""
UNCERTAIN = 0.1
"""Standard error of a logarithm beyond which a parameter counts as not told by the frames."""
UNEXPLAINED = 0.3
"""Share of the change between frames that may be left between simulated and given ones."""
LARGEST_VALUE = 100.0
"""Of a composition, whose phases are near -1 and 1 by default; its third power is computed."""
SAME = 1e-6
"""Frames that change by less than this on average say nothing."""


@dataclass(frozen=True)
class Identified:
    """Parameters of the equation.

    Attributes:
        mobility: M.
        gradient_energy: kappa.
        errors: standard errors of log M and log kappa, from what is left between simulated and
            given frames as if it were independent from pixel to pixel.
        residual: root mean square of what is left.
    """

    mobility: float
    gradient_energy: float
    errors: tuple[float, float]
    residual: float


def identify(
    frames: np.ndarray,
    interval: float,
    *,
    spacing: float = 1.0,
    energy: FreeEnergy | None = None,
) -> Identified:
    """Mobility and gradient energy of the equation that frames follow.

    Args:
        frames: composition on a periodic square, shape (frames, n, n), at least three.
        interval: time between two frames.
        spacing: distance of the nodes.
        energy: homogeneous free energy; (c² - 1)² / 4 by default.

    Raises:
        ValueError: an argument is wrong.
        NotIdentified: frames do not change, or no parameters explain how they do.
    """
    # torch reads no array that runs backwards.
    fields = np.ascontiguousarray(checks.reals(frames, "frames"))
    if (
        fields.ndim != 3
        or len(fields) < 3
        or fields.shape[1] != fields.shape[2]
        or fields.shape[1] < 4
    ):
        raise ValueError(f"frames of shape {fields.shape} must be (3 or more, n, n), n 4 or more")
    if not np.isfinite(fields).all() or np.abs(fields).max() > LARGEST_VALUE:
        raise ValueError(f"frames hold values that are not finite or beyond {LARGEST_VALUE:g}")
    interval = checks.number(interval, "interval", 0.0, math.inf)
    spacing = checks.number(spacing, "spacing", 0.0, math.inf)
    moved = math.sqrt(np.mean(np.diff(fields, axis=0) ** 2))
    if moved < SAME:
        raise NotIdentified("the frames do not change")
    problem = _Problem(fields, interval, spacing, energy or Polynomial.double_well())
    found = problem.refined(problem.linear())
    if found.residual > UNEXPLAINED * moved:
        raise NotIdentified("the equation does not explain how the frames change")
    return found


class _Problem:
    """The frames, and how far the equation with some parameters is from them."""

    def __init__(
        self, fields: np.ndarray, interval: float, spacing: float, energy: FreeEnergy
    ) -> None:
        self.fields, self.interval, self.spacing, self.energy = fields, interval, spacing, energy
        scale = spacing**2 * np.array([1 / interval, 1.0])
        self.low, self.high = np.log(SMALLEST * scale), np.log(LARGEST * scale)

    def linear(self) -> np.ndarray:
        """log M and log kappa by least squares on the equation; the middle of what is admitted
        where that gives no positive numbers."""
        from scipy.interpolate import CubicSpline

        count, n = self.fields.shape[:2]
        # Integrals between frames of the spline through each unit vector: weights of the frames.
        spline = CubicSpline(np.arange(count) * self.interval, np.eye(count))
        whole = spline.antiderivative()(np.arange(count) * self.interval)
        weights = np.diff(whole, axis=0)
        slope = self.energy.derivative(torch.from_numpy(self.fields)).numpy()
        wave = 2 * np.pi * np.fft.fftfreq(n, self.spacing)
        squares = wave[:, None] ** 2 + wave[None] ** 2
        read = (squares > 0) & (squares <= (HIGHEST_READ * np.pi / self.spacing) ** 2)
        squares = squares[read]
        spectra = np.fft.fft2(self.fields)[:, read]
        driven = -squares * (weights @ np.fft.fft2(slope)[:, read])
        smoothed = -(squares**2) * (weights @ spectra)
        columns = np.stack([_parts(driven), _parts(smoothed)], axis=1)
        found = np.linalg.lstsq(columns, _parts(np.diff(spectra, axis=0)), rcond=None)[0]
        if not (found > 0).all():
            return (self.low + self.high) / 2
        return np.clip(np.log([found[0], found[1] / found[0]]), self.low, self.high)

    def next_frames(self, logs: np.ndarray) -> np.ndarray:
        """Simulated from each frame to the next, shape (frames - 1, n, n)."""
        mobility, gradient_energy = np.exp(logs).tolist()
        solver = CahnHilliard(
            self.fields.shape[1],
            self.energy,
            spacing=self.spacing,
            gradient_energy=gradient_energy,
            mobility=mobility,
            dt=STEP * self.spacing**2 / mobility,
        )
        return solver.evolve(self.fields[:-1], [self.interval]).frames[:, 0]

    def refined(self, logs: np.ndarray) -> Identified:
        """The Gauss–Newton method from a first estimate."""
        names = "mobility and gradient energy"
        best = nearest(self._left, logs, self.low, self.high, names=names)
        logs = best.parameters
        if (best.errors > UNCERTAIN).any() or (logs <= self.low).any() or (logs >= self.high).any():
            raise NotIdentified("the frames leave the parameters open")
        mobility, gradient_energy = np.exp(logs).tolist()
        errors = (float(best.errors[0]), float(best.errors[1]))
        return Identified(mobility, gradient_energy, errors, best.residual)

    def _left(self, logs: np.ndarray) -> np.ndarray | None:
        """Simulated less given frames, flat; None where the simulation fails."""
        try:
            return (self.next_frames(logs) - self.fields[1:]).ravel()
        except Unstable:
            return None


def _parts(values: NDArray[np.complexfloating]) -> np.ndarray:
    """Real and imaginary parts, flat."""
    return np.concatenate([values.real.ravel(), values.imag.ravel()])

"""Equilibrium of a periodic elastic cell in one precision: the operator and its iteration.

The unknown w is a displacement spectrum scaled by the square root of the preconditioner, so that a
homogeneous medium of modulus 1 has the operator ``shear`` times the identity. A medium of moduli
from a to b then has eigenvalues from ``shear`` a to ``shear`` b.

The iteration bounds its own error: with a lower limit of the eigenvalues, the quadrature of Gauss
and Radau gives an upper bound of the energy of the error at every step, for a few products of
numbers (Golub & Meurant, BIT 37 (1997) 687, DOI 10.1007/BF02510247; in the form of Meurant & Tichý,
Numer. Algorithms 62 (2013) 163, DOI 10.1007/s11075-012-9591-9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from etchmark.simulation.spectral import VOIGT, transform_for


def lame_constants(modulus: float, poisson: float) -> tuple[float, float]:
    """First Lamé constant and shear modulus, in the unit of the Young's modulus."""
    return (
        modulus * poisson / ((1 + poisson) * (1 - 2 * poisson)),
        modulus / (2 * (1 + poisson)),
    )


@dataclass(frozen=True)
class Goal:
    """When an iteration stops."""

    lowest: float
    """A lower limit of the eigenvalues of the operator."""
    energy: float
    """Energy of the field that the iteration starts from."""
    limit: int
    """Largest number of iterations."""
    tolerance: float | None = None
    """Bound of the error at which it stops, relative to the energy of the solution."""
    residual: float | None = None
    """If set, the relative residual at which it stops instead."""


@dataclass(frozen=True)
class Run:
    """Result of an iteration."""

    correction: Tensor
    """To be added to w."""
    residual: Tensor
    """Residual by the recursion, which drifts from that of the field by round-off."""
    bound: float
    """Upper bound of the energy of the error, by the residual of the recursion."""
    iterations: int


class Equilibrium:
    """Elastic operator of cells of one size in one precision, with its work space.

    Args:
        n: cells per side.
        ndim: 2 (plane strain) or 3.
        poisson: Poisson's ratio.
        dtype: of the fields.
        device: where they lie.
    """

    def __init__(
        self, n: int, ndim: int, poisson: float, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.ndim, self.dtype, self.device = ndim, dtype, device
        self.pairs = VOIGT[ndim]
        self.lame, self.shear = lame_constants(1.0, poisson)
        self.transform = transform_for(n, ndim, dtype, device)
        self.waves = self.transform.waves()
        # Square root of the preconditioner, I - c n n^T up to a factor: the problem for
        # w = G^(-1/2) v then needs no preconditioner, and one vector less.
        self.along = 1.0 - math.sqrt(self.shear / (self.lame + 2 * self.shear))
        spectrum, cells = self.transform.spectrum_shape, (n,) * ndim
        self._vector = torch.empty((ndim, *spectrum), dtype=dtype, device=device)
        self._tensor = torch.empty((len(self.pairs), *spectrum), dtype=dtype, device=device)
        self._plane = torch.empty(spectrum, dtype=dtype, device=device)
        self._cell = torch.empty(cells, dtype=dtype, device=device)

    # --- the operator --------------------------------------------------------------------------

    def root(self, vector: Tensor) -> Tensor:
        """Apply the square root of the preconditioner in place."""
        waves, plane = self.waves, self._plane
        torch.mul(waves[0], vector[0], out=plane)
        for axis in range(1, self.ndim):
            plane.addcmul_(waves[axis], vector[axis])
        for axis in range(self.ndim):
            vector[axis].addcmul_(waves[axis], plane, value=-self.along)
        return vector

    def strain(self, vector: Tensor) -> Tensor:
        """Strain fluctuation (engineering shear) of w, shape (components, *cells)."""
        moved = self.root(self._vector.copy_(vector))
        waves, tensor = self.waves, self._tensor
        for row, (i, j) in enumerate(self.pairs):
            torch.mul(waves[i], moved[j], out=tensor[row])
            if i != j:
                tensor[row].addcmul_(waves[j], moved[i])
        return self.transform.inverse(tensor)

    def stress(self, strain: Tensor, modulus: Tensor) -> Tensor:
        """Stress in place of the strain."""
        trace = torch.sum(strain[: self.ndim], dim=0, out=self._cell).mul_(self.lame)
        strain[: self.ndim].mul_(2 * self.shear).add_(trace)
        strain[self.ndim :].mul_(self.shear)
        return strain.mul_(modulus)

    def divergence(self, stress: Tensor) -> Tensor:
        """Force of a stress field on w, the adjoint of ``strain``; a new array."""
        spectrum = self.transform.forward(stress)
        waves = self.waves
        force = torch.zeros_like(self._vector)
        for row, (i, j) in enumerate(self.pairs):
            force[i].addcmul_(waves[j], spectrum[row])
            if i != j:
                force[j].addcmul_(waves[i], spectrum[row])
        return self.root(force)

    def zero(self) -> Tensor:
        """w of the uniform field."""
        return torch.zeros_like(self._vector)

    def load(self, case: int) -> Tensor:
        """A unit mean strain (engineering shear), shape (components, 1, ...)."""
        strain = torch.zeros(len(self.pairs), dtype=self.dtype, device=self.device)
        strain[case] = 1.0
        return strain.view(-1, *(1,) * self.ndim)

    def start(self, modulus: Tensor, case: int) -> tuple[Tensor, float]:
        """Residual of the uniform field of a load case, and its energy.

        A residual of the size of round-off is set to zero.
        """
        uniform = self.load(case).expand(len(self.pairs), *modulus.shape).clone()
        stress = self.stress(uniform, modulus)
        scale = float(torch.linalg.vector_norm(stress.flatten(), dtype=torch.float64))
        energy = float(stress[case].sum(dtype=torch.float64))
        residual = self.divergence(stress).neg_()
        noise = 100 * torch.finfo(self.dtype).eps * scale
        if math.sqrt(self.transform.dot(residual, residual)) <= noise:
            residual.zero_()
        return residual, energy

    # --- the iteration -------------------------------------------------------------------------

    def iterate(self, modulus: Tensor, residual: Tensor, goal: Goal) -> Run:
        """Conjugate gradients for the correction that removes a residual (overwritten)."""
        dot = self.transform.dot
        square = first = dot(residual, residual)
        solution = torch.zeros_like(residual)
        # The weight of the squared residual in the bound: first 1 / lowest, then less.
        weight, energy = 1 / goal.lowest, goal.energy
        direction, iteration = residual.clone(), 0
        while not _reached(goal, square, first, weight * square, energy):
            if iteration == goal.limit or not (math.isfinite(square) and energy > 0):
                break
            image = self.divergence(self.stress(self.strain(direction), modulus))
            curvature = dot(direction, image)
            if not curvature > 0:
                break
            iteration += 1
            step = square / curvature
            solution.add_(direction, alpha=step)
            residual.add_(image, alpha=-step)
            energy -= step * square
            previous, square = square, dot(residual, residual)
            ratio, excess = square / previous, weight - step
            # Negative only by round-off; then the bound starts from the beginning.
            weight = excess / (goal.lowest * excess + ratio) if excess > 0 else 1 / goal.lowest
            direction.mul_(ratio).add_(residual)
        bound = weight * square if math.isfinite(square) else math.inf
        return Run(solution, residual, bound, iteration)


def _reached(goal: Goal, square: float, first: float, bound: float, energy: float) -> bool:
    if square == 0:
        return True
    if goal.residual is not None:
        return square <= goal.residual**2 * first
    # The energy of the solution is at least that of the field less the bound.
    return bound <= (goal.tolerance or 0.0) * (energy - bound)

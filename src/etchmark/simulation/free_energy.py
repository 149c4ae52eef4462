"""Homogeneous free energies of a two-phase mixture, for the Cahn–Hilliard solver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from etchmark.simulation import checks


@runtime_checkable
class FreeEnergy(Protocol):
    """A homogeneous free energy per area as a function of composition."""

    def density(self, composition: Tensor) -> Tensor: ...

    def derivative(self, composition: Tensor) -> Tensor: ...

    def curvature(self, composition: float) -> float:
        """Second derivative."""
        ...


class Polynomial:
    """Free energy sum of a_k c^k.

    Args:
        coefficients: a_0, a_1, ...; at least quadratic.
    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        values = checks.reals(coefficients, "coefficients")
        if values.ndim != 1 or len(values) < 3 or not np.isfinite(values).all():
            raise ValueError("coefficients must be three or more finite numbers, a_0 first")
        self.coefficients = [float(value) for value in values]
        polynomial = np.polynomial.Polynomial(self.coefficients)
        self._derivative = [float(value) for value in polynomial.deriv().coef]
        self._curvature = polynomial.deriv(2)

    @classmethod
    def double_well(cls, height: float = 0.25, low: float = -1.0, high: float = 1.0) -> Polynomial:
        """``height`` (c - low)² (high - c)²; by default (c² - 1)² / 4."""
        if not math.isfinite(height) or height <= 0 or not low < high:
            raise ValueError("a double well needs height > 0 and low < high")
        root = np.polynomial.Polynomial.fromroots([low, high])
        return cls((height * root**2).coef.tolist())

    def density(self, composition: Tensor) -> Tensor:
        return _horner(self.coefficients, composition)

    def derivative(self, composition: Tensor) -> Tensor:
        return _horner(self._derivative, composition)

    def curvature(self, composition: float) -> float:
        return float(self._curvature(composition))


def _horner(coefficients: Sequence[float], field: Tensor) -> Tensor:
    """A polynomial of a field, lowest coefficient first, at least linear."""
    *lower, highest = coefficients
    # Each operation is a pass over the field: leave out factors of one and terms of zero.
    value = field * highest if highest != 1.0 else field.clone()
    for position, coefficient in enumerate(reversed(lower)):
        if coefficient:
            value += coefficient
        if position < len(lower) - 1:
            value *= field
    return value


class RegularSolution:
    """Free energy theta (c ln c + (1 - c) ln(1 - c)) + omega c (1 - c), for 0 < c < 1.

    Its derivative is infinite at 0 and 1, so that deep quenches (omega far above 2 theta) need a
    stabiliser, or time steps of a tenth of the default.

    Args:
        theta: thermal energy.
        omega: interaction energy; phases separate where it exceeds 2 theta.
    """

    def __init__(self, theta: float, omega: float) -> None:
        self.theta = checks.number(theta, "theta", 0.0, math.inf)
        self.omega = checks.number(omega, "omega", -math.inf, math.inf)

    def density(self, composition: Tensor) -> Tensor:
        other = 1 - composition
        mixing = torch.xlogy(composition, composition) + torch.xlogy(other, other)
        return self.theta * mixing + self.omega * composition * other

    def derivative(self, composition: Tensor) -> Tensor:
        # Outside (0, 1) this is NaN, which the solver reports at the next step.
        return self.theta * torch.logit(composition) + self.omega * (1 - 2 * composition)

    def curvature(self, composition: float) -> float:
        return self.theta / (composition * (1 - composition)) - 2 * self.omega

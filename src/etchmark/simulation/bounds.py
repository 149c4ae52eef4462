"""Bounds and estimates of the stiffness of two-phase composites in closed form (numpy).

All but `stiffness`, which gives the whole tensor, give C11: the ratio of stress to strain along one
axis when no strain is allowed across it, in units of the Young's modulus of the soft phase. In d
dimensions C11 = K + 2 (d - 1) / d G with the bulk modulus K and the shear modulus G. ``ndim=2`` is
plane strain: the two-dimensional section of a composite of aligned fibres, whose K is the
plane-strain bulk modulus k and G the transverse shear modulus.

Voigt's and Reuss's bounds hold for any arrangement of the phases, since C_Reuss <= C <= C_Voigt as
quadratic forms of the strain. All others are for isotropic arrangements (in 2D: isotropic in the
plane). There K and G have bounds each, and so has C11, which increases with both.

Arguments common to all, numbers or arrays that broadcast against each other:
    fraction: volume fraction of the stiff phase, from 0 to 1.
    contrast: Young's modulus of the stiff phase, from 1e-16 to 1e8; that of the soft phase is 1. A
        contrast below 1 makes the "stiff" phase the softer one, and all bounds still hold.
    poisson: Poisson's ratio of both phases.
    ndim: 2 (plane strain) or 3.

All raise ValueError for an argument outside its range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from etchmark.simulation.checks import HIGHEST_CONTRAST, LOWEST_CONTRAST, reals

HALVINGS = 100
"""Steps of the bisection: more than the digits of a float64."""


class _Moduli(NamedTuple):
    """Bulk and shear modulus in the dimension of the problem."""

    bulk: np.ndarray
    shear: np.ndarray

    def c11(self, ndim: int) -> np.ndarray:
        return self.bulk + 2 * (ndim - 1) / ndim * self.shear

    def stiffness(self) -> np.ndarray:
        """Voigt matrices in three dimensions, shape (..., 6, 6)."""
        matrix = np.zeros((*self.shear.shape, 6, 6))
        matrix[..., :3, :3] = (self.bulk - 2 / 3 * self.shear)[..., None, None]
        for row in range(6):
            matrix[..., row, row] += self.shear if row > 2 else 2 * self.shear
        return matrix


def _phases(
    fraction: ArrayLike, contrast: ArrayLike, poisson: ArrayLike, ndim: int
) -> tuple[np.ndarray, _Moduli, _Moduli]:
    """Fraction of the stiff phase, moduli of the soft and of the stiff phase, of one shape."""
    share, ratio, nu = np.broadcast_arrays(
        reals(fraction, "fraction"), reals(contrast, "contrast"), reals(poisson, "Poisson's ratio")
    )
    if ndim not in (2, 3):
        raise ValueError(f"ndim {ndim} is neither 2 nor 3")
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"fraction {fraction} is not between 0 and 1")
    if not np.all((ratio >= LOWEST_CONTRAST) & (ratio <= HIGHEST_CONTRAST)):
        limits = f"{LOWEST_CONTRAST:g} and {HIGHEST_CONTRAST:g}"
        raise ValueError(f"contrast {contrast} is not between {limits}")
    if not np.all((nu > -1) & (nu < 0.5)):
        raise ValueError(f"Poisson's ratio {poisson} is not between -1 and 0.5")
    shear = 1 / (2 * (1 + nu))
    bulk = nu / ((1 + nu) * (1 - 2 * nu)) + 2 / ndim * shear
    return share, _Moduli(bulk, shear), _Moduli(ratio * bulk, ratio * shear)


def _harmonic(
    share: np.ndarray, soft: np.ndarray, stiff: np.ndarray, offset: np.ndarray | float
) -> np.ndarray:
    """1 / <1 / (modulus + offset)> - offset, which increases with the offset."""
    # From the soft phase's modulus, without the cancellation of a large offset.
    difference = stiff - soft
    return soft + share * difference * (soft + offset) / (soft + offset + (1 - share) * difference)


def _spheres(
    share: np.ndarray, soft: _Moduli, stiff: _Moduli, around: _Moduli, ndim: int
) -> _Moduli:
    """Moduli if both phases are spheres (in 2D fibres) in a medium of given moduli."""
    bulk, shear = around
    overall = shear * (ndim / 2 * bulk + (ndim + 1) * (ndim - 2) / ndim * shear)
    return _Moduli(
        _harmonic(share, soft.bulk, stiff.bulk, 2 * (ndim - 1) / ndim * shear),
        _harmonic(share, soft.shear, stiff.shear, overall / (bulk + 2 * shear)),
    )


def voigt(
    fraction: ArrayLike, contrast: ArrayLike, poisson: ArrayLike = 0.3, ndim: int = 3
) -> np.ndarray:
    """Upper bound of C11 for any arrangement: the mean of the phases' stiffness.

    Source: Hill, Proc. Phys. Soc. A 65 (1952) 349, DOI 10.1088/0370-1298/65/5/307.
    """
    return _voigt(*_phases(fraction, contrast, poisson, ndim)).c11(ndim)


def reuss(
    fraction: ArrayLike, contrast: ArrayLike, poisson: ArrayLike = 0.3, ndim: int = 3
) -> np.ndarray:
    """Lower bound of C11 for any arrangement: that of the inverse of the mean compliance.

    It is not the inverse of the mean of 1 / C11 (layers across the axis), unless, as here, the
    phases have the same Poisson's ratio.

    Source: Hill, Proc. Phys. Soc. A 65 (1952) 349, DOI 10.1088/0370-1298/65/5/307.
    """
    return _reuss(*_phases(fraction, contrast, poisson, ndim)).c11(ndim)


def hashin_shtrikman(
    fraction: ArrayLike, contrast: ArrayLike, poisson: ArrayLike = 0.3, ndim: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of C11 for isotropic arrangements, in 2D isotropic in the plane.

    The bounds of C11 are the sums of those of the bulk and of the shear modulus, so that both are
    bounds, though an arrangement that attains one for K need not attain it for G.

    Source: Hashin & Shtrikman, J. Mech. Phys. Solids 11 (1963) 127,
    DOI 10.1016/0022-5096(63)90060-7; for fibres Hashin, J. Mech. Phys. Solids 13 (1965) 119,
    DOI 10.1016/0022-5096(65)90015-3.
    """
    share, soft, stiff = _phases(fraction, contrast, poisson, ndim)
    lower, upper = (
        _Moduli(choose(soft.bulk, stiff.bulk), choose(soft.shear, stiff.shear))
        for choose in (np.minimum, np.maximum)
    )
    return (
        _spheres(share, soft, stiff, lower, ndim).c11(ndim),
        _spheres(share, soft, stiff, upper, ndim).c11(ndim),
    )


def mori_tanaka(
    fraction: ArrayLike,
    contrast: ArrayLike,
    poisson: ArrayLike = 0.3,
    ndim: int = 3,
    matrix: str = "soft",
) -> np.ndarray:
    """Estimate of C11 for spheres (in 2D aligned round fibres) in a ``matrix``, soft or stiff.

    It equals Hashin & Shtrikman's bound with the matrix's moduli: the lower one if the matrix is
    the softer phase.

    Source: Mori & Tanaka, Acta Metall. 21 (1973) 571, DOI 10.1016/0001-6160(73)90064-3.
    """
    if matrix not in ("soft", "stiff"):
        raise ValueError(f"matrix {matrix!r} is neither 'soft' nor 'stiff'")
    share, soft, stiff = _phases(fraction, contrast, poisson, ndim)
    around = soft if matrix == "soft" else stiff
    return _spheres(share, soft, stiff, around, ndim).c11(ndim)


def self_consistent(
    fraction: ArrayLike, contrast: ArrayLike, poisson: ArrayLike = 0.3, ndim: int = 3
) -> np.ndarray:
    """Estimate of C11 with both phases as spheres (in 2D aligned round fibres) in the composite.

    The composite's moduli K and G, which its own inclusions see, solve two equations. The first
    gives K for any G, the second is solved for G by bisection between Hashin & Shtrikman's bounds.

    Source: Budiansky, J. Mech. Phys. Solids 13 (1965) 223, DOI 10.1016/0022-5096(65)90011-6; Hill,
    J. Mech. Phys. Solids 13 (1965) 213, DOI 10.1016/0022-5096(65)90010-4, for fibres ibid. 189,
    DOI 10.1016/0022-5096(65)90008-6.
    """
    return _self_consistent(*_phases(fraction, contrast, poisson, ndim), ndim).c11(ndim)


def stiffness(
    scheme: str, fraction: ArrayLike, contrast: ArrayLike, poisson: ArrayLike = 0.3
) -> np.ndarray:
    """Isotropic stiffness in three dimensions by one of the formulas above.

    Voigt's and Reuss's are bounds of any arrangement's stiffness as quadratic forms of the strain;
    the self-consistent one is an estimate.

    Args:
        scheme: ``voigt``, ``reuss`` or ``self_consistent``.
        fraction: as in the other functions.
        contrast: as in the other functions.
        poisson: as in the other functions.

    Returns:
        Voigt matrices (11, 22, 33, 23, 13, 12, engineering shear strains), shape (..., 6, 6), in
        units of the soft phase's Young's modulus.

    Raises:
        ValueError: an unknown scheme, or an argument outside its range.
    """
    share, soft, stiff = _phases(fraction, contrast, poisson, 3)
    if scheme == "voigt":
        moduli = _voigt(share, soft, stiff)
    elif scheme == "reuss":
        moduli = _reuss(share, soft, stiff)
    elif scheme == "self_consistent":
        moduli = _self_consistent(share, soft, stiff, 3)
    else:
        raise ValueError(f"scheme {scheme!r} is none of 'voigt', 'reuss', 'self_consistent'")
    return moduli.stiffness()


def _voigt(share: np.ndarray, soft: _Moduli, stiff: _Moduli) -> _Moduli:
    return _Moduli(
        (1 - share) * soft.bulk + share * stiff.bulk,
        (1 - share) * soft.shear + share * stiff.shear,
    )


def _reuss(share: np.ndarray, soft: _Moduli, stiff: _Moduli) -> _Moduli:
    return _Moduli(
        _harmonic(share, soft.bulk, stiff.bulk, 0.0),
        _harmonic(share, soft.shear, stiff.shear, 0.0),
    )


def _self_consistent(share: np.ndarray, soft: _Moduli, stiff: _Moduli, ndim: int) -> _Moduli:
    def composite(shear: np.ndarray) -> _Moduli:
        offset = 2 * (ndim - 1) / ndim * shear
        return _Moduli(_harmonic(share, soft.bulk, stiff.bulk, offset), shear)

    low, high = np.minimum(soft.shear, stiff.shear), np.maximum(soft.shear, stiff.shear)
    for _ in range(HALVINGS):
        middle = np.sqrt(low) * np.sqrt(high)
        rises = _spheres(share, soft, stiff, composite(middle), ndim).shear > middle
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    return composite(high)

"""Bounds of C11 against their limits, each other and Eshelby's tensor by numerical integration."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from etchmark.simulation import bounds
from etchmark.simulation.rotations import rotate_stiffness

FRACTION = np.linspace(0, 1, 21)
CONTRASTS = np.array([1e-6, 1e-3, 0.02, 0.5, 2.0, 10.0, 50.0, 1e3, 1e6])[:, None]
INSIDE = FRACTION[1:-1]


def matrix_soft(*args: float, ndim: int = 3) -> np.ndarray:
    return bounds.mori_tanaka(*args, ndim=ndim, matrix="soft")


def matrix_stiff(*args: float, ndim: int = 3) -> np.ndarray:
    return bounds.mori_tanaka(*args, ndim=ndim, matrix="stiff")


ALL: list[Callable[..., np.ndarray]] = [
    bounds.voigt,
    bounds.reuss,
    lambda *args, ndim=3: bounds.hashin_shtrikman(*args, ndim=ndim)[0],
    lambda *args, ndim=3: bounds.hashin_shtrikman(*args, ndim=ndim)[1],
    matrix_soft,
    matrix_stiff,
    bounds.self_consistent,
]


def p_wave(poisson: float) -> float:
    """C11 of a homogeneous medium of Young's modulus 1."""
    return (1 - poisson) / ((1 + poisson) * (1 - 2 * poisson))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("poisson", [0.0, 0.2, 0.3, 0.49])
@pytest.mark.parametrize("estimate", ALL)
def test_a_single_phase_has_its_own_stiffness(estimate, poisson: float, ndim: int) -> None:
    contrast = CONTRASTS.ravel()
    one = p_wave(poisson)
    np.testing.assert_allclose(estimate(0.0, contrast, poisson, ndim=ndim), one, rtol=1e-9)
    np.testing.assert_allclose(
        estimate(1.0, contrast, poisson, ndim=ndim), one * contrast, rtol=1e-9
    )
    np.testing.assert_allclose(estimate(FRACTION, 1.0, poisson, ndim=ndim), one, rtol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("poisson", [-0.5, 0.0, 0.3, 0.49])
def test_bounds_stand_in_order(poisson: float, ndim: int) -> None:
    grid = INSIDE, CONTRASTS, poisson
    lower, upper = bounds.hashin_shtrikman(*grid, ndim=ndim)
    ladder = [
        bounds.reuss(*grid, ndim=ndim),
        lower,
        bounds.self_consistent(*grid, ndim=ndim),
        upper,
        bounds.voigt(*grid, ndim=ndim),
    ]
    assert all(rung.shape == (9, 19) for rung in ladder)
    for below, above in itertools.pairwise(ladder):
        assert np.all(below < above)


@pytest.mark.parametrize("ndim", [2, 3])
def test_mori_tanaka_attains_hashin_and_shtrikman(ndim: int) -> None:
    soft, stiff = matrix_soft(INSIDE, 50.0, ndim=ndim), matrix_stiff(INSIDE, 50.0, ndim=ndim)
    lower, upper = bounds.hashin_shtrikman(INSIDE, 50.0, ndim=ndim)
    np.testing.assert_allclose(soft, lower, rtol=1e-14)
    np.testing.assert_allclose(stiff, upper, rtol=1e-14)
    # With a contrast below 1 the phase called stiff is the softer one.
    lower, upper = bounds.hashin_shtrikman(INSIDE, 0.02, ndim=ndim)
    np.testing.assert_allclose(matrix_soft(INSIDE, 0.02, ndim=ndim), upper, rtol=1e-14)
    np.testing.assert_allclose(matrix_stiff(INSIDE, 0.02, ndim=ndim), lower, rtol=1e-14)


@pytest.mark.parametrize("estimate", [bounds.voigt, bounds.reuss, bounds.self_consistent])
def test_phases_may_be_swapped(estimate) -> None:
    swapped = 50 * estimate(1 - INSIDE, 1 / 50)
    np.testing.assert_allclose(estimate(INSIDE, 50.0), swapped, rtol=1e-12)


# --- an independent way: tensors, and Hill's tensor of a sphere or a fibre by integration ---------


def medium(bulk: float, shear: float) -> np.ndarray:
    """Isotropic stiffness in three dimensions as a tensor."""
    unit = np.eye(3)
    both = np.einsum("ik,jl->ijkl", unit, unit) + np.einsum("il,jk->ijkl", unit, unit)
    return (bulk - 2 / 3 * shear) * np.einsum("ij,kl->ijkl", unit, unit) + shear * both


def hill(stiffness: np.ndarray, ndim: int) -> np.ndarray:
    """Mean over directions of sym(n (n C n)^-1 n): strain in a sphere or fibre per polarization."""
    angle = 2 * np.pi * np.arange(12) / 12
    nodes, weights = np.polynomial.legendre.leggauss(6) if ndim == 3 else (np.zeros(1), np.ones(1))
    rim = np.sqrt(1 - nodes**2)[:, None]
    n = np.stack([rim * np.cos(angle), rim * np.sin(angle), nodes[:, None] + 0 * angle], axis=-1)
    green = np.linalg.inv(np.einsum("abj,ijkl,abl->abik", n, stiffness, n, optimize=True))
    mean = weights / weights.sum() / len(angle)
    total = np.einsum("a,abj,abik,abl->ijkl", mean, n, green, n, optimize=True)
    total = (total + total.transpose(1, 0, 2, 3)) / 2
    return (total + total.transpose(0, 1, 3, 2)) / 2


def matrix(tensor: np.ndarray) -> np.ndarray:
    """On symmetric tensors as vectors of length 6 (Mandel)."""
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    factor = np.array([1.0] * 3 + [np.sqrt(2)] * 3)
    found = np.array([[tensor[*pair, *other] for other in pairs] for pair in pairs])
    return factor[:, None] * found * factor


def concentrations(phases: list[np.ndarray], around: np.ndarray, ndim: int) -> list[np.ndarray]:
    """Strain in an inclusion of each phase per strain of the medium around, far away."""
    polar = matrix(hill(around, ndim))
    return [np.linalg.inv(np.eye(6) + polar @ matrix(phase - around)) for phase in phases]


def moduli(poisson: float) -> tuple[float, float]:
    return 1 / (3 * (1 - 2 * poisson)), 1 / (2 * (1 + poisson))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("contrast", "poisson"), [(50.0, 0.3), (0.1, 0.2)])
def test_mori_tanaka_equals_that_by_tensors(contrast: float, poisson: float, ndim: int) -> None:
    bulk, shear = moduli(poisson)
    soft, stiff = medium(bulk, shear), medium(contrast * bulk, contrast * shear)
    share = 0.3
    for name, around in (("soft", soft), ("stiff", stiff)):
        dilute = concentrations([soft, stiff], around, ndim)
        mean = (1 - share) * dilute[0] + share * dilute[1]
        stress = (1 - share) * matrix(soft) @ dilute[0] + share * matrix(stiff) @ dilute[1]
        expected = (stress @ np.linalg.inv(mean))[0, 0]
        found = bounds.mori_tanaka(share, contrast, poisson, ndim, name)
        assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize(("contrast", "poisson"), [(50.0, 0.3), (0.1, 0.2), (1e3, 0.0)])
def test_self_consistent_medium_is_that_of_the_tensors(
    contrast: float, poisson: float, share: float
) -> None:
    """The tensors' own iteration: the composite is the medium that its inclusions see."""
    bulk, shear = moduli(poisson)
    phases = [medium(bulk, shear), medium(contrast * bulk, contrast * shear)]
    here = np.array([bulk, shear]) * np.sqrt(contrast)
    for _ in range(400):
        dilute = concentrations(phases, medium(*here), 3)
        mean = (1 - share) * dilute[0] + share * dilute[1]
        stress = (1 - share) * matrix(phases[0]) @ dilute[0] + share * matrix(phases[1]) @ dilute[1]
        found = stress @ np.linalg.inv(mean)
        new = np.array([found[:3, :3].sum() / 9, found[5, 5] / 2])
        moved, here = np.abs(new / here - 1).max(), new
        if moved < 1e-12:
            break
    assert moved < 1e-12
    expected = here[0] + 4 / 3 * here[1]
    assert bounds.self_consistent(share, contrast, poisson) == pytest.approx(expected, rel=1e-9)


def test_self_consistent_value_of_a_porous_incompressible_solid() -> None:
    """Budiansky 1965, DOI 10.1016/0022-5096(65)90011-6: G / G_solid = 3 (1 - 2 f) / (3 - f).

    The first equation then gives K = 4 G (1 - f) / (3 f), and K + 4/3 G = 4 G / (3 f).
    """
    pores = np.array([0.1, 0.25, 0.4])
    poisson = 0.5 - 1e-8
    shear = 3 * (1 - 2 * pores) / (3 - pores) / (2 * (1 + poisson))
    found = bounds.self_consistent(pores, 1e-14, poisson)
    np.testing.assert_allclose(found, 4 * shear / (3 * pores), rtol=1e-5)


def test_coated_cylinder_and_sphere_have_the_bulk_moduli_of_the_bounds() -> None:
    """Hashin's assemblages by their radial boundary-value problem, at Poisson's ratio 0: C11 = 2 G.

    Core of the stiff phase in a shell of the soft one, u = a r + b / r^(d-1) in each.
    """
    share, contrast = 0.35, 20.0
    for ndim in (2, 3):
        shear = 0.5
        bulk = 2 / ndim * shear  # Poisson's ratio 0: no coupling
        inner = share ** (1 / ndim)
        # Unknown: a of the core, a and b of the shell; radial stress d K a - 2 (d-1) G b / r^d.
        system = np.array(
            [
                [inner, -inner, -(inner ** (1 - ndim))],
                [ndim * bulk * contrast, -ndim * bulk, 2 * (ndim - 1) * shear * inner**-ndim],
                [0.0, 1.0, 1.0],
            ]
        )
        _, a, b = np.linalg.solve(system, [0.0, 0.0, 1.0])
        expected = (ndim * bulk * a - 2 * (ndim - 1) * shear * b) / ndim
        share_, soft, stiff = bounds._phases(share, contrast, 0.0, ndim)
        found = bounds._spheres(share_, soft, stiff, soft, ndim).bulk
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 2.0), "fraction"),
        ((np.array([0.5, np.nan]), 2.0), "fraction"),
        ((0.5, 0.0), "contrast"),
        ((0.5, np.inf), "contrast"),
        ((0.5, 1e300), r"contrast 1e\+300 is not between 1e-16 and 1e\+08"),
        ((0.5, [2.0, 1e-300]), "contrast .* is not between 1e-16 and"),
        ((0.5, 10**400), "contrast 10.* real numbers"),
        ((0.5, "50"), "contrast '50'"),
        ((None, 2.0), "fraction"),
        ((0.5, 2.0, 0.3j), "Poisson"),
        ((0.5, 2.0, 0.5), "Poisson"),
        ((0.5, 2.0, 0.3, 1), "ndim 1"),
    ],
)
@pytest.mark.parametrize(
    "estimate",
    [bounds.voigt, bounds.reuss, bounds.hashin_shtrikman, bounds.self_consistent, matrix_soft],
)
def test_arguments_out_of_range_are_named(estimate, arguments: tuple, message: str) -> None:
    if estimate is matrix_soft:
        estimate = bounds.mori_tanaka
    with pytest.raises(ValueError, match=message):
        estimate(*arguments)


def test_an_unknown_matrix_is_named() -> None:
    with pytest.raises(ValueError, match="'fibre'"):
        bounds.mori_tanaka(0.5, 2.0, matrix="fibre")


SCHEMES = {
    "voigt": bounds.voigt,
    "reuss": bounds.reuss,
    "self_consistent": bounds.self_consistent,
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_tensor_of_a_scheme_is_isotropic_and_has_its_c11(scheme: str) -> None:
    tensor = bounds.stiffness(scheme, FRACTION, CONTRASTS, 0.2)
    assert tensor.shape == (*np.broadcast_shapes(FRACTION.shape, CONTRASTS.shape), 6, 6)
    expected = SCHEMES[scheme](FRACTION, CONTRASTS, 0.2)
    for axis in range(3):
        np.testing.assert_allclose(tensor[..., axis, axis], expected, rtol=1e-12)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(rotate_stiffness(tensor, turn), tensor, rtol=1e-9, atol=1e-9)
    # Of one phase alone, it is the phase's own.
    lame, shear = 0.2 / (1.2 * 0.6), 1 / 2.4
    single = np.diag([2 * shear] * 3 + [shear] * 3)
    single[:3, :3] += lame
    np.testing.assert_allclose(tensor[:, 0], np.broadcast_to(single, (9, 6, 6)), atol=1e-12)


def test_tensors_of_the_schemes_are_in_the_order_of_the_bounds() -> None:
    lower, estimate, upper = (
        bounds.stiffness(scheme, INSIDE, CONTRASTS[4:], 0.3)
        for scheme in ("reuss", "self_consistent", "voigt")
    )
    scale = np.linalg.eigvalsh(upper).max(axis=-1)
    for above, below in ((estimate, lower), (upper, estimate)):
        assert (np.linalg.eigvalsh(above - below).min(axis=-1) > -1e-9 * scale).all()


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ValueError, match="scheme 'hill' is none of 'voigt', 'reuss', 'self"):
        bounds.stiffness("hill", 0.5, 10)

"""The solver against analytic solutions, bounds and finite elements.

Analytic: laminates (Backus, J. Geophys. Res. 67 (1962) 4427, DOI 10.1029/JZ067i011p04427), in
closed form for any normal; one sphere (Eshelby 1957, Mori & Tanaka 1973). Finite elements:
scikit-fem's trilinear hexahedra, which with one quadrature point are the same discretisation
(Willot 2015) and fully integrated an upper bound.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, cg, splu

torch = pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")

from etchmark.simulation import bounds, homogenization  # noqa: E402
from etchmark.simulation.homogenization import (  # noqa: E402
    VOIGT,
    Homogenizer,
    NotConverged,
    homogenize,
    isotropic,
    lame_constants,
)
from etchmark.simulation.microstructures import generator_of, random_field  # noqa: E402

POISSON = 0.3


@pytest.fixture(autouse=True)
def one_thread():
    """Small cells are not worth more, and the suite runs in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest component."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def random_volume(
    n: int, ndim: int, fraction: float = 0.35, seed: int = 0, widths: Sequence[float] = (1, 2, 1.5)
) -> np.ndarray:
    """An anisotropic random field."""
    generator = generator_of(n, ndim, seed)
    return random_field((n,) * ndim, tuple(widths[:ndim]), fraction, generator)


def tensor(stiffness: np.ndarray) -> np.ndarray:
    """The tensor of a Voigt matrix."""
    ndim = {3: 2, 6: 3}[len(stiffness)]
    full = np.zeros((ndim,) * 4)
    for row, pair in enumerate(VOIGT[ndim]):
        for column, other in enumerate(VOIGT[ndim]):
            for first in {pair, pair[::-1]}:
                for second in {other, other[::-1]}:
                    full[*first, *second] = stiffness[row, column]
    return full


def voigt_matrix(full: np.ndarray) -> np.ndarray:
    """The Voigt matrix of a tensor."""
    pairs = VOIGT[len(full)]
    return np.array([[full[*pair, *other] for other in pairs] for pair in pairs])


def turned(stiffness: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The Voigt matrix in turned axes."""
    full = np.einsum("ip,jq,kr,ls,pqrs->ijkl", *[rotation] * 4, tensor(stiffness))
    return voigt_matrix(full)


# --- homogeneous media and laminates --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "ndim"), [(9, 2), (8, 3), (9, 3), (11, 3)])
def test_a_homogeneous_medium_needs_no_iteration(n: int, ndim: int, dtype: torch.dtype) -> None:
    found = homogenize(random_volume(n, ndim), 1.0, POISSON, dtype=dtype)
    assert not found.iterations.any()
    assert not found.residual.any()
    assert error(found.stiffness, isotropic(1.0, POISSON, ndim)) < 1e-12


@pytest.mark.parametrize("poisson", [-0.2, 0.0, 0.25, 0.45])
def test_isotropic_media_have_the_textbook_constants(poisson: float) -> None:
    """By the compliance: 1, -nu and 2 (1 + nu); in 2D the same with no strain across the plane."""
    compliance = np.diag([1.0] * 3 + [2 * (1 + poisson)] * 3)
    compliance[:3, :3] -= poisson * (1 - np.eye(3))
    full = np.linalg.inv(compliance)
    assert error(7 * full, isotropic(7.0, poisson)) < 1e-12
    plane = full[np.ix_([0, 1, 5], [0, 1, 5])]
    assert error(plane, isotropic(1.0, poisson, 2)) < 1e-12


def laminate(
    contrast: float, share: float, normal: Sequence[float], poisson: float = POISSON
) -> np.ndarray:
    """Exact stiffness of layers: strain jumps along the normal keep the traction continuous."""
    ndim = len(normal)
    n = np.array(normal) / np.linalg.norm(normal)
    phases = [tensor(isotropic(modulus, poisson, ndim)) for modulus in (contrast, 1.0)]
    shares = (share, 1 - share)
    mean, coupling = np.zeros((ndim,) * 4), np.zeros((ndim,) * 3)
    compliance = np.zeros((ndim, ndim))
    for phase, part in zip(phases, shares, strict=True):
        acoustic = np.linalg.inv(np.einsum("i,ijkl,l->jk", n, phase, n))
        traction = np.einsum("ijkl,l->ijk", phase, n)
        mean += part * (phase - np.einsum("ijm,mp,klp->ijkl", traction, acoustic, traction))
        coupling += part * np.einsum("ijm,mp->ijp", traction, acoustic)
        compliance += part * acoustic
    inverse = np.linalg.inv(compliance)
    return voigt_matrix(mean + np.einsum("ijm,mp,klp->ijkl", coupling, inverse, coupling))


def layers(n: int, normal: Sequence[int], thickness: int) -> np.ndarray:
    """Stiff layers across a normal, one per cell."""
    place = np.indices((n,) * len(normal))
    return (np.tensordot(normal, place, 1) % n < thickness).astype(np.uint8)


def test_the_formula_for_laminates_is_that_of_backus() -> None:
    """Backus 1962 for isotropic layers across axis 3, with lambda and mu."""
    share, contrast = 0.3, 20.0
    shares = np.array([share, 1 - share])
    lame, shear = np.array([lame_constants(modulus, POISSON) for modulus in (contrast, 1.0)]).T
    plane = lame + 2 * shear
    across = 1 / (shares @ (1 / plane))
    ratio = shares @ (lame / plane)
    expected = np.zeros((6, 6))
    expected[0, 0] = expected[1, 1] = (
        shares @ (4 * shear * (lame + shear) / plane) + ratio**2 * across
    )
    expected[0, 1] = expected[1, 0] = shares @ (2 * shear * lame / plane) + ratio**2 * across
    expected[0, 2] = expected[1, 2] = expected[2, 0] = expected[2, 1] = ratio * across
    expected[2, 2] = across
    expected[3, 3] = expected[4, 4] = 1 / (shares @ (1 / shear))
    expected[5, 5] = shares @ shear
    assert error(laminate(contrast, share, (0, 0, 1)), expected) < 1e-12


STRAIGHT = [(1, 0), (0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
DIAGONAL = [(1, 1), (1, -1), (1, 1, 0), (0, 1, -1), (1, 0, 1)]


@pytest.mark.parametrize("contrast", [50.0, 0.02])
@pytest.mark.parametrize("thickness", ["one", "third"])
@pytest.mark.parametrize("n", [8, 9, 12, 13])
@pytest.mark.parametrize("normal", STRAIGHT)
def test_laminates_across_an_axis(
    normal: tuple[int, ...], n: int, thickness: str, contrast: float
) -> None:
    # One-voxel layers on an even grid need the Nyquist frequency along the axis.
    cells = 1 if thickness == "one" else n // 3
    found = homogenize(layers(n, normal, cells), contrast, tolerance=1e-6).stiffness
    assert error(found, laminate(contrast, cells / n, normal)) < 1e-10


@pytest.mark.parametrize("contrast", [50.0, 0.02])
@pytest.mark.parametrize(("n", "thickness"), [(9, 1), (9, 3), (13, 1), (13, 4), (12, 2), (12, 4)])
@pytest.mark.parametrize("normal", DIAGONAL)
def test_laminates_at_45_degrees(
    normal: tuple[int, ...], n: int, thickness: int, contrast: float
) -> None:
    found = homogenize(layers(n, normal, thickness), contrast, tolerance=1e-6).stiffness
    assert error(found, laminate(contrast, thickness / n, normal)) < 1e-10


@pytest.mark.parametrize("contrast", [50.0, 0.02])
@pytest.mark.parametrize(("n", "thickness"), [(8, 1), (12, 1), (12, 3)])
@pytest.mark.parametrize("normal", DIAGONAL)
def test_diagonal_layers_of_an_even_grid_are_two_laminates_side_by_side(
    normal: tuple[int, ...], n: int, thickness: int, contrast: float
) -> None:
    """The limit of the rotated scheme: along a diagonal it differs layers s and s + 2.

    On an even grid even and odd layers never meet, and the stiffness is the mean of two laminates,
    which is the exact one only if both have the same volume fraction (an even thickness).
    """
    found = homogenize(layers(n, normal, thickness), contrast, tolerance=1e-6).stiffness
    shares = [(thickness + 1) // 2 / (n // 2), thickness // 2 / (n // 2)]
    expected = sum(laminate(contrast, share, normal) for share in shares) / 2
    assert error(found, expected) < 1e-10
    assert error(found, laminate(contrast, thickness / n, normal)) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_load_cases_that_strain_uniformly_end_at_once(dtype: torch.dtype) -> None:
    found = homogenize(layers(9, (0, 0, 1), 3), 50.0, dtype=dtype)
    assert found.iterations[5] == 0  # shear in the plane of the layers
    assert found.residual[5] == 0
    assert found.iterations[[0, 1, 2, 3, 4]].all()


@pytest.mark.parametrize("n", [8, 9])
def test_a_prism_in_3d_is_the_2d_problem(n: int) -> None:
    flat = random_volume(n, 2)
    prism = np.repeat(flat[:, :, None], n, axis=2)
    found = homogenize(prism, 50.0, tolerance=1e-6).stiffness
    plane = homogenize(flat, 50.0, tolerance=1e-6).stiffness
    kept = [0, 1, 5]
    assert error(found[np.ix_(kept, kept)], plane) < 1e-9


# --- symmetry -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "ndim"), [(11, 2), (12, 2), (7, 3), (8, 3)])
def test_turning_and_mirroring_the_volume_turns_the_tensor(n: int, ndim: int) -> None:
    volume = random_volume(n, ndim)
    stiffness = homogenize(volume, 50.0, tolerance=1e-4).stiffness
    assert np.array_equal(stiffness, stiffness.T)
    assert np.linalg.eigvalsh(stiffness).min() > 0
    assert np.abs(stiffness[0, ndim:]).min() > 1e-4 * stiffness[0, 0]  # no symmetry of its own
    for first, second in itertools.combinations(range(ndim), 2):
        rotation = np.eye(ndim)
        rotation[[first, second]] = -rotation[second], rotation[first]
        found = homogenize(np.rot90(volume, 1, (first, second)), 50.0, tolerance=1e-4)
        assert error(found.stiffness, turned(stiffness, rotation)) < 1e-6
    for axis in range(ndim):
        mirror = np.eye(ndim)
        mirror[axis, axis] = -1
        found = homogenize(np.flip(volume, axis), 50.0, tolerance=1e-4)
        assert error(found.stiffness, turned(stiffness, mirror)) < 1e-6


def test_a_shifted_volume_and_swapped_phases_are_the_same_problem() -> None:
    volume = random_volume(8, 3)
    stiffness = homogenize(volume, 50.0, tolerance=1e-5).stiffness
    shifted = homogenize(np.roll(volume, (2, 3, 5), (0, 1, 2)), 50.0, tolerance=1e-5)
    assert error(shifted.stiffness, stiffness) < 1e-9
    swapped = homogenize(1 - volume, 1 / 50, tolerance=1e-5)
    assert error(50 * swapped.stiffness, stiffness) < 1e-9


# --- bounds ---------------------------------------------------------------------------------------


@given(
    data=st.data(),
    n=st.integers(2, 5),
    ndim=st.sampled_from([2, 3]),
    log_contrast=st.floats(-3, 3),
    poisson=st.floats(-0.3, 0.45),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_volume_obeys_voigt_and_reuss(
    data: st.DataObject, n: int, ndim: int, log_contrast: float, poisson: float
) -> None:
    count = data.draw(st.integers(1, n**ndim - 1))
    seed = data.draw(st.integers(0, 1000))
    contrast = 10**log_contrast
    volume = np.zeros(n**ndim, np.uint8)
    volume[np.random.default_rng(seed).permutation(volume.size)[:count]] = 1
    volume = volume.reshape((n,) * ndim)
    found = homogenize(volume, contrast, poisson, tolerance=1e-8).stiffness
    share, unit = volume.mean(), isotropic(1.0, poisson, ndim)
    above, below = share * contrast + 1 - share, 1 / (share / contrast + 1 - share)
    # The tolerance bounds the error of each component: no bound holds more exactly.
    noise = 1e-7 * max(contrast, 1.0)
    assert np.linalg.eigvalsh(above * unit - found).min() > -noise
    assert np.linalg.eigvalsh(found - below * unit).min() > -noise
    grid = (share, contrast, poisson, ndim)
    assert np.all(found.diagonal()[:ndim] <= bounds.voigt(*grid) + noise)
    assert np.all(found.diagonal()[:ndim] >= bounds.reuss(*grid) - noise)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
@pytest.mark.parametrize(("n", "ndim", "count"), [(48, 2, 12), (20, 3, 3)])
def test_isotropic_sets_obey_hashin_and_shtrikman(
    n: int, ndim: int, count: int, fraction: float
) -> None:
    contrast = 10.0
    values = [
        homogenize(
            random_volume(n, ndim, fraction, seed, (1.5,) * 3),
            contrast,
            loads=range(ndim),
            tolerance=1e-3,
            dtype=torch.float32,
        ).stiffness.diagonal()[:ndim]
        for seed in range(count)
    ]
    lower, upper = bounds.hashin_shtrikman(fraction, contrast, POISSON, ndim)
    mean = np.mean(values)
    margin = 0.1 * (upper - lower)  # a random field is far from both
    assert lower + margin < mean < upper - margin


def sphere(n: int, share: float) -> np.ndarray:
    radius = n * (3 * share / (4 * np.pi)) ** (1 / 3)
    place = np.indices((n,) * 3) - (n - 1) / 2
    return (np.sum(place**2, axis=0) < radius**2).astype(np.uint8)


def sphere_error(n: int) -> float:
    """Largest relative error of the rise of C11 and C44 by 1 % of spheres, contrast 10."""
    contrast, volume = 10.0, sphere(n, 0.01)
    share = volume.mean()
    found = homogenize(
        volume, contrast, loads=(0, 3), tolerance=1e-3, dtype=torch.float32
    ).stiffness.diagonal()[[0, 3]]
    matrix = isotropic(1.0, POISSON).diagonal()[[0, 3]]
    around = bounds._phases(share, contrast, POISSON, 3)
    shear = bounds._spheres(*around, around[1], 3).shear
    expected = np.array([bounds.mori_tanaka(share, contrast, POISSON), shear])
    return float(np.abs((found - matrix) / (expected - matrix) - 1).max())


def test_a_dilute_sphere_is_that_of_mori_and_tanaka() -> None:
    assert sphere_error(51) < 0.05


@pytest.mark.slow
def test_a_finer_sphere_comes_closer() -> None:
    coarse, fine = sphere_error(51), sphere_error(96)
    print(f"sphere: error {coarse:.4f} at 51, {fine:.4f} at 96")
    assert fine < coarse < 0.05


# --- finite elements ------------------------------------------------------------------------------


def finite_elements(
    volume: np.ndarray, contrast: float, *, one_point: bool, loads: Sequence[int] | None = None
) -> np.ndarray:
    """Stiffness by scikit-fem: periodic bilinear quadrilaterals or trilinear hexahedra."""
    skfem = pytest.importorskip("skfem", reason="scikit-fem (extra `speed`) is not installed")
    from skfem.helpers import ddot, sym_grad, trace

    ndim, n = volume.ndim, len(volume)
    kind = skfem.MeshHex if ndim == 3 else skfem.MeshQuad
    mesh = kind.init_tensor(*[np.arange(n + 1.0)] * ndim)
    element = skfem.ElementVector(skfem.ElementHex1() if ndim == 3 else skfem.ElementQuad1())
    # One point sees no hourglass modes: the matrix is singular, the right side in its range.
    rule = {"quadrature": (np.full((ndim, 1), 0.5), np.ones(1))} if one_point else {"intorder": 3}
    basis = skfem.Basis(mesh, element, **rule)
    lame, shear = lame_constants(1.0, POISSON)
    centre = np.floor(mesh.p[:, mesh.t].mean(axis=1)).astype(int)
    moduli = np.where(volume[tuple(centre)], contrast, 1.0)[:, None]

    @skfem.BilinearForm
    def energy(u, v, w):
        e, d = sym_grad(u), sym_grad(v)
        return w.modulus * (lame * trace(e) * trace(d) + 2 * shear * ddot(e, d))

    full = energy.assemble(basis, modulus=moduli * np.ones(basis.dx.shape[1]))
    node = np.ravel_multi_index(tuple(np.rint(mesh.p).astype(int) % n), (n,) * ndim)
    periodic = np.empty(basis.N, int)
    for axis in range(ndim):
        periodic[basis.nodal_dofs[axis]] = node * ndim + axis
    spread = sp.csr_matrix((np.ones(basis.N), (np.arange(basis.N), periodic)))
    reduced = (spread.T @ full @ spread).tocsr()
    diagonal = reduced.diagonal()
    jacobi = LinearOperator(reduced.shape, matvec=lambda x: x / diagonal, dtype=float)
    fields = []
    for load in range(len(VOIGT[ndim])) if loads is None else loads:
        i, j = VOIGT[ndim][load]
        strain = np.zeros((ndim, ndim))
        strain[i, j] += 0.5
        strain[j, i] += 0.5
        affine = np.empty(basis.N)
        for axis in range(ndim):
            affine[basis.nodal_dofs[axis]] = strain[axis] @ mesh.p
        solution, info = cg(reduced, -(spread.T @ (full @ affine)), rtol=1e-6, M=jacobi)
        assert info == 0
        fields.append(affine + spread @ solution)
    moved = np.array(fields)
    return moved @ (full @ moved.T) / n**ndim


@pytest.mark.parametrize(
    ("n", "ndim"),
    [
        (15, 2),
        (16, 2),
        (7, 3),
        (8, 3),
        pytest.param(15, 3, marks=pytest.mark.slow),
        pytest.param(16, 3, marks=pytest.mark.slow),
        pytest.param(21, 3, marks=pytest.mark.slow),
    ],
)
def test_equal_to_hexahedra_with_one_quadrature_point(n: int, ndim: int) -> None:
    volume = random_volume(n, ndim)
    loads = list(range(len(VOIGT[ndim]))) if n < 20 else [0, 3]
    expected = finite_elements(volume, 50.0, one_point=True, loads=loads)
    found = homogenize(volume, 50.0, loads=loads, tolerance=1e-6).stiffness
    assert error(found[np.ix_(loads, loads)], expected) < 1e-6


@pytest.mark.parametrize(("n", "ndim"), [(8, 2), (6, 3)])
def test_an_even_grid_needs_its_nyquist_frequencies(n: int, ndim: int) -> None:
    """Without all of them the stiffness is another one, so the tests above would fail."""
    solver = Homogenizer(n, ndim, POISSON, torch.float64)
    volume = random_volume(n, ndim)
    kept = solver.solve(volume, 50.0).stiffness
    for axis in range(ndim):
        shape = [n] * ndim
        shape[axis] = 1
        wave = torch.from_numpy(np.random.default_rng(axis).standard_normal(shape))
        signs = (1.0 - 2.0 * (torch.arange(n) % 2)).reshape(
            [-1 if i == axis else 1 for i in range(ndim)]
        )
        field = (wave * signs).expand(len(VOIGT[ndim]), *(n,) * ndim).contiguous()
        unseen = solver.double.transform.forward(field)[0].abs() > 1e-12
        solver.double.waves[:, unseen] = 0.0
    assert error(solver.solve(volume, 50.0).stiffness, kept) > 1e-3


def refinements(volume: np.ndarray, times: int, loads: Sequence[int]) -> tuple[list, list]:
    """Full and one-point stiffness of a volume and with each voxel split 2, 4, ... times."""
    above, below = [], []
    for level in range(times):
        split = volume
        for axis in range(volume.ndim):
            split = np.repeat(split, 2**level, axis=axis)
        above.append(finite_elements(split, 50.0, one_point=False, loads=loads))
        found = homogenize(split, 50.0, loads=loads, tolerance=1e-5).stiffness
        below.append(found[np.ix_(loads, loads)])
    return above, below


@pytest.mark.parametrize(
    ("n", "ndim", "times", "loads"),
    [(12, 2, 3, (0, 1, 2)), pytest.param(10, 3, 2, (0, 3), marks=pytest.mark.slow)],
)
def test_fully_integrated_elements_are_an_upper_bound_that_closes_in(
    n: int, ndim: int, times: int, loads: tuple[int, ...]
) -> None:
    volume = random_volume(n, ndim, 0.4, widths=(2, 2.5, 2))
    above, below = refinements(volume, times, loads)
    gaps = []
    for upper, lower in zip(above, below, strict=True):
        assert np.linalg.eigvalsh(upper - lower).min() > 0
        gaps.append(np.abs(upper - lower).max())
    print("gaps", gaps, "of", np.abs(above[-1]).max())
    for coarse, fine in itertools.pairwise(gaps):
        assert fine < coarse / 2
    # Both tend to one limit (differences that halve: twice the last value less the one before).
    limits = [2 * series[-1] - series[-2] for series in (above, below)]
    print("limits", limits[0].diagonal(), limits[1].diagonal())
    assert error(limits[0], limits[1]) < 0.02


# --- precision and convergence --------------------------------------------------------------------


def direct(volume: np.ndarray, contrast: float, loads: Sequence[int]) -> np.ndarray:
    """Diagonal components by hexahedra with one quadrature point and a direct solution.

    Written down from the corners of a voxel; nothing is shared with the solver. The energy is
    summed from the strains, so that round-off enters it in second order.
    """
    ndim, n, pairs = volume.ndim, len(volume), VOIGT[volume.ndim]
    lame, shear = lame_constants(1.0, POISSON)
    cells = np.indices(volume.shape).reshape(ndim, -1)
    count = cells.shape[1]
    rows, columns, values = [], [], []
    for corner in itertools.product((0, 1), repeat=ndim):
        node = np.ravel_multi_index(tuple((cells.T + corner).T % n), volume.shape)
        slope = (2 * np.array(corner) - 1) / 2 ** (ndim - 1)
        for row, (i, j) in enumerate(pairs):
            for moved, along in {(i, j), (j, i)}:
                rows.append(row * count + np.arange(count))
                columns.append(moved * count + node)
                values.append(np.full(count, slope[along]))
    shape = (len(pairs) * count, ndim * count)
    strains = sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape
    )
    unit = np.diag([2 * shear] * ndim + [shear] * (len(pairs) - ndim))
    unit[:ndim, :ndim] += lame
    modulus = np.where(volume.ravel(), contrast, 1.0)
    elastic = sp.kron(sp.csr_matrix(unit), sp.diags(modulus)).tocsr()
    # One node is held, which takes the translations out; an odd grid has no other free motion.
    free = np.setdiff1d(np.arange(ndim * count), np.arange(ndim) * count)
    bound = strains[:, free]
    factors = splu((bound.T @ elastic @ bound).tocsc())
    components = []
    for load in loads:
        mean = np.zeros(len(pairs))
        mean[load] = 1.0
        strain = np.repeat(mean, count)
        for _ in range(3):  # the second and third remove the round-off of the first
            strain = strain - bound @ factors.solve(bound.T @ (elastic @ strain))
        components.append(strain @ (elastic @ strain) / count)
    return np.array(components)


def white_noise(n: int, ndim: int, fraction: float) -> np.ndarray:
    return (np.random.default_rng(n).random((n,) * ndim) < fraction).astype(np.uint8)


HARD = [10.0**power for power in (8, 6, 4, 1.7, 0, -1.7, -4, -6, -8)]


@pytest.mark.parametrize("contrast", HARD)
@pytest.mark.parametrize(
    ("n", "ndim", "fraction"),
    [
        (9, 3, 0.3),
        (9, 3, 0.7),
        (21, 2, 0.3),
        (21, 2, 0.6),
        pytest.param(15, 3, 0.3, marks=pytest.mark.slow),
    ],
)
def test_the_tolerance_bounds_the_error_at_every_contrast(
    n: int, ndim: int, fraction: float, contrast: float
) -> None:
    volume, loads = white_noise(n, ndim, fraction), [0, ndim]
    expected = direct(volume, contrast, loads)
    assert error(homogenize(volume, contrast, loads=loads).stiffness[0, 0], expected[0]) < 1e-4
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-9):
        solved = homogenize(volume, contrast, loads=loads, tolerance=tolerance)
        errors = solved.stiffness.diagonal()[loads] / expected - 1
        noise = 1e-11  # of the direct solution
        assert np.all(errors > -noise), "energies of fields off their minimum are too high"
        assert np.all(errors <= solved.error + noise)
        assert np.all(solved.error <= tolerance)


@pytest.mark.parametrize("contrast", HARD)
def test_components_off_the_diagonal_are_bounded_too(contrast: float) -> None:
    volume = white_noise(9, 3, 0.4)
    expected = homogenize(volume, contrast, tolerance=1e-11).stiffness
    diagonal = expected.diagonal()
    for tolerance in (1e-2, 1e-4):
        solved = homogenize(volume, contrast, tolerance=tolerance)
        scale = np.sqrt(np.outer(solved.error * diagonal, solved.error * diagonal))
        assert np.all(np.abs(solved.stiffness - expected) <= 1.1 * scale + 1e-10 * diagonal.max())
        assert error(solved.stiffness, expected) <= tolerance


@pytest.mark.parametrize("contrast", HARD)
@pytest.mark.parametrize("normal", [(1, 0), (0, 0, 1), (1, 1, 0)])
def test_laminates_at_every_contrast(normal: tuple[int, ...], contrast: float) -> None:
    expected = laminate(contrast, 1 / 3, normal)
    for dtype in (None, torch.float64):
        found = homogenize(layers(9, normal, 3), contrast, tolerance=1e-8, dtype=dtype).stiffness
        assert error(found, expected) < 2e-8


def test_the_bound_is_not_far_from_the_error() -> None:
    """Less than ten times the error at the contrast of the boards, so no iteration is wasted."""
    for n, ndim in ((25, 2), (15, 3)):
        volume = random_volume(n, ndim)
        expected = homogenize(volume, 50.0, tolerance=1e-11).stiffness.diagonal()
        iterations = []
        for tolerance in (1e-2, 1e-4, 1e-6):
            solved = homogenize(volume, 50.0, tolerance=tolerance)
            errors = solved.stiffness.diagonal() / expected - 1
            assert np.all(solved.error < 10 * errors)
            iterations.append(solved.iterations.max())
        assert iterations == sorted(set(iterations))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_residual_can_end_the_iteration_instead(dtype: torch.dtype) -> None:
    volume = random_volume(8, 3)
    expected = homogenize(volume, 50.0, tolerance=1e-11).stiffness.diagonal()
    for residual in (1e-2, 1e-4):
        # The tolerance says nothing then.
        solved = homogenize(volume, 50.0, residual=residual, tolerance=1e-12, dtype=dtype)
        assert np.all(solved.residual <= 1.05 * residual)
        assert np.all(solved.residual > residual / 10)
        assert np.all(solved.stiffness.diagonal() / expected - 1 <= solved.error)


def test_the_residual_is_that_of_the_field() -> None:
    """The recursion of single precision goes on to nothing; its field does not."""
    volume = random_volume(8, 3)
    solved = homogenize(volume, 50.0, residual=1e-9, dtype=torch.float32)
    double = homogenize(volume, 50.0, residual=1e-12)
    # What is left after single precision has been corrected in double precision.
    assert np.all(solved.residual <= 1.05e-9)
    assert error(solved.stiffness, double.stiffness) < 1e-13


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float64])
def test_what_round_off_forbids_is_not_claimed(dtype: torch.dtype | None) -> None:
    """A residual of 1e-30 was reported once; a field in double precision has none below 1e-16."""
    volume = white_noise(9, 3, 0.3)
    for name in ("tolerance", "residual"):
        with pytest.raises(ValueError, match=f"{name} 1e-30 must be a number from 1e-12 to 1"):
            homogenize(volume, 50.0, dtype=dtype, **{name: 1e-30})
    solved = homogenize(volume, 50.0, tolerance=1e-12, dtype=dtype)
    assert np.all(solved.residual > 1e-17)
    assert np.all(solved.error > 0)


def test_single_precision_that_does_not_reach_the_tolerance_is_no_result() -> None:
    volume = white_noise(9, 3, 0.3)
    with pytest.raises(NotConverged, match=r"round-off prevents more: .* leave dtype out"):
        homogenize(volume, 1e8, tolerance=1e-9, dtype=torch.float32)
    assert homogenize(volume, 1e8, tolerance=1e-9).error.max() <= 1e-9


def test_the_default_is_single_precision_where_it_meets_the_tolerance() -> None:
    volume = white_noise(9, 3, 0.3)

    def equal(contrast: float, tolerance: float, dtype: torch.dtype) -> bool:
        kinds = (None, dtype)
        first, second = (homogenize(volume, contrast, tolerance=tolerance, dtype=k) for k in kinds)
        return np.array_equal(first.stiffness, second.stiffness)

    assert equal(50.0, 1e-4, torch.float32)
    assert not equal(50.0, 1e-4, torch.float64)
    assert equal(50.0, 1e-10, torch.float64)
    assert equal(1e6, 1e-4, torch.float64)


def single_error(seed: int, ndim: int = 3) -> float:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(6, 11)) * (1 if ndim == 3 else 3)
    volume = random_volume(n, ndim, generator.uniform(0.1, 0.9), seed)
    contrast = 10 ** generator.uniform(-2, 2)
    double = homogenize(volume, contrast)
    single = homogenize(volume, contrast, dtype=torch.float32)
    assert np.abs(single.iterations - double.iterations).max() <= 1
    return error(single.stiffness, double.stiffness)


def test_single_precision_is_enough() -> None:
    assert max(single_error(seed, ndim) for seed in range(3) for ndim in (2, 3)) < 1e-6


@pytest.mark.slow
def test_single_precision_is_enough_for_fifty_volumes() -> None:
    assert max(single_error(seed) for seed in range(50)) < 1e-6


def test_a_single_load_case_gives_the_same_entry() -> None:
    volume = random_volume(8, 3)
    full = homogenize(volume, 5.0)
    for load in range(6):
        one = homogenize(volume, 5.0, loads=[load])
        assert one.stiffness[load, load] == full.stiffness[load, load]
        assert np.count_nonzero(np.isnan(one.stiffness)) == 35
        assert one.iterations.tolist() == [full.iterations[load]]
    two = homogenize(volume, 5.0, loads=(4, 1))
    kept = np.ix_([1, 4], [1, 4])
    np.testing.assert_allclose(two.stiffness[kept], full.stiffness[kept], rtol=1e-12)
    assert two.iterations.tolist() == [full.iterations[4], full.iterations[1]]


def test_too_few_iterations_raise() -> None:
    with pytest.raises(NotConverged, match=r"load case 1: .* after 3 iterations .*1e-09"):
        homogenize(random_volume(9, 3), 50.0, tolerance=1e-9, max_iterations=3)


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "ndim"), [(8, 3), (11, 3), (16, 2)])
def test_nothing_leaks_from_one_solution_to_the_next(n: int, ndim: int, dtype: torch.dtype) -> None:
    first, second = random_volume(n, ndim, seed=1), random_volume(n, ndim, 0.8, seed=2)
    fresh = Homogenizer(n, ndim, POISSON, dtype).solve(first, 20.0, tolerance=1e-2)
    used = Homogenizer(n, ndim, POISSON, dtype)
    used.solve(second, 0.1, loads=[0, 2])
    with pytest.raises(NotConverged):
        used.solve(second, 1e3, max_iterations=2)
    used.solve(first, 2.0, loads=[1])
    again = used.solve(first, 20.0, tolerance=1e-2)
    assert np.array_equal(again.stiffness, fresh.stiffness)
    assert np.array_equal(again.iterations, fresh.iterations)
    kept = fresh.stiffness.copy()
    used.solve(second, 20.0, tolerance=1e-2)
    assert np.array_equal(fresh.stiffness, kept)
    assert np.array_equal(again.stiffness, kept)


def test_threads_may_share_the_solver() -> None:
    volumes = [random_volume(8, 3, seed=seed) for seed in range(3)]
    kinds = [torch.float32, torch.float64]
    alone = {
        (index, kind): homogenize(volume, 5.0, dtype=kind, tolerance=1e-2).stiffness
        for index, volume in enumerate(volumes)
        for kind in kinds
    }
    wrong: list[object] = []

    def work(index: int) -> None:
        try:
            for kind in kinds * 2:
                found = homogenize(volumes[index], 5.0, dtype=kind, tolerance=1e-2)
                if not np.array_equal(found.stiffness, alone[index, kind]):
                    wrong.append((index, kind))
        except Exception as failure:  # a thread's exception would be lost
            wrong.append(failure)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_volume_is_left_as_it_is() -> None:
    for kind in (np.uint8, np.bool_, np.float32, np.int64):
        volume = random_volume(8, 2).astype(kind)
        volume.setflags(write=False)
        kept = volume.copy()
        found = homogenize(volume, 10.0).stiffness
        assert np.array_equal(volume, kept)
        assert np.array_equal(found, homogenize(random_volume(8, 2), 10.0).stiffness)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gpu_gives_the_same_stiffness(dtype: torch.dtype) -> None:
    for n, ndim in ((16, 3), (17, 3), (64, 2)):
        volume = random_volume(n, ndim)
        cpu = homogenize(volume, 50.0)
        gpu = homogenize(volume, 50.0, dtype=dtype, device="cuda")
        assert error(gpu.stiffness, cpu.stiffness) < 1e-6


# --- bad input ------------------------------------------------------------------------------------

GOOD = np.zeros((4, 4, 4), np.uint8)
GOOD[0] = 1


def changed(value: float, dtype: type) -> np.ndarray:
    volume = GOOD.astype(dtype)
    volume[1, 2, 3] = value
    return volume


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: homogenize(np.zeros((0, 0, 0), np.uint8), 2.0), r"shape \(0, 0, 0\)"),
        (lambda: homogenize(np.zeros(5, np.uint8), 2.0), r"shape \(5,\)"),
        (lambda: homogenize(np.ones((2,) * 4, np.uint8), 2.0), r"shape \(2, 2, 2, 2\)"),
        (lambda: homogenize(GOOD[:, :, :3], 2.0), r"shape \(4, 4, 3\).*cube"),
        (lambda: homogenize(GOOD[0, :3], 2.0), r"shape \(3, 4\).*square"),
        (lambda: homogenize(np.ones((1, 1, 1), np.uint8), 2.0), "one cell per side"),
        (lambda: homogenize(np.zeros((4, 4), np.uint8), 2.0), "one phase only"),
        (lambda: homogenize(np.ones((4, 4), np.uint8), 2.0), "one phase only"),
        (lambda: homogenize(changed(2, np.uint8), 2.0), "values other than 0 .* and 1"),
        (lambda: homogenize(changed(-1, np.int8), 2.0), "values other than 0 .* and 1"),
        (lambda: homogenize(changed(0.5, np.float32), 2.0), "values other than 0 .* and 1"),
        (lambda: homogenize(changed(np.nan, np.float64), 2.0), "values other than 0 .* and 1"),
        (lambda: homogenize(GOOD.astype(str), 2.0), "values other than 0 .* and 1"),
        (lambda: homogenize(GOOD, 0.0), "contrast 0.0"),
        (lambda: homogenize(GOOD, -3.0), "contrast -3.0"),
        (lambda: homogenize(GOOD, float("nan")), "contrast nan"),
        (lambda: homogenize(GOOD, float("inf")), "contrast inf"),
        (lambda: homogenize(GOOD, 2.0, 0.5), "Poisson's ratio 0.5"),
        (lambda: homogenize(GOOD, 2.0, -1.0), "Poisson's ratio -1.0"),
        (lambda: homogenize(GOOD, 2.0, float("nan")), "Poisson's ratio nan"),
        (lambda: homogenize(GOOD, 1e300), r"contrast 1e\+300 .* from 1e-08 to 1e\+08"),
        (lambda: homogenize(GOOD, 1e-300), r"contrast 1e-300 .* from 1e-08"),
        (lambda: homogenize(GOOD, 1.1e8), "contrast 110000000.0 .* from 1e-08"),
        (lambda: homogenize(GOOD, 0.9e-8), "contrast 9e-09 .* from 1e-08"),
        (lambda: homogenize(GOOD, 10**400), "contrast inf"),
        (lambda: homogenize(GOOD, "50"), "contrast '50'"),
        (lambda: homogenize(GOOD, None), "contrast None"),
        (lambda: homogenize(GOOD, np.ones(2)), r"contrast array"),
        (lambda: homogenize(GOOD, True), "contrast True"),
        (lambda: homogenize(GOOD, 2.0, None), "Poisson's ratio None"),
        (lambda: homogenize(GOOD, 2.0, "0.3"), "Poisson's ratio '0.3'"),
        (lambda: homogenize(GOOD, 2.0, loads=[6]), r"0 to 5, not \[6\]"),
        (lambda: homogenize(GOOD, 2.0, loads=[True]), r"0 to 5, not \[True\]"),
        (lambda: homogenize(GOOD, 2.0, loads=[1.5]), r"0 to 5, not \[1.5\]"),
        (lambda: homogenize(GOOD, 2.0, loads=[1, 1]), r"0 to 5, not \[1, 1\]"),
        (lambda: homogenize(GOOD, 2.0, loads=1), "0 to 5, not 1"),
        (lambda: homogenize(GOOD, 2.0, max_iterations=2.5), "max_iterations 2.5"),
        (lambda: homogenize(GOOD, 2.0, dtype=torch.bfloat16), "bfloat16 .*float32, .*float64"),
        (lambda: homogenize(GOOD, 2.0, dtype=torch.float16), "float16 .*float32, .*float64"),
        (lambda: Homogenizer(4, dtype=torch.float16), "float16 .*float32, .*float64"),
        (lambda: Homogenizer(4.0), "n 4.0"),
        (lambda: Homogenizer(4, 4), "ndim 4"),
        (lambda: Homogenizer(4, poisson=0.5), "Poisson's ratio 0.5"),
        (lambda: homogenize(GOOD, 2.0, loads=[-1]), r"0 to 5, not \[-1\]"),
        (lambda: homogenize(GOOD, 2.0, loads=[]), r"0 to 5, not \[\]"),
        (lambda: homogenize(GOOD[:, :, 0], 2.0, loads=[3]), r"0 to 2, not \[3\]"),
        (lambda: Homogenizer(5).solve(GOOD, 2.0), r"\(4, 4, 4\), the solver is for 5 cells"),
        (lambda: Homogenizer(4, 2).solve(GOOD, 2.0), r"\(4, 4, 4\), the solver is for 4 cells"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("tolerance", [-1, 0, 0.9e-12, 1.1, 10, float("inf"), float("nan"), None])
def test_a_tolerance_out_of_range_is_named(tolerance: float) -> None:
    with pytest.raises(ValueError, match=f"tolerance {tolerance}.* from 1e-12 to 1"):
        homogenize(GOOD, 2.0, tolerance=tolerance)


def test_a_cell_beyond_the_memory_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    class Memory:
        available = GOOD.size * homogenization.BYTES_PER_CELL[3] - 1

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    solver = Homogenizer(4)
    with monkeypatch.context() as patched:
        patched.setattr(homogenization, "_solver", None)
        message = r"cell of 4 x 4 x 4 needs about .* GiB .* smaller"
        for volume in (GOOD, changed(2, np.uint8)):  # values are not looked at
            with pytest.raises(ValueError, match=message):
                homogenize(volume, 2.0)
            with pytest.raises(ValueError, match=message):
                solver.solve(volume, 2.0)
    Memory.available += 1
    homogenize(GOOD, 2.0)
    Memory.available = GOOD.size * homogenization.TABLE_BYTES_PER_CELL[3] - 1
    monkeypatch.setattr(homogenization, "Equilibrium", None)
    with pytest.raises(ValueError, match=message):
        Homogenizer(4)


@pytest.mark.parametrize(("n", "ndim"), [(256, 2), (40, 3), (41, 3)])
def test_a_solver_holds_no_more_than_it_asks_for(n: int, ndim: int) -> None:
    solver = Homogenizer(n, ndim)
    assert solver.single is not None
    held = [
        value
        for work in (solver.double, solver.single)
        for value in (*vars(work).values(), *vars(work.transform).values())
    ]
    size = sum(one.nbytes for one in held if isinstance(one, torch.Tensor))
    limit = homogenization.TABLE_BYTES_PER_CELL[ndim]
    assert limit / 2 < size / n**ndim <= limit

"""Speed beside peers: ratios measured in the same run, each with the goal it has to reach.

`make speed` runs them; the ordinary suites leave them out. What is compared runs in turns, and the
shortest time of each counts, so that other work on the machine matters little.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg
from side_by_side import Case

torch = pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")

from etchmark.descriptors import two_point_statistics  # noqa: E402
from etchmark.simulation.homogenization import Homogenizer, NotConverged, lame_constants  # noqa: E402
from etchmark.simulation.microstructures import generator_of, random_field  # noqa: E402

pytestmark = [pytest.mark.speed, pytest.mark.timeout(1200)]

CONTRAST, POISSON = 50.0, 0.3
ACCURACY = 1e-4
"""Error of the stiffness that all are set to: the default tolerance."""
UNIT = "relative error of the stiffness"


def volume(n: int) -> np.ndarray:
    """An anisotropic random field."""
    return random_field((n,) * 3, (1.5, 3.0, 2.0), 0.4, generator_of(n))


def our_case(
    cells: np.ndarray, dtype: torch.dtype | None, loads: list[int] | None = None
) -> tuple[Case, float]:
    """Ours at the default tolerance, and C11 without error of the iteration."""
    solver = Homogenizer(len(cells), 3, POISSON, dtype)
    limit = solver.solve(cells, CONTRAST, loads=loads, tolerance=1e-8).stiffness
    stiffness = solver.solve(cells, CONTRAST, loads=loads, tolerance=ACCURACY).stiffness
    error = float(np.nanmax(np.abs(stiffness - limit)) / np.nanmax(np.abs(limit)))
    precision = "float64" if dtype == torch.float64 else "float32, checked in float64"
    run = lambda: solver.solve(cells, CONTRAST, loads=loads, tolerance=ACCURACY)  # noqa: E731
    setting = f"tolerance {ACCURACY:g}"
    return Case("etchmark", "one-point hexahedra", precision, setting, error, run), limit[0, 0]


def test_the_tensor_of_51_cubed(beside: Any) -> None:
    cells = volume(51)
    cases = [our_case(cells, dtype)[0] for dtype in (None, torch.float64)]
    comparison = beside("6 x 6 stiffness, 51³, contrast 50", UNIT, *cases, repeats=2)
    print("    goal: error <= 1e-4 in <= 3 s of processor time")
    assert all(row.error <= ACCURACY for row in comparison.rows)
    assert comparison.rows[0].processor <= 3.0


# --- finite elements ------------------------------------------------------------------------------


class FiniteElements:
    """Trilinear hexahedra of scikit-fem, periodic, assembled; conjugate gradients of scipy."""

    def __init__(self, cells: np.ndarray, *, one_point: bool) -> None:
        skfem = pytest.importorskip("skfem", reason="scikit-fem (extra `speed`) is not installed")
        from skfem.helpers import ddot, sym_grad, trace

        n = len(cells)
        mesh = skfem.MeshHex.init_tensor(*[np.arange(n + 1.0)] * 3)
        element = skfem.ElementVector(skfem.ElementHex1())
        rule = {"quadrature": (np.full((3, 1), 0.5), np.ones(1))} if one_point else {"intorder": 3}
        basis = skfem.Basis(mesh, element, **rule)
        lame, shear = lame_constants(1.0, POISSON)
        centre = np.floor(mesh.p[:, mesh.t].mean(axis=1)).astype(int)
        moduli = np.where(cells[tuple(centre)], CONTRAST, 1.0)[:, None] * np.ones(basis.dx.shape[1])

        @skfem.BilinearForm
        def energy(u, v, w):
            e, d = sym_grad(u), sym_grad(v)
            return w.modulus * (lame * trace(e) * trace(d) + 2 * shear * ddot(e, d))

        self.full = energy.assemble(basis, modulus=moduli)
        node = np.ravel_multi_index(tuple(np.rint(mesh.p).astype(int) % n), (n,) * 3)
        periodic = np.empty(basis.N, int)
        self.affine = np.zeros(basis.N)
        for axis in range(3):
            periodic[basis.nodal_dofs[axis]] = node * 3 + axis
        self.affine[basis.nodal_dofs[0]] = mesh.p[0]
        self.spread = sp.csr_matrix((np.ones(basis.N), (np.arange(basis.N), periodic)))
        self.matrix = (self.spread.T @ self.full @ self.spread).tocsr()
        self.load = -(self.spread.T @ (self.full @ self.affine))
        self.volume = n**3

    def solve(self, preconditioner: LinearOperator, tolerance: float) -> float:
        """C11."""
        fluctuation, info = cg(
            self.matrix, self.load, rtol=tolerance, maxiter=5000, M=preconditioner
        )
        assert info == 0
        moved = self.affine + self.spread @ fluctuation
        return float(moved @ (self.full @ moved)) / self.volume


def preconditioners(matrix: sp.csr_matrix) -> dict[str, Callable[[], LinearOperator]]:
    diagonal = matrix.diagonal()
    found: dict[str, Callable[[], LinearOperator]] = {
        "Jacobi": lambda: LinearOperator(
            matrix.shape, matvec=lambda x: x / diagonal, dtype=np.float64
        )
    }
    try:
        import pyamg
    except ImportError:
        return found
    modes = np.tile(np.eye(3), (matrix.shape[0] // 3, 1))
    found["algebraic multigrid"] = lambda: pyamg.smoothed_aggregation_solver(
        matrix.tobsr((3, 3)), B=modes
    ).aspreconditioner()
    return found


def finite_element_cases(cells: np.ndarray, *, one_point: bool) -> tuple[list[Case], float]:
    """One case per preconditioner, and C11 without error of the iteration."""
    peer = FiniteElements(cells, one_point=one_point)
    limit = peer.solve(preconditioners(peer.matrix)["Jacobi"](), 1e-8)
    cases = []
    # One point leaves modes almost without energy, on which multigrid does not converge.
    kinds = {"Jacobi"} if one_point else {"Jacobi", "algebraic multigrid"}
    builds = {name: build for name, build in preconditioners(peer.matrix).items() if name in kinds}
    for name, build in builds.items():
        operator = build()
        for residual in (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5):
            error = abs(peer.solve(operator, residual) / limit - 1)
            if error <= ACCURACY:
                break
        else:
            raise AssertionError(f"{name}: C11 is not reached to {ACCURACY:g}")

        # The set-up of the preconditioner is part of its time, the assembly is not.
        def run(build: Callable[[], LinearOperator] = build, residual: float = residual) -> None:
            peer.solve(build(), residual)

        discretisation = "one-point hexahedra" if one_point else "hexahedra, 2 x 2 x 2 points"
        setting = f"residual {residual:g}"
        cases.append(Case(f"scikit-fem, {name}", discretisation, "float64", setting, error, run))
    return cases, limit


def test_beside_finite_elements(beside: Any) -> None:
    """First what a user of finite elements runs, in the same precision; then the rest."""
    cells = volume(25)
    double, limit = our_case(cells, torch.float64, [0])
    default, _ = our_case(cells, None, [0])
    full, _ = finite_element_cases(cells, one_point=False)
    one_point, other_limit = finite_element_cases(cells, one_point=True)
    assert abs(other_limit / limit - 1) < 1e-6, "the same discretisation"
    title = "C11 of one load case, 25³, contrast 50"
    fair = beside(f"{title}, double precision", UNIT, double, *full, *one_point, repeats=3)
    beside(f"{title}, default precision", UNIT, default, *full, *one_point, repeats=3)
    print("    goal: at least 4 times faster than full integration in the same precision")
    integrated = [row for row in fair.rows if "2 x 2 x 2" in row.discretisation]
    assert min(row.processor for row in integrated) >= 4 * fair.rows[0].processor


# --- growth with the size -------------------------------------------------------------------------


def test_time_grows_as_that_of_a_fourier_transform(
    report: Callable[..., None], shortest: Callable[..., list[float]]
) -> None:
    iterations = 6

    def solve(n: int) -> Callable[[], object]:
        cells, solver = volume(n), Homogenizer(n, 3, POISSON, torch.float32)

        def run() -> None:
            with pytest.raises(NotConverged):
                solver.solve(cells, CONTRAST, loads=[0], tolerance=1e-12, max_iterations=iterations)

        return run

    small, large = shortest(5, solve(48), solve(96))
    expected = (96**3 * np.log(96**3)) / (48**3 * np.log(48**3))
    report(
        f"{iterations} iterations of one load case",
        ("48³", small, "s"),
        ("96³", large, "s"),
        ("ratio", large / small, ""),
        ("ratio of N log N", expected, ""),
        goal="ratio <= 1.5 times that of N log N",
    )
    assert large / small <= 1.5 * expected


# --- two-point statistics -------------------------------------------------------------------------


def radial(statistics: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean over the lags whose length lies in each bin, its lower edge included."""
    place = np.indices(statistics.shape)
    middle = np.array(statistics.shape).reshape(-1, *(1,) * statistics.ndim) // 2
    length = np.sqrt(((place - middle) ** 2).sum(axis=0))
    bins = itertools.pairwise(edges)
    return np.array([statistics[(length >= low) & (length < high)].mean() for low, high in bins])


@pytest.mark.parametrize("shape", [(51, 51, 51), (128, 128)])
def test_two_point_statistics(shape: tuple[int, ...], beside: Any) -> None:
    porespy = pytest.importorskip("porespy", reason="porespy (extra `speed`) is not installed")
    porespy.settings.tqdm["disable"] = True
    phase = random_field(shape, 2.0, 0.4, generator_of(*shape)).astype(bool)
    peer = porespy.metrics.two_point_correlation(phase)
    # The peer takes the sample for a piece of a larger one, as ours with periodic=False.
    inside = radial(two_point_statistics(phase, periodic=False), np.asarray(peer.bin_edges))
    apart = float(np.nanmax(np.abs(inside - np.asarray(peer.probability_scaled))))
    assert apart < 1e-6
    ours = ("etchmark", "every lag, not periodic", "float64", "")
    comparison = beside(
        f"Two-point statistics, {' x '.join(map(str, shape))}",
        "difference of the radial means",
        Case(*ours, 0.0, lambda: two_point_statistics(phase, periodic=False)),
        Case(
            "porespy",
            "radial mean, not periodic",
            "float64",
            "",
            apart,
            lambda: porespy.metrics.two_point_correlation(phase),
        ),
        repeats=8,
    )
    print("    goal: at least 5 times faster")
    assert comparison.ratio("processor") >= 5


# --- accelerator ----------------------------------------------------------------------------------


def test_volumes_per_second_on_a_gpu(
    report: Callable[..., None], shortest: Callable[..., list[float]]
) -> None:
    if not torch.cuda.is_available():
        print("\nvolumes per second on a GPU: skipped, no CUDA device")
        pytest.skip("this machine has no CUDA device")
    cells = volume(51)
    solver = Homogenizer(51, 3, POISSON, torch.float32, "cuda")
    (seconds,) = shortest(5, lambda: solver.solve(cells, CONTRAST, tolerance=ACCURACY))
    report(
        f"6 x 6 tensor, 51³, {torch.cuda.get_device_name()}",
        ("time", seconds, "s"),
        ("volumes per second", 1 / seconds, "1/s"),
        goal="none",
    )

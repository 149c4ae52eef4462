"""Effective elastic stiffness of periodic two-phase composites by FFT homogenization.

The discretisation is the rotated scheme of Willot (Comptes Rendus Mécanique 343 (2015) 232,
DOI 10.1016/j.crme.2014.12.005), which is that of trilinear hexahedra with one quadrature point.
The equilibrium of the displacement field is solved by conjugate gradients (Zeman, Vondřejc, Novák
& Marek, J. Comput. Phys. 229 (2010) 8065, DOI 10.1016/j.jcp.2010.07.010; Brisard & Dormieux,
Comput. Mater. Sci. 49 (2010) 663, DOI 10.1016/j.commatsci.2010.06.009) with the operator of a
homogeneous medium as preconditioner.

The stiffness is read off the energy of the strain fields, C_IJ = <e_I : C : e_J>. The error of a
diagonal component is the energy of the error of its field, and that of any other component is at
most the geometric mean of two such energies (Cauchy and Schwarz). The solver bounds these energies
from above (see `equilibrium`) and iterates until the bound is below the tolerance.

Fields are solved in single precision where that suffices, and checked in double precision: the
stiffness, the residual and the bound are computed from the final field, and the iteration continues
in double precision where single precision does not reach the tolerance.
"""

from __future__ import annotations

import math
import reprlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from etchmark.simulation.checks import memory, number, whole
from etchmark.simulation.equilibrium import Equilibrium, Goal, Run, lame_constants
from etchmark.simulation.spectral import VOIGT

BYTES_PER_CELL = {2: 440, 3: 960}
"""Most memory that all load cases need, in any precision: the energy is summed in double."""
TABLE_BYTES_PER_CELL = {2: 120, 3: 255}
"""The part of it that a solver allocates before its first solution."""
CONTRASTS = (1e-8, 1e8)
"""Range in which the bound of the error has been tested against direct solutions."""
LOWEST_TOLERANCE = 1e-12
"""Below it the round-off of the energy, which the bound does not cover, would dominate."""
SINGLE_CONTRAST, SINGLE_ERROR = 1e5, 1e-9
"""Single precision is tried up to this contrast, and only where its round-off, about the contrast
times SINGLE_ERROR, is below the tolerance."""
MARGIN = 0.9
"""Share of the tolerance that the iteration may use; the rest is for its round-off."""


class NotConverged(RuntimeError):
    """The tolerance was not reached; there is no stiffness."""


@dataclass(frozen=True)
class Homogenized:
    """Effective stiffness of a microstructure, with its error."""

    stiffness: np.ndarray
    """Voigt matrix in units of the soft phase's Young's modulus, shape (6, 6), in 2D (3, 3); rows
    and columns of load cases that were not asked for are nan."""
    iterations: np.ndarray
    """Iterations of each load case asked for."""
    residual: np.ndarray
    """Relative residual of each load case, in the norm of the preconditioner, computed in double
    precision from the field that the stiffness is read off."""
    error: np.ndarray
    """Upper bound of the relative error of the diagonal component of each load case. It is never
    too low: C_II is at most the value given, and at least that times 1 - error. The error of C_IJ
    is at most sqrt(error_I C_II error_J C_JJ)."""


def isotropic(modulus: float, poisson: float, ndim: int = 3) -> np.ndarray:
    """Voigt stiffness of an isotropic medium, shape (6, 6), in 2D (plane strain) (3, 3)."""
    lame, shear = lame_constants(modulus, poisson)
    pairs = VOIGT[ndim]
    stiffness = np.zeros((len(pairs), len(pairs)))
    stiffness[:ndim, :ndim] = lame
    for row, (i, j) in enumerate(pairs):
        stiffness[row, row] += 2 * shear if i == j else shear
    return stiffness


class _Rule(NamedTuple):
    """When the iteration of a load case stops."""

    tolerance: float
    """Largest relative error of the stiffness."""
    residual: float | None
    """If a number, the largest relative residual instead."""
    limit: int
    """Largest number of iterations."""


def _rule(tolerance: float, residual: float | None, max_iterations: int) -> _Rule:
    """The rule, or a ValueError if one of its numbers is out of its range."""
    return _Rule(
        number(tolerance, "tolerance", LOWEST_TOLERANCE, 1, ends=True),
        None if residual is None else number(residual, "residual", LOWEST_TOLERANCE, 1, ends=True),
        whole(max_iterations, "max_iterations", 0),
    )


class _Problem(NamedTuple):
    """Validated arguments of a solution."""

    stiff: np.ndarray
    """True in the stiff phase."""
    contrast: float
    cases: list[int]
    rule: _Rule


def _problem(
    microstructure: np.ndarray,
    contrast: float,
    loads: Sequence[int] | None,
    rule: _Rule,
) -> _Problem:
    """The arguments of a solution, or a ValueError that says what is wrong with them."""
    cells = np.asarray(microstructure)
    if cells.ndim not in VOIGT or cells.size == 0 or len(set(cells.shape)) != 1:
        raise ValueError(
            f"the microstructure has shape {cells.shape}; a square (n, n) or a cube (n, n, n) is"
            " needed"
        )
    if cells.shape[0] < 2:
        raise ValueError("the microstructure has one cell per side; at least 2 are needed")
    contrast = number(contrast, "contrast", *CONTRASTS, ends=True)
    cases = _cases(loads, len(VOIGT[cells.ndim]))
    # Before the values are checked, which takes long in a huge array.
    memory(cells.shape, cells.size * BYTES_PER_CELL[cells.ndim])
    if cells.dtype.kind not in "buif" or not np.isin(cells, (0, 1)).all():
        raise ValueError("the microstructure has values other than 0 (soft) and 1 (stiff)")
    stiff = cells.astype(bool)
    if stiff.all() or not stiff.any():
        raise ValueError(
            "the microstructure has one phase only: its stiffness is that of the phase"
        )
    return _Problem(stiff, contrast, cases, rule)


def _cases(loads: Sequence[int] | None, count: int) -> list[int]:
    """The load cases asked for, of ``count``."""
    if loads is None:
        return list(range(count))
    try:
        cases = [whole(load, "load case", 0, count - 1) for load in loads]
    except (TypeError, ValueError):
        cases = []
    if not cases or len(set(cases)) < len(cases):
        raise ValueError(
            f"loads must be different whole numbers from 0 to {count - 1}, not"
            f" {reprlib.repr(loads)}"
        )
    return cases


def _medium(poisson: float, dtype: torch.dtype | None) -> float:
    """Poisson's ratio, or a ValueError if it or the precision is out of range."""
    # In half precision round-off stops the iteration at once: it would return Voigt's bound.
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype {dtype} must be torch.float32, torch.float64 or None")
    return number(poisson, "Poisson's ratio", -1, 0.5)


class _Settled(NamedTuple):
    """The converged field of a load case."""

    strain: Tensor
    iterations: int
    residual: float
    error: float


class Homogenizer:
    """Solver for cells of one size; keeps its tables and work space between solutions.

    Threads may share a solver; it solves one problem at a time.

    Args:
        n: cells per side.
        ndim: 2 (plane strain) or 3.
        poisson: Poisson's ratio of both phases.
        dtype: precision of the iterations, float32 or float64; if None, single precision where it
            suffices, else double. Results are computed in double precision.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValueError: an argument is out of its range, or the tables are beyond the free memory.
    """

    def __init__(
        self,
        n: int,
        ndim: int = 3,
        poisson: float = 0.3,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        n, ndim, poisson = whole(n, "n", 2), whole(ndim, "ndim", 2, 3), _medium(poisson, dtype)
        self.n, self.ndim, self.poisson, self.dtype = n, ndim, poisson, dtype
        memory((n,) * ndim, n**ndim * TABLE_BYTES_PER_CELL[ndim])
        self.device = torch.device(device)
        self.double = Equilibrium(n, ndim, poisson, torch.float64, self.device)
        self.single = (
            None
            if dtype == torch.float64
            else Equilibrium(n, ndim, poisson, torch.float32, self.device)
        )
        self._lock = threading.Lock()

    def solve(
        self,
        microstructure: np.ndarray,
        contrast: float,
        *,
        loads: Sequence[int] | None = None,
        tolerance: float = 1e-4,
        residual: float | None = None,
        max_iterations: int = 10_000,
    ) -> Homogenized:
        """Effective stiffness of a microstructure; arguments and errors as in `homogenize`.

        Raises:
            ValueError: the microstructure is not of the size of the solver, or as in `homogenize`.
            NotConverged: the tolerance was not reached.
        """
        if np.shape(microstructure) != (self.n,) * self.ndim:
            raise ValueError(
                f"the microstructure has shape {np.shape(microstructure)}, the solver is for"
                f" {self.n} cells per side in {self.ndim} dimensions"
            )
        rule = _rule(tolerance, residual, max_iterations)
        return self._solution(_problem(microstructure, contrast, loads, rule))

    def _solution(self, problem: _Problem) -> Homogenized:
        stiff, contrast, cases, rule = problem
        cells = torch.from_numpy(stiff).to(self.device, torch.int32)
        # Moduli around 1 keep single precision away from its limits at any contrast.
        unit = math.sqrt(contrast)
        moduli = torch.tensor([1.0 / unit, contrast / unit], dtype=torch.float64).to(self.device)
        with self._lock:
            media = {
                work.dtype: moduli.to(work.dtype)[cells]
                for work in (self.double, self._first(contrast, rule))
            }
            settled = [self._settle(case, media, min(unit, 1 / unit), rule) for case in cases]
            energy = self._energies(media[torch.float64], [field.strain for field in settled])
        stiffness = np.full((len(VOIGT[self.ndim]),) * 2, np.nan)
        stiffness[np.ix_(cases, cases)] = unit * energy
        return Homogenized(
            stiffness=stiffness,
            iterations=np.array([field.iterations for field in settled]),
            residual=np.array([field.residual for field in settled]),
            error=np.array([field.error for field in settled]),
        )

    def _first(self, contrast: float, rule: _Rule) -> Equilibrium:
        """The precision to start in."""
        if self.single is None:
            return self.double
        contrast = max(contrast, 1 / contrast)
        carries = contrast <= SINGLE_CONTRAST and contrast * SINGLE_ERROR <= rule.tolerance
        return self.single if carries or self.dtype is not None else self.double

    def _settle(
        self, case: int, media: dict[torch.dtype, Tensor], softest: float, rule: _Rule
    ) -> _Settled:
        """Iterate until the field meets the rule, as evaluated in double precision."""
        double, modulus = self.double, media[torch.float64]
        work = self.double if len(media) == 1 else self.single or self.double
        residual, energy = work.start(media[work.dtype], case)
        scale = _norm(work, residual)
        # Slightly below the smallest modulus, which single precision may have rounded up.
        goal = Goal(
            lowest=double.shear * softest * (1 - 1e-6),
            energy=energy,
            limit=rule.limit,
            tolerance=MARGIN * rule.tolerance,
            residual=rule.residual,
        )
        field, spent, before = double.zero(), 0, math.inf
        while True:
            run = work.iterate(media[work.dtype], residual, goal)
            field, spent = field.add_(run.correction), spent + run.iterations
            strain = double.strain(field).add_(double.load(case))
            stress = double.stress(strain.clone(), modulus)
            energy = float(strain.flatten() @ stress.flatten())
            residual = double.divergence(stress).neg_()
            bound = _bound(run, _norm(double, residual - run.residual), goal.lowest)
            error = bound / (energy - bound) if bound < energy else math.inf
            size = _norm(double, residual)
            settled = _Settled(strain, spent, size / scale if scale else 0.0, error)
            if _enough(settled, rule):
                return settled
            measure = error if rule.residual is None else size
            stuck = not measure < before / 2
            if spent >= rule.limit or (stuck and (work is double or self.dtype is not None)):
                raise NotConverged(_failure(case, settled, rule))
            if self.dtype is None:
                work = double
            before, scale = measure, scale or size
            goal = replace(goal, energy=energy, limit=rule.limit - spent)
            if rule.residual is not None:
                goal = replace(goal, residual=rule.residual * scale / size)
            residual = residual.to(work.dtype)

    def _energies(self, modulus: Tensor, strains: Sequence[Tensor]) -> np.ndarray:
        """<e_I : C : e_J> of load cases, shape (cases, cases)."""
        energy = np.empty((len(strains), len(strains)))
        for column, strain in enumerate(strains):
            stress = self.double.stress(strain.clone(), modulus).flatten()
            for row in range(column, len(strains)):
                energy[row, column] = float(strains[row].flatten() @ stress) / modulus.numel()
                energy[column, row] = energy[row, column]
        return energy


def _norm(work: Equilibrium, spectrum: Tensor) -> float:
    return math.sqrt(work.transform.dot(spectrum, spectrum))


def _bound(run: Run, drift: float, lowest: float) -> float:
    """Upper bound of the energy of the error.

    The iteration bounds the error by its own residual; ``drift`` is how far round-off has moved
    that from the residual of the field.
    """
    return (math.sqrt(run.bound) + drift / math.sqrt(lowest)) ** 2


def _enough(settled: _Settled, rule: _Rule) -> bool:
    if rule.residual is None:
        return settled.error <= rule.tolerance
    # The iteration stopped at its own residual; in single precision that is off by some 1e-3.
    return settled.residual <= 1.05 * rule.residual


def _failure(case: int, settled: _Settled, rule: _Rule) -> str:
    reached, limit = ("error of the stiffness up to", settled.error), rule.tolerance
    if rule.residual is not None:
        reached, limit = ("relative residual", settled.residual), rule.residual
    remedy = (
        "raise max_iterations or the tolerance"
        if settled.iterations >= rule.limit
        else "round-off prevents more: raise the tolerance, or leave dtype out"
    )
    return (
        f"load case {case + 1}: {reached[0]} {reached[1]:.2g} after {settled.iterations} iterations"
        f" (max_iterations {rule.limit}), {limit:.2g} was required; {remedy}"
    )


@lru_cache(maxsize=4)
def _solver(
    n: int, ndim: int, poisson: float, dtype: torch.dtype | None, device: str
) -> Homogenizer:
    return Homogenizer(n, ndim, poisson, dtype, device)


def homogenize(
    microstructure: np.ndarray,
    contrast: float,
    poisson: float = 0.3,
    *,
    loads: Sequence[int] | None = None,
    tolerance: float = 1e-4,
    residual: float | None = None,
    max_iterations: int = 10_000,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
) -> Homogenized:
    """Effective stiffness of a periodic two-phase composite with isotropic phases.

    Args:
        microstructure: 0 (soft) and 1 (stiff), shape (n, n, n), or (n, n) for plane strain.
        contrast: Young's modulus of the stiff phase, from 1e-8 to 1e8; that of the soft phase
            is 1.
        poisson: Poisson's ratio of both phases, between -1 and 0.5.
        loads: Voigt indices of the load cases from 0, each once; all if None.
        tolerance: largest error of the stiffness, from 1e-12 to 1: of a diagonal component
            relative to itself, of C_IJ relative to sqrt(C_II C_JJ). It is that of the iteration,
            not of the voxels.
        residual: if a number, a load case stops at this relative residual, from 1e-12 to 1,
            whatever its error (the released labels were computed with 1e-4).
        max_iterations: of each load case.
        dtype: precision of the iterations, float32 or float64; if None, single precision where it
            suffices, else double. Results are computed in double precision.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValueError: an argument is out of its range, or the cell needs more than the free memory;
            raised before anything is computed.
        NotConverged: the tolerance was not reached.

    Source: Willot, C. R. Mécanique 343 (2015) 232, DOI 10.1016/j.crme.2014.12.005; bound of the
    error: Meurant & Tichý, Numer. Algorithms 62 (2013) 163, DOI 10.1007/s11075-012-9591-9.
    """
    poisson, rule = _medium(poisson, dtype), _rule(tolerance, residual, max_iterations)
    problem = _problem(microstructure, contrast, loads, rule)
    solver = _solver(len(problem.stiff), problem.stiff.ndim, poisson, dtype, device)
    return solver._solution(problem)

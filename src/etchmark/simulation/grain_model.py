"""Parameters of the grain-growth model, checked once for both of its solvers.

``grain_boxes`` (compiled, for a CPU) and ``grain_tensors`` (torch, for any device) step the same
equation with the same boxes; what they share stands here, below both.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

from etchmark.simulation import checks

MARGIN = 3
"""Cells between a grain's outermost value above the tolerance and the edge of its box."""
PRESENT = 0.5
"""A grain counts while its order parameter exceeds this somewhere."""
WIDENING = 40
"""Steps at the beginning during which boxes are fitted at every other one: the sharp boundaries of
a map of labels widen within them."""


@dataclass(eq=False)
class GrainModel:
    """The equation and its discretisation; the parameters are described at ``GrainGrowth``.

    Raises:
        ValueError: a parameter is out of its range, or ``dt`` is unstable on this grid.
    """

    n: int
    _: KW_ONLY
    spacing: float = 0.5
    gradient_energy: float = 1.0
    mobility: float = 1.0
    gamma: float = 1.5
    dt: float = 0.05
    anisotropy: float = 0.0
    tolerance: float = 1e-4
    rebox: int = 10

    def __post_init__(self) -> None:
        self.n = checks.whole(self.n, "n", 8, 8192)
        self.spacing = checks.number(self.spacing, "spacing", 0.0, math.inf)
        self.gradient_energy = checks.number(self.gradient_energy, "gradient_energy", 0.0, math.inf)
        self.mobility = checks.number(self.mobility, "mobility", 0.0, math.inf)
        self.gamma = checks.number(self.gamma, "gamma", 0.5, math.inf)
        self.dt = checks.number(self.dt, "dt", 0.0, math.inf)
        self.anisotropy = checks.number(self.anisotropy, "anisotropy", 0.0, 0.999, ends=True)
        self.tolerance = checks.number(self.tolerance, "tolerance", 0.0, 0.01, ends=True)
        self.rebox = checks.whole(self.rebox, "rebox", 1)
        limit = longest_step(
            spacing=self.spacing,
            gradient_energy=self.gradient_energy,
            mobility=self.mobility,
            gamma=self.gamma,
            anisotropy=self.anisotropy,
        )
        if self.dt > limit:
            raise ValueError(f"dt {self.dt:g} is unstable on this grid; take at most {limit:.3g}")

    def refits(self, age: int) -> bool:
        """Whether boxes are fitted again before the step number ``age``, counted from 0."""
        return age % (2 if age < WIDENING else self.rebox) == 0


def longest_step(
    *,
    spacing: float,
    gradient_energy: float = 1.0,
    mobility: float = 1.0,
    gamma: float = 1.5,
    anisotropy: float = 0.0,
) -> float:
    """The longest time step that is stable; the arguments are those of ``GrainModel``."""
    # The stencil's largest eigenvalue is 16 / (3 h²); the reaction adds the greater of 2 gamma - 1
    # and 2. An explicit step is stable up to 2 over their sum.
    diffusion = 16 * gradient_energy / 3 / spacing / spacing
    return 2 / (mobility * (1 + anisotropy) * (diffusion + max(2 * gamma - 1, 2.0)))

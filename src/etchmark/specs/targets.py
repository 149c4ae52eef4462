"""What a benchmark declares about its target."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
    model_validator,
)

from etchmark.specs.base import (
    Line,
    Record,
)


class Target(Record):
    column: str
    quantity: Line
    symbol: Line
    unit: Line
    shape: list[Annotated[int, Field(ge=1)] | None] = []
    """Shape of one prediction; empty for a scalar. The first axis of frames is null where its
    length is a split's own: that of its stored targets."""
    first: int | None = Field(default=None, ge=1)
    """Only so many frames of the stored target are asked for."""

    @model_validator(mode="after")
    def _lengths(self) -> Target:
        if None in self.shape[1:]:
            raise ValueError("only the first axis of a target can be null")
        if self.first is not None and (not self.shape or self.shape[0] is not None):
            raise ValueError("first belongs to a target whose first axis is null")
        return self


class Bounds(Record):
    """Stored columns that hold the least and the greatest value physics allows for each sample."""

    title: Line
    lower: str
    upper: str


class FreeEnergy(Record):
    """Total free energy of a frame of composition c, by which its changes are checked.

    sum over pixels of f(c) + kappa/2 |grad c|², with f = sum of a_k c^k, c = scale * value + offset
    and the gradient of the periodic field taken spectrally.
    """

    coefficients: list[float] = Field(min_length=3)
    """a_0, a_1, ..."""
    gradient_energy: float = Field(gt=0)
    """kappa."""
    spacing: float = Field(default=1.0, gt=0)
    scale: float = 1.0
    offset: float = 0.0
    tolerance: float = Field(ge=0)
    """A rise by more than this share of the energy counts: more than rounding makes of it."""


class GrainRule(Record):
    """Grains of a frame: periodic components (by edges) of what is above a value."""

    above: float
    min_pixels: int = Field(ge=1)


class FrameChecks(Record):
    """What predicted frames are held to beside their error."""

    low: float
    """Least and greatest admissible value, for the metric ``out_of_range``."""
    high: float
    energy: FreeEnergy | None = None
    """Needed by ``energy_rises``."""
    grains: GrainRule | None = None
    """Needed by ``grain_count_error`` and ``grain_area_error``."""

    @model_validator(mode="after")
    def _rising(self) -> FrameChecks:
        if not self.low < self.high:
            raise ValueError("low must be less than high")
        return self

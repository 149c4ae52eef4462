"""What a benchmark declares about its target: one record per kind, and the union of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from etchmark.specs.base import Identifier, Line, Record

MAX_ELEMENTS = 1024
"""Of an array; a table of results holds every one of them, for every sample."""


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
    gradient_energy: float | None = Field(default=None, gt=0)
    """kappa, where it is the same for all samples."""
    gradient_energy_column: str | None = None
    """Stored column of the kappa of each sample, where it is not."""
    spacing: float = Field(default=1.0, gt=0)
    scale: float = 1.0
    offset: float = 0.0
    tolerance: float = Field(ge=0)
    """A rise by more than this share of the energy counts: more than rounding makes of it."""

    @model_validator(mode="after")
    def _one_of_two(self) -> FreeEnergy:
        if (self.gradient_energy is None) == (self.gradient_energy_column is None):
            raise ValueError("give either gradient_energy or gradient_energy_column")
        return self

    def of(self, gradient_energy: float) -> FreeEnergy:
        """The free energy of a sample with this gradient energy."""
        return self.model_copy(
            update={"gradient_energy": gradient_energy, "gradient_energy_column": None}
        )


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


class BaseTarget(Record):
    """What every kind of target declares."""

    column: str
    quantity: Line
    symbol: Line
    unit: Line

    needs: ClassVar[dict[str, str]] = {}
    """Metrics that need something declared: its path of fields, by the metric's id."""

    def columns(self) -> list[str]:
        """Stored columns that scoring reads."""
        return [self.column]

    @model_validator(mode="after")
    def _one_role_per_column(self) -> BaseTarget:
        columns = self.columns()
        if "id" in columns:
            raise ValueError("'id' names samples, it is no column of a target")
        if twice := [column for column in columns if columns.count(column) > 1]:
            raise ValueError(f"column {twice[0]!r} has two roles, name another column for one")
        return self

    def in_unit(self) -> dict[str, str]:
        """Stored columns that hold values in the target's unit, by the key that names each."""
        return {"unit": self.column}

    def check_metrics(self, metrics: Sequence[str]) -> None:
        """Refuse metrics that need what is not declared.

        Raises:
            ValueError: there is one.
        """
        for metric, path in self.needs.items():
            value: Any = self
            for name in path.split("."):
                value = None if value is None else getattr(value, name)
            if metric in metrics and value is None:
                raise ValueError(f"the metric {metric} needs target.{path}")


class ScalarTarget(BaseTarget):
    """A number."""

    kind: Literal["scalar"] = "scalar"
    bounds: Bounds | None = None
    """Needed by the metric ``bound_violations``."""

    needs: ClassVar[dict[str, str]] = {"bound_violations": "bounds.lower"}

    def columns(self) -> list[str]:
        bounds = [] if self.bounds is None else [self.bounds.lower, self.bounds.upper]
        return [self.column, *bounds]

    def in_unit(self) -> dict[str, str]:
        if self.bounds is None:
            return super().in_unit()
        limits = {"bounds.lower": self.bounds.lower, "bounds.upper": self.bounds.upper}
        return super().in_unit() | limits


class Orientations(Record):
    """Stored columns that say how the sample of each row is turned."""

    column: str
    """Rotation matrix by which the source was turned, shape (3, 3)."""
    source: str
    """Id of the sample in its original orientation. Rows of one split that have the same source
    are orientations of one sample."""


class ArrayTarget(BaseTarget):
    """Numbers of one shape."""

    kind: Literal["array"] = "array"
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    components: list[Identifier] = []
    """Names of the elements of the flattened array, last axis fastest; each then has an error."""
    rotation: Orientations | None = None
    """Of a stiffness in Voigt notation, shape [6, 6]; needed by ``equivariance_error``."""

    needs: ClassVar[dict[str, str]] = {"equivariance_error": "rotation"}

    def columns(self) -> list[str]:
        rotation = [] if self.rotation is None else [self.rotation.column, self.rotation.source]
        return [self.column, *rotation]

    @model_validator(mode="after")
    def _named(self) -> ArrayTarget:
        size = math.prod(self.shape)
        if size > MAX_ELEMENTS:
            raise ValueError(f"an array has at most {MAX_ELEMENTS:,} elements, not {size:,}")
        if self.components and len(self.components) != size:
            raise ValueError(f"{len(self.components)} components are named, the shape has {size}")
        if len(set(self.components)) != len(self.components):
            raise ValueError("a component is named twice")
        if self.rotation is not None and self.shape != [6, 6]:
            raise ValueError("rotation needs the shape [6, 6] of a stiffness in Voigt notation")
        return self


class FramesTarget(BaseTarget):
    """Frames that follow those that are given, square and periodic."""

    kind: Literal["frames"] = "frames"
    shape: list[Annotated[int, Field(ge=1)] | None] = Field(min_length=3, max_length=3)
    """Frames, height and width; the number of frames is null: it is a split's own, that of its
    stored targets."""
    first: int | None = Field(default=None, ge=1)
    """Only so many frames of the stored target are asked for."""
    context_column: str
    """Frames before the first one asked for; their last one is where changes are counted from."""
    horizon_column: str
    """Input that says how many frames are asked for; never more than ``first``."""
    frames: FrameChecks

    needs: ClassVar[dict[str, str]] = {
        "energy_rises": "frames.energy",
        "grain_count_error": "frames.grains",
        "grain_area_error": "frames.grains",
    }

    @model_validator(mode="after")
    def _lengths(self) -> FramesTarget:
        if self.shape[0] is not None or None in self.shape[1:]:
            raise ValueError("only the first axis of frames is null")
        return self

    def columns(self) -> list[str]:
        own = self.gradient_energy_column()
        return [self.column, self.context_column, self.horizon_column, *([own] if own else [])]

    def gradient_energy_column(self) -> str | None:
        """Column of each sample's own gradient energy, if samples differ in it."""
        return None if self.frames.energy is None else self.frames.energy.gradient_energy_column


class LabelTarget(BaseTarget):
    """A class."""

    kind: Literal["label"] = "label"
    unit: Line = "1"
    classes: list[Identifier] = Field(min_length=2)
    """Their names, as the labels hold them."""
    probabilities: bool = False
    """A prediction is one probability per class, in the order of ``classes``."""

    @model_validator(mode="after")
    def _distinct(self) -> LabelTarget:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        return self

    def check_metrics(self, metrics: Sequence[str]) -> None:
        for metric in ("log_loss", "roc_auc", "calibration_error"):
            if metric in metrics and not self.probabilities:
                raise ValueError(f"the metric {metric} needs target.probabilities: true")


class MaskTarget(BaseTarget):
    """A class per pixel."""

    kind: Literal["mask"] = "mask"
    unit: Line = "1"
    classes: list[Identifier] = Field(min_length=2, max_length=255)
    """Their names; the labels hold their numbers, from 0."""
    particles: Identifier | None = None
    """The class whose connected components are particles; metrics of their sizes need it."""

    needs: ClassVar[dict[str, str]] = {
        "particle_size_ks": "particles",
        "particle_size_wasserstein": "particles",
    }

    @model_validator(mode="after")
    def _distinct(self) -> MaskTarget:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        if self.particles is not None and self.particles not in self.classes:
            raise ValueError(f"particles {self.particles!r} is not among classes")
        return self


class EnsembleTarget(BaseTarget):
    """Images of 0 and 1 that are statistically equivalent to an exemplar.

    ``column`` holds the realisations that they are compared with, images of 255 where a sample has
    fewer than others.
    """

    kind: Literal["ensemble"] = "ensemble"
    unit: Line = "1"
    images: int = Field(ge=2, le=256)
    """Images asked for."""
    exemplar_column: str
    """The image that is to be reconstructed."""
    further_column: str
    """Further realisations, which are public and not compared with."""
    periodic_column: str
    """1 where the images of a sample continue across their edges, else 0."""
    noise_column: str
    """Energy distance of white noise to the realisations, one number per group of descriptors."""
    stiffness_column: str
    """Mean stiffness C1111 and C2222 of the realisations."""
    limit_column: str
    """Overlap with an image of the sample beyond which an image is a copy: whole, and in part."""

    def columns(self) -> list[str]:
        return [
            self.column,
            self.exemplar_column,
            self.further_column,
            self.periodic_column,
            self.noise_column,
            self.stiffness_column,
            self.limit_column,
        ]


def _with_kind(declared: Any) -> Any:
    """A target as benchmarks declared it before kinds had names: by its shape."""
    if not isinstance(declared, dict) or "kind" in declared:
        return declared
    shape = declared.get("shape") or []
    if not shape:
        kind = "scalar"
        declared = {name: value for name, value in declared.items() if name != "shape"}
    else:
        kind = "frames" if shape[0] is None else "array"
    return {**declared, "kind": kind}


Kinds = ScalarTarget | ArrayTarget | FramesTarget | LabelTarget | MaskTarget | EnsembleTarget
"""One entry per kind of target; the module of its name in ``etchmark.targets`` does the rest."""
Target = Annotated[Kinds, Field(discriminator="kind"), BeforeValidator(_with_kind)]
KINDS: tuple[str, ...] = tuple(kind.model_fields["kind"].default for kind in get_args(Kinds))
"""Names of all kinds."""
TARGET_FIELDS = frozenset(name for kind in get_args(Kinds) for name in kind.model_fields)

"""What a submission or a baseline says about itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from etchmark.specs.base import (
    OUTSIDE_ROLES,
    Identifier,
    Line,
    OutsideRole,
    Record,
    Reference,
    Role,
    Url,
)

TrainingData = Literal["none", "declared", "unknown"]


class ModelCard(Record):
    """What a submission says of itself: ``--card`` file, or part of a baseline's card."""

    title: Line | None = None
    description: Annotated[str, Field(max_length=10_000)] = ""
    authors: Annotated[list[Line], Field(max_length=100)] = []
    paper: Reference | None = None
    code: Url | None = None
    licence: Line | None = None
    tags: Annotated[list[Annotated[Line, Field(max_length=40)]], Field(max_length=20)] = []
    training_data: TrainingData = "unknown"
    """Was the model trained on anything beyond the benchmark's training data?"""
    training_data_note: Annotated[str, Field(max_length=2_000)] = ""
    training_sets: Annotated[list[Line], Field(max_length=100)] = []
    """The further training data by name, ``DATASET:CONFIG`` or ``DATASET:CONFIG:SPLIT`` where they
    are of this hub: those are compared with the samples that are scored."""
    bibtex: Annotated[str, Field(max_length=5_000)] = ""

    @model_validator(mode="after")
    def _declared(self) -> ModelCard:
        if self.training_sets and self.training_data != "declared":
            raise ValueError("training_sets are named, so training_data must be declared")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A card that was stored before the key existed is written as it was.
        dumped = handler(self)
        if not self.training_sets:
            dumped.pop("training_sets", None)
        return dumped


class SubmissionCard(ModelCard):
    """A card file, which may also state the role; a record keeps that as its own ``role``."""

    role: OutsideRole | None = None
    """``exploratory``: found by looking at test scores; ``oracle``: makes or reproduces the labels,
    such as a solver; ``entry`` if not given. A benchmark that names the model in its YAML says
    itself what the role is."""

    @field_validator("role", mode="before")
    @classmethod
    def _from_outside(cls, role: Any) -> Any:
        if isinstance(role, str) and role not in OUTSIDE_ROLES:
            raise ValueError(role_fault(role))
        return role

    def without_role(self) -> ModelCard:
        """What the record of a submission keeps as its card."""
        stated = self.model_fields_set & ModelCard.model_fields.keys()
        return ModelCard(**{name: getattr(self, name) for name in stated})


def role_fault(role: str) -> str:
    """Why a submission cannot have a role."""
    known = f"a submission is {', '.join(OUTSIDE_ROLES[:-1])} or {OUTSIDE_ROLES[-1]}"
    if role in get_args(Role):
        return f"{known}, and only the YAML of a benchmark declares a {role}"
    return f"{known}, not {role[:40]!r}"


class BenchmarkUse(Record):
    """In older cards, where a model runs: the track it reads on one benchmark."""

    track: Identifier


TRAINING_CURVE = "training"
"""Name of the curve whose points are the epochs of one training."""


class CurveSpec(Record):
    """Something that a model is run again and again with: ``evaluate --curves`` measures it.

    Either ``shares`` of the training (and validation) samples, scored on the headline split, or
    ``values`` of one of the model's parameters, scored on validation samples or inner folds.
    """

    title: Line
    axis: Line
    shares: list[Annotated[float, Field(gt=0, le=1)]] = []
    draws: int = Field(default=3, ge=1, le=100)
    """How many draws of samples a share below 1 is the mean of; the same ones for every model."""
    param: Identifier | None = None
    values: list[int | float] = []

    @model_validator(mode="after")
    def _either(self) -> CurveSpec:
        if bool(self.shares) == bool(self.values):
            raise ValueError("a curve has either shares or values")
        if (self.param is None) == bool(self.values):
            raise ValueError("a curve with values names their param; one with shares has no param")
        points = self.shares or self.values
        if sorted(set(points)) != points:
            raise ValueError("the points of a curve must be in rising order, without repeats")
        return self


class Variant(Record):
    title: Line
    params: dict[str, Any] = {}
    description: str = ""
    tags: list[Line] = []
    benchmarks: dict[Identifier, BenchmarkUse] | None = None
    """In older cards: overrides the card's ``benchmarks`` for this variant."""
    curves: list[Identifier] = []
    """Those of the card's curves that are measured with this variant."""


class BaselineCard(SubmissionCard):
    """``baselines/<name>/card.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    name: Identifier
    takes_weights: bool = False
    """It runs a pretrained encoder: ``--weights FILE`` is handed to ``build`` as ``weights_file``,
    and its process knows where the folder of weights and the feature store are."""
    curves: dict[Identifier, CurveSpec] = {}
    variants: dict[Identifier, Variant] = {}
    benchmarks: dict[Identifier, BenchmarkUse] = {}
    """In older cards, where it runs; benchmarks name their baselines now."""

    @model_validator(mode="after")
    def _curves_exist(self) -> BaselineCard:
        if TRAINING_CURVE in self.curves:
            raise ValueError(f"curves: {TRAINING_CURVE!r} names what a training tells; rename it")
        for name, variant in self.variants.items():
            for curve in variant.curves:
                if curve not in self.curves:
                    raise ValueError(f"variant {name!r} names the unknown curve {curve!r}")
        return self

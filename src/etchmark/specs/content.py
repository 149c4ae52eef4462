"""What datasets and benchmarks declare."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from etchmark.specs.base import (
    LARGEST,
    OUTSIDE_ROLES,
    BaselineName,
    Identifier,
    Line,
    Record,
    Role,
    Sha256,
    SplitName,
)
from etchmark.specs.references import (
    DEFAULT_SHARE,
    BaselineUse,
    Citation,
    DiscretisationError,
    RankLimit,
    ReferenceLine,
    SmallestDifference,
)
from etchmark.specs.targets import TARGET_FIELDS, Target


class Picture(Record):
    """A picture of samples that stands in the folder of a dataset."""

    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.(png|gif)$")]
    caption: Line
    configs: list[Identifier] = Field(min_length=1)
    """What it shows."""


def _flat(value: Any) -> Any:
    """A list whose entries may be lists themselves, as YAML's anchors put them together."""
    if not isinstance(value, list):
        return value
    return [name for part in value for name in (_flat(part) if isinstance(part, list) else [part])]


class DatasetConfig(Record):
    """One configuration of a dataset: one table, one schema."""

    title: Line
    description: str
    splits: list[SplitName] = Field(min_length=1)
    network: bool = False
    """True if building it needs files that must be downloaded first."""
    own_use: bool = False
    """True if its sources grant no licence: whoever builds it does not hand it on."""
    rows: int = Field(gt=0)
    build_seconds: float | None = Field(default=None, gt=0)  # of a processor, measured
    columns: Annotated[list[str], BeforeValidator(_flat)] = []
    """Every stored column, so that what benchmarks read is known before anything is built; where
    none is named, benchmarks are held to the columns of the built data instead."""

    @field_validator("columns")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if twice := [name for name in value if value.count(name) > 1]:
            raise ValueError(f"column {twice[0]!r} is named twice")
        if value and "id" not in value:
            raise ValueError("the column 'id' is missing")
        return value


class DatasetSpec(Record):
    """``datasets/<name>/dataset.yaml``: what ``build.py`` makes."""

    schema_: Literal[1] = Field(alias="schema")
    name: Identifier
    version: int = Field(ge=1, le=LARGEST)
    title: Line
    summary: str
    licence: Line
    citations: list[Citation] = []
    configs: dict[Identifier, DatasetConfig] = Field(min_length=1)
    default_config: Identifier
    label_columns: list[str] = Field(min_length=1)
    """Columns kept in the frozen release of the configs that have them, to tell how far a rebuild
    that differs is off."""
    units: dict[Line, list[str]] = {}
    """Columns of numbers by their unit; one that is not named has none."""
    pictures: list[Picture] = []
    parameters: dict[str, Any] = {}
    """Generator parameters and seeds, handed to ``build.py`` and kept in the manifest."""

    @model_validator(mode="after")
    def _default_exists(self) -> DatasetSpec:
        if self.default_config not in self.configs:
            raise ValueError(f"default_config {self.default_config!r} is not among configs")
        columns = [column for named in self.units.values() for column in named]
        if twice := [column for column in columns if columns.count(column) > 1]:
            raise ValueError(f"units: column {twice[0]!r} is named twice")
        known = {name for config in self.configs.values() for name in config.columns}
        if all(config.columns for config in self.configs.values()):
            for where, names in (("label_columns", self.label_columns), ("units", columns)):
                if strange := [name for name in names if name not in known]:
                    raise ValueError(f"{where}: no config has a column {strange[0]!r}")
        for picture in self.pictures:
            if unknown := [name for name in picture.configs if name not in self.configs]:
                raise ValueError(f"{picture.file} shows {unknown[0]!r}, which is not among configs")
        return self

    def unit_of(self, column: str) -> str | None:
        """The unit of a column; None if it has none."""
        return next((unit for unit, columns in self.units.items() if column in columns), None)

    def picture_of(self, config: str) -> Picture | None:
        """The first picture of a config."""
        return next((one for one in self.pictures if config in one.configs), None)


class Track(Record):
    """A named set of inputs: an explicit allow-list of stored columns of one config."""

    title: Line
    config: Identifier
    inputs: list[str] = Field(min_length=1)
    description: str = ""
    fingerprint: Sha256
    """Fingerprint of the config this track reads; a rebuild that differs is not scored."""


class Protocol(Record):
    """How the data are divided: fixed splits, or folds frozen in a column."""

    title: Line
    kind: Literal["holdout", "folds"]
    description: str
    split: Identifier
    """Headline split: the test split of a holdout, the split that holds all folds otherwise."""
    train_split: Identifier | None = None
    validation_split: Identifier | None = None
    fold_column: str | None = None
    group_column: str | None = None
    """Groups handed to the model for choices made inside the training data."""
    extra_splits: list[Identifier] = []
    fold_statistics: bool = False
    """Report the mean and standard deviation over folds beside the pooled score."""

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if self.kind == "folds":
            if self.fold_column is None:
                raise ValueError("a protocol of kind folds needs fold_column")
            if self.train_split or self.validation_split or self.extra_splits:
                raise ValueError("a protocol of kind folds has one split only")
        else:
            if self.train_split is None:
                raise ValueError("a protocol of kind holdout needs train_split")
            if self.fold_column is not None or self.fold_statistics:
                raise ValueError("fold_column and fold_statistics belong to kind folds")
        splits = [self.train_split, self.validation_split, self.split, *self.extra_splits]
        named = [split for split in splits if split is not None]
        if len(set(named)) != len(named):
            raise ValueError(
                "train_split, validation_split, split and extra_splits name a split twice"
            )
        return self


class Subset(Record):
    """Scored samples picked by one stored column; all conditions that are given must hold."""

    title: Line
    column: str
    above: float | None = None
    below: float | None = None
    equals: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Subset:
        numeric = self.above is not None or self.below is not None
        if numeric == (self.equals is not None):
            raise ValueError("a subset has either above and/or below, or equals")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError("the value of above must be less than that of below")
        return self


class BenchmarkSpec(Record):
    """``benchmarks/<id>.yaml``: everything that identifies what is measured."""

    schema_: Literal[1] = Field(alias="schema")
    id: Identifier
    version: int = Field(ge=1, le=LARGEST)
    title: Line
    summary: str
    description: str
    dataset: Identifier
    tracks: dict[Identifier, Track] = Field(min_length=1)
    target: Target
    target_fingerprint: Sha256
    unit_column: str = "id"
    """Column of the independent unit (sample, paper, trajectory) that the bootstrap resamples."""
    unit_name: Line = "sample"
    protocols: dict[Identifier, Protocol] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    primary_metric: str
    subsets: dict[Identifier, Subset] = {}
    discretisation_error: DiscretisationError | None = None
    reference_lines: list[ReferenceLine] = []
    baselines: dict[BaselineName, BaselineUse] = {}
    """What runs on it: a baseline with all of its variants, or ``<baseline>/<variant>``, which
    counts before the baseline as a whole."""
    smallest_difference: SmallestDifference | None = None
    """Of other metrics than the primary one, and where nothing is declared, 1 % of the score."""
    rank_limits: list[RankLimit] = []
    """Rows beyond one of them on any split are listed apart, with the reason."""
    gains_over: BaselineName | None = None
    """The one reference over which gains are stated, chosen before any score was seen."""
    changes: dict[Annotated[int, Field(ge=2)], str] = {}
    """What each version after the first changed, and why."""
    licence: Line
    citations: list[Citation] = []

    def smallest_difference_of(self, metric: str, score: float) -> float:
        """The smallest difference from a score that matters, in the metric's unit.

        Args:
            metric: a metric of the benchmark.
            score: the better of the scores that are compared.
        """
        declared = self.smallest_difference if metric == self.primary_metric else None
        if declared is not None and declared.value is not None:
            return declared.value
        share = None if declared is None else declared.share
        return (DEFAULT_SHARE if share is None else share) * abs(score)

    @model_validator(mode="after")
    def _changes(self) -> BenchmarkSpec:
        expected = set(range(2, self.version + 1))
        if self.changes and set(self.changes) != expected:
            raise ValueError(f"changes must say what each version from 2 to {self.version} changed")
        return self

    @model_validator(mode="after")
    def _reference(self) -> BenchmarkSpec:
        name = self.gains_over
        if name is not None and (self.use_of(name) is None or self.role_of(name) != "reference"):
            raise ValueError(
                f"gains_over names {name!r}, which is not a baseline of role reference"
            )
        return self

    def use_of(self, model: str) -> BaselineUse | None:
        """How a model, ``<baseline>[/<variant>]``, runs on it; None if it does not."""
        if model in self.baselines:
            return self.baselines[model]
        baseline, _, variant = model.partition("/")
        use = self.baselines.get(baseline)
        return None if use is None or variant in use.without else use

    def declared_role(self, model: str) -> Role | None:
        """The role declared beside a baseline; None of a model that is none.

        The role is that of the name, whatever the track: an oracle stays one on every track, and a
        variant that the benchmark leaves out has the role of its baseline.
        """
        use = self.baselines.get(model) or self.baselines.get(model.partition("/")[0])
        return None if use is None else use.role

    def role_of(self, model: str, stated: Role | None = None) -> Role:
        """What a model is on the board: what is declared, else what is stated, else an entry.

        Args:
            model: ``<baseline>[/<variant>]``, or the name of a submission.
            stated: what its submitter or its record says. Nobody but the benchmark makes a row a
                reference or a control.
        """
        declared = self.declared_role(model)
        if declared is not None:
            return declared
        return "entry" if stated is None or stated not in OUTSIDE_ROLES else stated

    @model_validator(mode="after")
    def _baselines(self) -> BenchmarkSpec:
        for name, use in self.baselines.items():
            if use.track not in self.tracks:
                raise ValueError(f"baseline {name!r} names the unknown track {use.track!r}")
            if use.without and "/" in name:
                raise ValueError(f"baseline {name!r} is a single variant; remove its without")
        return self

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, declared: Any) -> Any:
        """What belongs to the target stood beside it before kinds of targets had names."""
        if not isinstance(declared, dict) or not isinstance(declared.get("target"), dict):
            return declared
        moved = TARGET_FIELDS.difference(cls.model_fields)
        beside = {name: declared[name] for name in moved if declared.get(name) is not None}
        kept = {name: value for name, value in declared.items() if name not in moved}
        return {**kept, "target": {**declared["target"], **beside}}

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, declared: Any) -> Any:
        """``discretisation_error`` was called ``label_uncertainty``."""
        if not isinstance(declared, dict) or "label_uncertainty" not in declared:
            return declared
        if "discretisation_error" in declared:
            raise ValueError(
                "label_uncertainty is the former name of discretisation_error; remove one of them"
            )
        renamed = {"label_uncertainty": "discretisation_error"}
        return {renamed.get(name, name): value for name, value in declared.items()}

    @property
    def label_uncertainty(self) -> DiscretisationError | None:
        """The former name of ``discretisation_error``."""
        return self.discretisation_error

    @model_validator(mode="after")
    def _consistent(self) -> BenchmarkSpec:
        if self.primary_metric not in self.metrics:
            raise ValueError(f"primary_metric {self.primary_metric!r} is not among metrics")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("metrics are named twice")
        for name, track in self.tracks.items():
            if len(set(track.inputs)) != len(track.inputs):
                raise ValueError(f"track {name!r} names an input twice")
            if self.target.column in track.inputs:
                raise ValueError(f"track {name!r} hands out the target {self.target.column!r}")
            if "id" in track.inputs:
                raise ValueError(f"track {name!r} names 'id', which is not an input")
        return self

    @model_validator(mode="after")
    def _roles(self) -> BenchmarkSpec:
        """Columns that divide samples are neither labels nor, where they are folds, inputs."""
        divided_by = {"unit_column": self.unit_column}
        for name, protocol in self.protocols.items():
            for key in ("fold_column", "group_column"):
                if column := getattr(protocol, key):
                    divided_by[f"protocols.{name}.{key}"] = column
        for key, column in divided_by.items():
            if column == self.target.column:
                raise ValueError(f"{key} is the target {column!r}, name another column")
            if not key.endswith("fold_column"):
                continue
            if column == self.unit_column:
                raise ValueError(
                    f"unit_column is {column!r}, which is {key}: a fold is no independent unit,"
                    " name the column of papers, trajectories or samples"
                )
            if column == "id":
                raise ValueError(f"{key} is 'id', name a column of fold numbers")
            for track, declared in self.tracks.items():
                if column in declared.inputs:
                    raise ValueError(f"track {track!r} hands out {column!r}, which is {key}")
        return self

    @model_validator(mode="after")
    def _checks(self) -> BenchmarkSpec:
        self.target.check_metrics(self.metrics)
        error = self.discretisation_error
        if error is not None and error.metric is not None and error.metric not in self.metrics:
            raise ValueError("discretisation_error is of a metric that is not among metrics")
        for limit in self.rank_limits:
            if limit.metric not in self.metrics:
                raise ValueError(f"rank_limits name {limit.metric!r}, which is not among metrics")
        for line in self.reference_lines:
            if line.benchmark in {None, self.id} and line.track not in {None, *self.tracks}:
                raise ValueError(
                    f"reference line {line.label!r} names the unknown track {line.track!r}"
                )
        return self

    @property
    def key(self) -> str:
        """``id@version``."""
        return f"{self.id}@{self.version}"

    @property
    def unit_names(self) -> str:
        """``unit_name`` of several."""
        name = self.unit_name
        return f"{name[:-1]}ies" if re.search("[^aeiou]y$", name) else f"{name}s"

    @property
    def headline(self) -> str:
        """Name of the headline protocol: the first."""
        return next(iter(self.protocols))

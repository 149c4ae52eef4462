"""Typed records: what datasets, benchmarks and baselines declare, and what a run leaves behind.

Every key of every YAML card and JSON record is documented here and nowhere else; unknown keys
are refused, so that a misspelt key is an error and not a silent default.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

ID_PATTERN = r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

Identifier = Annotated[str, Field(pattern=ID_PATTERN, max_length=64)]
SplitName = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:_[a-z0-9]+)*$", max_length=64)]
"""Hugging Face ``datasets`` takes no hyphen in the name of a split."""
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s<>\"']+$", max_length=500)]
Doi = Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$", max_length=200)]


def _reference(value: str) -> str:
    if not re.fullmatch(r"10\.\d{4,9}/\S+|https?://[^\s<>\"']+", value):
        raise ValueError("is neither a DOI (10.…/…) nor an http(s) link")
    return value


Reference = Annotated[str, Field(max_length=500), AfterValidator(_reference)]


def _single_line(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value) or value != value.strip() or not value:
        raise ValueError("must be one non-empty line without control characters or outer blanks")
    return value


Line = Annotated[str, Field(max_length=200), AfterValidator(_single_line)]


ModelName = Annotated[Line, Field(max_length=100)]


LARGEST = 2**63 - 1
"""The largest whole number that a registry and a board can hold."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- what content declares ---------------------------------------------------------------------


class Citation(Record):
    """A paper: a short title and, where it has one, its DOI."""

    title: Line
    doi: Doi | None = None
    url: Url | None = None


class Picture(Record):
    """A picture of samples that stands in the folder of a dataset."""

    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.(png|gif)$")]
    caption: Line
    configs: list[Identifier] = Field(min_length=1)
    """What it shows."""


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


class DatasetSpec(Record):
    """``datasets/<name>/dataset.yaml``: what ``build.py`` makes."""

    schema_: Literal[1] = Field(alias="schema")
    name: Identifier
    version: int = Field(ge=1)
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
        return self


class Bounds(Record):
    """Stored columns that hold the least and the greatest value physics allows for each sample."""

    title: Line
    lower: str
    upper: str


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
            raise ValueError("a subset lies above a value that is less than the one below")
        return self


class LabelUncertainty(Record):
    """Error of the labels themselves: differences within it have no physical meaning."""

    metric: str
    value: float = Field(gt=0)
    """In the metric's unit."""
    split: Identifier | None = None
    """The split whose labels it was measured on; all of them if not given."""
    description: str
    source_file: str | None = None
    """Where the value comes from, a path within the repository."""

    def holds_for(self, metric: str, split: str) -> bool:
        return metric == self.metric and split == (self.split or split)


class ReferenceLine(Record):
    """A line drawn on every plot of a benchmark: a baseline by name, or a value with its source.

    ``protocol``, ``split`` and ``metric`` say where it is drawn; everywhere if they are not given.
    """

    label: Line
    model: str | None = None
    """A baseline; only what this hub ran or reviewed under that name counts."""
    track: Identifier | None = None
    """Track on which the model stands; the one that the baseline's card names if not given."""
    best: bool = False
    """The best ranked submission of another benchmark: a limit set by what can be seen there."""
    benchmark: Identifier | None = None
    """Benchmark on which the model stands; this one if not given."""
    metric: str | None = None
    value: float | None = None
    protocol: Identifier | None = None
    split: Identifier | None = None
    source: Citation | None = None
    note: Line | None = None
    """What must be known to read it, such as other samples: quoted, not ranked."""

    @model_validator(mode="after")
    def _either(self) -> ReferenceLine:
        if (self.model is not None) + (self.value is not None) + self.best != 1:
            raise ValueError("a reference line has either model or value (or best: true)")
        if self.value is not None and (self.source is None or self.metric is None):
            raise ValueError("a reference value needs its metric and source")
        if self.value is not None and self.benchmark is not None:
            raise ValueError("a reference value belongs to no other benchmark; use note")
        if self.best and self.benchmark is None:
            raise ValueError("best needs the benchmark that it is best on")
        if self.track is not None and self.value is not None:
            raise ValueError("a reference value has no track; use note")
        return self


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


class BenchmarkSpec(Record):
    """``benchmarks/<id>.yaml``: everything that identifies what is measured."""

    schema_: Literal[1] = Field(alias="schema")
    id: Identifier
    version: int = Field(ge=1)
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
    bounds: Bounds | None = None
    """Needed by the metric ``bound_violations``; scalar targets only."""
    frames: FrameChecks | None = None
    """Needed by the metrics of frames; targets of shape (frames, n, n) only."""
    context_column: str | None = None
    """Frames before the first one asked for; their last one is where changes are counted from."""
    horizon_column: str | None = None
    """Input that says how many frames are asked for; never more than the target's ``first``."""
    subsets: dict[Identifier, Subset] = {}
    label_uncertainty: LabelUncertainty | None = None
    reference_lines: list[ReferenceLine] = []
    licence: Line
    citations: list[Citation] = []

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
                raise ValueError(f"track {name!r} names 'id', which is no input")
        return self

    @model_validator(mode="after")
    def _checks(self) -> BenchmarkSpec:
        if "bound_violations" in self.metrics and self.bounds is None:
            raise ValueError("the metric bound_violations needs bounds")
        if self.bounds is not None and self.target.shape:
            raise ValueError("bounds belong to scalar targets")
        if self.frames is not None and len(self.target.shape) != 3:
            raise ValueError("frames belong to targets of shape (frames, n, n)")
        if len({self.frames is None, self.context_column is None, self.horizon_column is None}) > 1:
            raise ValueError("frames, context_column and horizon_column are given together")
        if (self.target.shape[:1] == [None]) != (self.frames is not None):
            raise ValueError("a target whose first axis is null has frames, and no other has")
        if self.label_uncertainty and self.label_uncertainty.metric not in self.metrics:
            raise ValueError("label_uncertainty is of a metric that is not among metrics")
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
    bibtex: Annotated[str, Field(max_length=5_000)] = ""


class BenchmarkUse(Record):
    """Where a variant runs: the track it reads on one benchmark."""

    track: Identifier


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
            raise ValueError("values of a curve are those of its param; shares have none")
        points = self.shares or self.values
        if sorted(set(points)) != points:
            raise ValueError("the points of a curve are given in rising order, each once")
        return self


class Variant(Record):
    title: Line
    params: dict[str, Any] = {}
    description: str = ""
    tags: list[Line] = []
    benchmarks: dict[Identifier, BenchmarkUse] | None = None
    """Overrides the card's ``benchmarks`` for this variant."""
    curves: list[Identifier] = []
    """Those of the card's curves that are measured with this variant."""


class BaselineCard(ModelCard):
    """``baselines/<name>/card.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    name: Identifier
    takes_weights: bool = False
    """It runs a pretrained encoder: ``--weights FILE`` is handed to ``build`` as ``weights_file``,
    and its process knows where the folder of weights and the feature store are."""
    curves: dict[Identifier, CurveSpec] = {}
    variants: dict[Identifier, Variant] = {}
    benchmarks: dict[Identifier, BenchmarkUse] = Field(min_length=1)

    @model_validator(mode="after")
    def _curves_exist(self) -> BaselineCard:
        for name, variant in self.variants.items():
            for curve in variant.curves:
                if curve not in self.curves:
                    raise ValueError(f"variant {name!r} names a curve {curve!r} that is not there")
        return self


# --- what a build leaves behind ----------------------------------------------------------------


class DataFile(Record):
    path: str
    split: Identifier
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: Sha256

    @field_validator("path")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*", value):
            raise ValueError(f"not a plain relative path: {value!r}")
        return value


class Manifest(Record):
    """``manifest.json`` beside the shards of one config."""

    schema_: Literal[1] = Field(alias="schema")
    name: Identifier
    config: Identifier
    version: int
    parameters: dict[str, Any]
    built_with: dict[str, str]
    files: list[DataFile] = Field(min_length=1)
    fingerprint: Sha256
    """Identity of the content on any machine (floats quantised; see ``data.packaging``)."""


# --- what a run leaves behind ------------------------------------------------------------------


class Cost(Record):
    """What a run took; unknown parts are null.

    ``feature_seconds`` is what computing the frozen features of all samples took, whenever that
    was; ``fit_seconds`` is without it, ``predict_seconds`` with the part of the predicted samples.
    ``seconds_each`` is the time of prediction of one sample, or of one frame where frames are
    predicted; ``flops`` are the floating-point operations of the same, as the model counts them.
    """

    fit_seconds: float | None = Field(default=None, ge=0)
    predict_seconds: float | None = Field(default=None, ge=0)
    peak_memory_bytes: Count | None = None
    parameters: Count | None = None
    hardware: str | None = None
    feature_seconds: float | None = Field(default=None, ge=0)
    seconds_each: float | None = Field(default=None, ge=0)
    flops: float | None = Field(default=None, ge=0)


class Environment(Record):
    etchmark: str
    python: str
    platform: str
    packages: dict[str, str]
    git_commit: str | None = None
    """Commit of the checkout that ran; ``-dirty`` is appended if tracked files were changed."""


class MetricScore(Record):
    """A score with its 95 % interval and, where they exist, its spread over seeds and folds."""

    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    seed_sd: float | None = None
    fold_mean: float | None = None
    fold_sd: float | None = None


class FoldScore(Record):
    fold: int
    n: Count
    values: dict[str, float | None]


class SubsetScore(Record):
    """Scores of the samples of one declared subset of a split."""

    subset: Identifier
    n: Count
    units: Count
    metrics: dict[str, MetricScore]
    """Without those that are undefined for so few samples."""


class SplitScore(Record):
    split: Identifier
    n: Count
    units: Count
    seeds: Count
    metrics: dict[str, MetricScore]
    folds: list[FoldScore] = []
    subsets: list[SubsetScore] = []

    def subset_of(self, name: str) -> SubsetScore | None:
        return next((score for score in self.subsets if score.subset == name), None)


class CurvePoint(Record):
    """One point of a curve: the model run anew with one thing changed."""

    value: float
    """Share of the training samples, or value of the parameter."""
    samples: int = Field(ge=0)
    """Training samples; over folds the mean, rounded."""
    score: MetricScore | None = None
    """Over several draws the mean, without an interval."""
    draws: list[float] = []
    """The score of each draw of training samples, where there are several."""
    reason: str | None = None
    """Why there is no score."""

    @model_validator(mode="after")
    def _either(self) -> CurvePoint:
        if (self.score is None) == (self.reason is None):
            raise ValueError("a point has either a score or a reason why not")
        return self


class Curve(Record):
    """How a model's score changes with one thing, all else as in its submission."""

    name: Identifier
    title: Line
    axis: Line
    param: Identifier | None = None
    """The parameter that changes; training samples if not given."""
    split: Identifier
    """The split of the samples that are scored: the headline one where samples change."""
    scored_on: Literal["validation", "inner folds"] | None = None
    """Where the values of a parameter are scored, so that choosing among them uses no test score;
    absent where samples change, and in older records, which scored them on the headline split."""
    metric: str
    points: list[CurvePoint]

    @property
    def on_test_scores(self) -> bool:
        """Whether values of a parameter were scored on the test samples: it is shown nowhere."""
        return self.param is not None and self.scored_on is None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A record that was stored before the key existed is written as it was.
        dumped = handler(self)
        if self.scored_on is None:
            dumped.pop("scored_on", None)
        return dumped


class Fingerprints(Record):
    data: Sha256
    target: Sha256
    predictions: list[Sha256] = []


Status = Literal["reported", "scored", "run", "verified"]


class Claims(Record):
    """What a submission says of itself and this hub did not measure: shown as claims only."""

    params: dict[str, Any] = {}
    made_with: dict[str, str] = {}
    cost: Cost = Cost()
    environment: Environment | None = None
    curves: list[Curve] = []


class ResultRecord(Record):
    """One submission: who, on what, with which scores, at what cost."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    submission: Sha256
    benchmark: Identifier
    benchmark_version: int
    track: Identifier
    protocol: Identifier
    name: ModelName
    card: ModelCard
    params: dict[str, Any] = {}
    made_with: dict[str, str] = {}
    """What the model says it used beside its code and the data: weights with their SHA-256."""
    status: Status
    outcome: Literal["ok", "failed"]
    reason: str | None = None
    """Why it failed."""
    fingerprints: Fingerprints
    scores: list[SplitScore] = []
    curves: list[Curve] = []
    cost: Cost = Cost()
    environment: Environment | None = None
    claims: Claims | None = None
    """What the submitter states beside the predictions; absent if nothing is claimed."""
    created: datetime
    """UTC; of a submission from outside, when this hub accepted it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    @model_validator(mode="after")
    def _consistent(self) -> ResultRecord:
        if self.created.utcoffset() is None or self.created.utcoffset().total_seconds() != 0:  # type: ignore[union-attr]
            raise ValueError("created must be UTC")
        if self.outcome == "ok" and (not self.scores or not self.fingerprints.predictions):
            raise ValueError("a record of outcome ok has scores and prediction hashes")
        if self.outcome == "failed" and (self.scores or not self.reason):
            raise ValueError("a failed record has a reason and no scores")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_claims(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Records from before there were claims keep their bytes.
        dumped = serialize(self)
        if dumped.get("claims", ...) is None:
            del dumped["claims"]
        return dumped

    def score_of(self, split: str) -> SplitScore | None:
        return next((score for score in self.scores if score.split == split), None)

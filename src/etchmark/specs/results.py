"""What a run leaves behind: the result record and its parts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from etchmark.specs.base import (
    Count,
    Identifier,
    Line,
    LongLine,
    ModelName,
    Record,
    Role,
    Sha256,
)
from etchmark.specs.cards import (
    ModelCard,
)
from etchmark.specs.costs import Cost


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

    @model_validator(mode="after")
    def _interval(self) -> MetricScore:
        low, high = self.ci_low, self.ci_high
        if (low is None) != (high is None):
            raise ValueError("an interval has both ci_low and ci_high, or neither")
        if low is not None and high is not None and low > high:
            raise ValueError(f"ci_low {low:.6g} is above ci_high {high:.6g}")
        return self


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
    """One point of a curve: the model run again with one thing changed, or a training's epoch."""

    value: float
    """Share of the training samples, value of the parameter, or processor seconds of training."""
    samples: int = Field(ge=0)
    """Training samples; over folds the mean, rounded."""
    score: MetricScore | None = None
    """Over several draws the mean, without an interval."""
    draws: list[float] = []
    """The score of each draw of training samples, or of each seed, where there are several."""
    reason: str | None = None
    """Why there is no score."""

    @model_validator(mode="after")
    def _either(self) -> CurvePoint:
        if (self.score is None) == (self.reason is None):
            raise ValueError("a point has either a score or a reason why not")
        return self


class Curve(Record):
    """How a model's score changes with one thing, all else as in its submission.

    The curve named ``training`` is another: the error on validation samples as a training goes on.
    """

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

HUB_RAN: tuple[Status, ...] = ("run", "verified")
"""Statuses of which this hub ran the model and measured the cost itself."""

IntervalMethod = Literal["percentile-bootstrap-2000", "jackknife-t"]
"""Known ways to compute an interval; ``scoring.intervals.METHODS`` computes each of them."""


class Claims(Record):
    """What a submission says of itself and this hub did not measure: shown as claims only."""

    params: dict[str, Any] = {}
    made_with: dict[str, str] = {}
    cost: Cost = Cost()
    environment: Environment | None = None
    curves: list[Curve] = []


class Artefact(Record):
    """The fitted models of a run, kept in the hub folder: SHA-256 of their manifest, total size."""

    sha256: Sha256
    bytes: Count


SINCE_2 = ("role", "flags", "interval_method", "artefact")
"""Keys that a record of schema 1 does not know."""
ABSENT_IF_UNKNOWN = ("claims", *SINCE_2)
"""Keys that are left out of the JSON of a record that has no value for them."""
MAX_FLAGS = 100


class ResultRecord(Record):
    """One submission: who, on what, with which scores, at what cost.

    Schema 2 grows by optional keys only. Records of schema 1 are read for ever and keep their
    bytes; what they do not say is None, which means unknown.
    """

    schema_: Literal[1, 2] = Field(default=2, alias="schema")
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
    role: Role | None = None
    """What the model was when it was scored: as the benchmark declares, else as the submitter
    stated; absent if that is unknown. On a board the benchmark's present word counts first."""
    flags: Annotated[list[LongLine], Field(max_length=MAX_FLAGS)] | None = None
    """Doubts that this hub found, ``<kind>: <sentence>``; empty if it looked and found none, absent
    if it did not look."""
    interval_method: IntervalMethod | None = None
    """How the intervals of the scores were computed; absent if there are none, or if the record was
    made before records named it."""
    artefact: Artefact | None = None
    """The fitted model, where it was kept."""
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
        later = [key for key in SINCE_2 if getattr(self, key) is not None]
        if self.schema_ == 1 and later:
            raise ValueError(f"a record of schema 1 has no {later[0]}; it is of schema 2")
        return self

    @model_serializer(mode="wrap")
    def _without_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Records from before a key existed keep their bytes.
        dumped = serialize(self)
        for key in ABSENT_IF_UNKNOWN:
            if dumped.get(key, ...) is None:
                del dumped[key]
        return dumped

    def score_of(self, split: str) -> SplitScore | None:
        return next((score for score in self.scores if score.split == split), None)

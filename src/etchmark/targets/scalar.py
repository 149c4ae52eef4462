"""Targets of one number per sample, such as a stiffness or a hardness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etchmark import predictions
from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.targets.base import Job, Outcome, TargetKind, Trivial
from etchmark.targets.cells import NUMBER, CellRule
from etchmark.targets.definitions import Metric
from etchmark.targets.evidence import evidence_of
from etchmark.targets.labels import stored_numbers
from etchmark.targets.losses import Array, Sums, term_loss
from etchmark.targets.scales import LOGIT_PERCENT
from etchmark.targets.values import VALUE_METRICS, VALUE_TERMS, value_terms

BOUND_TOLERANCE = 1e-6
"""Relative; a prediction that touches a bound does not violate it by rounding."""
OUTSIDE = "outside"
"""Column of the per-sample table: whether the prediction lies outside the sample's bounds."""


def _bound_violations(s: Sums) -> Array:
    return 100.0 * s["sum_outside"] / s["n"]


def outside(prediction: Array, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """True for each prediction beyond its bounds; shapes (..., samples), (samples,), (samples,)."""
    below = prediction < lower - BOUND_TOLERANCE * np.abs(lower)
    above = prediction > upper + BOUND_TOLERANCE * np.abs(upper)
    return below | above


def read_bounds(columns: Columns, target: Any, benchmark: str) -> tuple[Array, Array] | None:
    """Lower and upper bound of each sample, shape (samples,); None if none are declared.

    Raises:
        UserError: a bound is missing, or the lower one is above the upper one.
    """
    if target.bounds is None:
        return None
    names = (target.bounds.lower, target.bounds.upper)
    lower, upper = (stored_numbers(columns, name, benchmark) for name in names)
    # False for what is not a number: a missing bound must not pass for one that is kept.
    if not (lower <= upper).all():
        raise UserError(
            f"{benchmark}: in {int((~(lower <= upper)).sum())} samples {names[0]!r} is above"
            f" {names[1]!r} or missing; fix the dataset or the benchmark's bounds"
        )
    return lower, upper


def mean_label(job: Job) -> Array:
    """Mean of the labels that a model of each sample may learn from; shape (samples, ...)."""
    labels = job.truth.values
    means = np.empty(labels.shape)
    for samples, learnt in job.training():
        means[samples] = np.asarray(learnt).mean(axis=0, dtype=np.float64)
    return means


def mean_prediction(job: Job) -> Trivial:
    """Terms of the mean training label, predicted for every sample."""
    labels = job.truth.values.astype(np.float64)
    terms = value_terms(labels, mean_label(job)[None])
    what = "predicting the mean training label for every sample"
    return Trivial({name: values[0] for name, values in terms.items()}, what)


class ScalarKind(TargetKind):
    name = "scalar"
    metrics = (
        *VALUE_METRICS,
        Metric(
            "bound_violations",
            "Predictions outside the physical bounds",
            "%",
            False,
            _bound_violations,
            "share of samples predicted outside [lower, upper], by more than 1e-6 of the bound",
            ("sum_outside", "n"),
            scale=LOGIT_PERCENT,
            loss=term_loss("sum_outside"),
        ),
    )
    sample_metric = "rmse"
    stores_terms = False

    def term_names(self, target: Any) -> tuple[str, ...]:
        return VALUE_TERMS

    def facts(self, target: Any) -> list[tuple[str, str]]:
        bounds = target.bounds
        return (
            []
            if bounds is None
            else [("bounds ", f"{bounds.lower} to {bounds.upper}: {bounds.title}")]
        )

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        names = ["column"] if target.bounds is None else ["column", "bounds.lower", "bounds.upper"]
        return dict.fromkeys(names, NUMBER)

    def check_stored(self, columns: Columns, target: Any, benchmark: str, *, scored: bool) -> None:
        if scored:
            read_bounds(columns, target, benchmark)

    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> predictions.Predictions:
        return predictions.read(path, rows=rows)

    def measure(
        self, path: Path, given: predictions.Predictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        return {split: self._measure(given.values[job.order], job) for split, job in jobs.items()}

    def _measure(self, values: np.ndarray, job: Job) -> Outcome:
        labels = job.truth.values
        bounds = read_bounds(job.columns, job.target, job.benchmark)
        beyond = None if bounds is None else outside(values, *bounds)
        outputs: dict[str, np.ndarray] = {"prediction": values.astype(np.float64)}
        if beyond is not None:
            outputs[OUTSIDE] = beyond
        return Outcome(
            terms=value_terms(labels, values, beyond),
            labels={"target": labels.astype(np.float64)},
            outputs=outputs,
            evidence=evidence_of(labels, values),
            trivial=mean_prediction(job),
        )

    def among(self, outcome: Outcome, member: np.ndarray) -> dict[str, np.ndarray]:
        # The variance terms are taken about the mean of these samples, or rounding shows.
        return self.terms_of(
            {name: values[member] for name, values in outcome.labels.items()},
            {name: values[:, member] for name, values in outcome.outputs.items()},
        )

    def column_type(self, name: str) -> pa.DataType | None:
        types = {"target": pa.float64(), "prediction": pa.float64(), OUTSIDE: pa.bool_()}
        return types.get(name)

    def terms_of(
        self, labels: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        beyond = outputs.get(OUTSIDE)
        beyond = None if beyond is None else beyond.astype(bool)
        return value_terms(labels["target"], outputs["prediction"], beyond)


KIND = ScalarKind()

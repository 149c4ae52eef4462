"""Targets of numbers of one shape, such as the constants of a stiffness tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import predictions
from etchmark.targets.base import Array, Job, Metric, Outcome, Sums, TargetKind, Trivial
from etchmark.targets.evidence import evidence_of
from etchmark.targets.scalar import mean_label
from etchmark.targets.values import VALUE_METRICS, VALUE_TERMS, value_terms

ARRAY_TERMS = ("samples", "sum_relative")
"""Per-sample terms beside those of values: 1, and ‖Ŷ-Y‖/‖Y‖ in the Frobenius norm."""
COMPONENT = "component_error"
"""Family of metrics, one per named component: ``component_error:c11``."""
ABSOLUTE = "sum_abs_e_"
"""Prefix of the terms |e| of single components."""
VALUES = ("target", "prediction")


def _relative_error(s: Sums) -> Array:
    return 100.0 * s["sum_relative"] / s["samples"]


def component_metric(component: str) -> Metric:
    """Mean absolute error of one component."""
    term = f"{ABSOLUTE}{component}"

    def finish(s: Sums) -> Array:
        return s[term] / s["samples"]

    return Metric(
        f"{COMPONENT}:{component}",
        f"Mean absolute error of {component}",
        None,
        False,
        finish,
        f"Σ|ŷ-y| / n of the component {component} alone",
        (term, "samples"),
    )


def relative_norm(target: np.ndarray, prediction: np.ndarray) -> Array:
    """‖Ŷ-Y‖/‖Y‖ of each sample, in the Frobenius norm, shape (samples,).

    Infinite where the target is zero and the prediction is not.

    Args:
        target: shape (samples, ...).
        prediction: the same shape.
    """
    y = target.reshape(len(target), -1).astype(np.float64)
    error = prediction.reshape(y.shape).astype(np.float64) - y
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        size, difference = np.linalg.norm(y, axis=1), np.linalg.norm(error, axis=1)
        return np.where(difference == 0, 0.0, difference / size)


def array_terms(
    target: np.ndarray, values: np.ndarray, components: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Terms of all samples, shape (seeds, samples) each.

    Args:
        target: labels, shape (samples, ...).
        values: predictions, shape (seeds, samples, ...).
        components: names of the elements of the flattened array; none if they have no names.
    """
    terms = value_terms(target, values)
    del terms["sum_outside"]
    terms["samples"] = np.ones(values.shape[:2])
    terms["sum_relative"] = np.stack([relative_norm(target, predicted) for predicted in values])
    error = np.abs(values.astype(np.float64) - target).reshape(*values.shape[:2], -1)
    for place, component in enumerate(components):
        terms[f"{ABSOLUTE}{component}"] = error[:, :, place]
    return terms


class ArrayKind(TargetKind):
    name = "array"
    metrics = (
        Metric(
            "relative_error",
            "Relative error in the Frobenius norm",
            "%",
            False,
            _relative_error,
            "mean over samples of 100 ‖Ŷ-Y‖ / ‖Y‖",
            ("sum_relative", "samples"),
        ),
        *VALUE_METRICS,
    )
    sample_metric = "rmse"

    def metric(self, name: str) -> Metric | None:
        family, _, component = name.partition(":")
        if family == COMPONENT and component:
            return component_metric(component)
        return super().metric(name)

    def term_names(self, target: Any) -> tuple[str, ...]:
        values = [name for name in VALUE_TERMS if name != "sum_outside"]
        return (*values, *ARRAY_TERMS, *(f"{ABSOLUTE}{name}" for name in target.components))

    def facts(self, target: Any) -> list[tuple[str, str]]:
        shape = " × ".join(map(str, target.shape))
        named = f": {', '.join(target.components)}" if target.components else ""
        return [("shape", f"{shape}{named}")]

    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> predictions.Predictions:
        return predictions.read(path, rows=rows, shape=target.shape)

    def measure(
        self, path: Path, given: predictions.Predictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        return {split: _measure(given.values[job.order], job) for split, job in jobs.items()}

    def column_type(self, name: str) -> pa.DataType | None:
        if name in VALUES:
            return pa.list_(pa.float64())
        own = name in VALUE_TERMS or name in ARRAY_TERMS or name.startswith(ABSOLUTE)
        return pa.float64() if own else None


def _measure(values: np.ndarray, job: Job) -> Outcome:
    labels, components = job.truth.values, job.target.components
    guess = array_terms(labels, mean_label(job)[None], components)
    flat = math.prod(labels.shape[1:])
    return Outcome(
        terms=array_terms(labels, values, components),
        labels={"target": labels.reshape(len(labels), flat).astype(np.float64)},
        outputs={"prediction": values.reshape(*values.shape[:2], flat).astype(np.float64)},
        evidence=evidence_of(labels, values),
        trivial=Trivial(
            {name: terms[0] for name, terms in guess.items()},
            "predicting the mean training label for every sample",
        ),
    )


KIND = ArrayKind()

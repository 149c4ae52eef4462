"""Targets of numbers of one shape, such as the constants of a stiffness tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import predictions
from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.simulation.rotations import rotate_stiffness
from etchmark.targets.base import Job, Outcome, TargetKind, Trivial
from etchmark.targets.cells import SINGLE_VALUE, CellRule, numbers_of_shape
from etchmark.targets.definitions import Metric
from etchmark.targets.evidence import evidence_of
from etchmark.targets.losses import Array, Sums, term_loss
from etchmark.targets.scalar import mean_label
from etchmark.targets.scales import LOG
from etchmark.targets.values import VALUE_METRICS, VALUE_TERMS, value_terms

ARRAY_TERMS = ("samples", "sum_relative")
"""Per-sample terms beside those of values: 1, and ‖Ŷ-Y‖/‖Y‖ in the Frobenius norm."""
EQUIVARIANCE_TERMS = ("sum_equivariance", "oriented")
"""Per-sample terms where rotations are declared: the distance between predictions of different
orientations of one sample, and 1 if the split holds another orientation of it, else both are 0."""
COMPONENT = "component_error"
"""Family of metrics, one per named component: ``component_error:c11``."""
ABSOLUTE = "sum_abs_e_"
"""Prefix of the terms |e| of single components."""
VALUES = ("target", "prediction")


def _relative_error(s: Sums) -> Array:
    return 100.0 * s["sum_relative"] / s["samples"]


def _equivariance_error(s: Sums) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100.0 * s["sum_equivariance"] / s["oriented"]


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
        scale=LOG,
        loss=term_loss(term),
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


def equivariance_terms(
    values: np.ndarray, rotations: np.ndarray, sources: np.ndarray
) -> dict[str, np.ndarray]:
    """How far predictions of different orientations of one sample are apart, turned back.

    With Aᵢ the stiffness predicted for orientation i, turned back by its rotation, the distance of
    two orientations is ‖Aᵢ-Aⱼ‖ / (‖Aᵢ‖/2 + ‖Aⱼ‖/2) in the Frobenius norm of Voigt matrices: 0 for
    a model that is exactly equivariant, at most 2. A sample with several other orientations has the
    mean distance to them. No label enters.

    Args:
        values: predicted Voigt matrices, shape (seeds, samples, 6, 6).
        rotations: matrices by which the sources were turned, shape (samples, 3, 3).
        sources: what each sample is an orientation of, shape (samples,).

    Returns:
        Shape (seeds, samples) for each of ``EQUIVARIANCE_TERMS``.
    """
    distance, oriented = np.zeros(values.shape[:2]), np.zeros(values.shape[:2])
    _, source = np.unique(sources, return_inverse=True)
    counts = np.bincount(source)
    for shared in np.flatnonzero(counts > 1):
        rows = np.flatnonzero(source == shared)
        turned_back = np.stack(
            [rotate_stiffness(values[:, row], rotations[row].T) for row in rows], axis=1
        )
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.linalg.norm(turned_back[:, :, None] - turned_back[:, None], axis=(-2, -1))
            size = np.linalg.norm(turned_back, axis=(-2, -1))
            mean_size = (size[:, :, None] + size[:, None]) / 2
            relative = np.where(apart == 0, 0.0, apart / np.where(mean_size == 0, 1.0, mean_size))
        distance[:, rows] = relative.sum(axis=2) / (len(rows) - 1)
        oriented[:, rows] = 1.0
    return dict(zip(EQUIVARIANCE_TERMS, (distance, oriented), strict=True))


def read_rotations(
    columns: Columns, target: Any, benchmark: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotations and sources of a split's samples; None if the target declares none.

    Raises:
        UserError: a stored matrix is not a rotation.
    """
    declared = target.rotation
    if declared is None:
        return None
    rotations = np.asarray(columns[declared.column], dtype=np.float64)
    shaped = rotations.shape[1:] == (3, 3)
    if not shaped or not np.allclose(rotations @ np.swapaxes(rotations, 1, 2), np.eye(3)):
        raise UserError(
            f"{benchmark}: column {declared.column!r} does not hold rotation matrices; fix the"
            " dataset or the benchmark's rotation"
        )
    return rotations, columns[declared.source].astype(str)


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
            scale=LOG,
            loss=term_loss("sum_relative"),
        ),
        Metric(
            "equivariance_error",
            "Equivariance error",
            "%",
            False,
            _equivariance_error,
            "mean over rotated samples of 100 ‖A-B‖ / (‖A‖/2 + ‖B‖/2), with A and B the stiffness"
            " predicted for two orientations of one sample, each turned back",
            EQUIVARIANCE_TERMS,
            counted_by="oriented",
            scale=LOG,
            loss=term_loss("sum_equivariance"),
        ),
        *VALUE_METRICS,
    )
    sample_metric = "rmse"

    def metric(self, name: str) -> Metric | None:
        family, _, component = name.partition(":")
        if family == COMPONENT and component:
            return component_metric(component)
        return super().metric(name)

    def families(self, target: Any) -> list[str]:
        named = [f"{COMPONENT}:{name}" for name in target.components]
        return named or [f"{COMPONENT}:NAME once components have names"]

    def term_names(self, target: Any) -> tuple[str, ...]:
        values = [name for name in VALUE_TERMS if name != "sum_outside"]
        turned = () if target.rotation is None else EQUIVARIANCE_TERMS
        components = (f"{ABSOLUTE}{name}" for name in target.components)
        return (*values, *ARRAY_TERMS, *turned, *components)

    def facts(self, target: Any) -> list[tuple[str, str]]:
        shape = " × ".join(map(str, target.shape))
        named = f": {', '.join(target.components)}" if target.components else ""
        facts = [("shape", f"{shape}{named}")]
        if target.rotation is not None:
            columns = f"{target.rotation.column} of the sample in {target.rotation.source}"
            facts.append(("rotations", columns))
        return facts

    def prediction_note(self, target: Any) -> str | None:
        named = ", ".join(f"`{name}`" for name in target.components)
        order = f": {named}" if named else f", the last axis of the shape {target.shape} fastest"
        return f"A prediction is a list of {math.prod(target.shape)} floats{order}."

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        rules = {"column": numbers_of_shape(target.shape)}
        if target.rotation is not None:
            rules |= {"rotation.column": numbers_of_shape([3, 3]), "rotation.source": SINGLE_VALUE}
        return rules

    def check_stored(self, columns: Columns, target: Any, benchmark: str, *, scored: bool) -> None:
        stored = self.read(columns, target).shape[1:]
        if stored != tuple(target.shape):
            # Lists whose schema does not say a length.
            raise UserError(
                f"{benchmark}: column {target.column!r} holds arrays of shape {stored}, the"
                f" target has the shape {tuple(target.shape)}; fix the dataset or the benchmark"
            )
        if scored:
            read_rotations(columns, target, benchmark)

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
        known = (*VALUE_TERMS, *ARRAY_TERMS, *EQUIVARIANCE_TERMS)
        own = name in known or name.startswith(ABSOLUTE)
        return pa.float64() if own else None


def _measure(values: np.ndarray, job: Job) -> Outcome:
    labels, components = job.truth.values, job.target.components
    orientations = read_rotations(job.columns, job.target, job.benchmark)

    def terms_of(predicted: np.ndarray) -> dict[str, np.ndarray]:
        terms = array_terms(labels, predicted, components)
        return (
            terms if orientations is None else terms | equivariance_terms(predicted, *orientations)
        )

    guess = terms_of(mean_label(job)[None])
    flat = math.prod(labels.shape[1:])
    return Outcome(
        terms=terms_of(values),
        labels={"target": labels.reshape(len(labels), flat).astype(np.float64)},
        outputs={"prediction": values.reshape(*values.shape[:2], flat).astype(np.float64)},
        evidence=evidence_of(labels, values),
        trivial=Trivial(
            {name: terms[0] for name, terms in guess.items()},
            "predicting the mean training label for every sample",
        ),
    )


KIND = ArrayKind()

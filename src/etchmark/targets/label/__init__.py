"""Targets of one class per sample, predicted as a class or as one probability per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import predictions
from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.predictions import Declared
from etchmark.predictions.arranging import counted
from etchmark.predictions.checks import listing, refuse
from etchmark.predictions.reading import Cells
from etchmark.targets.base import Job, Outcome, TargetKind, Trivial, numbers
from etchmark.targets.cells import CLASS_NAME, CellRule
from etchmark.targets.evidence import CLASSES, Evidence, evidence_of
from etchmark.targets.label.metrics import (
    BINS,
    GAP,
    HIT,
    METRICS,
    PREDICTED,
    SHARE,
    TRUE,
    label_terms,
)
from etchmark.targets.labels import Labels, Truth, in_memory

SUM_TOLERANCE = 1e-3
"""Probabilities of a sample add up to one within this: what single precision makes of many."""


class LabelKind(TargetKind):
    name = "label"
    metrics = METRICS
    sample_metric = "error_rate"

    def cells(self, target: Any) -> Cells:
        return "number" if target.probabilities else "text"

    def term_names(self, target: Any) -> tuple[str, ...]:
        classes = [
            prefix + name for name in target.classes for prefix in (TRUE, PREDICTED, HIT, SHARE)
        ]
        gaps = [f"{GAP}{number:02d}" for number in range(BINS)]
        return ("n", "correct", *classes, "sum_log_loss", *gaps)

    def facts(self, target: Any) -> list[tuple[str, str]]:
        return [("classes", ", ".join(target.classes))]

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        return {"column": CLASS_NAME}

    def check_stored(self, columns: Columns, target: Any, benchmark: str, *, scored: bool) -> None:
        class_names(columns[target.column], target, benchmark)

    def prediction_shape(self, labels: Labels, target: Any) -> tuple[int, ...]:
        return (len(target.classes),) if target.probabilities else ()

    def shares_of(self, target: Any) -> list[str] | None:
        return list(target.classes) if target.probabilities else None

    def prediction_note(self, target: Any) -> str | None:
        names = ", ".join(f"`{name}`" for name in target.classes)
        if target.probabilities:
            return f"A prediction is a list of probabilities, one per class: {names}."
        return f"A prediction is one of the classes {names}."

    def checked(self, returned: Any, rows: int, shape: Sequence[int], target: Any) -> np.ndarray:
        if shape:
            shares = _numbers(returned, rows, target["classes"])
            bad = int((~_are_shares(shares)).sum())
            if bad:
                raise ValueError(
                    f"predict returned {bad} rows that are not probabilities, shares from 0 to 1"
                    " that add up to 1"
                )
            return shares
        values = np.asarray(returned)
        if values.dtype.kind not in "OU" or values.shape != (rows,):
            raise ValueError(
                f"predict returned {values.dtype} of shape {values.shape}, expected classes"
                f" as text of shape {(rows,)}"
            )
        unknown = sorted({str(name) for name in values.tolist()} - set(target["classes"]))
        if unknown:
            raise ValueError(
                f"predict returned the unknown class {unknown[0]!r}; return one of:"
                f" {', '.join(target['classes'])}"
            )
        return values.astype(np.str_)

    def write_template(
        self, folder: Path, truths: Iterable[Truth], target: Any, declared: Declared
    ) -> list[Path]:
        if target.probabilities:
            return super().write_template(folder, truths, target, declared)
        ids = np.concatenate([truth.ids for truth in truths])
        paths = [folder / "predictions.parquet", folder / "predictions.csv"]
        for path in paths:
            predictions.write(path, ids, np.full(len(ids), ""), declared=declared)
        return paths

    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> predictions.Predictions:
        if target.probabilities:
            return predictions.read(path, rows=rows, shape=(len(target.classes),))
        return predictions.read(path, rows=rows, cells="text")

    def check_values(self, path: Path, given: predictions.Predictions, target: Any) -> None:
        if target.probabilities:
            predictions.check_finite(path, given)
            odd = given.ids[~_are_shares(given.values)]
            if len(odd):
                raise refuse(
                    path,
                    f"{counted(len(odd), 'prediction')} not probabilities (ids {listing(odd)})",
                    "write shares from 0 to 1 that add up to 1, one per class in the order"
                    f" {', '.join(target.classes)}",
                )
            return
        known = set(target.classes)
        bad = [
            (name, cell)
            for name, cell in zip(given.ids, given.values, strict=True)
            if cell not in known
        ]
        if bad:
            raise refuse(
                path,
                f"{counted(len(bad), 'prediction')} of an unknown class"
                f" ({listing(cell for _, cell in bad)}; ids {listing(name for name, _ in bad)})",
                f"write one of: {', '.join(target.classes)}",
            )

    def measure(
        self, path: Path, given: predictions.Predictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        return {split: _measure(given.values[job.order], job) for split, job in jobs.items()}

    def column_type(self, name: str) -> pa.DataType | None:
        if name in ("target", "prediction"):
            return pa.string()
        own = name in ("n", "correct", "sum_log_loss")
        return pa.float64() if own or name.startswith((HIT, TRUE, PREDICTED, SHARE, GAP)) else None


def _numbers(returned: Any, rows: int, classes: Sequence[str]) -> np.ndarray:
    """Numbers of shape (rows, classes), as a model returned them.

    Raises:
        ValueError: they are something else.
    """
    try:
        return numbers(returned, rows, (len(classes),))
    except ValueError as error:
        order = ", ".join(classes)
        raise ValueError(f"{error}; return one probability per class: {order}") from None


def _are_shares(values: np.ndarray) -> np.ndarray:
    """Which rows are probabilities that add up to one."""
    inside = ((values >= 0) & (values <= 1)).all(axis=1)
    return inside & (np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE)


def _places(names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Place of each class, any shape."""
    place = {name: number for number, name in enumerate(classes)}
    return np.vectorize(place.__getitem__, otypes=[int])(names)


def class_names(labels: np.ndarray, target: Any, benchmark: str) -> np.ndarray:
    """Labels as text.

    Args:
        labels: shape (samples,).
        target: the benchmark's target.
        benchmark: named in messages.

    Raises:
        UserError: one is not a declared class.
    """
    names = labels.astype(str)
    unknown = sorted(set(names.tolist()) - set(target.classes))
    if unknown:
        raise UserError(
            f"{benchmark}: column {target.column!r} holds {unknown[0]!r}, which is not among the"
            " target's classes; fix the dataset or the benchmark"
        )
    return names


def _measure(values: np.ndarray, job: Job) -> Outcome:
    classes = job.target.classes
    labels = class_names(job.truth.values, job.target, job.benchmark)
    truth, shares = _places(labels, classes), None
    if job.target.probabilities:
        shares = values.astype(np.float64)
        predicted = shares.argmax(axis=2)
    else:
        predicted = _places(values, classes)
    names = np.array(classes, dtype=object)[predicted]
    per_seed = [
        label_terms(truth, places, classes, None if shares is None else shares[seed])
        for seed, places in enumerate(predicted)
    ]
    evidence = Evidence(*predicted.shape, equality=CLASSES, measured=False, names=classes)
    return Outcome(
        terms={name: np.stack([terms[name] for terms in per_seed]) for name in per_seed[0]},
        labels={"target": labels.astype(object)},
        outputs={"prediction": names},
        evidence=evidence_of(truth, predicted, evidence),
        trivial=_most_frequent(truth, job),
    )


def _most_frequent(truth: np.ndarray, job: Job) -> Trivial:
    """Terms of the most frequent training class, with the frequencies as probabilities."""
    classes = job.target.classes
    frequencies = np.empty((len(truth), len(classes)))
    for samples, learnt in job.training():
        places = _places(in_memory(learnt).astype(str), classes)
        counts = np.bincount(places, minlength=len(classes))
        frequencies[samples] = counts / counts.sum()
    terms = label_terms(truth, frequencies.argmax(axis=1), classes, frequencies)
    return Trivial(terms, "predicting the most frequent training class for every sample")


KIND = LabelKind()

"""Targets of one class per sample, predicted as a class or as one probability per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import predictions
from etchmark.errors import UserError
from etchmark.predictions import Declared
from etchmark.predictions.arranging import counted
from etchmark.predictions.checks import listing, refuse
from etchmark.predictions.reading import Cells
from etchmark.targets.base import (
    Job,
    Labels,
    Outcome,
    TargetKind,
    Trivial,
    Truth,
    in_memory,
    numbers,
)
from etchmark.targets.definitions import Metric, not_additive
from etchmark.targets.evidence import Evidence, evidence_of
from etchmark.targets.losses import Array, Sums, shares_contrast, term_loss
from etchmark.targets.scales import LOG, LOGIT

SUM_TOLERANCE = 1e-3
"""Probabilities of a sample add up to one within this: what single precision makes of many."""
LEAST = float(np.finfo(np.float64).eps)
"""Least probability that a class counts with in the logarithmic loss, as in scikit-learn."""
BINS = 15
"""Bins of equal width in which confidence is compared with accuracy."""
HIT, TRUE, PREDICTED, SHARE, GAP = "hit_", "true_", "predicted_", "share_", "gap_"
"""Prefixes of terms: of each class, whether it was predicted rightly, is the label, and was
predicted, and its probability; of each bin, confidence minus accuracy of a sample in it."""


def _of_classes(s: Sums, prefix: str) -> Array:
    """Sums of a term of every class, first axis the classes in the order of their names."""
    return np.stack([s[name] for name in sorted(s) if name.startswith(prefix)])


def _mean_where(values: Array, defined: np.ndarray) -> Array:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    count = defined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.where(defined, values, 0.0).sum(axis=0) / count, np.nan)


def _macro_f1(s: Sums) -> Array:
    hits, true, predicted = (_of_classes(s, prefix) for prefix in (HIT, TRUE, PREDICTED))
    # Counts are exact, so a class that occurs nowhere has exactly none.
    occurs = true + predicted > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return _mean_where(2.0 * hits / (true + predicted), occurs)


def _balanced_accuracy(s: Sums) -> Array:
    hits, true = _of_classes(s, HIT), _of_classes(s, TRUE)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _mean_where(hits / true, true > 0)


def _macro_f1_contrast(first: Sums, second: Sums) -> Array:
    hits = (2.0 * _of_classes(first, HIT), 2.0 * _of_classes(second, HIT))
    sizes = [_of_classes(s, TRUE) + _of_classes(s, PREDICTED) for s in (first, second)]
    return -shares_contrast(hits, (sizes[0], sizes[1]))


def _recall_loss(s: Sums) -> Array:
    hits, true = _of_classes(s, HIT), _of_classes(s, TRUE)
    # How many samples a class has is the same for every model.
    totals = true.sum(axis=-1, keepdims=True)
    return -_mean_where(hits / np.where(totals > 0, totals, 1.0), totals > 0)


def _accuracy(s: Sums) -> Array:
    return s["correct"] / s["n"]


def _error_rate(s: Sums) -> Array:
    return 1.0 - s["correct"] / s["n"]


def _log_loss(s: Sums) -> Array:
    return s["sum_log_loss"] / s["n"]


def _calibration_error(s: Sums) -> Array:
    return np.abs(_of_classes(s, GAP)).sum(axis=0) / s["n"]


def _roc_auc(terms: Mapping[str, Array], drawn: Array) -> Array:
    classes = sorted(name.removeprefix(SHARE) for name in terms if name.startswith(SHARE))
    areas = np.stack(
        [area_under_curve(terms[SHARE + name], terms[TRUE + name], drawn) for name in classes]
    )
    return _mean_where(areas, ~np.isnan(areas))


def area_under_curve(score: Array, positive: Array, drawn: Array) -> Array:
    """Area under the receiver operating characteristic of every seed and resample.

    The probability that a positive sample scores higher than a negative one, ties counted half
    (Hanley & McNeil, Radiology 143 (1982) 29, DOI 10.1148/radiology.143.1.7063747).

    Args:
        score: shape (seeds, samples).
        positive: 1 where the sample is positive, else 0, shape (seeds, samples).
        drawn: how often each sample is drawn, shape (resamples, samples).

    Returns:
        Shape (seeds, resamples); NaN where only one side is drawn, or there is no score.
    """
    areas = np.full((len(score), len(drawn)), np.nan)
    for seed, (values, member) in enumerate(zip(score, positive, strict=True)):
        if np.isnan(values).any():
            continue
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))
        both = [
            np.add.reduceat(drawn[:, order] * side[order], starts, axis=1)
            for side in (member, 1 - member)
        ]
        below = both[1].cumsum(axis=1) - both[1] / 2
        pairs = both[0].sum(axis=1) * both[1].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            areas[seed] = np.where(pairs > 0, (both[0] * below).sum(axis=1) / pairs, np.nan)
    return areas


METRICS = (
    Metric(
        "macro_f1",
        "Macro F1",
        "1",
        True,
        _macro_f1,
        "mean of 2 TP / (2 TP + FP + FN) over the classes that occur in labels or predictions",
        (f"{HIT}*", f"{TRUE}*", f"{PREDICTED}*"),
        scale=LOGIT,
        contrast=_macro_f1_contrast,
    ),
    Metric(
        "balanced_accuracy",
        "Balanced accuracy",
        "1",
        True,
        _balanced_accuracy,
        "mean over the classes that occur of the share of their samples that is predicted rightly",
        (f"{HIT}*", f"{TRUE}*"),
        scale=LOGIT,
        loss=_recall_loss,
    ),
    Metric(
        "accuracy",
        "Accuracy",
        "1",
        True,
        _accuracy,
        "share of samples whose class is predicted",
        ("correct", "n"),
        scale=LOGIT,
        loss=term_loss("correct", sign=-1.0),
    ),
    Metric(
        "error_rate",
        "Error rate",
        "1",
        False,
        _error_rate,
        "share of samples whose class is not predicted",
        ("correct", "n"),
        scale=LOGIT,
        loss=term_loss("correct", sign=-1.0),
    ),
    Metric(
        "log_loss",
        "Logarithmic loss",
        "1",
        False,
        _log_loss,
        "mean of -ln p, p the probability of the true class; needs probabilities",
        ("sum_log_loss", "n"),
        scale=LOG,
        loss=term_loss("sum_log_loss"),
    ),
    Metric(
        "roc_auc",
        "Area under the ROC curve",
        "1",
        True,
        not_additive,
        "mean over classes, each against the rest, of P(p of a member > p of another); needs"
        " probabilities",
        (f"{SHARE}*", f"{TRUE}*"),
        _roc_auc,
        scale=LOGIT,
    ),
    Metric(
        "calibration_error",
        "Expected calibration error",
        "1",
        False,
        _calibration_error,
        "Σ over 15 bins of |Σ (confidence - correct)| / n; needs probabilities",
        (f"{GAP}*", "n"),
        scale=LOGIT,
    ),
)


def label_terms(
    truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str], shares: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Terms of each sample, shape (samples,); those of probabilities are NaN without them.

    Calibration: Naeini, Cooper & Hauskrecht, AAAI 29 (2015) 2901, DOI 10.1609/aaai.v29i1.9602.

    Args:
        truth: place of the true class, shape (samples,).
        predicted: place of the predicted class, shape (samples,).
        classes: their names.
        shares: probabilities, shape (samples, classes).
    """
    correct = (truth == predicted).astype(np.float64)
    terms = {"n": np.ones(len(truth)), "correct": correct}
    for place, name in enumerate(classes):
        is_true, is_predicted = truth == place, predicted == place
        terms[TRUE + name] = is_true.astype(np.float64)
        terms[PREDICTED + name] = is_predicted.astype(np.float64)
        terms[HIT + name] = (is_true & is_predicted).astype(np.float64)
    absent = np.full(len(truth), np.nan)
    terms |= {SHARE + name: absent for name in classes}
    terms["sum_log_loss"] = absent
    gaps = [absent] * BINS
    if shares is not None:
        whole = shares / shares.sum(axis=1, keepdims=True)
        terms |= {SHARE + name: whole[:, place] for place, name in enumerate(classes)}
        of_truth = whole[np.arange(len(truth)), truth]
        terms["sum_log_loss"] = -np.log(np.clip(of_truth, LEAST, 1.0))
        confidence = whole.max(axis=1)
        # Bins are open below and closed above, so that 1 falls into the last one.
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        gaps = [np.where(bins == number, confidence - correct, 0.0) for number in range(BINS)]
    return terms | {f"{GAP}{number:02d}": gap for number, gap in enumerate(gaps)}


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


def _labels(labels: np.ndarray, job: Job) -> np.ndarray:
    """Labels as text.

    Raises:
        UserError: one is not a declared class.
    """
    names = labels.astype(str)
    unknown = sorted(set(names.tolist()) - set(job.target.classes))
    if unknown:
        raise UserError(
            f"{job.benchmark}: column {job.target.column!r} holds {unknown[0]!r}, which is not"
            " among the target's classes; fix the dataset or the benchmark"
        )
    return names


def _measure(values: np.ndarray, job: Job) -> Outcome:
    classes = job.target.classes
    labels = _labels(job.truth.values, job)
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
    evidence = Evidence(*predicted.shape, exact=False, measured=False, names=classes)
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

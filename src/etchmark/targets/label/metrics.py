"""Metrics of classes, and the per-sample terms from which they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etchmark.targets.definitions import Metric, not_additive
from etchmark.targets.losses import Array, Sums, shares_contrast, term_loss
from etchmark.targets.scales import LOG, LOGIT

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

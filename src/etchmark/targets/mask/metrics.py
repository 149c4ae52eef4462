"""Metrics of masks, from counts of pixels, boundaries and particles of single images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from etchmark.targets.definitions import Metric
from etchmark.targets.losses import Array, Sums, shares_contrast, term_loss
from etchmark.targets.scales import LOGIT

HIT, TRUE, PREDICTED = "hit_", "true_", "predicted_"
"""Prefixes of terms of each class: pixels predicted rightly, pixels of the label, and pixels of
the prediction."""
SIZE_TRUE, SIZE_PREDICTED = "size_true_", "size_predicted_"
"""Prefixes of terms: particles of each bin of area, in the label and in the prediction."""
BINS_PER_OCTAVE, SIZE_BINS = 4, 96
"""Particle areas are counted in bins whose limits are 2^(k/4) pixels; the last has no limit."""
BOUNDARY_SHARE = 0.0075
"""Distance, as a share of the image's diagonal, within which boundaries match."""
IOU = "iou"
"""Family of metrics, one per class: ``iou:pore``."""


def _of_classes(s: Sums, prefix: str) -> Array:
    return np.stack([s[name] for name in sorted(s) if name.startswith(prefix)])


def _ratio(part: Array, whole: Array) -> Array:
    """A share of each class; NaN for a class that occurs nowhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def mean_iou(s: Sums) -> Array:
    """Mean over the classes that occur, from sums of any shape."""
    hits, true, predicted = (_of_classes(s, prefix) for prefix in (HIT, TRUE, PREDICTED))
    shares = _ratio(hits, true + predicted - hits)
    defined = ~np.isnan(shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, shares, 0.0).sum(axis=0) / defined.sum(axis=0)


def _iou_contrast(first: Sums, second: Sums) -> Array:
    hits = _of_classes(first, HIT), _of_classes(second, HIT)
    unions = [
        _of_classes(s, TRUE) + _of_classes(s, PREDICTED) - _of_classes(s, HIT)
        for s in (first, second)
    ]
    return -shares_contrast(hits, (unions[0], unions[1]))


def _hits_loss(s: Sums) -> Array:
    return -_of_classes(s, HIT).sum(axis=0)


def _pixel_accuracy(s: Sums) -> Array:
    return _of_classes(s, HIT).sum(axis=0) / s["n"]


def _pixel_error(s: Sums) -> Array:
    return 1.0 - _pixel_accuracy(s)


def _boundary_f1(s: Sums) -> Array:
    return s["sum_boundary_f1"] / s["images"]


def _particle_size_ks(s: Sums) -> Array:
    true, predicted = (_of_classes(s, prefix) for prefix in (SIZE_TRUE, SIZE_PREDICTED))
    totals = true.sum(axis=0), predicted.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = true.cumsum(axis=0) / totals[0], predicted.cumsum(axis=0) / totals[1]
    distance = np.abs(shares[0] - shares[1]).max(axis=0)
    # Without particles there is no distribution: alike if both have none, else as far apart as
    # can be.
    empty = np.where((totals[0] == 0) & (totals[1] == 0), 0.0, 1.0)
    return np.where((totals[0] == 0) | (totals[1] == 0), empty, distance)


def iou_metric(name: str) -> Metric:
    """Intersection over union of one class."""
    terms = (HIT + name, TRUE + name, PREDICTED + name)

    def finish(s: Sums) -> Array:
        hit, true, predicted = (s[term] for term in terms)
        return _ratio(hit, true + predicted - hit)

    title, definition = f"IoU of {name}", f"TP / (TP + FP + FN) over pixels of the class {name}"
    return Metric(
        f"{IOU}:{name}", title, "1", True, finish, definition, terms, scale=LOGIT,
        contrast=_iou_contrast,
    )  # fmt: skip


METRICS = (
    Metric(
        "mean_iou",
        "Mean intersection over union",
        "1",
        True,
        mean_iou,
        "mean of TP / (TP + FP + FN) over the classes that occur in labels or predictions",
        (f"{HIT}*", f"{TRUE}*", f"{PREDICTED}*"),
        scale=LOGIT,
        contrast=_iou_contrast,
    ),
    Metric(
        "pixel_accuracy",
        "Pixel accuracy",
        "1",
        True,
        _pixel_accuracy,
        "share of pixels whose class is predicted",
        (f"{HIT}*", "n"),
        scale=LOGIT,
        loss=_hits_loss,
    ),
    Metric(
        "pixel_error",
        "Pixel error",
        "1",
        False,
        _pixel_error,
        "share of pixels whose class is not predicted",
        (f"{HIT}*", "n"),
        scale=LOGIT,
        loss=_hits_loss,
    ),
    Metric(
        "boundary_f1",
        "Boundary F1",
        "1",
        True,
        _boundary_f1,
        "mean over images of the F1 of boundary pixels that match within 0.75 % of the diagonal",
        ("sum_boundary_f1", "images"),
        scale=LOGIT,
        loss=term_loss("sum_boundary_f1", sign=-1.0),
    ),
    Metric(
        "particle_size_ks",
        "Distance of the particle sizes",
        "1",
        False,
        _particle_size_ks,
        "largest difference of the cumulative distributions of particle area, 4 bins per octave",
        (f"{SIZE_TRUE}*", f"{SIZE_PREDICTED}*"),
        scale=LOGIT,
    ),
)


# --- one image ---------------------------------------------------------------------------------


def boundary_f1(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> float:
    """F1 of boundaries, mean over the classes that occur in either image.

    A boundary pixel belongs to a class and has a neighbour, across an edge, that does not. It
    matches if the other image has a boundary pixel of that class within 0.75 % of the diagonal,
    rounded up. Without a boundary on either side, F1 is 1; on one side alone, it is 0.

    Source: Csurka, Larlus & Perronnin, BMVC 2013, DOI 10.5244/C.27.32.

    Args:
        truth: shape (height, width).
        predicted: the same shape.
    """
    tolerance = math.ceil(BOUNDARY_SHARE * math.hypot(*truth.shape))
    scores = []
    for number in np.union1d(truth, predicted).tolist():
        edges = [_boundary(image == number) for image in (truth, predicted)]
        if not edges[0].any() and not edges[1].any():
            scores.append(1.0)
        elif not edges[0].any() or not edges[1].any():
            scores.append(0.0)
        else:
            recall = _matched(edges[0], edges[1], tolerance)
            precision = _matched(edges[1], edges[0], tolerance)
            total = precision + recall
            scores.append(2 * precision * recall / total if total else 0.0)
    return float(np.mean(scores))


def _boundary(member: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    # Beyond the edge of the image nothing is known, so the edge is not a boundary.
    return member & ~ndimage.binary_erosion(member, border_value=1)


def _matched(some: NDArray[np.bool_], others: NDArray[np.bool_], tolerance: float) -> float:
    """Share of boundary pixels that lie near one of the others."""
    from scipy import ndimage

    distance = cast(np.ndarray, ndimage.distance_transform_edt(~others))
    return float((distance[some] <= tolerance).mean())


def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Pixels by true class and by predicted class, shape (classes, classes)."""
    places = truth.ravel().astype(np.int64) * classes + predicted.ravel()
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def particle_counts(member: NDArray[np.bool_]) -> Array:
    """Particles of each bin of area, shape (bins,): components that touch by edges."""
    from scipy import ndimage

    labelled, _ = cast("tuple[np.ndarray, int]", ndimage.label(member))
    areas = np.bincount(labelled.ravel())[1:]
    return np.bincount(area_bins(areas), minlength=SIZE_BINS).astype(np.float64)


def area_bins(areas: np.ndarray) -> np.ndarray:
    """The bin of each area in pixels."""
    # A hair is added, or rounding puts a power of two into the bin below its own.
    bins = np.floor(BINS_PER_OCTAVE * np.log2(areas) + 1e-9).astype(int)
    return np.minimum(bins, SIZE_BINS - 1)


def mask_terms(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    classes: Sequence[str],
    particles: str | None,
    wanted: Iterable[str],
) -> dict[str, float]:
    """Terms of one sample; those that no wanted metric reads are NaN where they take long.

    Args:
        truth: number of the class of each pixel, shape (height, width).
        predicted: the same shape.
        classes: their names.
        particles: the class whose connected components are particles.
        wanted: ids of metrics.
    """
    wanted = set(wanted)
    terms = {"n": float(truth.size), "images": 1.0, "sum_boundary_f1": math.nan}
    same = truth == predicted
    pixels = {HIT: truth[same], TRUE: truth.ravel(), PREDICTED: predicted.ravel()}
    for prefix, numbers in pixels.items():
        counts = np.bincount(numbers, minlength=len(classes)).tolist()
        terms |= {prefix + name: float(counts[place]) for place, name in enumerate(classes)}
    if "boundary_f1" in wanted:
        terms["sum_boundary_f1"] = boundary_f1(truth, predicted)
    for prefix, image in ((SIZE_TRUE, truth), (SIZE_PREDICTED, predicted)):
        counts = np.full(SIZE_BINS, np.nan)
        if particles is not None and "particle_size_ks" in wanted:
            counts = particle_counts(image == classes.index(particles))
        terms |= {f"{prefix}{place:02d}": float(count) for place, count in enumerate(counts)}
    return terms

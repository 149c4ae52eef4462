"""Metrics of masks, from counts of pixels, boundaries and particles of single images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from etchmark.targets.definitions import Metric
from etchmark.targets.losses import Array, Sums, shares_contrast, term_loss
from etchmark.targets.scales import LOG, LOGIT

HIT, TRUE, PREDICTED = "hit_", "true_", "predicted_"
"""Prefixes of terms of each class: pixels predicted rightly, pixels of the label, and pixels of
the prediction."""
AREA = "area_"
"""Prefix of terms: difference of the share of an image that each class covers."""
SIZE_TRUE, SIZE_PREDICTED = "size_true_", "size_predicted_"
"""Prefixes of terms: particles of each bin of area, in the label and in the prediction."""
BINS_PER_OCTAVE, SIZE_BINS = 4, 96
"""Particle areas are counted in bins whose limits are 2^(k/4) pixels; the last has no limit."""
BOUNDARY_SHARE = 0.0075
"""Distance, as a share of the image's diagonal, within which boundaries match."""
IOU, AREA_ERROR = "iou", "area_error"
"""Families of metrics, one per class: ``iou:pore``."""
IMAGE_IOU, BOUNDARY = "sum_image_iou", "sum_boundary_f1"
"""Terms of whole images."""
OF_PARTICLES = ("particle_size_ks", "particle_size_wasserstein")
"""Metrics that need a class of particles."""


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


def _mean_over_images(term: str) -> Callable[[Sums], Array]:
    return lambda s: s[term] / s["images"]


def _area_fraction_error(s: Sums) -> Array:
    return 100.0 * _of_classes(s, AREA).mean(axis=0) / s["images"]


def _area_loss(s: Sums) -> Array:
    return _of_classes(s, AREA).sum(axis=0)


def _particle_sizes(s: Sums) -> tuple[Array, Array]:
    """How far apart the cumulative distributions of particle area are, shape (bins, ...), and
    what a distance is where a side has no particles: nothing if neither has any, else 1."""
    true, predicted = (_of_classes(s, prefix) for prefix in (SIZE_TRUE, SIZE_PREDICTED))
    totals = true.sum(axis=0), predicted.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = true.cumsum(axis=0) / totals[0], predicted.cumsum(axis=0) / totals[1]
    one_sided = np.where((totals[0] == 0) & (totals[1] == 0), 0.0, 1.0)
    empty = np.where((totals[0] == 0) | (totals[1] == 0), one_sided, np.nan)
    return np.abs(shares[0] - shares[1]), empty


def _particle_size_ks(s: Sums) -> Array:
    apart, empty = _particle_sizes(s)
    return np.where(np.isnan(empty), apart.max(axis=0), empty)


def _particle_size_wasserstein(s: Sums) -> Array:
    apart, empty = _particle_sizes(s)
    # The area between two cumulative distributions over log2 of the particle area.
    widest = SIZE_BINS / BINS_PER_OCTAVE
    return np.where(np.isnan(empty), apart.sum(axis=0) / BINS_PER_OCTAVE, widest * empty)


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


def area_metric(name: str) -> Metric:
    """Error of the area fraction of one class."""
    term = AREA + name
    return Metric(
        f"{AREA_ERROR}:{name}",
        f"Error of the area fraction of {name}",
        "%",
        False,
        lambda s: 100.0 * s[term] / s["images"],
        f"mean over images of |predicted - true| area fraction of the class {name}, of the image",
        (term, "images"),
        scale=LOG,
        loss=term_loss(term),
    )


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
        "mean_iou_of_images",
        "Mean over images of their mean IoU",
        "1",
        True,
        _mean_over_images(IMAGE_IOU),
        "mean over images of the mean IoU over the classes that occur in that image's label or"
        " prediction: one stray pixel of another class halves an image of one class",
        (IMAGE_IOU, "images"),
        scale=LOGIT,
        loss=term_loss(IMAGE_IOU, sign=-1.0),
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
        _mean_over_images(BOUNDARY),
        "mean over images of the F1 of boundary pixels that match within 0.75 % of the diagonal",
        (BOUNDARY, "images"),
        scale=LOGIT,
        loss=term_loss(BOUNDARY, sign=-1.0),
    ),
    Metric(
        "area_fraction_error",
        "Error of the area fractions",
        "%",
        False,
        _area_fraction_error,
        "mean over images and classes of |predicted - true| area fraction, of the image",
        (f"{AREA}*", "images"),
        scale=LOG,
        loss=_area_loss,
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
    Metric(
        "particle_size_wasserstein",
        "Wasserstein distance of the particle sizes",
        "octaves of area",
        False,
        _particle_size_wasserstein,
        "Wasserstein-1 distance of the distributions of log2(particle area) by number, 4 bins per"
        " octave: 1 means that areas are off by a factor of two",
        (f"{SIZE_TRUE}*", f"{SIZE_PREDICTED}*"),
        scale=LOG,
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
    terms = {"n": float(truth.size), "images": 1.0, BOUNDARY: math.nan}
    same = truth == predicted
    pixels = {HIT: truth[same], TRUE: truth.ravel(), PREDICTED: predicted.ravel()}
    for prefix, numbers in pixels.items():
        counts = np.bincount(numbers, minlength=len(classes)).tolist()
        terms |= {prefix + name: float(counts[place]) for place, name in enumerate(classes)}
    terms |= {
        AREA + name: abs(terms[PREDICTED + name] - terms[TRUE + name]) / truth.size
        for name in classes
    }
    terms[IMAGE_IOU] = float(mean_iou({name: np.array(value) for name, value in terms.items()}))
    if "boundary_f1" in wanted:
        terms[BOUNDARY] = boundary_f1(truth, predicted)
    for prefix, image in ((SIZE_TRUE, truth), (SIZE_PREDICTED, predicted)):
        counts = np.full(SIZE_BINS, np.nan)
        if particles is not None and wanted & set(OF_PARTICLES):
            counts = particle_counts(image == classes.index(particles))
        terms |= {f"{prefix}{place:02d}": float(count) for place, count in enumerate(counts)}
    return terms

"""Metrics of ensembles, from distances of single samples to their realisations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etchmark.descriptors import GROUPS, group_distances, largest_overlaps
from etchmark.targets.definitions import Metric
from etchmark.targets.ensemble.properties import stiffness_of
from etchmark.targets.losses import Array, Sums, term_loss
from etchmark.targets.scales import LOG, LOGIT, LOGIT_PERCENT

SCORE, DISTANCE = "sum_score", "sum_distance_"
"""Terms: the reconstruction score of a sample, and its parts by group of descriptors."""
STIFFNESS, COPIES, IMAGES = "sum_stiffness_error", "copies", "images"
"""Terms: relative error of the mean stiffness, images that are copies, and images in all."""
FRACTION, DIVERSITY = "sum_fraction_error", "sum_diversity"
"""Terms: error of the mean share of phase 1, and how much the images differ from each other."""
TERMS = (
    "n", SCORE, *(DISTANCE + name for name in GROUPS), STIFFNESS, FRACTION, DIVERSITY, COPIES,
    IMAGES,
)  # fmt: skip
BLANK = 255
"""Value of the cells of a realisation that does not exist."""
FINE = 8
"""Cells between the patches of an image that are searched for."""
TELLABLE = 0.95
"""Limits above it tell no copies: independent images overlap by more than 0.9, as those of parallel
lamellae do."""
Images = NDArray[np.uint8]


def _mean(term: str, factor: float = 1.0) -> Callable[[Sums], Array]:
    return lambda s: factor * s[term] / s["n"]


def _copied(s: Sums) -> Array:
    return 100.0 * s[COPIES] / s[IMAGES]


def _distance(group: str) -> Metric:
    term, named = DISTANCE + group, group.replace("_", " ")
    return Metric(
        f"{group}_distance",
        f"Distance of the {named} descriptors",
        "1",
        False,
        _mean(term),
        f"the part of the reconstruction score that the {named} descriptors contribute",
        (term, "n"),
        scale=LOGIT,
        loss=term_loss(term),
    )


METRICS = (
    Metric(
        "reconstruction_score",
        "Reconstruction score",
        "1",
        False,
        _mean(SCORE),
        "mean over exemplars and five groups of descriptors of min(1, √(D / D₀)), D the unbiased"
        " energy distance of the images to realisations, D₀ that of white noise of the exemplar's"
        " volume fraction; D below 0 counts as 0",
        (SCORE, "n"),
        scale=LOGIT,
        loss=term_loss(SCORE),
    ),
    Metric(
        "stiffness_error",
        "Error of the mean stiffness",
        "%",
        False,
        _mean(STIFFNESS, 100.0),
        "mean over exemplars, C1111 and C2222 of |mean over images - mean over realisations| of the"
        " effective constant, relative to the latter; phase 1 ten times as stiff",
        (STIFFNESS, "n"),
        scale=LOG,
        loss=term_loss(STIFFNESS),
    ),
    *map(_distance, GROUPS),
    Metric(
        "volume_fraction_error",
        "Error of the volume fraction",
        "%",
        False,
        _mean(FRACTION, 100.0),
        "mean over exemplars of |mean share of phase 1 - that of the realisations|, in % of the"
        " image",
        (FRACTION, "n"),
        scale=LOG,
        loss=term_loss(FRACTION),
    ),
    Metric(
        "diversity",
        "Diversity",
        "1",
        True,
        _mean(DIVERSITY),
        "mean over exemplars of the share of cells in which two images differ, relative to that of"
        " two realisations, at most 1",
        (DIVERSITY, "n"),
        scale=LOGIT,
        loss=term_loss(DIVERSITY, sign=-1.0),
    ),
    Metric(
        "copied_images",
        "Copied images",
        "%",
        False,
        _copied,
        "share of images that repeat the exemplar, a realisation or a further one, whole or in a"
        " patch of 32 x 32 cells (one at every eighth cell), shifted, turned or mirrored, beyond"
        " the exemplar's limits",
        (COPIES, IMAGES),
        scale=LOGIT_PERCENT,
        loss=term_loss(COPIES),
    ),
)


class Reference(NamedTuple):
    """What the images of one sample are compared with."""

    exemplar: Images
    """Shape (n, n)."""
    realisations: Images
    """Shape (realisations, n, n)."""
    further: Images
    """Shape (further, n, n)."""
    periodic: bool
    noise: Array
    """Energy distance of white noise by group, shape (groups,)."""
    stiffness: Array
    """Mean C1111 and C2222 of the realisations, shape (2,)."""
    limits: Array
    """Overlap beyond which an image is a copy: whole, and in a patch, shape (2,)."""


def present(images: Images) -> Images:
    """Those of some images that are not blank."""
    return images[(images != BLANK).any(axis=(1, 2))]


def copies_among(images: Images, reference: Reference) -> NDArray[np.bool_]:
    """Which images are copies, shape (images,); none where a copy cannot be told.

    Patches at every eighth cell are searched for in all public images of the material: whatever
    is copied as a block of 40 x 40 cells or more holds one of them.
    """
    public = [reference.exemplar[None], reference.realisations, reference.further]
    found = largest_overlaps(images, np.concatenate(public), stride=FINE)
    whole, patch = np.where(reference.limits > TELLABLE, np.inf, reference.limits)
    return (found.whole > whole) | (found.patch > patch)


def diversity(images: Images) -> float:
    """Share of cells in which two of some images differ, mean over pairs."""
    count = len(images)
    ones = images.sum(axis=0, dtype=np.int64)
    unlike = (ones * (count - ones)).sum()
    return float(unlike / (images[0].size * count * (count - 1) / 2))


def ensemble_terms(images: Images, reference: Reference) -> dict[str, float]:
    """Terms of one sample.

    Args:
        images: 0 and 1, shape (images, n, n).
        reference: what they are compared with.

    Raises:
        UserError: PyTorch, which the stiffness needs, is not installed.
    """
    real = reference.realisations
    distances = group_distances(images, real, periodic=reference.periodic)
    shares = np.minimum(1.0, np.sqrt(np.maximum(distances, 0.0) / reference.noise))
    error = np.abs(stiffness_of(images).mean(axis=0) - reference.stiffness) / reference.stiffness
    between = diversity(real)
    return {
        "n": 1.0,
        SCORE: float(shares.mean()),
        **{DISTANCE + name: float(share) for name, share in zip(GROUPS, shares, strict=True)},
        STIFFNESS: float(error.mean()),
        FRACTION: abs(float(images.mean()) - float(real.mean())),
        DIVERSITY: min(1.0, diversity(images) / between) if between > 0 else 1.0,
        COPIES: float(copies_among(images, reference).sum()),
        IMAGES: float(len(images)),
    }

"""Targets of one class per pixel, such as the phases of a micrograph."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from etchmark import predictions
from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.predictions import Declared
from etchmark.predictions.checks import listing, refuse
from etchmark.predictions.reading import Cells
from etchmark.predictions.streaming import StreamedPredictions, read_streamed
from etchmark.targets.base import (
    Array,
    Job,
    Metric,
    Outcome,
    Part,
    StoredArrays,
    Sums,
    TargetKind,
    Trivial,
    Truth,
)
from etchmark.targets.evidence import Evidence

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
BLANK = 255
"""What a template holds: the number of no class."""
ROWS_AT_ONCE = 10


def _of_classes(s: Sums, prefix: str) -> Array:
    return np.stack([s[name] for name in sorted(s) if name.startswith(prefix)])


def _ratio(part: Array, whole: Array) -> Array:
    """A share of each class; NaN for a class that occurs nowhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _mean_iou(s: Sums) -> Array:
    hits, true, predicted = (_of_classes(s, prefix) for prefix in (HIT, TRUE, PREDICTED))
    shares = _ratio(hits, true + predicted - hits)
    defined = ~np.isnan(shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, shares, 0.0).sum(axis=0) / defined.sum(axis=0)


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
    return Metric(f"{IOU}:{name}", title, "1", True, finish, definition, terms)


METRICS = (
    Metric(
        "mean_iou",
        "Mean intersection over union",
        "1",
        True,
        _mean_iou,
        "mean of TP / (TP + FP + FN) over the classes that occur in labels or predictions",
        (f"{HIT}*", f"{TRUE}*", f"{PREDICTED}*"),
    ),
    Metric(
        "pixel_accuracy",
        "Pixel accuracy",
        "1",
        True,
        _pixel_accuracy,
        "share of pixels whose class is predicted",
        (f"{HIT}*", "n"),
    ),
    Metric(
        "pixel_error",
        "Pixel error",
        "1",
        False,
        _pixel_error,
        "share of pixels whose class is not predicted",
        (f"{HIT}*", "n"),
    ),
    Metric(
        "boundary_f1",
        "Boundary F1",
        "1",
        True,
        _boundary_f1,
        "mean over images of the F1 of boundary pixels that match within 0.75 % of the diagonal",
        ("sum_boundary_f1", "images"),
    ),
    Metric(
        "particle_size_ks",
        "Distance of the particle sizes",
        "1",
        False,
        _particle_size_ks,
        "largest difference of the cumulative distributions of particle area, 4 bins per octave",
        (f"{SIZE_TRUE}*", f"{SIZE_PREDICTED}*"),
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

    # Beyond the edge of the image nothing is known, so the edge is no boundary.
    return member & ~ndimage.binary_erosion(member, border_value=1)


def _matched(some: NDArray[np.bool_], others: NDArray[np.bool_], tolerance: float) -> float:
    """Share of boundary pixels that lie near one of the others."""
    from scipy import ndimage

    distance = cast(np.ndarray, ndimage.distance_transform_edt(~others))
    return float((distance[some] <= tolerance).mean())


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


# --- the kind ----------------------------------------------------------------------------------


class MaskKind(TargetKind):
    name = "mask"
    metrics = METRICS
    sample_metric = "pixel_error"
    streamed = True

    def metric(self, name: str) -> Metric | None:
        family, _, of_class = name.partition(":")
        return iou_metric(of_class) if family == IOU and of_class else super().metric(name)

    def term_names(self, target: Any) -> tuple[str, ...]:
        classes = [prefix + name for prefix in (HIT, TRUE, PREDICTED) for name in target.classes]
        sizes = [
            f"{prefix}{place:02d}"
            for prefix in (SIZE_TRUE, SIZE_PREDICTED)
            for place in range(SIZE_BINS)
        ]
        return ("n", "images", "sum_boundary_f1", *classes, *sizes)

    def facts(self, target: Any) -> list[tuple[str, str]]:
        named = ", ".join(f"{place} {name}" for place, name in enumerate(target.classes))
        return [("classes", named)]

    def cells(self, target: Any) -> Cells:
        return "uint8"

    def prediction_note(self, target: Any) -> str | None:
        named = ", ".join(f"{place} `{name}`" for place, name in enumerate(target.classes))
        return (
            "A prediction is a list of uint8, the class of every pixel, row by row: "
            f"{named}. Parquet holds lists, CSV does not."
        )

    def read(self, columns: Columns, target: Any) -> StoredArrays:
        return StoredArrays(columns, target.column)

    def checked(self, returned: Any, rows: int, shape: Sequence[int], target: Any) -> np.ndarray:
        values = np.asarray(returned)
        if values.dtype.kind not in "biu":
            raise ValueError(f"predict returned {values.dtype}, not whole numbers")
        if values.shape != (rows, *shape):
            raise ValueError(f"predict returned shape {values.shape}, expected {(rows, *shape)}")
        count = len(target["classes"])
        if values.size and not 0 <= values.min() <= values.max() < count:
            raise ValueError(f"predict returned classes beyond 0 to {count - 1}")
        return values.astype(np.uint8)

    def write(
        self, path: Path, parts: Iterable[Part], declared: Declared, *, seeds: bool = True
    ) -> None:
        predictions.write_parts(path, parts, declared=declared, kind=np.uint8)

    def write_template(
        self, folder: Path, truths: Iterable[Truth], target: Any, declared: Declared
    ) -> list[Path]:
        path = folder / "predictions.parquet"
        predictions.write_parts(path, _blank(truths), declared=declared, kind=np.uint8)
        return [path]

    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> StreamedPredictions:
        elements = max(math.prod(shape) for shape in shapes)
        return read_streamed(path, rows=rows, elements=elements, cells="uint8")

    def check_values(self, path: Path, given: Any, target: Any) -> None:
        """Nothing yet: values are checked as they are read."""

    def measure(
        self, path: Path, given: StreamedPredictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        tallies = {split: _Tally(job) for split, job in jobs.items()}
        tally_of = {row: tally for tally in tallies.values() for row in tally.places}
        odd: list[str] = []
        for row, values in given.values():
            tally, name = tally_of[row], given.ids[row]
            shape = tally.labels.shape[1:]
            if len(values) != math.prod(shape):
                raise refuse(
                    path,
                    f"the prediction of {name!r} has {len(values):,} values",
                    f"its split asks for {math.prod(shape):,}, shape {shape} flattened",
                )
            if values.max(initial=0) >= len(tally.classes):
                odd.append(name)
            elif not odd:
                tally.add(row, values.reshape(shape))
        if odd:
            count = len(next(iter(tallies.values())).classes)
            raise refuse(
                path,
                f"{len(odd)} predictions hold numbers that are no class (ids {listing(odd)})",
                f"the classes are 0 to {count - 1}; fill every pixel of the template",
            )
        return {split: tally.outcome() for split, tally in tallies.items()}

    def column_type(self, name: str) -> pa.DataType | None:
        own = name in ("n", "images", "sum_boundary_f1")
        prefixes = (HIT, TRUE, PREDICTED, SIZE_TRUE, SIZE_PREDICTED)
        return pa.float64() if own or name.startswith(prefixes) else None


def _blank(truths: Iterable[Truth]) -> Iterator[Part]:
    for truth in truths:
        for start in range(0, len(truth.ids), ROWS_AT_ONCE):
            ids = truth.ids[start : start + ROWS_AT_ONCE]
            empty = np.full((len(ids), *truth.target.shape[1:]), BLANK, dtype=np.uint8)
            yield ids, empty, np.zeros(len(ids), dtype=np.int64)


class _Tally:
    """Terms of the samples of one split, filled in as predictions come."""

    def __init__(self, job: Job) -> None:
        self.job, self.labels = job, job.truth.target
        self.classes: list[str] = job.target.classes
        self.shape = (len(job.seeds), len(job.truth.ids))
        self.terms: dict[str, np.ndarray] = {}
        self.picture: bytes | None = None
        uniform = "masks of one class"
        self.evidence = Evidence(*self.shape, measured=False, uniform=uniform)
        places = np.stack(np.unravel_index(np.arange(job.order.size), self.shape), axis=1)
        self.places = dict(zip(job.order.ravel().tolist(), places.tolist(), strict=True))

    def label(self, sample: int) -> NDArray[np.uint8]:
        """The mask of a sample.

        Raises:
            UserError: it holds a number that is no class.
        """
        mask = self.labels[sample]
        if mask.min() < 0 or mask.max() >= len(self.classes):
            raise UserError(
                f"{self.job.benchmark}: column {self.job.target.column!r} holds numbers beyond the"
                f" {len(self.classes)} classes of the target; fix the dataset or the benchmark"
            )
        return mask.astype(np.uint8)

    def add(self, row: int, predicted: NDArray[np.uint8]) -> None:
        seed, sample = self.places[row]
        truth = self.label(sample)
        self.evidence.add(seed, slice(sample, sample + 1), truth[None], predicted[None])
        terms = self._terms(truth, predicted, self.job.metrics)
        for name, value in terms.items():
            self.terms.setdefault(name, np.full(self.shape, np.nan))[seed, sample] = value
        if self.job.pictured and (seed, sample) == (0, 0):
            self.picture = picture(truth, predicted, len(self.classes))

    def _terms(
        self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], wanted: Iterable[str]
    ) -> dict[str, float]:
        return mask_terms(truth, predicted, self.classes, self.job.target.particles, wanted)

    def outcome(self) -> Outcome:
        return Outcome(
            terms=self.terms,
            picture=self.picture,
            evidence=self.evidence,
            trivial=self._most_frequent(),
        )

    def _most_frequent(self) -> Trivial:
        """Terms of the most frequent class of the training masks, predicted for every pixel.

        Those that take long are left out: where the primary metric reads them, nothing is said.
        """
        terms: dict[str, np.ndarray] = {}
        rows = np.arange(self.shape[1])
        for samples, learnt in self.job.training():
            counts = np.zeros(len(self.classes), dtype=np.int64)
            for number in range(len(learnt)):
                counts += np.bincount(learnt[number].ravel(), minlength=len(self.classes))
            for sample in rows[samples].tolist():
                truth = self.label(sample)
                guess = np.full_like(truth, counts.argmax())
                for name, value in self._terms(truth, guess, ()).items():
                    terms.setdefault(name, np.full(self.shape[1], np.nan))[sample] = value
        return Trivial(terms, "predicting the most frequent training class for every pixel")


def picture(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> bytes:
    """Label and prediction side by side as a grey PNG; classes from black to white."""
    grey = (np.arange(classes) * 255 / max(1, classes - 1)).round().astype(np.uint8)
    buffer = io.BytesIO()
    both = np.concatenate([grey[truth], grey[predicted]], axis=1)
    Image.fromarray(both).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


KIND = MaskKind()

"""Targets of one class per pixel, such as the phases of a micrograph."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.predictions.checks import listing, number_of, refuse
from etchmark.predictions.reading import Cells
from etchmark.predictions.streaming import StreamedPredictions
from etchmark.targets.base import Job, Outcome, Trivial, whole_numbers
from etchmark.targets.cells import CellRule, whole_numbers_of_rank
from etchmark.targets.definitions import Metric
from etchmark.targets.evidence import MASKS, Evidence
from etchmark.targets.labels import StoredArrays
from etchmark.targets.mask.metrics import (
    AREA,
    AREA_ERROR,
    BOUNDARY,
    HIT,
    IMAGE_IOU,
    IOU,
    METRICS,
    PREDICTED,
    SIZE_BINS,
    SIZE_PREDICTED,
    SIZE_TRUE,
    TRUE,
    area_metric,
    confusion,
    iou_metric,
    mask_terms,
    mean_iou,
)
from etchmark.targets.pictures import Pictures, from_png, pairs, to_png
from etchmark.targets.streamed import StreamedKind, Tally, fill

CONFUSION = "confusion"
"""Column of the per-sample table: pixels by true class and by predicted class, flattened."""
MAX_CONFUSED = 16
"""Classes up to which it is kept."""
SAMPLES = "samples"
"""Key of the text in the kept PNG: ids of the images from the worst to the best, as JSON."""
PICTURED = {1: ("the only image",), 2: ("worst", "best"), 3: ("worst", "median", "best")}
MAX_SIDE = 512
"""Pixels of an image that are kept along each axis, from its upper left corner."""


class MaskKind(StreamedKind):
    name = "mask"
    metrics = METRICS
    sample_metric = "pixel_error"
    stored = np.uint8
    unfilled = 255.0  # The number of no class.
    least_samples = 1  # A single picture holds very many pixels.

    def metric(self, name: str) -> Metric | None:
        family, _, of_class = name.partition(":")
        if of_class and family in (IOU, AREA_ERROR):
            return iou_metric(of_class) if family == IOU else area_metric(of_class)
        return super().metric(name)

    def families(self, target: Any) -> list[str]:
        return [f"{family}:{name}" for family in (IOU, AREA_ERROR) for name in target.classes]

    def term_names(self, target: Any) -> tuple[str, ...]:
        prefixes = (HIT, TRUE, PREDICTED, AREA)
        classes = [prefix + name for prefix in prefixes for name in target.classes]
        sizes = [
            f"{prefix}{place:02d}"
            for prefix in (SIZE_TRUE, SIZE_PREDICTED)
            for place in range(SIZE_BINS)
        ]
        return ("n", "images", IMAGE_IOU, BOUNDARY, *classes, *sizes)

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

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        return {"column": whole_numbers_of_rank(2)}

    def check_stored(self, columns: Columns, target: Any, benchmark: str, *, scored: bool) -> None:
        for masks in columns.batches(target.column):
            _check_classes(masks, target, benchmark)

    def read(self, columns: Columns, target: Any) -> StoredArrays:
        return StoredArrays(columns, target.column)

    def checked(self, returned: Any, rows: int, shape: Sequence[int], target: Any) -> np.ndarray:
        values, count = whole_numbers(returned, rows, shape), len(target["classes"])
        if values.size and not 0 <= values.min() <= values.max() < count:
            raise ValueError(
                f"predict returned numbers that stand for no class; return 0 to {count - 1}"
            )
        return values.astype(np.uint8)

    def measure(
        self, path: Path, given: StreamedPredictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        tallies = {split: _Tally(job) for split, job in jobs.items()}
        classes = next(iter(tallies.values())).classes
        odd = fill(tallies, path, given, lambda values: values.max(initial=0) < len(classes))
        if odd:
            names = ", ".join(f"{place} for {name}" for place, name in enumerate(classes))
            verb = "holds" if len(odd) == 1 else "hold"
            raise refuse(
                path,
                f"{number_of(len(odd), 'prediction')} {verb} numbers that stand for no class"
                f" (ids {listing(odd)})",
                f"write the number of a class into every pixel: {names}",
            )
        for split, pictured in _pictures(given, tallies).items():
            tallies[split].picture = pictured
        return {split: tally.outcome() for split, tally in tallies.items()}

    def pictures(self, content: bytes, ids: Sequence[str]) -> Pictures:
        """Pixels of the pictures are numbers of classes."""
        pixels, text = from_png(content, SAMPLES)
        samples = json.loads(text)
        if not isinstance(samples, list) or not set(samples) <= set(ids):
            raise ValueError("no picture of predictions (of other samples)")
        truth, predicted = pairs(pixels, len(samples))
        if len(samples) not in PICTURED:
            raise ValueError(f"no picture of predictions ({len(samples)} images)")
        return Pictures(samples, list(PICTURED[len(samples)]), truth, predicted)

    def column_type(self, name: str) -> pa.DataType | None:
        if name == CONFUSION:
            return pa.list_(pa.int32())
        own = name in ("n", "images", IMAGE_IOU, BOUNDARY)
        prefixes = (HIT, TRUE, PREDICTED, AREA, SIZE_TRUE, SIZE_PREDICTED)
        return pa.float64() if own or name.startswith(prefixes) else None


def _check_classes(masks: np.ndarray, target: Any, benchmark: str) -> None:
    """Refuse masks with a number that is not a class; any shape.

    Raises:
        UserError: there is one.
    """
    if masks.size and not 0 <= masks.min() <= masks.max() < len(target.classes):
        raise UserError(
            f"{benchmark}: column {target.column!r} holds numbers beyond the"
            f" {len(target.classes)} classes of the target; fix the dataset or the benchmark"
        )


class _Tally(Tally):
    def __init__(self, job: Job) -> None:
        super().__init__(job, job.truth.target.shape[1:])
        self.labels = job.truth.target
        self.classes: list[str] = job.target.classes
        self.terms: dict[str, np.ndarray] = {}
        self.confusion: np.ndarray | None = None
        if len(self.classes) <= MAX_CONFUSED:
            self.confusion = np.zeros((*self.shape, len(self.classes) ** 2), dtype=np.int32)
        self.picture: bytes | None = None
        uniform = "masks of one class"
        self.evidence = Evidence(*self.shape, equality=MASKS, measured=False, uniform=uniform)

    def label(self, sample: int) -> NDArray[np.uint8]:
        """The mask of a sample.

        Raises:
            UserError: it holds a number that is not a class.
        """
        mask = self.labels[sample]
        _check_classes(mask, self.job.target, self.job.benchmark)
        return mask.astype(np.uint8)

    def add(self, row: int, predicted: np.ndarray) -> None:
        seed, sample = self.places[row]
        truth = self.label(sample)
        self.evidence.add(seed, slice(sample, sample + 1), truth[None], predicted[None])
        self.evidence.telling[sample] = bool((truth != truth.flat[0]).any())
        terms = self._terms(truth, predicted, self.job.metrics)
        for name, value in terms.items():
            self.terms.setdefault(name, np.full(self.shape, np.nan))[seed, sample] = value
        if self.confusion is not None:
            self.confusion[seed, sample] = confusion(truth, predicted, len(self.classes)).ravel()

    def _terms(
        self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], wanted: Iterable[str]
    ) -> dict[str, float]:
        return mask_terms(truth, predicted, self.classes, self.job.target.particles, wanted)

    def outcome(self) -> Outcome:
        return Outcome(
            terms=self.terms,
            outputs={} if self.confusion is None else {CONFUSION: self.confusion},
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


def _pictures(given: StreamedPredictions, tallies: Mapping[str, _Tally]) -> dict[str, bytes]:
    """The worst, the median and the best image of each split that is to be pictured, as PNGs.

    Which they are is only known once all are scored, so the file is read again for them.
    """
    kept: dict[int, NDArray[np.uint8]] = {}
    wanted: dict[str, list[int]] = {}
    for split, tally in tallies.items():
        if tally.job.pictured:
            first = mean_iou({name: values[0] for name, values in tally.terms.items()})
            order = np.argsort(first, kind="stable")
            places = sorted({0, len(order) // 2, len(order) - 1})
            wanted[split] = order[places].tolist()
    rows = {
        int(tallies[split].job.order[0, sample]) for split in wanted for sample in wanted[split]
    }
    for row, values in given.values() if rows else ():
        if row in rows:
            kept[row] = values.astype(np.uint8)
        if len(kept) == len(rows):
            break
    return {split: _picture(tallies[split], samples, kept) for split, samples in wanted.items()}


def _picture(tally: _Tally, samples: list[int], kept: Mapping[int, NDArray[np.uint8]]) -> bytes:
    corner = (slice(None), slice(MAX_SIDE), slice(MAX_SIDE))
    truth = np.stack([tally.label(sample) for sample in samples])
    predicted = np.stack([kept[int(tally.job.order[0, sample])] for sample in samples])
    ids = [str(tally.job.truth.ids[sample]) for sample in samples]
    return to_png(truth[corner], predicted.reshape(truth.shape)[corner], SAMPLES, json.dumps(ids))


KIND = MaskKind()

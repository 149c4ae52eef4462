"""Targets of one class per pixel, such as the phases of a micrograph."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
    Job,
    Metric,
    Outcome,
    Part,
    StoredArrays,
    TargetKind,
    Trivial,
    Truth,
)
from etchmark.targets.evidence import Evidence
from etchmark.targets.mask.metrics import (
    HIT,
    IOU,
    METRICS,
    PREDICTED,
    SIZE_BINS,
    SIZE_PREDICTED,
    SIZE_TRUE,
    TRUE,
    iou_metric,
    mask_terms,
)

BLANK = 255
"""What a template holds: the number of no class."""
ROWS_AT_ONCE = 10


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

"""Targets of several images that are statistically equivalent to an exemplar."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark.columns import Columns
from etchmark.descriptors import GROUPS
from etchmark.errors import UserError
from etchmark.predictions.checks import listing, number_of, refuse
from etchmark.predictions.reading import Cells
from etchmark.predictions.streaming import StreamedPredictions
from etchmark.targets.base import Job, Outcome, whole_numbers
from etchmark.targets.cells import (
    WHOLE_NUMBER,
    CellRule,
    numbers_of_shape,
    whole_numbers_of_rank,
)
from etchmark.targets.ensemble.metrics import (
    BLANK,
    METRICS,
    SCORE,
    TERMS,
    Images,
    Reference,
    ensemble_terms,
    present,
)
from etchmark.targets.evidence import MASKS, Evidence
from etchmark.targets.labels import StoredArrays
from etchmark.targets.pictures import Pictures, from_png, pairs, to_png
from etchmark.targets.streamed import StreamedKind, Tally, fill

SAMPLES = "samples"
"""Key of the text in the kept PNG: ids of the exemplars from the best to the worst, as JSON."""
PICTURED = 4
"""Exemplars that are pictured at most: the best, the worst, and evenly many between."""


class EnsembleKind(StreamedKind):
    name = "ensemble"
    metrics = METRICS
    sample_metric = "reconstruction_score"
    stored = np.uint8
    unfilled = float(BLANK)
    piece = "exemplar"

    def term_names(self, target: Any) -> tuple[str, ...]:
        return TERMS

    def facts(self, target: Any) -> list[tuple[str, str]]:
        return [("images of each exemplar", str(target.images))]

    def cells(self, target: Any) -> Cells:
        return "uint8"

    def prediction_note(self, target: Any) -> str | None:
        return (
            f"A prediction is a list of uint8, 0 or 1 for every cell of {target.images} images as"
            f" large as `{target.exemplar_column}`, image by image and row by row. Parquet holds"
            " lists, CSV does not."
        )

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        images = whole_numbers_of_rank(3)
        return {
            "column": images,
            "exemplar_column": whole_numbers_of_rank(2),
            "further_column": images,
            "periodic_column": WHOLE_NUMBER,
            "noise_column": numbers_of_shape([len(GROUPS)]),
            "stiffness_column": numbers_of_shape([2]),
            "limit_column": numbers_of_shape([2]),
        }

    def check_stored(self, columns: Columns, target: Any, benchmark: str, *, scored: bool) -> None:
        for row in range(columns.height):
            reference_of(columns, target, row, benchmark)

    def read(self, columns: Columns, target: Any) -> StoredArrays:
        return StoredArrays(columns, target.column)

    def prediction_shape(self, labels: Any, target: Any) -> tuple[int, ...]:
        return (target.images, *labels.shape[2:])

    def checked(self, returned: Any, rows: int, shape: Sequence[int], target: Any) -> np.ndarray:
        values = whole_numbers(returned, rows, shape)
        if values.size and not 0 <= values.min() <= values.max() <= 1:
            raise ValueError("predict returned other numbers than 0 and 1")
        return values.astype(np.uint8)

    def measure(
        self, path: Path, given: StreamedPredictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        tallies = {split: _Tally(job) for split, job in jobs.items()}
        odd = fill(tallies, path, given, lambda values: values.max(initial=0) <= 1)
        if odd:
            verb = "holds" if len(odd) == 1 else "hold"
            raise refuse(
                path,
                f"{number_of(len(odd), 'prediction')} {verb} other numbers than 0 and 1"
                f" (ids {listing(odd)})",
                "write the phase of every cell, 0 or 1",
            )
        return {split: tally.outcome() for split, tally in tallies.items()}

    def column_type(self, name: str) -> pa.DataType | None:
        return pa.float64() if name in TERMS else None

    def pictures(self, content: bytes, ids: Sequence[str]) -> Pictures:
        """Pixels of the pictures are phases; the exemplar stands as the truth."""
        pixels, text = from_png(content, SAMPLES)
        samples = json.loads(text)
        if not isinstance(samples, list) or not set(samples) <= set(ids):
            raise ValueError("no picture of predictions (of other samples)")
        exemplars, images = pairs(pixels, len(samples))
        return Pictures(samples, [str(sample) for sample in samples], exemplars, images)


def reference_of(columns: Columns, target: Any, row: int, benchmark: str) -> Reference:
    """What the images of a sample are compared with.

    Raises:
        UserError: a stored image holds other values than its phases, or has another size; there
            are fewer than two realisations; a distance of noise or a stiffness is not positive.
    """

    def cell(name: str) -> np.ndarray:
        return np.asarray(columns.rows(name, row, row + 1)[0])

    exemplar, further = cell(target.exemplar_column), cell(target.further_column)
    realisations = present(cell(target.column))
    named = {
        target.exemplar_column: exemplar[None],
        target.column: realisations,
        target.further_column: further,
    }
    for column, images in named.items():
        if images.shape[1:] != exemplar.shape or not np.isin(images, (0, 1)).all():
            raise UserError(
                f"{benchmark}: column {column!r} of row {row} does not hold images of 0 and 1 of"
                f" {exemplar.shape} cells; fix the dataset or the benchmark"
            )
    numbers = {
        column: cell(column).astype(np.float64)
        for column in (target.noise_column, target.stiffness_column, target.limit_column)
    }
    for column, values in numbers.items():
        if not (values > 0).all() or len(realisations) < 2:
            what = f"column {column!r} holds numbers that are not positive"
            if len(realisations) < 2:
                what = f"column {target.column!r} holds fewer than two realisations"
            raise UserError(f"{benchmark}: {what} in row {row}; fix the dataset or the benchmark")
    return Reference(
        exemplar,
        realisations,
        further,
        bool(cell(target.periodic_column)),
        *numbers.values(),
    )


class _Tally(Tally):
    def __init__(self, job: Job) -> None:
        super().__init__(job, KIND.prediction_shape(job.truth.target, job.target))
        self.terms = {name: np.full(self.shape, np.nan) for name in TERMS}
        self.kept: dict[int, tuple[Images, Images]] = {}
        self.evidence = Evidence(
            *self.shape, equality=MASKS, measured=False, uniform="images of one phase"
        )
        # Copies have a metric of their own.
        self.evidence.telling[:] = False

    def add(self, row: int, predicted: np.ndarray) -> None:
        images: Images = predicted.astype(np.uint8)
        seed, sample = self.places[row]
        job = self.job
        reference = reference_of(job.columns, job.target, sample, job.benchmark)
        for name, value in ensemble_terms(images, reference).items():
            self.terms[name][seed, sample] = value
        exemplar = reference.exemplar
        self.evidence.add(seed, slice(sample, sample + 1), exemplar[None], images[:1])
        if seed == 0 and job.pictured:
            self.kept[sample] = exemplar.astype(np.uint8), images[0]

    def outcome(self) -> Outcome:
        return Outcome(terms=self.terms, picture=self._picture(), evidence=self.evidence)

    def _picture(self) -> bytes | None:
        if not self.kept:
            return None
        order = np.argsort(self.terms[SCORE][0], kind="stable")
        count = min(PICTURED, len(order))
        places = order[np.linspace(0, len(order) - 1, count).round().astype(int)].tolist()
        exemplars, images = (
            np.stack([self.kept[place][side] for place in places]) for side in (0, 1)
        )
        ids = [str(self.job.truth.ids[place]) for place in places]
        return to_png(exemplars, images, SAMPLES, json.dumps(ids))


KIND = EnsembleKind()

"""Kinds whose predictions may not fit into memory: written, read and scored sample by sample."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from etchmark import predictions
from etchmark.predictions import Declared
from etchmark.predictions.checks import refuse
from etchmark.predictions.streaming import StreamedPredictions, read_streamed
from etchmark.predictions.writing import FRAMES_ROWS
from etchmark.targets.base import Job, Outcome, Part, TargetKind
from etchmark.targets.labels import Truth


class StreamedKind(TargetKind):
    """Predictions that are written and read a few samples at a time."""

    streamed = True
    stored: ClassVar[type[np.floating] | type[np.uint8]] = np.float16
    """Precision of the values in a predictions file."""
    unfilled: ClassVar[float] = np.nan
    """What a template holds: a value that no prediction may have."""

    def write(
        self, path: Path, parts: Iterable[Part], declared: Declared, *, seeds: bool = True
    ) -> None:
        predictions.write_parts(path, parts, declared=declared, kind=self.stored)

    def write_template(
        self, folder: Path, truths: Iterable[Truth], target: Any, declared: Declared
    ) -> list[Path]:
        path = folder / "predictions.parquet"
        self.write(path, self._unfilled(truths, target), declared)
        return [path]

    def _unfilled(self, truths: Iterable[Truth], target: Any) -> Iterator[Part]:
        for truth in truths:
            shape = self.prediction_shape(truth.target, target)
            for start in range(0, len(truth.ids), FRAMES_ROWS):
                ids = truth.ids[start : start + FRAMES_ROWS]
                empty = np.full((len(ids), *shape), self.unfilled, dtype=self.stored)
                yield ids, empty, np.zeros(len(ids), dtype=np.int64)

    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> StreamedPredictions:
        return read_streamed(path, rows=rows, shapes=shapes, cells=self.cells(target))

    def check_values(self, path: Path, given: Any, target: Any) -> None:
        """Nothing yet: values are checked as they are read."""


class Tally(ABC):
    """Terms of the samples of one split, filled in as predictions come.

    Args:
        job: the split.
        asked: shape of the prediction of a sample.
    """

    def __init__(self, job: Job, asked: Sequence[int]) -> None:
        self.job, self.asked = job, tuple(asked)
        self.shape = (len(job.seeds), len(job.truth.ids))
        places = np.stack(np.unravel_index(np.arange(job.order.size), self.shape), axis=1)
        self.places = dict(zip(job.order.ravel().tolist(), places.tolist(), strict=True))
        """Seed and sample of each row of the file."""

    @abstractmethod
    def add(self, row: int, predicted: np.ndarray) -> None:
        """Take the prediction in a row of the file, of the shape that was asked for."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """What is kept of the split, once every sample has been taken."""


def fill(
    tallies: Mapping[str, Tally],
    path: Path,
    given: StreamedPredictions,
    allowed: Callable[[np.ndarray], bool],
) -> list[str]:
    """Read a file once and add each row to the tally of its split.

    Args:
        tallies: by split.
        path: named in messages.
        given: the predictions.
        allowed: whether the target can have these values; shape (values,).

    Returns:
        Ids of the predictions whose values are not allowed. If there is one, no tally is whole.

    Raises:
        UserError: a prediction has another length than its split asks for.
    """
    tally_of = {row: tally for tally in tallies.values() for row in tally.places}
    odd: list[str] = []
    for row, values in given.values():
        tally, name = tally_of[row], given.ids[row]
        if len(values) != math.prod(tally.asked):
            raise refuse(
                path,
                f"the prediction of {name!r} has {len(values):,} values",
                f"its split asks for {math.prod(tally.asked):,}, shape {tally.asked} flattened",
            )
        if not allowed(values):
            odd.append(name)
        elif not odd:
            tally.add(row, values.reshape(tally.asked))
    return odd

"""Targets of frames: how a microstructure evolves after the frames that are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import predictions
from etchmark.columns import Columns
from etchmark.predictions import Declared
from etchmark.predictions.streaming import StreamedPredictions, read_streamed
from etchmark.predictions.writing import FRAMES_ROWS
from etchmark.targets.base import Job, Outcome, Part, TargetKind
from etchmark.targets.cells import WHOLE_NUMBER, CellRule, numbers_of_shape
from etchmark.targets.frames.metrics import FRAME_METRICS, FRAME_TERMS
from etchmark.targets.frames.rollouts import decode
from etchmark.targets.frames.tally import FRAME, FrameTally, fill
from etchmark.targets.frames.trajectories import (
    TRAJECTORY_METRICS,
    TRAJECTORY_TERMS,
    trajectory_terms,
)
from etchmark.targets.labels import StoredArrays, Truth
from etchmark.targets.pictures import Pictures
from etchmark.targets.values import VALUE_METRICS, VALUE_TERMS


class FramesKind(TargetKind):
    name = "frames"
    metrics = (*VALUE_METRICS, *TRAJECTORY_METRICS, *FRAME_METRICS)
    sample_metric = "rmse"
    streamed = True
    piece = "frame"

    def term_names(self, target: Any) -> tuple[str, ...]:
        return (*VALUE_TERMS, *FRAME_TERMS, *TRAJECTORY_TERMS)

    def derived_terms(self, terms: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return trajectory_terms(terms)

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        frames = numbers_of_shape([None, *(target.shape[1:] if released else (None, None))])
        return {"column": frames, "context_column": frames, "horizon_column": WHOLE_NUMBER}

    def read(self, columns: Columns, target: Any) -> StoredArrays:
        return StoredArrays(columns, target.column, target.first)

    def input_limits(self, target: Any) -> dict[str, int]:
        return {} if target.first is None else {target.horizon_column: target.first}

    def prediction_note(self, target: Any) -> str | None:
        return (
            "A prediction is a list of floats, all values of its frames, time first: as many frames"
            f" as `{target.horizon_column}` says, each as large as those of"
            f" `{target.context_column}`. Parquet holds lists, CSV does not; float16 is precise"
            " enough."
        )

    def pieces(self, shape: Sequence[int]) -> int:
        return shape[0]

    def write(
        self, path: Path, parts: Iterable[Part], declared: Declared, *, seeds: bool = True
    ) -> None:
        predictions.write_parts(path, parts, declared=declared)

    def write_template(
        self, folder: Path, truths: Iterable[Truth], target: Any, declared: Declared
    ) -> list[Path]:
        path = folder / "predictions.parquet"
        predictions.write_parts(path, _blank(truths), declared=declared)
        return [path]

    def read_predictions(
        self, path: Path, rows: int, shapes: Iterable[tuple[int, ...]], target: Any
    ) -> StreamedPredictions:
        return read_streamed(path, rows=rows, shapes=shapes)

    def check_values(self, path: Path, given: Any, target: Any) -> None:
        """Nothing yet: values are checked as they are read."""

    def measure(
        self, path: Path, given: StreamedPredictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        tallies = {split: FrameTally(job) for split, job in jobs.items()}
        fill(tallies, path, given)
        return {split: tally.outcome() for split, tally in tallies.items()}

    def column_type(self, name: str) -> pa.DataType | None:
        if name.startswith(FRAME):
            return pa.list_(pa.float32())
        return pa.float64() if name in (*VALUE_TERMS, *FRAME_TERMS) else None

    def horizon(self, outcome: Outcome) -> np.ndarray | None:
        return outcome.outputs.get(f"{FRAME}squared_error")

    def pictures(self, content: bytes, ids: Sequence[str]) -> Pictures:
        return decode(ids[0], content)


def _blank(truths: Iterable[Truth]) -> Iterator[Part]:
    """Rows of a file to fill, a few samples at a time."""
    for truth in truths:
        for start in range(0, len(truth.ids), FRAMES_ROWS):
            ids = truth.ids[start : start + FRAMES_ROWS]
            empty = np.full((len(ids), *truth.target.shape[1:]), np.nan, dtype=np.float16)
            yield ids, empty, np.zeros(len(ids), dtype=np.int64)


KIND = FramesKind()

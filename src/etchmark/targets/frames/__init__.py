"""Targets of frames: how a microstructure evolves after the frames that are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark.columns import Columns
from etchmark.errors import UserError
from etchmark.predictions.arranging import not_finite
from etchmark.predictions.streaming import StreamedPredictions
from etchmark.targets.base import Job, Outcome
from etchmark.targets.cells import NUMBER, WHOLE_NUMBER, CellRule, numbers_of_shape
from etchmark.targets.frames.metrics import FRAME_METRICS, FRAME_TERMS
from etchmark.targets.frames.rollouts import decode
from etchmark.targets.frames.tally import FRAME, FrameTally
from etchmark.targets.frames.trajectories import (
    TRAJECTORY_METRICS,
    TRAJECTORY_TERMS,
    trajectory_terms,
)
from etchmark.targets.labels import StoredArrays, stored_numbers
from etchmark.targets.pictures import Pictures
from etchmark.targets.streamed import StreamedKind, fill
from etchmark.targets.values import VALUE_METRICS, VALUE_TERMS


class FramesKind(StreamedKind):
    name = "frames"
    metrics = (*VALUE_METRICS, *TRAJECTORY_METRICS, *FRAME_METRICS)
    sample_metric = "rmse"
    piece = "frame"

    def term_names(self, target: Any) -> tuple[str, ...]:
        return (*VALUE_TERMS, *FRAME_TERMS, *TRAJECTORY_TERMS)

    def derived_terms(self, terms: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return trajectory_terms(terms)

    def cell_rules(self, target: Any, *, released: bool) -> Mapping[str, CellRule]:
        frames = numbers_of_shape([None, *(target.shape[1:] if released else (None, None))])
        rules = {"column": frames, "context_column": frames, "horizon_column": WHOLE_NUMBER}
        if target.gradient_energy_column() is not None:
            rules["frames.energy.gradient_energy_column"] = NUMBER
        return rules

    def check_stored(self, columns: Columns, target: Any, benchmark: str, *, scored: bool) -> None:
        name = target.gradient_energy_column()
        if name is None or not scored:
            return
        values = stored_numbers(columns, name, benchmark)
        odd = values[~((values > 0) & np.isfinite(values))]
        if len(odd):
            raise UserError(
                f"{benchmark}: column {name!r} holds {odd[0]:g} where a gradient energy must be"
                " positive; correct the data, or frames.energy"
            )

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

    def measure(
        self, path: Path, given: StreamedPredictions, jobs: Mapping[str, Job]
    ) -> dict[str, Outcome]:
        tallies = {split: FrameTally(job) for split, job in jobs.items()}
        if odd := fill(tallies, path, given, lambda values: bool(np.isfinite(values).all())):
            raise not_finite(path, np.array(odd, dtype=object))
        return {split: tally.outcome() for split, tally in tallies.items()}

    def column_type(self, name: str) -> pa.DataType | None:
        if name.startswith(FRAME):
            return pa.list_(pa.float32())
        return pa.float64() if name in (*VALUE_TERMS, *FRAME_TERMS) else None

    def horizon(self, outcome: Outcome) -> np.ndarray | None:
        return outcome.outputs.get(f"{FRAME}squared_error")

    def pictures(self, content: bytes, ids: Sequence[str]) -> Pictures:
        return decode(ids[0], content)


KIND = FramesKind()

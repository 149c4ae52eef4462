"""The run folder: what of a benchmark's data the worker may see, and in which order.

Data are copied batch by batch, so that a dataset need not fit into the memory of this process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import features_of
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.evaluation.fold import (
    FOLD,
    GROUP,
    SAMPLES,
    TARGET,
    TRAIN,
    VALIDATION,
    drawn,
    inputs_file,
)
from etchmark.evaluation.tables import pick
from etchmark.specs.task import Task

BATCH_ROWS, BATCH_VALUES = 4096, 1 << 22
"""A batch holds at most so many rows, and numbers in its widest column."""
OPEN_AXIS = 100
"""What an axis of no declared length counts as."""


def copy_columns(
    paths: Sequence[Path],
    names: Mapping[str, str],
    out: Path,
    more: Mapping[str, np.ndarray] | None = None,
    keep: np.ndarray | None = None,
    most: Mapping[str, int] | None = None,
) -> int:
    """Copy columns under new names, with their Hugging Face features, batch by batch.

    Args:
        paths: parquet files of equal schema.
        names: stored column by new name.
        out: the file to write.
        more: further columns, one value per row.
        keep: mask of the rows that are copied; all of them if None.
        most: the greatest value that is copied, by new name.

    Returns:
        The number of rows that were read.
    """
    stored = pq.read_schema(paths[0])
    absent = [old for old in names.values() if old not in stored.names]
    if absent:
        raise UserError(f"{paths[0]}: has no column {absent[0]!r}; rebuild the dataset")
    features = features_of(stored)
    kept = {new: features[old] for new, old in names.items() if old in features}
    fields = [pa.field(new, stored.field(old).type) for new, old in names.items()]
    extra = {name: pa.array(values) for name, values in (more or {}).items()}
    fields += [pa.field(name, values.type) for name, values in extra.items()]
    meta = {"huggingface": json.dumps({"info": {"features": kept}})}
    schema = pa.schema(fields, metadata=meta)
    wanted = list(dict.fromkeys(names.values()))
    widest = max([_cell_size(one) for one in kept.values()], default=1)
    size = max(1, min(BATCH_ROWS, BATCH_VALUES // widest))
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with pa.ipc.new_file(str(out), schema) as writer:
        for path in paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(size, columns=wanted, use_threads=False):
                    arrays = [
                        _at_most(batch.column(old), (most or {}).get(new))
                        for new, old in names.items()
                    ]
                    arrays += [one.slice(rows, batch.num_rows) for one in extra.values()]
                    written = pa.record_batch(arrays, schema=schema)
                    if keep is None:
                        writer.write_batch(written)
                    else:
                        part = keep[rows : rows + batch.num_rows]
                        writer.write_table(pick(pa.Table.from_batches([written]), part))
                    rows += batch.num_rows
    return rows


def _cell_size(feature: Mapping[str, Any]) -> int:
    # An axis without a length is one of frames.
    return int(np.prod([size or OPEN_AXIS for size in feature.get("shape", [1])]))


def _at_most(values: pa.Array, limit: int | None) -> pa.Array:
    if limit is None:
        return values
    return pa.array(np.minimum(values.to_numpy(zero_copy_only=False), limit), values.type)


def train_counts(benchmark: Benchmark, task: Task) -> list[int]:
    """How many samples each fold trains on."""
    protocol = task.divides
    if protocol.kind == "folds":
        folds = benchmark.truth(protocol.split, task.protocol, task.track).folds
        _, counts = np.unique(np.asarray(folds), return_counts=True)
        return [int(counts.sum() - count) for count in counts]
    return [_rows(benchmark.files(str(protocol.train_split), task.track))]


def _rows(paths: Sequence[Path]) -> int:
    return sum(pq.read_metadata(path).num_rows for path in paths)


def prepare(
    root: Path, benchmark: Benchmark, task: Task, *, share: float = 1.0, draw: int = 0
) -> tuple[list[str], dict[str, Any]]:
    """Write what the worker may see.

    Args:
        share: of the training samples, and of the validation samples; where there are folds the
            worker draws, with ``share`` and ``draw`` of its ``run.json``.
        draw: which samples a share below 1 consists of.

    Returns:
        The names of the fold folders, and for each split the row order of its predictions:
        a list of index arrays, one per fold.
    """
    protocol, track = task.divides, task.track
    inputs = {name: name for name in task.inputs}
    labelled = {"id": "id", **inputs, TARGET: task.benchmark.target.column}
    if protocol.group_column:
        labelled[GROUP] = protocol.group_column
    if protocol.kind == "folds":
        paths = benchmark.files(protocol.split, track)
        folds = benchmark.truth(protocol.split, task.protocol, track).folds
        assert folds is not None  # noqa: S101 (the spec demands a fold column; for the type checker)
        known, number = np.unique(folds, return_inverse=True)
        # Divided by the worker, one fold at a time: what one fold trains on, another holds out.
        copy_columns(paths, labelled, root / SAMPLES, {FOLD: number})
        names = [f"fold-{fold:03d}" for fold in known]
        return names, {protocol.split: [np.flatnonzero(folds == fold) for fold in known]}
    if protocol.train_split is None:
        raise UserError(
            f"{task.benchmark.id}: protocol {task.protocol} has no train_split; fix the benchmark"
        )
    name = "holdout"
    for split, file in ((protocol.train_split, TRAIN), (protocol.validation_split, VALIDATION)):
        if split is not None:
            paths = benchmark.files(split, track)
            keep = drawn(_rows(paths), share, draw) if share < 1 else None
            copy_columns(paths, labelled, root / name / file, keep=keep)
    order: dict[str, Any] = {}
    for split in (protocol.split, *protocol.extra_splits):
        bare = root / name / inputs_file(split)
        paths, limits = benchmark.files(split, track), benchmark.input_limits
        rows = copy_columns(paths, {"id": "id", **inputs}, bare, most=limits)
        order[split] = [np.arange(rows)]
    return [name], order

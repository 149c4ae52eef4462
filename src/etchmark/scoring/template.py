"""What a submitter needs to start: the test inputs and a predictions file to fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files, predictions
from etchmark.columns import features_of
from etchmark.data.loading import Benchmark, Truth
from etchmark.errors import UserError
from etchmark.predictions.writing import FRAMES_ROWS


@dataclass(frozen=True)
class Template:
    inputs: list[Path]
    predictions: list[Path]


def inputs_table(benchmark: Benchmark, split: str, track: str, protocol: str) -> pa.Table:
    """Ids, declared inputs and, where there are folds, the fold of each sample; no labels."""
    import json

    chosen = benchmark.spec.protocols[protocol]
    names = ["id", *benchmark.spec.tracks[track].inputs]
    if chosen.fold_column and chosen.fold_column not in names:
        names.append(chosen.fold_column)
    paths = benchmark.files(split, track)
    features = features_of(pq.read_schema(paths[0]))
    table = pa.concat_tables([pq.read_table(path, columns=names) for path in paths])
    for name, most in benchmark.most.items():
        at = table.schema.get_field_index(name)
        values = np.minimum(table.column(name).to_numpy(), most)
        table = table.set_column(at, table.schema.field(at), pa.array(values))
    kept = {name: features[name] for name in names if name in features}
    meta = {"huggingface": json.dumps({"info": {"features": kept}})}
    return table.select(names).replace_schema_metadata(meta)


def write(
    benchmark: Benchmark, track: str, protocol: str, folder: Path, *, force: bool = False
) -> Template:
    """Write ``inputs-<split>.parquet`` per split and ``predictions.parquet`` to fill.

    The predictions are NaN, which is refused when submitted: a template cannot be scored by
    accident. For scalar targets ``predictions.csv`` stands beside it.

    Args:
        benchmark: what is to be predicted.
        track: which inputs are written.
        protocol: which splits are written.
        folder: where the files shall stand.
        force: replace files that exist with other content, such as predictions that were filled in.

    Raises:
        UserError: a file exists with other content (nothing is written then), or the folder cannot
            be written.
    """
    try:
        with files.together(folder, force=force) as staged:
            written = _write(benchmark, track, protocol, staged)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); give another --out"
        ) from None
    return Template(
        [folder / path.name for path in written.inputs],
        [folder / path.name for path in written.predictions],
    )


def _write(benchmark: Benchmark, track: str, protocol: str, folder: Path) -> Template:
    spec = benchmark.spec
    truths = benchmark.scored_splits(protocol)
    inputs = []
    for split in truths:
        path = folder / f"inputs-{split}.parquet"
        pq.write_table(inputs_table(benchmark, split, track, protocol), path)
        inputs.append(path)
    declared = predictions.Declared(spec.key, track, protocol)
    if spec.frames is not None:
        path = folder / "predictions.parquet"
        predictions.write_parts(path, _empty_frames(truths), declared=declared)
        return Template(inputs, [path])
    ids = np.concatenate([truth.ids for truth in truths.values()])
    empty = np.full((len(ids), *(size or 0 for size in spec.target.shape)), np.nan)
    targets = [folder / "predictions.parquet"]
    if not spec.target.shape:
        targets.append(folder / "predictions.csv")
    for path in targets:
        predictions.write(path, ids, empty, declared=declared)
    return Template(inputs, targets)


def _empty_frames(
    truths: Mapping[str, Truth],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids, predictions and seeds of a file to fill, a few samples at a time."""
    for truth in truths.values():
        shape = truth.frames.shape[1:] if truth.frames else ()
        for start in range(0, len(truth.ids), FRAMES_ROWS):
            ids = truth.ids[start : start + FRAMES_ROWS]
            empty = np.full((len(ids), *shape), np.nan, dtype=np.float16)
            yield ids, empty, np.zeros(len(ids), dtype=np.int64)

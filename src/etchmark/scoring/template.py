"""What a submitter needs to start: the test inputs and a predictions file to fill."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.columns import features_of
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.predictions import Declared
from etchmark.targets import kind_of


@dataclass(frozen=True)
class Template:
    """The files of a template that were written."""

    inputs: list[Path]
    predictions: list[Path]


def inputs_table(benchmark: Benchmark, split: str, track: str, protocol: str) -> pa.Table:
    """Ids, declared inputs and, where there are folds, the fold of each sample; no labels."""
    import json

    declared = benchmark.spec.protocols[protocol]
    names = ["id", *benchmark.spec.tracks[track].inputs]
    if declared.fold_column and declared.fold_column not in names:
        names.append(declared.fold_column)
    paths = benchmark.files(split, track)
    features = features_of(pq.read_schema(paths[0]))
    table = pa.concat_tables([pq.read_table(path, columns=names) for path in paths])
    for name, limit in benchmark.input_limits.items():
        at = table.schema.get_field_index(name)
        values = np.minimum(table.column(name).to_numpy(), limit)
        table = table.set_column(at, table.schema.field(at), pa.array(values))
    kept = {name: features[name] for name in names if name in features}
    meta = {"huggingface": json.dumps({"info": {"features": kept}})}
    return table.select(names).replace_schema_metadata(meta)


def write(
    benchmark: Benchmark, track: str, protocol: str, folder: Path, *, force: bool = False
) -> Template:
    """Write ``inputs-<split>.parquet`` per split, and ``predictions.parquet`` to fill in.

    Predictions are left empty, and empty predictions are refused: a template cannot be scored by
    accident. Where a prediction is a single cell, ``predictions.csv`` is written too.

    Args:
        benchmark: what is to be predicted.
        track: the track whose inputs are written.
        protocol: the protocol whose splits are written.
        folder: where the files are written.
        force: replace existing files with other content, such as predictions already filled in.

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
    declared = Declared(spec.key, track, protocol)
    written = kind_of(spec.target).write_template(folder, truths.values(), spec.target, declared)
    return Template(inputs, written)

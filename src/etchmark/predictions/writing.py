"""Writes predictions files, whole or part by part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark import files
from etchmark.predictions.checks import META, Declared

FRAMES_ROWS = 10
"""Samples in a row group of frames: what scoring reads at once."""
GROUP_VALUES = 1 << 17
"""Values in a row group of small arrays, of which it then holds more than ``FRAMES_ROWS``."""


def write(
    path: Path,
    ids: Sequence[str] | np.ndarray,
    values: np.ndarray,
    *,
    seeds: np.ndarray | None = None,
    declared: Declared = Declared(),
) -> None:
    """Write a predictions file (parquet, or CSV by its suffix).

    Args:
        path: where.
        ids: shape (rows,).
        values: shape (rows, ...), in the target's unit, or text; arrays are stored flat.
        seeds: shape (rows,), integers; no seed column if None.
        declared: benchmark, track and protocol; kept in the metadata of parquet.
    """
    columns: dict[str, object] = {"id": pa.array([str(value) for value in ids], pa.string())}
    values = np.asarray(values)
    if values.dtype.kind in "OU":
        columns["prediction"] = pa.array([str(value) for value in values], pa.string())
    elif values.ndim == 1:
        columns["prediction"] = pa.array(values.astype(np.float64))
    else:
        flat = values.reshape(len(values), -1)
        kind = np.float16 if values.dtype == np.float16 else np.float32
        columns["prediction"] = pa.FixedSizeListArray.from_arrays(
            pa.array(flat.astype(kind).ravel()), flat.shape[1]
        )
    if seeds is not None:
        columns["seed"] = pa.array(np.asarray(seeds, dtype=np.int64))
    table = pa.table(columns)
    if path.suffix.lower() == ".csv":
        with files.replacing(path) as temporary:
            table.to_pandas().to_csv(temporary, index=False)
        return
    said = {f"{META}{key}": value for key, value in vars(declared).items() if value is not None}
    with files.replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(said),
            temporary,
            compression="zstd",
            write_page_checksum=True,
        )


def write_parts(
    path: Path,
    parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    declared: Declared = Declared(),
    kind: type[np.floating] | type[np.uint8] = np.float16,
) -> None:
    """Write a predictions file of frames, part by part, as parquet.

    Args:
        path: where.
        parts: ids and integer seeds, each of shape (rows,), around predictions of shape
            (rows, frames, n, n); the number of frames may differ between parts.
        declared: benchmark, track and protocol; kept in the metadata.
        kind: precision of the stored values.
    """
    said = {f"{META}{key}": value for key, value in vars(declared).items() if value is not None}
    values_kind = pa.list_(pa.from_numpy_dtype(kind))
    kinds = [("id", pa.string()), ("prediction", values_kind), ("seed", pa.int64())]
    schema = pa.schema(kinds, metadata=said)
    with (
        files.replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as file,
    ):
        for ids, values, seeds in parts:
            rows = max(FRAMES_ROWS, GROUP_VALUES * len(ids) // max(1, values.size))
            for start in range(0, len(ids), rows):
                some = slice(start, start + rows)
                # What leaves the range of this precision becomes infinite, and is refused for it.
                with np.errstate(over="ignore"):
                    flat = values[some].astype(kind).reshape(len(ids[some]), -1)
                ends = np.arange(len(flat) + 1, dtype=np.int32) * flat.shape[1]
                lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(flat.ravel()))
                columns = [pa.array(ids[some].tolist(), pa.string()), lists, pa.array(seeds[some])]
                file.write_table(pa.Table.from_arrays(columns, schema=schema))

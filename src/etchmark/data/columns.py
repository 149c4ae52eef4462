"""Stored columns as numpy arrays, read lazily and without importing ``datasets``.

The feature schema of Hugging Face ``datasets`` stands in the parquet metadata; it tells how a
column is to be decoded (an ``Image`` cell is PNG bytes, an ``Array2D`` cell nested lists).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.errors import UserError


def features_of(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The Hugging Face feature of each column, empty where the file carries none."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    return json.loads(raw)["info"]["features"]


def decode_image(content: bytes) -> np.ndarray:
    """PNG bytes to a uint8 array (rows, columns)."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def encode_image(pixels: np.ndarray) -> bytes:
    """A uint8 array (rows, columns) as lossless PNG bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def to_numpy(column: pa.ChunkedArray, feature: Mapping[str, Any] | None = None) -> np.ndarray:
    """A column as an array whose first axis runs over the rows.

    Scalars and text give shape (rows,), fixed-size lists and ArrayND (rows, ...), images an
    object array of uint8 arrays, since their shapes may differ from row to row.
    """
    kind = (feature or {}).get("_type")
    array = column.combine_chunks()
    if kind == "Image":
        cells = np.empty(len(array), dtype=object)
        for row, cell in enumerate(array.field("bytes")):
            cells[row] = decode_image(cell.as_py())
        return cells
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        shape = (feature or {}).get("shape")
        values: Any = array
        sizes: list[int] = []
        while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
            if values.null_count:
                raise UserError("a column of lists has empty cells; mend build.py")
            found = np.unique(values.value_lengths().to_numpy(zero_copy_only=False))
            if len(found) > 1:
                raise UserError("a column of lists has rows of different length; mend build.py")
            sizes.append(int(found[0]) if len(found) else 0)
            values = values.flatten()
        flat = values.to_numpy(zero_copy_only=False)
        return flat.reshape(len(array), *(shape or [int(np.prod(sizes))]))
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.array(array.to_pylist(), dtype=object)
    return array.to_numpy(zero_copy_only=False)


def _damaged(file: Path, error: Exception) -> UserError:
    first = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return UserError(f"{file}: cannot be read as parquet ({first}); rebuild the dataset")


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


def _column(file: Path, name: str) -> pa.ChunkedArray:
    try:
        return pq.read_table(file, columns=[name]).column(0)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


class Columns(Mapping[str, np.ndarray]):
    """Columns of parquet files with equal schema, by name; each is read when first asked for."""

    def __init__(self, files: Sequence[Path], names: Sequence[str] | None = None) -> None:
        self._files = list(files)
        schema = _schema(self._files[0])
        self._features = features_of(schema)
        self._names = list(schema.names if names is None else names)
        absent = [name for name in self._names if name not in schema.names]
        if absent:
            raise UserError(f"{self._files[0]}: has no column {absent[0]!r}; rebuild the dataset")
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(f"{name!r} is not among the declared inputs: {', '.join(self._names)}")
        if name not in self._read:
            parts = [_column(file, name) for file in self._files]
            chunks = [chunk for part in parts for chunk in part.chunks]
            column = pa.chunked_array(chunks, type=parts[0].type)
            self._read[name] = to_numpy(column, self._features.get(name))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

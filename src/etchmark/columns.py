"""Stored columns as numpy arrays, read lazily and without importing ``datasets``.

The parquet metadata hold the feature schema of Hugging Face ``datasets``, which says how a column
is decoded: an ``Image`` cell is PNG bytes, an ``Array2D`` cell nested lists.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.errors import UserError

IMAGE = {"_type": "Image"}
"""The Hugging Face feature of a column that ``image_column`` makes."""
_ARRAYS = ("Array2D", "Array3D", "Array4D", "Array5D")


def features_of(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The Hugging Face feature of each column, empty where the file carries none."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    return json.loads(raw)["info"]["features"]


@dataclass(frozen=True)
class ColumnType:
    """What every cell of a stored column holds, as far as the schema says."""

    element: Literal["float", "whole", "flag", "text", "image", "other"]
    """What a cell is, or the elements of one that is an array."""
    stored_as: str
    """Name of the stored type of an element, such as ``float64``."""
    shape: tuple[int | None, ...] = ()
    """Shape of a cell: empty for a single value, None where the schema does not say a length."""

    def __str__(self) -> str:
        """As the object of "the column holds"."""
        if self.element == "image":
            return "images"
        if not self.shape:
            return "text" if self.element == "text" else self.stored_as
        lengths = ", ".join("any" if length is None else str(length) for length in self.shape)
        return f"{self.stored_as} arrays of shape ({lengths})"


_ARROW_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}
"""What Arrow calls floats, and what numpy and Hugging Face do."""


def column_types(schema: pa.Schema) -> dict[str, ColumnType]:
    """What each column of a parquet file holds, as ``to_numpy`` reads it."""
    features = features_of(schema)
    return {field.name: _column_type(field.type, features.get(field.name)) for field in schema}


def _column_type(stored: pa.DataType, feature: Mapping[str, Any] | None) -> ColumnType:
    feature = feature or {}
    if feature.get("_type") == "Image":
        return ColumnType("image", str(stored))
    depth, kind = nesting(stored)
    shape: tuple[int | None, ...] = ()
    if depth:
        # Lists without a declared shape are read as one flat array per cell.
        shape = tuple(feature["shape"]) if "shape" in feature else (None,)
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    name = _ARROW_NAMES.get(str(kind), str(kind))
    if pa.types.is_floating(kind):
        return ColumnType("float", name, shape)
    if pa.types.is_integer(kind):
        return ColumnType("whole", name, shape)
    if pa.types.is_boolean(kind):
        return ColumnType("flag", name, shape)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ColumnType("text", name, shape)
    return ColumnType("other", name, shape)


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


def image_column(images: Iterable[np.ndarray]) -> pa.Array:
    """Images as PNG cells of the feature ``Image``: uint8, shape (rows, columns), of any sizes."""
    cells = [{"bytes": encode_image(pixels), "path": None} for pixels in images]
    return pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def parquet_file(file: BinaryIO, **options: Any) -> pq.ParquetFile:
    """A Parquet file behind a Python object, to be read with ``use_threads=False``.

    Nothing is read ahead, since that starts threads: those that still hold the object when the
    interpreter ends abort the process now and then (apache/arrow#33975).
    """
    return pq.ParquetFile(file, pre_buffer=False, **options)


def nesting(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """Depth of nested lists (0 where cells are not lists), and the type of their elements."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    depth = 0
    while any(is_list(kind) for is_list in lists):
        kind, depth = kind.value_type, depth + 1
    return depth, kind


def is_nested(kind: pa.DataType) -> bool:
    """Whether cells are lists of any depth."""
    return nesting(kind)[0] > 0


def array_column(values: np.ndarray) -> pa.Array:
    """A column of arrays, as the nested lists in which Hugging Face stores ``Array2D`` and others.

    Args:
        values: shape (rows, ...), with at least two axes.

    Raises:
        UserError: a cell would be a scalar or empty, or the column is too large for its offsets.
    """
    if values.ndim < 2 or 0 in values.shape[1:]:
        raise UserError(
            f"an array of shape {values.shape} is not a column of arrays, whose shape is"
            " (rows, ...); fix build.py"
        )
    if values.size >= 2**31:  # the largest offset of a list
        raise UserError(
            f"{len(values)} rows hold {values.size} values, more than one column can; make smaller"
            " shards"
        )
    column: Any = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in values.shape[:0:-1]:
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pa.ListArray.from_arrays(pa.array(offsets), column)
    return column


def array_feature(values: np.ndarray) -> dict[str, Any]:
    """The Hugging Face feature of an array of shape (rows, ...): Array2D to Array5D."""
    shape = list(values.shape[1:])
    return {"shape": shape, "dtype": str(values.dtype), "_type": f"Array{len(shape)}D"}


def with_features(table: pa.Table, features: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """A table with the feature schema in its metadata, by which Hugging Face reads it.

    Args:
        table: the columns.
        features: feature of a column by its name, as Hugging Face writes it, such as
            ``{"dtype": "int64", "_type": "Value"}``; columns of numbers and text need none.

    Raises:
        UserError: a column of lists has no feature, or a feature has no column.
    """
    schema_features: dict[str, Any] = {}
    fields: list[pa.Field] = []
    for field in table.schema:
        if field.name not in features and pa.types.is_nested(field.type):
            raise UserError(f"column {field.name!r} of {field.type} needs a feature; fix build.py")
        kind = _ARROW_NAMES.get(str(field.type), str(field.type))
        feature = dict(features.get(field.name, {"dtype": kind, "_type": "Value"}))
        if feature["_type"] in _ARRAYS:
            # Hugging Face recognises an array column by these keys; without them it reads lists.
            metadata = json.dumps([feature["shape"], feature["dtype"]])
            extension = f"datasets.features.features.{feature['_type']}ExtensionType"
            field = field.with_metadata(
                {"ARROW:extension:name": extension, "ARROW:extension:metadata": metadata}
            )
        schema_features[field.name] = feature
        fields.append(field)
    without_column = sorted(set(features) - set(schema_features))
    if without_column:
        raise UserError(f"feature {without_column[0]!r} has no column of its name; fix build.py")
    info = json.dumps({"info": {"features": schema_features}}).encode()
    schema = pa.schema(fields, {**(table.schema.metadata or {}), b"huggingface": info})
    return pa.Table.from_arrays(table.columns, schema=schema)


def _leaves(array: Any, shape: Sequence[int | None] | None) -> np.ndarray:
    """Nested lists as an array of shape (rows, ...), without a copy where there are no nulls."""
    rows, sizes = len(array), []
    while is_nested(array.type):
        if array.null_count:
            raise UserError("a column of lists has empty cells; fix build.py")
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        if len(lengths) and lengths.min() != lengths.max():
            raise UserError("a column of lists has rows of different length; fix build.py")
        sizes.append(int(lengths[0]) if len(lengths) else 0)
        array = array.flatten()
    flat = array.to_numpy(zero_copy_only=False)
    if shape is None:
        shape = [int(np.prod(sizes))]
    elif None in shape:
        # Hugging Face may leave the first axis open: its length is then that of these rows.
        shape = sizes
    return flat.reshape(rows, *shape)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts of a column, concatenated along the rows; parts without rows are ignored."""
    filled = [part for part in parts if len(part)] or list(parts[:1])
    if len({part.shape[1:] for part in filled}) > 1:
        raise UserError("a column of lists has rows of different length; fix build.py")
    return filled[0] if len(filled) == 1 else np.concatenate(filled)


def to_numpy(column: pa.ChunkedArray, feature: Mapping[str, Any] | None = None) -> np.ndarray:
    """A column as an array with rows on its first axis.

    Scalars and text give shape (rows,), lists of one length and ``Array2D`` to ``Array5D`` give
    (rows, ...). Images give an object array of uint8 arrays, since their shapes may differ.
    """
    if (feature or {}).get("_type") == "Image":
        cells = np.empty(len(column), dtype=object)
        pngs = (cell for chunk in column.chunks for cell in chunk.field("bytes"))
        for row, cell in enumerate(pngs):
            cells[row] = decode_image(cell.as_py())
        return cells
    if is_nested(column.type):
        chunks: list[Any] = column.chunks or [pa.array([], column.type)]
        storages = [
            chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in chunks
        ]
        shape = (feature or {}).get("shape")
        return _joined([_leaves(storage, shape) for storage in storages])
    array = column.combine_chunks()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.array(array.to_pylist(), dtype=object)
    return array.to_numpy(zero_copy_only=False)


def _damaged(file: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return UserError(f"{file}: cannot be read as parquet ({reason}); rebuild the dataset")


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


@dataclass(frozen=True)
class _Group:
    """A row group of one of the files, the smallest part that is read at once."""

    file: Path
    index: int
    start: int
    stop: int


class Columns(Mapping[str, np.ndarray]):
    """Columns of parquet files with equal schemas, by name, each read on first use.

    ``rows`` and ``batches`` read parts of a column that does not fit into memory.
    """

    def __init__(self, files: Sequence[Path], names: Sequence[str] | None = None) -> None:
        self._files = list(files)
        self._schema = _schema(self._files[0])
        self._features = features_of(self._schema)
        self._names = list(self._schema.names if names is None else names)
        absent = [name for name in self._names if name not in self._schema.names]
        if absent:
            raise UserError(f"{self._files[0]}: has no column {absent[0]!r}; rebuild the dataset")
        self._read: dict[str, np.ndarray] = {}
        self._last: dict[str, tuple[_Group, np.ndarray]] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        self._check(name)
        if name not in self._read:
            self._read[name] = self._bulk(name) if self.is_bulk(name) else self._flat(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self._groups[-1].stop if self._groups else 0

    def is_bulk(self, name: str) -> bool:
        """Whether a column holds arrays or images rather than one number or text per row."""
        image = self._features.get(name, {}).get("_type") == "Image"
        return image or is_nested(self._schema.field(name).type)

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop - 1`` of a column.

        Only the row groups that hold them are read. The last one is kept, so that going through a
        column in steps reads each row group once.
        """
        self._check(name)
        start, stop, _ = slice(start, stop).indices(self.height)
        if name in self._read or not self.is_bulk(name):
            return self[name][start:stop]
        parts = []
        for group in self._groups:
            if group.start < max(stop, start + 1) and start < group.stop:
                first = max(start - group.start, 0)
                parts.append(self._group(name, group)[first : max(stop - group.start, first)])
        return _joined(parts) if parts else self[name][start:stop]

    def batches(self, name: str, size: int | None = None) -> Iterator[np.ndarray]:
        """A column in parts of ``size`` rows, or in its row groups if None."""
        self._check(name)
        if size is None:
            yield from (self.rows(name, group.start, group.stop) for group in self._groups)
            return
        for start in range(0, self.height, size):
            yield self.rows(name, start, min(start + size, self.height))

    def _check(self, name: str) -> None:
        if name not in self._names:
            raise KeyError(f"{name!r} is not among the declared inputs: {', '.join(self._names)}")

    @cached_property
    def _groups(self) -> list[_Group]:
        groups, start = [], 0
        for file in self._files:
            try:
                stored = pq.read_metadata(file)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(file, error) from None
            for index in range(stored.num_row_groups):
                rows = stored.row_group(index).num_rows
                if rows:
                    groups.append(_Group(file, index, start, start + rows))
                start += rows
        return groups

    def _group(self, name: str, group: _Group) -> np.ndarray:
        kept = self._last.get(name)
        if kept is None or kept[0] != group:
            kept = self._last[name] = (group, self._read_group(name, group))
        return kept[1]

    def _read_group(self, name: str, group: _Group) -> np.ndarray:
        try:
            with pq.ParquetFile(group.file) as file:
                column = file.read_row_group(group.index, columns=[name]).column(0)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(group.file, error) from None
        return to_numpy(column, self._features.get(name))

    def _bulk(self, name: str) -> np.ndarray:
        # Row groups are read one by one into the final array: memory peaks just above its size.
        if len(self._groups) < 2:
            return self._flat(name)
        first = self._read_group(name, self._groups[0])
        whole = np.empty((self.height, *first.shape[1:]), first.dtype)
        whole[: len(first)] = first
        del first
        for group in self._groups[1:]:
            part = self._read_group(name, group)
            if part.dtype != whole.dtype or part.shape[1:] != whole.shape[1:]:
                return self._flat(name)  # some parts have empty cells, or it reports what is wrong
            whole[group.start : group.stop] = part
        return whole

    def _flat(self, name: str) -> np.ndarray:
        parts = [_column(file, name) for file in self._files]
        chunks = [chunk for part in parts for chunk in part.chunks]
        column = pa.chunked_array(chunks, type=parts[0].type)
        return to_numpy(column, self._features.get(name))

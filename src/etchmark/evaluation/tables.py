"""The files of a run folder: Arrow IPC, which a worker reads at the speed of the disk.

Parquet spends as long on decoding a cell of voxels as a small model does on learning from it, and
a model's fit is timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from etchmark.columns import features_of, is_nested, to_numpy

BATCH_ROWS = 1024


def write(path: Path, table: pa.Table) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)


def pick(table: pa.Table, member: np.ndarray) -> pa.Table:
    """The rows where ``member`` is true.

    Whole runs of rows are joined: Arrow's own filter goes through nested lists number by number,
    which takes many times as long.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], member.astype(np.int8), [0]])))
    runs = [table.slice(start, end - start) for start, end in edges.reshape(-1, 2).tolist()]
    return pa.concat_tables(runs or [table.slice(0, 0)]).combine_chunks()


class Table(Mapping[str, np.ndarray]):
    """Columns of one file, by name; each is read when first asked for, batch by batch.

    The arrays belong to whoever asks: they may be changed in place, which changes no file and no
    other table.

    Args:
        path: Arrow IPC file.
        names: the columns that are handed out; all of them if None.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        self._path = path
        with pa.OSFile(str(path)) as source:
            schema = pa.ipc.open_file(source).schema
        self._schema = schema
        self._features = features_of(schema)
        self._names = list(schema.names if names is None else names)
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(f"{name!r} is not among the declared inputs: {', '.join(self._names)}")
        if name not in self._read:
            self._read[name] = self._load(name)
        return self._read[name]

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        # What ``inputs["a"] -= 1`` ends in.
        if name not in self._names:
            raise KeyError(f"{name!r} is not among the declared inputs: {', '.join(self._names)}")
        self._read[name] = values

    def rows(self) -> int:
        return sum(len(part) for part in self._parts("id"))

    def first(self, count: int) -> dict[str, np.ndarray]:
        """The first rows of every column, read again; of the first batch at most."""
        rows = {}
        for name in self._names:
            part = next(self._parts(name)).slice(0, count)
            values = to_numpy(pa.chunked_array([part]), self._features.get(name))
            rows[name] = _own(np.array(values) if values.dtype != object else values)
        return rows

    def _parts(self, name: str) -> Iterator[pa.Array]:
        """A column batch by batch; nothing else of the file is read."""
        at = self._schema.get_field_index(name)
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=[at])
        with pa.OSFile(str(self._path)) as source:
            reader = pa.ipc.open_file(source, options=options)
            for batch in range(reader.num_record_batches):
                yield reader.get_batch(batch).column(0)

    def _load(self, name: str) -> np.ndarray:
        kind = self._schema.field(name).type
        feature = self._features.get(name)
        if not is_nested(kind):
            return _own(to_numpy(pa.chunked_array(list(self._parts(name)), type=kind), feature))
        # Arrays are put where they belong as they come, so that the column is held only once.
        whole, at = np.empty(0), 0
        for part in self._parts(name):
            values = to_numpy(pa.chunked_array([part]), feature)
            if at == 0:
                whole = np.empty((self.rows(), *values.shape[1:]), values.dtype)
            whole[at : at + len(values)] = values
            at += len(values)
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _own(column: np.ndarray) -> np.ndarray:
    """A column that can be written to: copied where it lies in Arrow's memory.

    Such a column holds one number, text or image per row; arrays are put in place as they are read.
    """
    if column.dtype == object:
        for row, cell in enumerate(column):
            if isinstance(cell, np.ndarray) and not cell.flags.writeable:
                column[row] = cell.copy()
    return column if column.flags.writeable else column.copy()

"""Predictions that are read a few samples at a time: a file of them need not fit into memory.

The file is that of every other benchmark, but ``prediction`` is a list as long as its split asks
for. It is read twice: ids and seeds first, then the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from etchmark.columns import parquet_file
from etchmark.predictions import reading
from etchmark.predictions.checks import Declared, refuse

VALUES_AT_ONCE = 1 << 23
"""Predicted values that are read at once, as far as the file's own parts allow."""


@dataclass(frozen=True)
class StreamedPredictions:
    """A file of long lists: its ids and seeds, shape (rows,), and where its values are."""

    path: Path
    ids: np.ndarray
    seeds: np.ndarray
    elements: int
    """Values of the longest prediction that is asked for."""
    declared: Declared = Declared()

    def values(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number of each row and its values, flat, in the order of the file."""
        size = max(1, VALUES_AT_ONCE // self.elements)
        row = 0
        try:
            with (
                self.path.open("rb") as handle,
                parquet_file(handle, page_checksum_verification=True) as file,
            ):
                for batch in file.iter_batches(size, columns=["prediction"], use_threads=False):
                    column = batch.column(0)
                    flat = column.flatten()
                    if flat.null_count or column.null_count:
                        raise refuse(self.path, "predictions hold empty cells", "fill every value")
                    everything = flat.to_numpy(zero_copy_only=False)
                    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
                    ends = np.cumsum(lengths)
                    for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
                        yield row, everything[end - length : end]
                        row += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            raise reading.unreadable(self.path, error) from None


def read_streamed(
    path: Path, *, rows: int, shapes: Iterable[tuple[int, ...]], cells: reading.Cells = "number"
) -> StreamedPredictions:
    """Read ids and seeds of a predictions file of long lists without trusting it.

    Args:
        path: parquet.
        rows: number of samples that exist in all splits; bounds what is read.
        shapes: of the predictions of each split.
        cells: what a prediction is made of.

    Raises:
        UserError: the file is not a well-formed predictions file.
    """
    sizes = {math.prod(shape) for shape in shapes}
    elements = max(sizes)
    form = reading.Form(elements, cells, varies=len(sizes) > 1)
    table = reading.read_bare(path, rows=rows, form=form)
    found = reading.keys_of(path, table)
    return StreamedPredictions(path, found.ids, found.seeds, elements, found.declared)

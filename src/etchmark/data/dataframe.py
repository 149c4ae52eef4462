"""Stored data as pandas frames: one numpy array per cell where a column holds arrays or images."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from etchmark.columns import Columns, is_nested, to_numpy
from etchmark.errors import UserError

if TYPE_CHECKING:
    import datasets


def to_frame(
    source: str | Path | Sequence[str | Path] | datasets.Dataset,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Stored data as a frame whose cells are numbers, text, or numpy arrays.

    Args:
        source: parquet file of a built dataset, a pattern such as ``data/test-*.parquet``, a list
            of files, or a Hugging Face ``Dataset``, with all its rows or some.
        columns: only these; all if None.

    Returns:
        One row per sample. A cell of an array column has the shape and type that are stored; an
        image is decoded to an array (rows, columns) of uint8. Arrays may be changed in place.

    Raises:
        UserError: no file, a file that is not parquet, or a column that is not there.
    """
    if not isinstance(source, str | Path | Sequence):
        return _of_dataset(source, columns)
    sources = [source] if isinstance(source, str | Path) else list(source)
    paths = [path for item in sources for path in _files(Path(item))]
    if not paths:
        raise UserError("no file is given; name the parquet files of a built dataset")
    # Splits may differ in the shape of their arrays, which one frame may hold.
    frames = [_of_file(path, columns) for path in paths]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    matching = sorted(path.parent.glob(path.name)) if glob.has_magic(path.name) else []
    if not matching or any(match.is_dir() for match in matching):
        raise UserError(f"{path}: is not a file; name parquet files, such as data/test-*.parquet")
    return matching


def _of_file(path: Path, names: Sequence[str] | None) -> pd.DataFrame:
    columns = Columns([path], names)
    return pd.DataFrame({name: _cells(columns[name]) for name in columns})


def _of_dataset(dataset: datasets.Dataset, names: Sequence[str] | None) -> pd.DataFrame:
    if names is not None:
        absent = [name for name in names if name not in dataset.column_names]
        if absent:
            known = ", ".join(dataset.column_names)
            raise UserError(f"the dataset has no column {absent[0]!r}; choose from: {known}")
        dataset = dataset.select_columns(list(names))
    features: Any = dataset.features.to_dict()
    table: Any = dataset.with_format("arrow")[:]
    return pd.DataFrame(
        {name: _column_cells(table[name], features[name]) for name in table.column_names}
    )


def _column_cells(column: Any, feature: dict[str, Any]) -> Any:
    if is_nested(column.type) and "shape" not in feature:
        feature = {**feature, "shape": [None]}  # lists in lists: their own lengths
    try:
        return _cells(to_numpy(column, feature))
    except UserError:
        # Rows of several splits, whose arrays have shapes of their own.
        parts = [to_numpy(column.slice(row, 1), feature) for row in range(len(column))]
        return _cells_of([part[0] for part in parts])


def _cells(values: np.ndarray) -> Any:
    """Values of shape (rows, ...) as a column that pandas takes."""
    if values.ndim == 1:
        return values
    if not values.flags.writeable:  # a view of what arrow holds
        values = values.copy()
    return _cells_of(values)


def _cells_of(values: Any) -> np.ndarray:
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = value
    return cells

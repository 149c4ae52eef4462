"""Predictions held in memory: checked as a file would be, then written to one.

A table is anything with columns ``id``, ``prediction`` and optionally ``seed``: a pandas or polars
DataFrame, an Arrow table, or another object that offers ``__arrow_c_stream__``,
``__arrow_c_array__`` or ``__dataframe__``. Nothing is converted that would change its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from etchmark.errors import UserError
from etchmark.predictions import arranging, checks, writing
from etchmark.predictions.cells import Cell, OddCell, cell_of, cell_of_lists, is_missing, kind_of
from etchmark.predictions.checks import MAX_SEEDS, Declared, refuse
from etchmark.predictions.reading import Cells

NAME = "predictions frame"
"""What messages call a table in memory."""
GIVE = (
    "give the path of a file, or a pandas or polars DataFrame or an Arrow table with the columns id"
    " and prediction"
)

PART_VALUES = 1 << 22
"""Values of arrays that are converted at once."""


@dataclass(frozen=True)
class Request:
    """What a benchmark asks predictions for."""

    split_of: Mapping[str, str]
    """The split of every sample that any protocol scores, by its id."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of one prediction, by split; empty for a single value."""
    cells: Cells = "number"
    """What a prediction is made of."""


@dataclass(frozen=True)
class Table:
    """Columns of a table in memory, row by row."""

    ids: list[str]
    cells: list[np.ndarray] | np.ndarray
    """An array of shape (rows,) where every prediction is a number, in double precision."""
    seeds: np.ndarray | None
    declared: Declared = Declared()


def write(given: object, request: Request, path: Path) -> None:
    """Write a table of predictions as a predictions file.

    Args:
        given: the table.
        request: what the benchmark asks for: how many rows there may be, and their shape.
        path: where.

    Raises:
        UserError: it is not a table of predictions, or it cannot be written.
    """
    table = _read(given, request)
    try:
        if isinstance(table.cells, np.ndarray):
            if any(request.shapes.values()) and len(table.ids):
                raise _wrong_shape(table.ids[0], (), request)
            writing.write(path, table.ids, table.cells, seeds=table.seeds, declared=table.declared)
        else:
            _write_arrays(path, table, request)
    except OSError as error:
        raise UserError(
            f"{path.parent}: the predictions cannot be written there"
            f" ({error.strerror or error}); free some space or let TMPDIR name another folder"
        ) from None


# --- tables ------------------------------------------------------------------------------------


def _read(given: object, request: Request) -> Table:
    samples = len(request.split_of)
    if isinstance(given, pd.DataFrame):
        return _from_pandas(given, request)
    try:
        if hasattr(given, "__arrow_c_stream__"):
            return _from_arrow(_from_stream(given, samples), request)
        if hasattr(given, "__arrow_c_array__"):
            batch: Any = pa.record_batch(given)  # pyright: ignore[reportArgumentType]
            return _from_arrow(pa.Table.from_batches([batch]), request)
        if hasattr(given, "__dataframe__"):
            from pyarrow.interchange import from_dataframe

            return _from_arrow(from_dataframe(given), request)  # pyright: ignore
    except UserError:
        raise
    except Exception as error:
        # Whatever the other library raises: it is the table that cannot be read.
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        what = f"cannot be read as a table ({reason})"
        raise refuse(f"predictions of type {kind_of(given)}", what, GIVE) from None
    remedy = GIVE
    if callable(getattr(given, "collect", None)):
        remedy = "collect() it first"
    elif callable(getattr(given, "to_pandas", None)):
        remedy = "give what its to_pandas() returns"
    elif isinstance(given, Mapping):
        remedy = f"{GIVE} (pandas.DataFrame makes one from it)"
    raise refuse(f"predictions of type {kind_of(given)}", "are not a table", remedy)


def _from_stream(given: Any, samples: int) -> pa.Table:
    reader = pa.RecordBatchReader.from_stream(given)
    batches, rows = [], 0
    for batch in reader:
        rows += batch.num_rows
        if rows > samples * MAX_SEEDS:
            raise checks.too_many_rows(NAME, samples)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _from_arrow(table: pa.Table, request: Request) -> Table:
    samples = len(request.split_of)
    checks.check_names(NAME, table.column_names)
    if len(table) > samples * MAX_SEEDS:
        raise checks.too_many_rows(NAME, samples)
    declared = checks.declared_by(table.schema.metadata)
    if not len(table):
        return Table([], np.empty(0), None, declared)
    kind = table.schema.field("prediction").type
    for name in table.column_names:
        if nulls := table.column(name).null_count:
            raise checks.empty_cells(NAME, name, nulls)
    checks.check_keys(NAME, table.schema)
    ids = checks.texts(NAME, table.column("id")).tolist()
    seeds = None
    if "seed" in table.column_names:
        seeds = checks.seeds_of(NAME, table.column("seed").to_pylist())
    column = table.column("prediction")
    if request.cells == "text":
        if not checks.is_text(kind):
            raise _not_text(kind)
        return Table(ids, checks.texts(NAME, column, "prediction"), seeds, declared)
    if checks.is_number(kind):
        numbers = column.cast(pa.float64(), safe=False).to_numpy()
        return Table(ids, numbers, seeds, declared)
    return Table(ids, _cells(ids, _arrow_cells(column), cell_of_lists), seeds, declared)


def _arrow_cells(column: pa.ChunkedArray) -> Iterator[Any]:
    """Each row as an Arrow list, or as an array where the column says what shape it has."""
    for chunk in column.chunks:
        if isinstance(chunk, pa.FixedShapeTensorArray):
            yield from chunk.to_numpy_ndarray()
            continue
        if isinstance(chunk, pa.ExtensionArray):
            chunk = chunk.storage
        if not checks.is_list(chunk.type):
            raise checks.not_numbers(NAME, chunk.type)
        for row in range(len(chunk)):
            yield chunk.slice(row, 1)


# --- pandas ------------------------------------------------------------------------------------


def _from_pandas(frame: pd.DataFrame, request: Request) -> Table:
    samples = len(request.split_of)
    names = [_column_name(name) for name in frame.columns]
    # An index of ids is stored as a column by to_parquet, so it is one here.
    levels = [
        level for level in frame.index.names if level in ("id", "seed") and level not in names
    ]
    if levels:
        frame = frame.reset_index(level=levels)
        names = [_column_name(name) for name in frame.columns]
    checks.check_names(NAME, names)
    if len(frame) > samples * MAX_SEEDS:
        raise checks.too_many_rows(NAME, samples)
    if not len(frame):
        return Table([], np.empty(0), None)
    column = {name: frame.iloc[:, names.index(name)] for name in names}
    ids = _ids(column["id"])
    seeds = _seeds(column["seed"]) if "seed" in column else None
    if request.cells == "text":
        return Table(ids, np.array(_classes(column["prediction"]), dtype=object), seeds)
    return Table(ids, _predictions(ids, column["prediction"]), seeds)


def _column_name(name: object) -> str:
    return name if isinstance(name, str) else repr(name)


def _ids(column: pd.Series) -> list[str]:
    ids = column.tolist()
    if empty := sum(map(is_missing, ids)):
        raise checks.empty_cells(NAME, "id", empty)
    for name in ids:
        if not isinstance(name, str):
            raise checks.not_text(NAME, kind_of(name))
    checks.check_lengths(NAME, ids)
    ids = [str(name) for name in ids]
    try:
        pa.array(ids, pa.string())
    except (UnicodeEncodeError, pa.ArrowException):
        what = "holds an id that is not valid Unicode text"
        raise refuse(NAME, what, "write the ids as the template has them") from None
    return ids


def _classes(column: pd.Series) -> list[str]:
    cells = column.tolist()
    if empty := sum(map(is_missing, cells)):
        raise checks.empty_cells(NAME, "prediction", empty)
    for cell in cells:
        if not isinstance(cell, str):
            raise _not_text(kind_of(cell))
    checks.check_lengths(NAME, cells, "prediction")
    return cells


def _not_text(kind: object) -> UserError:
    return refuse(NAME, f"prediction holds {kind}, not text", "write the name of a class")


def _seeds(column: pd.Series) -> np.ndarray:
    if empty := int(column.isna().sum()):
        raise checks.empty_cells(NAME, "seed", empty)
    seeds = column.tolist()
    for seed in seeds:
        if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer):
            raise checks.not_seeds(NAME, f"{kind_of(seed)} {str(seed)[:40]}")
    return checks.seeds_of(NAME, map(int, seeds))


def _predictions(ids: Sequence[str], column: pd.Series) -> list[np.ndarray] | np.ndarray:
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "fiu":
        return _doubles(ids, column.to_numpy())
    if isinstance(kind, pd.CategoricalDtype):
        raise checks.not_numbers(NAME, "category")
    if isinstance(kind, pd.SparseDtype):
        column = pd.Series(column.array.to_dense(), dtype=kind.subtype)  # type: ignore[union-attr]
        return _predictions(ids, column)
    return _cells(ids, column.tolist(), cell_of)


# --- cells -------------------------------------------------------------------------------------


def _cells(
    ids: Sequence[str], values: Iterable[Any], read: Callable[[Any], Cell]
) -> list[np.ndarray] | np.ndarray:
    """Every prediction; a flat array if they are numbers."""
    cells: list[np.ndarray] = []
    missing: list[str] = []
    for name, value in zip(ids, values, strict=True):
        try:
            cell = read(value)
        except OddCell as odd:
            what = f"prediction of {name[:80]!r} holds {odd}, not real numbers"
            remedy = "give a number, or an array of them, for every sample"
            raise refuse(NAME, what, remedy) from None
        if cell is None:
            missing.append(name)
        else:
            cells.append(cell)
    if missing:
        what = f"column 'prediction' has {checks.number_of(len(missing), 'empty cell')}"
        raise refuse(NAME, f"{what} (ids {checks.listing(missing)})", "fill every value")
    if all(cell.ndim == 0 for cell in cells):
        return _doubles(ids, np.array(cells))
    return cells


def _doubles(ids: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Numbers in double precision, shape (rows,)."""
    return _converted(values, np.float64, lambda row: ids[row])


def _converted(
    values: np.ndarray, kind: type[np.floating] | type[np.uint8], name: Callable[[int], str]
) -> np.ndarray:
    """Values in another precision; refuses what is finite and leaves its range."""
    if kind is np.uint8:
        return _whole(values, name)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        stored = values.astype(kind)
    lost = np.isinf(stored) & np.isfinite(values)
    if lost.any():
        row = int(np.argwhere(lost)[0][0])
        raise refuse(
            NAME,
            f"prediction of {name(row)[:80]!r} is too large for {np.dtype(kind)}",
            "predict in the unit of the target",
        )
    return stored


def _whole(values: np.ndarray, name: Callable[[int], str]) -> np.ndarray:
    """Whole numbers from 0 to 255."""
    odd = ~((values >= 0) & (values <= 255) & (values == np.trunc(values)))
    if odd.any():
        place = tuple(np.argwhere(odd)[0])
        raise refuse(
            NAME,
            f"prediction of {name(int(place[0]))[:80]!r} holds {values[place]:g}",
            "give whole numbers from 0 to 255",
        )
    return values.astype(np.uint8)


# --- arrays ------------------------------------------------------------------------------------


def _write_arrays(path: Path, table: Table, request: Request) -> None:
    """Write predictions that are arrays: as they are or flat, of the shape of their split."""
    split_of = request.split_of
    if unknown := [name for name in dict.fromkeys(table.ids) if name not in split_of]:
        raise arranging.unknown_ids(NAME, unknown, split_of)
    cells: list[np.ndarray] = []
    for name, cell in zip(table.ids, table.cells, strict=True):
        shape = request.shapes[split_of[name]]
        flat = bool(shape) and cell.shape == (math.prod(shape),)
        if cell.shape != shape and not flat:
            raise _wrong_shape(name, cell.shape, request)
        cells.append(cell.ravel())
    half = all(cell.dtype == np.float16 for cell in cells)
    kind = np.uint8 if request.cells == "uint8" else np.float16 if half else np.float32
    writing.write_parts(path, _parts(table, cells, kind), declared=table.declared, kind=kind)


def _parts(
    table: Table, cells: Sequence[np.ndarray], kind: type[np.floating] | type[np.uint8]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids, predictions and seeds, in runs of equal length of about ``PART_VALUES``."""
    seeds = np.zeros(len(cells), dtype=np.int64) if table.seeds is None else table.seeds
    start = 0
    while start < len(cells):
        size, stop = cells[start].size, start + 1
        most = start + max(1, PART_VALUES // size)
        while stop < min(most, len(cells)) and cells[stop].size == size:
            stop += 1
        rows = slice(start, stop)
        ids = table.ids[rows]
        values = _converted(np.stack(cells[rows]), kind, ids.__getitem__)
        yield np.array(ids, dtype=object), values, seeds[rows]
        start = stop


def _wrong_shape(name: str, shape: tuple[int, ...], request: Request) -> UserError:
    split = request.split_of.get(name) or next(iter(request.split_of.values()))
    expected = request.shapes[split]
    what = f"has shape {shape}" if shape else "is one number"
    remedy = "give one number per sample"
    if expected:
        remedy = f"give arrays of shape {expected}, or flat ones with the last axis fastest"
    what = f"prediction of {name[:80]!r} {what}, not {expected or 'one number'}"
    return refuse(NAME, what, remedy)

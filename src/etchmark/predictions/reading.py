"""Reads a predictions file without trusting it: parquet or CSV, bounded before it is unpacked."""

from __future__ import annotations

import csv
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.columns import parquet_file
from etchmark.errors import UserError
from etchmark.predictions import checks, pages
from etchmark.predictions.checks import MAX_ID_LENGTH, MAX_SEEDS, Declared, refuse

# No two branches can match the same digits, so that a long cell takes no longer to refuse.
_NUMBER = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_MISSING = {"na", "n/a", "<na>", "none", "null", "nat"}
Cells = Literal["number", "text", "uint8"]
"""What a prediction is made of: floating-point numbers, one text, or whole numbers up to 255."""
IDS_AT_ONCE_BYTES = 16 << 20
"""What ids whose size cannot be told beforehand may take together before they are looked at."""


@dataclass(frozen=True)
class Predictions:
    """Rows of a predictions file, in file order.

    ``ids`` has shape (rows,), ``seeds`` (rows,), ``values`` (rows, *shape) in the target's unit.
    """

    ids: np.ndarray
    seeds: np.ndarray
    values: np.ndarray
    declared: Declared = Declared()


def max_file_bytes(rows: int, shape: Sequence[int]) -> int:
    """The largest file that could be an honest predictions file for ``rows`` samples."""
    elements = int(np.prod(shape, dtype=np.int64)) if shape else 1
    per_row = 8 * elements if shape else 64
    return (1 << 20) + rows * MAX_SEEDS * (per_row + MAX_ID_LENGTH)


def read(
    path: Path, *, rows: int, shape: Sequence[int] = (), cells: Cells = "number"
) -> Predictions:
    """Read a predictions file without trusting it.

    Args:
        path: parquet, or CSV where a prediction is a single cell.
        rows: number of samples that exist in all splits; bounds what is read.
        shape: shape of one prediction, empty for a single cell.
        cells: what a prediction is made of; text has no shape.

    Raises:
        UserError: the file is not a well-formed predictions file.
    """
    limit = max_file_bytes(rows, shape)
    magic = _magic(path, rows, limit)
    if magic == b"PAR1":
        form = Form(int(np.prod(shape, dtype=np.int64)) if shape else 0, cells)
        table = _bare(path, rows, form, limit, values=True)
        found = keys_of(path, table)
        column = table.column("prediction")
        if cells == "text":
            values = checks.texts(path, column, "prediction")
        else:
            values = _values(path, column.combine_chunks(), tuple(shape))
        return Predictions(found.ids, found.seeds, values, found.declared)
    if path.suffix.lower() == ".csv":
        if shape:
            raise refuse(path, "is CSV; probabilities and arrays need Parquet", "write Parquet")
        return _read_csv(path, rows, cells)
    raise refuse(
        path,
        "is neither parquet (by its first bytes) nor a .csv file",
        "write it with pandas' to_parquet(index=False) or to_csv(index=False), named .csv",
    )


def _magic(path: Path, rows: int, limit: int) -> bytes:
    """The first bytes of a file that can be read and is no larger than it may be."""
    try:
        if path.is_dir():
            raise refuse(path, "is a folder", "give the predictions file itself")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            # Reading a pipe or device might never end.
            raise refuse(path, "is not an ordinary file", "save the predictions to a file")
        size = status.st_size
        with path.open("rb") as handle:
            magic = handle.read(4)
    except OSError as error:
        raise refuse(path, f"cannot be read ({error.strerror})", "give an existing file") from None
    except ValueError as error:
        # A name that no file can have, such as one with a zero byte.
        raise refuse(path, f"cannot be read ({error})", "give an existing file") from None
    if size == 0:
        raise refuse(path, "is empty (0 bytes)", "write id and prediction into it")
    if size > limit:
        raise refuse(
            path,
            f"is {size:,} bytes, more than the {limit:,} that {rows:,} samples can need",
            "keep only id, prediction and seed of this benchmark's samples",
        )
    return magic


def read_bare(path: Path, *, rows: int, form: Form) -> pa.Table:
    """Ids and seeds of a parquet file of lists, whose values are left where they are.

    Args:
        path: the file.
        rows: number of samples that exist in all splits.
        form: what its predictions are, the longest of them where they differ.

    Raises:
        UserError: it is not a well-formed predictions file, or is larger than an honest one.
    """
    limit = max_file_bytes(rows, (form.elements,))
    if _magic(path, rows, limit) != b"PAR1":
        raise refuse(
            path, "is not parquet (by its first bytes)", "write predictions as lists into parquet"
        )
    return _bare(path, rows, form, limit, values=False)


def keys_of(path: Path, table: pa.Table) -> Predictions:
    """Ids, seeds and what a file says of itself; no values."""
    for name in table.column_names:
        if nulls := table.column(name).null_count:
            raise checks.empty_cells(path, name, nulls)
    ids = checks.texts(path, table.column("id"))
    seeds = np.zeros(len(ids), dtype=np.int64)
    if "seed" in table.column_names:
        seeds = checks.seeds_of(path, table.column("seed").to_pylist())
    return Predictions(ids, seeds, np.empty(0), checks.declared_by(table.schema.metadata))


def unreadable(path: Path, error: Exception) -> UserError:
    first = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return refuse(path, f"is not readable parquet ({first})", "write the file again")


def _value_of(path: Path, line: str, text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if not text:
        remedy = "write a number in every row (a template comes empty)"
        raise refuse(path, f"{line}: prediction is empty", remedy)
    remedy = "write numbers"
    if re.fullmatch(r"[+-]?\d+,\d+", text, re.ASCII):
        remedy = "write numbers with a decimal point"
    elif text.lower() in _MISSING:
        remedy = "predict a number for every sample"
    raise refuse(path, f"{line}: prediction {text[:40]!r} is not a number", remedy)


def _seed_of(path: Path, line: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise refuse(path, f"{line}: seed {text[:40]!r} is not an integer", "write integers")
    if not _INTEGER.fullmatch(text):
        raise refuse(
            path, f"{line}: seed {text[:40]} has more than 18 digits", "number the seeds from 0"
        )
    return int(text)


def _read_csv(path: Path, rows: int, form: Cells) -> Predictions:
    ids: list[str] = []
    seeds: list[int] = []
    values: list[Any] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            header = [name.strip() for name in next(reader, [])]
            checks.check_names(path, header)
            at = {name: header.index(name) for name in header}
            for line, cells in _csv_rows(path, reader, len(header)):
                if len(ids) >= rows * MAX_SEEDS:
                    raise checks.too_many_rows(path, rows)
                cell = cells[at["prediction"]].strip()
                if form == "text" and cell:
                    values.append(cell)
                else:
                    values.append(_value_of(path, line, cell))
                seeds.append(_seed_of(path, line, cells[at["seed"]].strip()) if "seed" in at else 0)
                ids.append(cells[at["id"]])
    except UnicodeDecodeError:
        raise refuse(path, "is not UTF-8 text", "save a CSV as UTF-8, or give parquet") from None
    except csv.Error as error:
        raise refuse(
            path, f"is not well-formed CSV ({error})", "write it with a CSV writer"
        ) from None
    except OSError as error:
        raise refuse(path, f"cannot be read ({error.strerror})", "give an existing file") from None
    checks.check_lengths(path, ids)
    whole = np.array(values, dtype=object if form == "text" else np.float64)
    if form == "text":
        checks.check_lengths(path, values, "prediction")
    return Predictions(np.array(ids, dtype=object), np.array(seeds, dtype=np.int64), whole)


def _csv_rows(path: Path, reader: Any, width: int) -> Iterator[tuple[str, list[str]]]:
    """Each row of a CSV with the place where it stands; blank lines are left out.

    A row of nothing but separators is what spreadsheets write below a table. Anywhere else it
    stands for a sample whose id and prediction are missing.
    """
    blank = ""
    for cells in reader:
        line = f"line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            if len(cells) > 1:
                blank = blank or line
            continue
        if blank:
            raise refuse(path, f"{blank} holds nothing but separators", "fill or remove that line")
        if len(cells) != width:
            raise refuse(path, f"{line} has {len(cells)} cells, not {width}", "correct that line")
        yield line, cells


@dataclass(frozen=True)
class Form:
    """What the column of predictions holds."""

    elements: int
    """Values of a prediction; 0 for a single cell."""
    cells: Cells = "number"
    varies: bool = False
    """Predictions of some splits have fewer values."""

    @property
    def length(self) -> str:
        """How many values a prediction has, in words."""
        return f"{'at most ' if self.varies else ''}{self.elements:,}"


def _bare(path: Path, rows: int, form: Form, limit: int, *, values: bool) -> pa.Table:
    """The file's table, once it is known what reading it takes."""
    try:
        # Opened here and not by pyarrow, which takes no file name that is not Unicode.
        with path.open("rb") as handle:
            footer = pages.read_footer(handle)
            schema = pq.read_schema(handle)
            checks.check_names(path, schema.names)
            if footer.rows:
                _check_types(path, schema, form)
            coding = _check_sizes(path, handle, footer, rows, form, limit)
            names = [name for name in schema.names if values or name != "prediction"]
            texts = ["id", "prediction"] if form.cells == "text" else ["id"]
            if not footer.rows:
                return _no_rows(schema, names, form)
            if coding.unbounded:
                ids = _bounded_ids(path, handle, coding)
                rest = _read_table(handle, [name for name in names if name != "id"], texts[1:])
                return rest.append_column("id", ids).replace_schema_metadata(schema.metadata)
            # A dictionary is kept as one: unfolded, a few bytes could be as many gigabytes.
            return _read_table(handle, names, texts if coding.dictionary else texts[1:])
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise unreadable(path, error) from None


def _read_table(
    handle: BinaryIO, names: Sequence[str], dictionary: list[str] | None = None
) -> pa.Table:
    with parquet_file(handle, read_dictionary=dictionary, page_checksum_verification=True) as file:
        table = file.read(columns=list(names), use_threads=False)
    table.validate(full=True)
    return table


def _no_rows(schema: pa.Schema, names: Sequence[str], form: Form) -> pa.Table:
    """A table without rows, of the types that are asked for: without rows there are no others."""
    cell = pa.string() if form.cells == "text" else pa.float64()
    prediction = pa.list_(cell) if form.elements else cell
    kinds = {"id": pa.string(), "prediction": prediction, "seed": pa.int64()}
    fields = [(name, kinds[name]) for name in names]
    return pa.schema(fields, metadata=schema.metadata).empty_table()


@dataclass(frozen=True)
class _Coding:
    """How the ids of a file are encoded."""

    dictionary: bool = False
    unbounded: bool = False
    """Each id may repeat the start of the one before, so that its length is not known before."""
    bytes: int = 0
    """Unpacked, as the page headers have it; no single id is longer."""


def _bounded_ids(path: Path, handle: BinaryIO, coding: _Coding) -> pa.ChunkedArray:
    """Ids of an encoding that hides their size, so few at once that they fit into memory."""
    size = max(1, IDS_AT_ONCE_BYTES // max(1, coding.bytes))
    parts: list[pa.Array] = []
    with parquet_file(handle, page_checksum_verification=True) as file:
        for batch in file.iter_batches(size, columns=["id"], use_threads=False):
            batch.validate(full=True)
            part = batch.column(0)
            checks.check_lengths(path, [text for text in part.to_pylist() if text is not None])
            parts.append(part)
    return pa.chunked_array(parts)


def _check_sizes(
    path: Path,
    handle: BinaryIO,
    footer: pages.Footer,
    rows: int,
    form: Form,
    limit: int,
) -> _Coding:
    """Refuse what would take more memory than an honest file; how its ids are encoded."""
    most = rows * MAX_SEEDS
    if footer.rows > most:
        raise checks.too_many_rows(path, rows)
    # What the footer says is what is reserved, what the pages say is what is unpacked.
    reserved: Counter[str] = Counter()
    for chunk in footer.chunks:
        reserved[chunk.column] += chunk.values
    held: Counter[str] = Counter()
    unpacked, size, coding = footer.bytes, 0, _Coding()
    for page in pages.read_pages(handle, footer.chunks):
        size += page.bytes
        unpacked = max(unpacked, size)
        held[page.column] += 0 if page.dictionary else page.values
        if form.cells == "text" and (page.column, page.encoding) == (
            "prediction",
            pages.DELTA_BYTE_ARRAY,
        ):
            what = "predictions are in the encoding DELTA_BYTE_ARRAY, which hides its size"
            raise refuse(path, what, "write them with pandas' to_parquet(index=False)")
        if page.column == "id":
            coding = _Coding(
                coding.dictionary or page.dictionary,
                coding.unbounded or page.encoding == pages.DELTA_BYTE_ARRAY,
                coding.bytes + page.bytes,
            )
    remedy = "keep only id, prediction and seed of this benchmark's samples"
    if unpacked > limit:
        what = f"unpacks to {unpacked:,} bytes, more than the {limit:,} that are plausible"
        raise refuse(path, what, remedy)
    for name in reserved:
        allowed = most * (max(form.elements, 1) if name == "prediction" else 1)
        count = max(reserved[name], held[name])
        if count > allowed:
            what = f"column {name!r} holds {count:,} values, more than {allowed:,} plausible ones"
            raise refuse(path, what, remedy)
        flat = name != "prediction" or not form.elements
        if reserved[name] != held[name] or (flat and count != footer.rows):
            raise ValueError("its parts contradict each other in the number of rows")
    return coding


def _check_types(path: Path, schema: pa.Schema, form: Form) -> None:
    checks.check_keys(path, schema)
    kind = schema.field("prediction").type
    if form.cells == "text":
        if not checks.is_text(kind):
            raise refuse(path, f"prediction holds {kind}, not text", "write the name of a class")
    elif not form.elements:
        if not checks.is_number(kind):
            raise checks.not_numbers(path, kind)
    elif form.cells == "uint8":
        if not (checks.is_list(kind) and kind.value_type == pa.uint8()):
            raise refuse(
                path,
                f"prediction holds {kind}, not lists of uint8",
                f"write each prediction flat, as a list of {form.length} uint8",
            )
    elif not (checks.is_list(kind) and pa.types.is_floating(kind.value_type)):
        raise refuse(
            path,
            f"prediction holds {kind}, not lists of floats",
            f"write each prediction flat, as a list of {form.length} floats",
        )


def _values(path: Path, column: pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    if not shape:
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    expected = int(np.prod(shape))
    flat = column.flatten()
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != expected)
    if len(wrong):
        raise refuse(
            path,
            f"{checks.number_of(len(wrong), 'prediction')} of the wrong length"
            f" (row {wrong[0]}: {lengths[wrong[0]]})",
            f"each is {expected} floats, shape {shape} flattened row by row",
        )
    if flat.null_count:
        empty = checks.number_of(flat.null_count, "empty cell")
        raise refuse(path, f"predictions hold {empty}", "fill every value")
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), *shape)

"""Reads a predictions file without trusting it: parquet or CSV, bounded before it is unpacked."""

from __future__ import annotations

import csv
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.errors import UserError
from etchmark.scoring import pages

MAX_SEEDS = 100
MAX_ID_LENGTH = 256
# No two branches can match the same digits, so that a long cell takes no longer to refuse.
_NUMBER = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
META = "etchmark."


@dataclass(frozen=True)
class Declared:
    """What a predictions file says of itself; None where it says nothing."""

    benchmark: str | None = None
    track: str | None = None
    protocol: str | None = None


@dataclass(frozen=True)
class Predictions:
    """Rows of a predictions file, in file order.

    ``ids`` has shape (rows,), ``seeds`` (rows,), ``values`` (rows, *shape) in the target's unit.
    """

    ids: np.ndarray
    seeds: np.ndarray
    values: np.ndarray
    declared: Declared = Declared()


def listing(values: Iterable[str]) -> str:
    shown = [repr(str(value))[:80] for _, value in zip(range(5), values, strict=False)]
    return ", ".join(shown)


def refuse(path: Path, what: str, remedy: str) -> UserError:
    return UserError(f"{path}: {what}; {remedy}")


def max_file_bytes(rows: int, shape: Sequence[int]) -> int:
    """The largest file that could be an honest predictions file for ``rows`` samples."""
    elements = int(np.prod(shape, dtype=np.int64)) if shape else 1
    per_row = 8 * elements if shape else 64
    return (1 << 20) + rows * MAX_SEEDS * (per_row + MAX_ID_LENGTH)


def read(path: Path, *, rows: int, shape: Sequence[int] = ()) -> Predictions:
    """Read a predictions file without trusting it.

    Args:
        path: parquet, or CSV for a scalar target.
        rows: number of samples that exist in all splits; bounds what is read.
        shape: shape of one prediction, empty for a scalar.

    Raises:
        UserError: the file is not a well-formed predictions file.
    """
    limit = max_file_bytes(rows, shape)
    magic = _magic(path, rows, limit)
    if magic == b"PAR1":
        return _read_parquet(path, rows, tuple(shape), limit)
    if path.suffix.lower() == ".csv":
        if shape:
            raise refuse(path, "is CSV but the target is an array", "write parquet instead")
        return _read_csv(path, rows)
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
            raise refuse(path, "is no ordinary file", "save the predictions to a file")
        size = status.st_size
        with path.open("rb") as handle:
            magic = handle.read(4)
    except OSError as error:
        raise refuse(path, f"cannot be read ({error.strerror})", "give an existing file") from None
    if size == 0:
        raise refuse(path, "is empty (0 bytes)", "write id and prediction into it")
    if size > limit:
        raise refuse(
            path,
            f"is {size:,} bytes, more than the {limit:,} that {rows:,} samples can need",
            "keep only id, prediction and seed of this benchmark's samples",
        )
    return magic


def read_bare(path: Path, *, rows: int, elements: int) -> pa.Table:
    """Ids and seeds of a parquet file of lists, whose values are left where they are.

    Args:
        path: the file.
        rows: number of samples that exist in all splits.
        elements: values of the longest prediction.

    Raises:
        UserError: it is no well-formed predictions file, or larger than an honest one.
    """
    limit = max_file_bytes(rows, (elements,))
    if _magic(path, rows, limit) != b"PAR1":
        raise refuse(
            path, "is not parquet (by its first bytes)", "write frames as lists into parquet"
        )
    return _bare(path, rows, elements, limit, values=False)


def keys_of(path: Path, table: pa.Table) -> Predictions:
    """Ids, seeds and what a file says of itself; no values."""
    for name in table.column_names:
        nulls = table.column(name).null_count
        if nulls:
            raise refuse(path, f"column {name!r} has {nulls} empty cells", "fill every row")
    tags = {
        key.decode("utf-8", "replace").removeprefix(META): value.decode("utf-8", "replace")
        for key, value in (table.schema.metadata or {}).items()
        if key.startswith(META.encode())
    }
    ids = _texts(path, table.column("id"))
    seeds = np.zeros(len(ids), dtype=np.int64)
    if "seed" in table.column_names:
        try:
            seeds = table.column("seed").cast(pa.int64()).to_numpy()
        except pa.ArrowException as error:
            raise unreadable(path, error) from None
    declared = Declared(tags.get("benchmark"), tags.get("track"), tags.get("protocol"))
    return Predictions(ids, seeds, np.empty(0), declared)


def unreadable(path: Path, error: Exception) -> UserError:
    first = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return refuse(path, f"is not readable parquet ({first})", "write the file again")


def _check_names(path: Path, names: Sequence[str]) -> None:
    for name in ("id", "prediction"):
        if names.count(name) != 1:
            count = names.count(name)
            raise refuse(
                path,
                f"has {count or 'no'} column{'s' if count > 1 else ''} named {name!r}"
                f" (columns: {listing(names)})",
                _remedy_for(names),
            )
    extra = [name for name in names if name not in {"id", "prediction", "seed"}]
    if extra or names.count("seed") > 1:
        raise refuse(
            path,
            f"has unknown columns {listing(extra or ['seed (twice)'])}",
            "the columns are id, prediction and optionally seed; drop the others (index=False)",
        )


def _remedy_for(names: Sequence[str]) -> str:
    """What to do about columns that are not the ones asked for."""
    lone = names[0] if len(names) == 1 else ""
    if ";" in lone or "\t" in lone:
        separator = "semicolons" if ";" in lone else "tabs"
        return (
            f"its columns seem to be separated by {separator}; separate them by commas and write"
            " numbers with a decimal point (pandas' to_csv(index=False) does)"
        )
    lower = [name.lower() for name in names]
    if lower.count("id") == lower.count("prediction") == 1:
        return "write the names in lower case: id, prediction and optionally seed"
    return "the columns are id, prediction and optionally seed"


def _value_of(path: Path, line: str, text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if not text:
        remedy = "write a number in every row (a template comes empty)"
        raise refuse(path, f"{line}: prediction is empty", remedy)
    remedy = "write numbers"
    if re.fullmatch(r"[+-]?\d+,\d+", text, re.ASCII):
        remedy = "write numbers with a decimal point"
    raise refuse(path, f"{line}: prediction {text[:40]!r} is not a number", remedy)


def _read_csv(path: Path, rows: int) -> Predictions:
    ids: list[str] = []
    seeds: list[int] = []
    values: list[float] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_names(path, header)
            at = {name: header.index(name) for name in header}
            for cells in reader:
                if not cells:
                    continue
                line = f"line {reader.line_num}"
                if len(cells) != len(header):
                    raise refuse(
                        path, f"{line} has {len(cells)} cells, not {len(header)}", "mend that line"
                    )
                if len(ids) >= rows * MAX_SEEDS:
                    raise _too_many(path, rows)
                value = _value_of(path, line, cells[at["prediction"]].strip())
                seed = cells[at["seed"]].strip() if "seed" in at else "0"
                if not _INTEGER.fullmatch(seed):
                    raise refuse(
                        path, f"{line}: seed {seed[:40]!r} is not an integer", "write integers"
                    )
                ids.append(cells[at["id"]])
                values.append(value)
                seeds.append(int(seed))
    except UnicodeDecodeError:
        raise refuse(path, "is not UTF-8 text", "save a CSV as UTF-8, or give parquet") from None
    except csv.Error as error:
        raise refuse(
            path, f"is not well-formed CSV ({error})", "write it with a CSV writer"
        ) from None
    _check_lengths(path, ids)
    return Predictions(
        np.array(ids, dtype=object), np.array(seeds, dtype=np.int64), np.array(values)
    )


def _too_many(path: Path, rows: int) -> UserError:
    return refuse(
        path,
        f"has more than {rows:,} samples × {MAX_SEEDS} seeds rows",
        "keep only this benchmark's samples",
    )


def _read_parquet(path: Path, rows: int, shape: tuple[int, ...], limit: int) -> Predictions:
    elements = int(np.prod(shape, dtype=np.int64)) if shape else 0
    table = _bare(path, rows, elements, limit, values=True)
    found = keys_of(path, table)
    values = _values(path, table.column("prediction").combine_chunks(), shape)
    return Predictions(found.ids, found.seeds, values, found.declared)


def _bare(path: Path, rows: int, elements: int, limit: int, *, values: bool) -> pa.Table:
    """The file's table, once it is known what reading it takes; ``elements`` is 0 for scalars."""
    try:
        with path.open("rb") as handle:
            footer = pages.read_footer(handle)
            schema = pq.read_schema(path)
            _check_names(path, schema.names)
            _check_types(path, schema, elements)
            coded = _check_sizes(path, handle, footer, rows, elements, limit)
        names = [name for name in schema.names if values or name != "prediction"]
        # A dictionary is kept as one: unfolded, a few bytes could be as many gigabytes.
        with pq.ParquetFile(
            path, read_dictionary=["id"] if coded else None, page_checksum_verification=True
        ) as file:
            table = file.read(columns=names, use_threads=False)
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise unreadable(path, error) from None


def _check_sizes(
    path: Path,
    handle: BinaryIO,
    footer: pages.Footer,
    rows: int,
    elements: int,
    limit: int,
) -> bool:
    """Refuse what would take more memory than an honest file; whether ids are dictionary-coded."""
    most = rows * MAX_SEEDS
    if footer.rows > most:
        raise _too_many(path, rows)
    # What the footer says is what is reserved, what the pages say is what is unpacked.
    reserved: Counter[str] = Counter()
    for chunk in footer.chunks:
        reserved[chunk.column] += chunk.values
    held: Counter[str] = Counter()
    unpacked, size, coded = footer.bytes, 0, False
    for page in pages.read_pages(handle, footer.chunks):
        size += page.bytes
        unpacked = max(unpacked, size)
        held[page.column] += 0 if page.dictionary else page.values
        if page.column == "id":
            coded = coded or page.dictionary
            if page.encoding == pages.DELTA_BYTE_ARRAY:
                raise refuse(
                    path,
                    "holds ids in the encoding DELTA_BYTE_ARRAY, whose size cannot be seen before",
                    "write it with pandas or pyarrow",
                )
    remedy = "keep only id, prediction and seed of this benchmark's samples"
    if unpacked > limit:
        what = f"unpacks to {unpacked:,} bytes, more than the {limit:,} that are plausible"
        raise refuse(path, what, remedy)
    for name in reserved:
        allowed = most * (max(elements, 1) if name == "prediction" else 1)
        count = max(reserved[name], held[name])
        if count > allowed:
            what = f"column {name!r} holds {count:,} values, more than the {allowed:,} plausible"
            raise refuse(path, what, remedy)
        flat = name != "prediction" or not elements
        if reserved[name] != held[name] or (flat and count != footer.rows):
            raise ValueError("its parts contradict each other in the number of rows")
    return coded


def _check_lengths(path: Path, ids: Sequence[str]) -> None:
    longest = max(map(len, ids), default=0)
    if longest > MAX_ID_LENGTH:
        raise refuse(
            path,
            f"holds an id of {longest:,} characters",
            f"ids have {MAX_ID_LENGTH} characters at most",
        )


def _texts(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    texts: list[str] = []
    for chunk in column.chunks:
        distinct, index = chunk, None
        if isinstance(chunk, pa.DictionaryArray):
            distinct, index = chunk.dictionary, chunk.indices.to_pylist()
        listed = distinct.to_pylist()
        _check_lengths(path, listed)
        texts += listed if index is None else [listed[one] for one in index]
    return np.array(texts, dtype=object)


def _check_types(path: Path, schema: pa.Schema, elements: int) -> None:
    def text(kind: pa.DataType) -> bool:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return (
            pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
        )

    if not text(schema.field("id").type):
        raise refuse(path, f"id holds {schema.field('id').type}, not text", "write ids as text")
    if "seed" in schema.names and not pa.types.is_integer(schema.field("seed").type):
        raise refuse(path, f"seed holds {schema.field('seed').type}", "write seeds as integers")
    kind = schema.field("prediction").type
    if elements:
        if not (
            (
                pa.types.is_fixed_size_list(kind)
                or pa.types.is_list(kind)
                or pa.types.is_large_list(kind)
            )
            and pa.types.is_floating(kind.value_type)
        ):
            raise refuse(
                path,
                f"prediction holds {kind}, not lists of floats",
                f"write each prediction flat, as a list of floats ({elements:,} at most)",
            )
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise refuse(path, f"prediction holds {kind}, not numbers", "write one number per row")


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
            f"{len(wrong)} predictions have the wrong length (row {wrong[0]}: {lengths[wrong[0]]})",
            f"each is {expected} floats, shape {shape} flattened row by row",
        )
    if flat.null_count:
        raise refuse(path, f"predictions hold {flat.null_count} empty cells", "fill every value")
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), *shape)

"""What predictions must be, whether they come as a file or as a table in memory.

Both doors ask these functions, so that they refuse the same things in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark.errors import UserError

MAX_SEEDS = 100
LISTED = 5
"""Values that a message names."""
MAX_ID_LENGTH = 256
META = "etchmark."
"""Prefix of the keys under which a file says what it is for."""
_INT64 = np.iinfo(np.int64)

Source = Path | str
"""What messages call the predictions: the path of a file, or the name of a table in memory."""


@dataclass(frozen=True)
class Declared:
    """What a predictions file says of itself; None where it says nothing."""

    benchmark: str | None = None
    track: str | None = None
    protocol: str | None = None


def declared_by(metadata: Mapping[bytes, bytes] | None) -> Declared:
    """What the metadata of an Arrow schema says."""
    tags = {
        key.decode("utf-8", "replace").removeprefix(META): value.decode("utf-8", "replace")
        for key, value in (metadata or {}).items()
        if key.startswith(META.encode())
    }
    return Declared(tags.get("benchmark"), tags.get("track"), tags.get("protocol"))


def listing(values: Iterable[str]) -> str:
    """The first five different values, quoted and cut to a readable length, and how many more."""
    different = dict.fromkeys(map(str, values))
    shown = ", ".join(repr(value)[:80] for value in list(different)[:LISTED])
    more = len(different) - LISTED
    return f"{shown} and {more:,} more" if more > 0 else shown


def refuse(source: Source, what: str, remedy: str) -> UserError:
    return UserError(f"{source}: {what}; {remedy}")


@contextmanager
def named(path: Path, name: str) -> Iterator[None]:
    """Let refusals of a temporary file speak of what the caller gave instead.

    Args:
        path: the temporary file.
        name: what the caller knows it as.
    """
    try:
        yield
    except UserError as error:
        # Messages have single spaces only, so the path is looked for in the same form.
        shown = " ".join(str(path).split())
        raise type(error)(str(error).replace(shown, name)) from None


def number_of(count: int, what: str) -> str:
    """A count with its noun, such as "1 row" or "2 rows"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def too_many_rows(source: Source, samples: int) -> UserError:
    return refuse(
        source,
        f"has more rows than {samples:,} samples × {MAX_SEEDS} seeds",
        "keep only this benchmark's samples",
    )


def empty_cells(source: Source, name: str, count: int) -> UserError:
    what = f"column {name!r} has {number_of(count, 'empty cell')}"
    return refuse(source, what, "fill every row")


# --- names -------------------------------------------------------------------------------------


def check_names(source: Source, names: Sequence[str]) -> None:
    """There is one ``id``, one ``prediction``, at most one ``seed``, and nothing else."""
    for name in ("id", "prediction"):
        if names.count(name) != 1:
            count = names.count(name)
            raise refuse(
                source,
                f"has {count or 'no'} column{'s' if count > 1 else ''} named {name!r}"
                f" (columns: {listing(names) or 'none'})",
                _remedy_for(names),
            )
    extra = [name for name in names if name not in {"id", "prediction", "seed"}]
    if extra or names.count("seed") > 1:
        raise refuse(
            source,
            f"has unknown columns {listing(extra or ['seed (twice)'])}",
            "the columns are id, prediction and optionally seed; drop the others"
            + (" (index=False)" if isinstance(source, Path) else ""),
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


# --- types -------------------------------------------------------------------------------------


def not_text(source: Source, kind: object) -> UserError:
    return refuse(source, f"id holds {kind}, not text", "write ids as text")


def not_numbers(source: Source, kind: object) -> UserError:
    remedy = "write one number per row"
    if re.match("decimal", str(kind), re.IGNORECASE):
        remedy = "convert them to float64"
    return refuse(source, f"prediction holds {kind}, not numbers", remedy)


def not_seeds(source: Source, kind: object) -> UserError:
    return refuse(source, f"seed holds {kind}, not integers", "write seeds as integers")


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow column holds text, as it is or by a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    return any(test(kind) for test in tests)


def check_keys(source: Source, schema: pa.Schema) -> None:
    """Ids are text and seeds integers."""
    if not is_text(schema.field("id").type):
        raise not_text(source, schema.field("id").type)
    if "seed" in schema.names and not pa.types.is_integer(schema.field("seed").type):
        raise not_seeds(source, schema.field("seed").type)


# --- ids and seeds -----------------------------------------------------------------------------


def check_lengths(source: Source, texts: Sequence[str], name: str = "id") -> None:
    longest = max(map(len, texts), default=0)
    if longest > MAX_ID_LENGTH:
        article = "an" if name == "id" else "a"
        raise refuse(
            source,
            f"holds {article} {name} of {longest:,} characters",
            f"{name}s have {MAX_ID_LENGTH} characters at most",
        )


def texts(source: Source, column: pa.ChunkedArray, name: str = "id") -> np.ndarray:
    """Texts of the column ``name`` as an array of str, shape (rows,).

    A dictionary is looked up and not unfolded: a few bytes could be as many gigabytes.
    """
    ids: list[Any] = []
    for chunk in column.chunks:
        distinct, index = chunk, None
        if isinstance(chunk, pa.DictionaryArray):
            distinct, index = chunk.dictionary, chunk.indices.to_pylist()
        listed = distinct.to_pylist()
        check_lengths(source, [text for text in listed if text is not None], name)
        ids += listed if index is None else [listed[place] for place in index]
    if None in ids:
        # A dictionary may hold an empty cell itself.
        raise empty_cells(source, name, ids.count(None))
    return np.array(ids, dtype=object)


def seeds_of(source: Source, values: Iterable[int]) -> np.ndarray:
    """Seeds as int64, shape (rows,)."""
    seeds = list(values)
    for seed in seeds:
        if not _INT64.min <= seed <= _INT64.max:
            what = f"seed {str(seed)[:40]} does not fit into a signed integer of 64 bits"
            raise refuse(source, what, "number the seeds from 0")
    return np.array(seeds, dtype=np.int64)

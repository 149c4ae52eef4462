"""One prediction as it stands in a table in memory, read as an array of floats or refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from etchmark.predictions import checks

Cell = np.ndarray | None
"""A prediction as an array of floats, without an axis for a number; None where it is missing."""


class OddCell(Exception):
    """A prediction that is neither a number nor an array of them; the message says what it is."""


def kind_of(value: object) -> str:
    """What a value is called in messages."""
    module = type(value).__module__.partition(".")[0]
    name = type(value).__name__
    return name if module == "builtins" else f"{module}.{name}"


def is_missing(value: object) -> bool:
    """Whether a cell of pandas holds no value; NaN counts, as it marks empty cells there."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float) and math.isnan(value)


def cell_of(value: Any) -> Cell:
    """One value of a column of objects.

    Raises:
        OddCell: it is neither a number nor an array of them.
    """
    if isinstance(value, np.ma.MaskedArray):
        return None if np.ma.getmaskarray(value).any() else _array(np.asarray(value.data))
    if isinstance(value, float | np.floating):
        # A number that is none is told from an empty cell, as in a file.
        return np.asarray(value)
    if is_missing(value):
        return None
    if isinstance(value, str | bytes):
        raise OddCell(f"text ({str(value)[:40]!r})")
    try:
        if isinstance(value, list | tuple) and _holds_missing(value):
            return None
        # A tensor that records gradients or lies on another device refuses to be an array.
        detach = getattr(value, "detach", None)
        return _array(np.asarray(value if detach is None else detach().cpu()))
    except OddCell:
        raise
    except Exception as error:
        if "inhomogeneous" in str(error):
            raise OddCell("lists of different lengths") from None
        reason = " ".join(str(error).split())[:80]
        raise OddCell(f"a {kind_of(value)} that cannot be an array ({reason})") from None


def _holds_missing(values: Sequence[Any]) -> bool:
    """Whether nested lists hold an empty value.

    Raises:
        OddCell: they hold a truth value, which NumPy would count as 0 or 1 beside numbers.
    """
    for value in values:
        if isinstance(value, bool | np.bool_):
            raise OddCell("truth values")
        if isinstance(value, np.ndarray):
            if value.dtype == bool:
                raise OddCell("truth values")
            if np.ma.getmaskarray(value).any():
                return True
        elif isinstance(value, list | tuple):
            if _holds_missing(value):
                return True
        elif value is None or value is pd.NA or value is pd.NaT:
            return True
    return False


_KINDS = {
    "b": "truth values",
    "c": "complex numbers",
    "M": "dates",
    "m": "durations",
    "U": "text",
    "S": "bytes",
    "V": "records",
}


def _array(values: np.ndarray) -> Cell:
    """An array of real numbers as floats."""
    if values.dtype.kind == "f":
        return values
    if values.dtype.kind in "iu":
        return values.astype(np.float64)
    if values.dtype.kind == "O":
        return _array_of_objects(values)
    raise OddCell(_KINDS.get(values.dtype.kind, str(values.dtype)))


def _array_of_objects(values: np.ndarray) -> Cell:
    """An array of Python objects: numbers too large for NumPy's integers, or arrays in an array."""
    objects = values.ravel().tolist()
    if any(value is None or value is pd.NA or value is pd.NaT for value in objects):
        return None
    if any(isinstance(value, np.ndarray | list | tuple) for value in objects):
        # Reading nested lists with pandas gives arrays of arrays.
        return cell_of(values.tolist())
    for value in objects:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise OddCell(f"a {kind_of(value)}")
    try:
        return values.astype(np.float64)
    except OverflowError:
        raise OddCell("an integer beyond double precision") from None


def cell_of_lists(row: Any) -> Cell:
    """One row of nested lists."""
    if isinstance(row, np.ndarray):
        return _array(row)
    shape: list[int] = []
    while checks.is_list(row.type):
        if row.null_count:
            return None
        lengths = set(row.value_lengths().to_pylist())
        if len(lengths) > 1:
            raise OddCell("lists of different lengths")
        shape.append(lengths.pop() if lengths else 0)
        row = row.flatten()
    if row.null_count:
        return None
    if not checks.is_number(row.type):
        raise OddCell(f"lists of {row.type}")
    return _array(row.to_numpy(zero_copy_only=False).reshape(shape))

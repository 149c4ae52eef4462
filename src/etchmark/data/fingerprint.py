"""One identity for content, equal on any machine that rebuilt it.

Bytes of parquet files differ between library versions, and the last bits of a float between
processors. The fingerprint is therefore taken over the decoded values: text and integers exactly,
images by their pixels, float16 by its bits, other floats at six significant digits.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from etchmark.columns import Columns

DIGITS = 6
# Read from text, so that they are the same on any machine: numpy's 10.0**-5 is not, it depends on
# whether the processor has AVX-512.
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(309)])
# Below this, the power of ten that leaves six digits would be beyond the largest float.
_TINY, _LIFT = 1e-280, 40
_STEP = 1 << 20


def quantised(values: np.ndarray) -> bytes:
    """Floats at six significant digits as (integer mantissa, exponent) pairs."""
    x = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(x)
    magnitude = np.where(finite & (x != 0), np.abs(x), 1.0)
    lift = np.where(magnitude < _TINY, _LIFT, 0)
    lifted = np.where(finite, x, 0.0) * _POWERS[lift]
    exponent = np.floor(np.log10(magnitude * _POWERS[lift])).astype(np.int64)
    # An exponent that is one off at a power of ten gives the same pair, by the carry below.
    shift = DIGITS - 1 - exponent
    # One exact operation by an exact power, as far as there are such (up to 1e22): a number that
    # lies halfway is seen to do so, and goes to the even side everywhere.
    up = lifted * _POWERS[np.maximum(shift, 0)]
    mantissa = np.rint(np.where(shift >= 0, up, lifted / _POWERS[np.maximum(-shift, 0)]))
    exponent = exponent - lift
    # 9.999999 rounds up to the next decade.
    carried = np.abs(mantissa) >= 10**DIGITS
    mantissa = np.where(carried, mantissa / 10, mantissa)
    exponent = np.where(carried, exponent + 1, exponent)
    # Reserved mantissas for nan and the infinities, beyond any that a number can have.
    mantissa = np.where(np.isnan(x), 2e9, mantissa)
    mantissa = np.where(np.isinf(x), np.sign(np.nan_to_num(x)) * 3e9, mantissa)
    pairs = np.stack([mantissa.astype("<i8"), np.where(finite, exponent, 0).astype("<i8")], axis=-1)
    return pairs.tobytes()


def _cells(values: np.ndarray) -> Iterable[bytes]:
    if values.dtype.kind in "OU":
        for cell in values:
            if cell is None:
                yield b"\x00"
            elif isinstance(cell, np.ndarray):
                shape = ",".join(map(str, cell.shape)).encode()
                yield b"\x01" + shape + b";" + np.ascontiguousarray(cell).tobytes()
            else:
                text = str(cell).encode("utf-8")
                yield b"\x02" + struct.pack("<q", len(text)) + text
        return
    yield _head(values.shape)
    yield from _content(values)


def _head(shape: tuple[int, ...]) -> bytes:
    return ",".join(map(str, shape)).encode() + b";"


def _content(values: np.ndarray) -> Iterator[bytes]:
    # Part by part, since floats take many times their memory on the way.
    flat = np.ascontiguousarray(values).reshape(-1)
    for start in range(0, len(flat), _STEP):
        part = flat[start : start + _STEP]
        if part.dtype == np.float16:
            yield (part + np.float16(0)).astype("<f2").tobytes()  # -0 becomes 0
        elif np.issubdtype(part.dtype, np.floating):
            yield quantised(part)
        elif part.dtype == bool:
            yield part.astype("<i1").tobytes()
        elif part.dtype.itemsize == 1:
            yield part.tobytes()
        else:
            yield part.astype("<i8").tobytes()


def _streamed(digest: Any, columns: Columns, name: str) -> Any:
    """The digest after a column that is read in parts; None if these do not make one whole."""
    digest = digest.copy()
    kind: tuple[np.dtype, tuple[int, ...]] | None = None
    for batch in columns.batches(name):
        if batch.dtype.kind in "OU":
            for part in _cells(batch):
                digest.update(part)
            layout = (batch.dtype, ())
        else:
            layout = (batch.dtype, batch.shape[1:])
            if kind is None:
                digest.update(_head((columns.height, *batch.shape[1:])))
            for part in _content(batch):
                digest.update(part)
        if kind not in (None, layout):
            return None
        kind = layout
    return None if kind is None else digest


def of_columns(columns: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over named columns, in the order of their names.

    Arrays and images of ``Columns`` are read in parts; what comes out is the same.
    """
    digest = hashlib.sha256(b"etchmark-fingerprint-1\n")
    for name in sorted(columns):
        digest.update(f"column {name}\n".encode())
        if isinstance(columns, Columns) and columns.is_bulk(name):
            after = _streamed(digest, columns, name)
            if after is not None:
                digest = after
                continue
        for part in _cells(columns[name]):
            digest.update(part)
    return digest.hexdigest()


def of_splits(splits: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """SHA-256 over the columns of every split, in the order of the splits' names."""
    digest = hashlib.sha256(b"etchmark-fingerprint-1 splits\n")
    for name in sorted(splits):
        digest.update(f"{name} {of_columns(splits[name])}\n".encode())
    return digest.hexdigest()

"""Spatial statistics of single phases and fields."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft

SINGLE_UP_TO = 2**18
"""Pairs of cells up to which counts in single precision are off by less than 0.1."""


def two_point_statistics(
    phase: np.ndarray, max_lag: int | Sequence[int] | None = None, *, periodic: bool = True
) -> np.ndarray:
    """Two-point autocorrelation of a phase: the probability that both ends of a vector lie in it.

    Args:
        phase: indicator (or local fraction) of the phase, values in [0, 1], any number of
            dimensions.
        max_lag: largest lag in cells, of each axis or one for all; half the size if None.
        periodic: wrap around the edges; otherwise each lag is normalised by the number of pairs of
            cells that lie inside (no padding bias).

    Returns:
        Array of shape (2 * max_lag + 1, ...), zero lag at the centre, values in [0, 1]; the centre
        is the volume fraction for an indicator. Pairs of cells of an indicator are counted exactly.

    Raises:
        ValueError: a lag is not a whole number, is negative or reaches beyond the sample; a value
            of the phase is not in [0, 1].

    Source: Fullwood, Niezgoda & Kalidindi, Acta Mater. 56 (2008) 942,
    DOI 10.1016/j.actamat.2007.10.044.
    """
    values = np.asarray(phase)
    shape = values.shape
    if max_lag is None:
        lags = tuple((size - 1) // 2 for size in shape)
    else:
        per_axis: Any = (max_lag,) * values.ndim if np.ndim(max_lag) == 0 else max_lag
        try:
            lags = tuple(operator.index(lag) for lag in per_axis)
        except TypeError:
            raise ValueError(f"max_lag {max_lag} must be whole numbers") from None
    for size, lag in zip(shape, lags, strict=True):
        if not 0 <= lag < size or (periodic and 2 * lag >= size + 1):
            raise ValueError(f"max_lag {lag} does not fit a sample of {size} cells")
    # Not a number fails every comparison.
    if values.dtype.kind not in "buif" or not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("the phase must be an indicator or a local fraction: values from 0 to 1")
    pairs: float | np.ndarray = float(values.size)
    padded = shape
    if not periodic:
        # Room for the largest lag keeps wrapped pairs out of what is read off below.
        padded = tuple(
            int(fft.next_fast_len(size + lag, real=True) or size + lag)
            for size, lag in zip(shape, lags, strict=True)
        )
        pairs = np.ones(())
        for size, lag in zip(shape, lags, strict=True):
            pairs = np.multiply.outer(pairs, size - np.abs(np.arange(-lag, lag + 1.0)))
    whole = values.dtype.kind in "bui" or bool((values == np.rint(values)).all())
    values = values.astype(np.float64)
    if whole and float((values**2).sum()) <= SINGLE_UP_TO:
        values = values.astype(np.float32)
    correlation = _correlation(values, padded, lags).astype(np.float64)
    # What is counted is a whole number, so the transforms leave no error at all.
    return (np.rint(correlation) if whole else correlation) / pairs


def _correlation(values: np.ndarray, padded: tuple[int, ...], lags: tuple[int, ...]) -> np.ndarray:
    """Sum over cells of the product with the cell at each lag, shape (2 * lag + 1, ...).

    Axis by axis, so that neither rows of padding nor lags that nobody asked for are transformed.
    """
    last = values.ndim - 1
    spectrum: Any = fft.rfft(values, padded[last], axis=last)
    for axis in reversed(range(last)):
        spectrum = fft.fft(spectrum, padded[axis], axis=axis, overwrite_x=True)
    power: Any = spectrum.real**2 + spectrum.imag**2
    windows = [np.arange(-lag, lag + 1) % size for size, lag in zip(padded, lags, strict=True)]
    if last:
        # c(-r) = c(r): half of the lags of one axis are enough.
        windows[0] = np.arange(lags[0] + 1)
    for axis in range(last):
        power = fft.ifft(power, axis=axis)
        power = np.take(power, windows[axis], axis=axis)
    whole: Any = fft.irfft(power, padded[last], axis=last)
    lagged = np.take(whole, windows[last], axis=last)
    if not last:
        return lagged
    return np.concatenate([np.flip(lagged[1:]), lagged])


# --- structure factor --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Waves:
    """Waves of the half spectrum of n x n cells, flat.

    Attributes:
        place: of the waves of shells 1 to n // 2, one shell after the other.
        start: where each shell starts in ``place``.
        share: weight of each of these waves in the mean of its shell.
        squares: weight of each wave of the half spectrum in the sum of |gradient|² over cells.
    """

    place: np.ndarray
    start: np.ndarray
    share: np.ndarray
    squares: np.ndarray


@lru_cache(maxsize=8)
def _waves(n: int) -> _Waves:
    whole, half = np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)
    radius_squared = (whole[:, None] ** 2 + half**2).ravel()
    # Of two conjugate coefficients one is stored; sums count both.
    once = (half == 0) | (2 * half == n)
    number = np.broadcast_to(np.where(once, 1.0, 2.0), (n, len(half))).ravel()
    shell = np.rint(np.sqrt(radius_squared)).astype(np.intp)
    order = np.argsort(shell, kind="stable")
    place = order[(shell[order] >= 1) & (shell[order] <= n // 2)]
    members = np.bincount(shell, number)
    return _Waves(
        place=place,
        start=np.searchsorted(shell[place], np.arange(1, n // 2 + 1)),
        share=number[place] / members[shell[place]],
        squares=radius_squared * (2 * np.pi / n) ** 2 * number / n**2,
    )


def power_spectrum(fields: np.ndarray) -> np.ndarray:
    """Squared amplitudes |FFT|² of periodic square fields, each without its mean.

    Args:
        fields: shape (fields, n, n).

    Returns:
        Half spectrum in double precision, shape (fields, n, n // 2 + 1); exactly zero for a uniform
        field.
    """
    values = np.asarray(fields, dtype=np.float64)
    # Taking off one value rather than the mean leaves nothing at all of a uniform field.
    spectrum: Any = fft.rfft2(values - values[:, :1, :1], overwrite_x=True)
    power = spectrum.real**2
    power += spectrum.imag**2
    power[:, 0, 0] = 0.0
    return power


def structure_factor(power: np.ndarray) -> np.ndarray:
    """Radially averaged structure factor S(k) of periodic square fields.

    Shell k = 1 ... n // 2 holds the waves whose length, in waves per side of the cell, rounds to k;
    S(k) is the mean of their squared amplitudes.

    Args:
        power: of the fields, from ``power_spectrum``.

    Returns:
        Shape (fields, n // 2).
    """
    waves = _waves(power.shape[1])
    powers = power.reshape(len(power), -1)[:, waves.place]
    powers *= waves.share
    return np.add.reduceat(powers, waves.start, axis=1)


def characteristic_length(factor: np.ndarray, n: int) -> np.ndarray:
    """Characteristic length 2 pi / <k> in cells, <k> the first moment of the structure factor.

    With k in waves per side that is n sum S(k) / sum k S(k), at most n. A field without any S(k),
    a uniform one, is given 2 n: it is coarser than anything that a cell of n x n can show.

    Args:
        factor: from ``structure_factor``, shape (fields, n // 2).
        n: cells per side.

    Returns:
        Shape (fields,).
    """
    moment = (factor * np.arange(1, n // 2 + 1)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(moment == 0, 2.0 * n, n * factor.sum(axis=1) / moment)


def squared_gradient(power: np.ndarray) -> np.ndarray:
    """Sum of |gradient|² over the cells of periodic square fields, per squared cell.

    By Parseval's theorem from the squared amplitudes, the highest frequency of an even number of
    cells counted as any other.

    Args:
        power: of the fields, from ``power_spectrum``.

    Returns:
        Shape (fields,).
    """
    return (power.reshape(len(power), -1) * _waves(power.shape[1]).squares).sum(axis=1)


# --- components --------------------------------------------------------------------------------


def count_components(phase: np.ndarray, min_cells: int = 1) -> np.ndarray:
    """Number of connected parts of a phase in each of several periodic cells.

    Args:
        phase: truth values, shape (fields, n, m); cells that share an edge are connected, also
            across the edges of the field.
        min_cells: parts of fewer cells do not count.

    Returns:
        Whole numbers in double precision, shape (fields,).
    """
    areas, field = components(phase)
    counted = areas >= max(1, min_cells)
    return np.bincount(field[counted], minlength=len(phase)).astype(np.float64)


def components(phase: np.ndarray, *, periodic: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts of a phase in each of several fields.

    Args:
        phase: truth values, shape (fields, n, m); cells that share an edge are connected.
        periodic: also across the edges of the field.

    Returns:
        Cells of each part, and the field it lies in, shape (parts,) each.
    """
    from scipy import ndimage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Connected within a field, not to the field before or after.
    cross = np.zeros((3, 3, 3), dtype=bool)
    cross[1] = ndimage.generate_binary_structure(2, 1)
    labelled: Any = ndimage.label(phase, cross)
    labels, number = labelled
    cells = np.bincount(labels.ravel(), minlength=number + 1)
    field_of_label = np.empty(number + 1, dtype=np.intp)
    field_of_label[labels] = np.arange(len(labels))[:, None, None]
    if not periodic:
        return cells[1:], field_of_label[1:]
    first = np.concatenate([labels[:, 0].ravel(), labels[:, :, 0].ravel()])
    other = np.concatenate([labels[:, -1].ravel(), labels[:, :, -1].ravel()])
    meet = (first > 0) & (other > 0)
    pairs = (np.ones(np.count_nonzero(meet)), (first[meet], other[meet]))
    graph = coo_array(pairs, shape=(number + 1, number + 1))
    parts, part = connected_components(graph, directed=False)
    # The background, label 0, touches nothing: it is a part of its own, the first one.
    cells[0] = 0
    field = np.empty(parts, dtype=np.intp)
    field[part] = field_of_label
    areas = np.bincount(part, cells, minlength=parts).astype(np.intp)
    return areas[areas > 0], field[areas > 0]

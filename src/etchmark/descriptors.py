"""Descriptors of microstructures: spatial statistics of phases (numpy and scipy)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
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
        ValueError: a lag is no whole number, is negative or reaches beyond the sample; a value of
            the phase is not in [0, 1].

    Source: Fullwood, Niezgoda & Kalidindi, Acta Mater. 56 (2008) 942,
    DOI 10.1016/j.actamat.2007.10.044.
    """
    values = np.asarray(phase)
    shape = values.shape
    if max_lag is None:
        lags = tuple((size - 1) // 2 for size in shape)
    else:
        given: Any = (max_lag,) * values.ndim if np.ndim(max_lag) == 0 else max_lag
        try:
            lags = tuple(operator.index(lag) for lag in given)
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
    found = np.take(whole, windows[last], axis=last)
    if not last:
        return found
    return np.concatenate([np.flip(found[1:]), found])

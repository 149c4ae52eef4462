"""Descriptors of microstructures: spatial statistics of phases (numpy and scipy)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import next_fast_len


def two_point_statistics(
    phase: np.ndarray, max_lag: int | Sequence[int] | None = None, *, periodic: bool = True
) -> np.ndarray:
    """Two-point autocorrelation of a phase: the probability that both ends of a vector lie in it.

    Args:
        phase: indicator (or local fraction) of the phase, any number of dimensions.
        max_lag: largest lag per axis in cells; half the size if None.
        periodic: wrap around the edges; otherwise each lag is normalised by the number of pairs of
            cells that lie inside (no padding bias).

    Returns:
        Array of shape (2 * max_lag + 1, ...), zero lag at the centre, values in [0, 1]; the centre
        is the volume fraction for an indicator.

    Raises:
        ValueError: a lag is negative or reaches beyond the sample.

    Source: Fullwood, Niezgoda & Kalidindi, Acta Mater. 56 (2008) 942,
    DOI 10.1016/j.actamat.2007.10.044.
    """
    values = np.asarray(phase, dtype=np.float64)
    shape = values.shape
    if max_lag is None:
        lags = tuple((size - 1) // 2 for size in shape)
    elif isinstance(max_lag, int):
        lags = (max_lag,) * values.ndim
    else:
        lags = tuple(int(lag) for lag in max_lag)
    for size, lag in zip(shape, lags, strict=True):
        if not 0 <= lag < size or (periodic and 2 * lag >= size + 1):
            raise ValueError(f"max_lag {lag} does not fit a sample of {size} cells")
    if periodic:
        padded = shape
        pairs: float | np.ndarray = float(values.size)
    else:
        # Room for the largest lag keeps wrapped pairs out of what is read off below.
        padded = tuple(
            int(next_fast_len(size + lag, real=True) or size + lag)
            for size, lag in zip(shape, lags, strict=True)
        )
        pairs = np.ones(())
        for size, lag in zip(shape, lags, strict=True):
            pairs = np.multiply.outer(pairs, size - np.abs(np.arange(-lag, lag + 1.0)))
    axes = tuple(range(values.ndim))
    spectrum = np.fft.rfftn(values, padded, axes)
    correlation = np.fft.irfftn(spectrum.real**2 + spectrum.imag**2, padded, axes)
    window = [np.arange(-lag, lag + 1) % size for size, lag in zip(padded, lags, strict=True)]
    return correlation[np.ix_(*window)] / pairs

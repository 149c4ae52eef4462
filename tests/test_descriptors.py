"""Two-point statistics against direct counting and known limits."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.descriptors import two_point_statistics


def counted(phase: np.ndarray, lag: tuple[int, ...], *, periodic: bool) -> float:
    """The probability by going through all pairs."""
    hits = pairs = 0
    for cell in np.ndindex(phase.shape):
        other = tuple(c + step for c, step in zip(cell, lag, strict=True))
        if periodic:
            other = tuple(c % size for c, size in zip(other, phase.shape, strict=True))
        elif any(not 0 <= c < size for c, size in zip(other, phase.shape, strict=True)):
            continue
        pairs += 1
        hits += int(phase[cell] and phase[other])
    return hits / pairs


@pytest.mark.parametrize("shape", [(7, 9), (8, 6), (4, 5, 6)])
@pytest.mark.parametrize("periodic", [True, False])
def test_every_lag_equals_direct_counting(shape: tuple[int, ...], periodic: bool) -> None:
    phase = np.random.default_rng(1).random(shape) < 0.4
    lags = tuple((size - 1) // 2 for size in shape)
    found = two_point_statistics(phase, lags, periodic=periodic)
    for index in np.ndindex(found.shape):
        lag = tuple(i - limit for i, limit in zip(index, lags, strict=True))
        assert found[index] == pytest.approx(counted(phase, lag, periodic=periodic), abs=1e-12)


@pytest.mark.parametrize("periodic", [True, False])
def test_centre_is_the_volume_fraction_and_opposite_lags_are_equal(periodic: bool) -> None:
    phase = np.random.default_rng(2).random((31, 40)) < 0.3
    found = two_point_statistics(phase, 10, periodic=periodic)
    assert found.shape == (21, 21)
    assert found[10, 10] == pytest.approx(phase.mean(), abs=1e-12)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-12)


def test_sum_over_all_periodic_lags_is_the_squared_fraction() -> None:
    phase = np.random.default_rng(3).random((15, 15)) < 0.6
    assert two_point_statistics(phase).sum() == pytest.approx(phase.mean() ** 2 * phase.size)


def test_stripes_repeat_with_their_period() -> None:
    stripes = np.tile(np.repeat([1, 0], 4), 4)[:, None] * np.ones((1, 32))
    row = two_point_statistics(stripes, (15, 0))[:, 0]
    assert row[15 + 8] == pytest.approx(0.5)
    assert row[15 + 4] == pytest.approx(0.0, abs=1e-12)


def test_one_phase_is_one_at_every_lag() -> None:
    np.testing.assert_allclose(two_point_statistics(np.ones((9, 12)), 4, periodic=False), 1.0)


@pytest.mark.parametrize(("lag", "periodic"), [(-1, True), (10, False), (6, True)])
def test_lags_beyond_the_sample_are_refused(lag: int, periodic: bool) -> None:
    with pytest.raises(ValueError, match="max_lag"):
        two_point_statistics(np.ones((10, 10)), lag, periodic=periodic)

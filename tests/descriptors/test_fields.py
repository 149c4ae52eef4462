"""Descriptors against direct counting and known limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etchmark.descriptors import (
    characteristic_length,
    count_components,
    power_spectrum,
    squared_gradient,
    structure_factor,
    two_point_statistics,
)


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


@pytest.mark.parametrize("size", [51, 80])
@pytest.mark.parametrize("periodic", [True, False])
def test_pairs_of_an_indicator_are_counted_exactly(size: int, periodic: bool) -> None:
    # 51³ cells are counted in single precision, 80³ in double.
    phase = np.random.default_rng(4).random((size,) * 3) < 0.9
    found = two_point_statistics(phase, 20, periodic=periodic)
    cells = phase.astype(np.int64)
    for lag in ((0, 0, 0), (1, 0, 0), (0, -3, 7), (20, -20, 20), (-20, -1, 5)):
        moved = np.roll(cells, lag, axis=(0, 1, 2))
        pairs = cells.size if periodic else np.prod([size - abs(step) for step in lag])
        if not periodic:
            for axis, step in enumerate(lag):
                lost = slice(0, step) if step > 0 else slice(size + step, size)
                moved[tuple(lost if one == axis else slice(None) for one in range(3))] = 0
        hits = (cells * moved).sum()
        assert found[tuple(20 + step for step in lag)] == hits / pairs


def test_local_fractions_are_not_rounded() -> None:
    phase = np.random.default_rng(5).random((9, 8))
    found = two_point_statistics(phase, 3)
    assert found[3, 3] == pytest.approx((phase**2).mean(), abs=1e-12)
    moved = np.roll(phase, (2, -1), axis=(0, 1))
    assert found[5, 2] == pytest.approx((phase * moved).mean(), abs=1e-12)


def test_one_axis() -> None:
    phase = np.array([1, 1, 0, 1, 0])
    assert two_point_statistics(phase, 2).tolist() == [0.4, 0.2, 0.6, 0.2, 0.4]


def test_a_lag_may_be_an_integer_of_any_type() -> None:
    phase = np.random.default_rng(6).random((9, 8)) < 0.5
    expected = two_point_statistics(phase, 3)
    lags: list[Any] = [np.int64(3), np.uint8(3), np.array([3, 3]), (np.int32(3), 3)]
    for lag in lags:
        assert np.array_equal(two_point_statistics(phase, lag), expected)
    wrong: list[Any] = [2.5, (2, 2.5), "3", (3,), np.array(2.0)]
    for lag in wrong:
        with pytest.raises(ValueError, match=r"max_lag|zip\(\)"):
            two_point_statistics(phase, lag)


@pytest.mark.parametrize("value", [-1, 2, 255, np.nan, np.inf, 1j, 1 + 0j, "1", None])
def test_what_is_no_fraction_of_a_phase_is_refused(value: object) -> None:
    phase = np.array([[0, 1], [1, value]])
    with pytest.raises(ValueError, match="values from 0 to 1"):
        two_point_statistics(phase, 0)


# --- structure factor --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [8, 9, 51])
def test_power_is_that_of_the_field_without_its_mean(n: int) -> None:
    fields = np.random.default_rng(4).random((3, n, n)) + 100
    power = power_spectrum(fields.astype(np.float32))
    values = fields.astype(np.float32).astype(np.float64)
    full = np.abs(np.fft.fft2(values - values.mean(axis=(1, 2), keepdims=True))) ** 2
    assert power.shape == (3, n, n // 2 + 1)
    np.testing.assert_allclose(power, full[:, :, : n // 2 + 1], rtol=1e-8, atol=1e-12)
    assert not power_spectrum(np.full((1, n, n), 0.3)).any()


@pytest.mark.parametrize("n", [8, 9, 20, 21])
def test_structure_factor_is_the_mean_over_a_shell(n: int) -> None:
    fields = np.random.default_rng(5).random((2, n, n))
    found = structure_factor(power_spectrum(fields))
    assert found.shape == (2, n // 2)
    full = np.abs(np.fft.fft2(fields)) ** 2
    for k in range(1, n // 2 + 1):
        members = [
            place
            for place in np.ndindex(n, n)
            if round(np.hypot(*(min(one, n - one) for one in place))) == k
        ]
        expected = np.mean([full[:, row, column] for row, column in members], axis=0)
        np.testing.assert_allclose(found[:, k - 1], expected, rtol=1e-10)


@pytest.mark.parametrize("n", [8, 9, 64])
def test_length_of_stripes_is_their_period(n: int) -> None:
    wave = np.cos(2 * np.pi * np.arange(n) / n)
    fields = np.stack([np.tile(wave, (n, 1)), np.tile(wave[2 * np.arange(n) % n], (n, 1)).T])
    found = characteristic_length(structure_factor(power_spectrum(fields)), n)
    np.testing.assert_allclose(found, [n, n / 2], rtol=1e-10)


def test_length_of_power_in_two_shells_is_that_of_the_mean_wave() -> None:
    factor = np.zeros((2, 16))
    factor[0, [1, 7]] = 3.0, 1.0  # k = 2 and 8, mean 3.5
    np.testing.assert_allclose(characteristic_length(factor, 32), [32 / 3.5, 64.0])


@pytest.mark.parametrize("n", [8, 9])
def test_squared_gradient_of_waves(n: int) -> None:
    wave = 2 * np.pi / n
    row, column = np.indices((n, n))
    field = 0.7 + 0.5 * np.sin(wave * (2 * row + column)) + 0.2 * np.cos(wave * 3 * column)
    expected = n**2 * wave**2 * (0.5**2 * 5 + 0.2**2 * 9) / 2
    assert squared_gradient(power_spectrum(field[None]))[0] == pytest.approx(expected, rel=1e-12)


def test_squared_gradient_counts_the_highest_frequency() -> None:
    field = np.tile([1.0, -1.0], (8, 4))
    assert squared_gradient(power_spectrum(field[None]))[0] == pytest.approx(64 * np.pi**2)


# --- components --------------------------------------------------------------------------------


def filled(phase: np.ndarray, min_cells: int) -> int:
    """The number of components, each filled from one of its cells."""
    left, count = {*zip(*np.nonzero(phase), strict=True)}, 0
    while left:
        edge, cells = [left.pop()], 0
        while edge:
            row, column = edge.pop()
            cells += 1
            for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                near = ((row + down) % phase.shape[0], (column + right) % phase.shape[1])
                if near in left:
                    left.remove(near)
                    edge.append(near)
        count += cells >= min_cells
    return count


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 10**6),
    min_cells=st.integers(1, 6),
)
@settings(max_examples=200, deadline=None)
def test_components_of_any_cells(
    shape: tuple[int, int, int], fraction: float, seed: int, min_cells: int
) -> None:
    phase = np.random.default_rng(seed).random(shape) < fraction
    expected = [filled(one, min_cells) for one in phase]
    assert count_components(phase, min_cells).tolist() == expected


@pytest.mark.parametrize("n", [128, 256])
def test_components_that_meet_along_a_whole_edge_are_one(n: int) -> None:
    phase = np.zeros((2, n, n), dtype=bool)
    phase[0, :3] = phase[0, -3:] = True
    phase[1, :, :3] = phase[1, :, -3:] = True
    assert count_components(phase).tolist() == [1, 1]
    assert count_components(phase, 6 * n).tolist() == [1, 1]
    assert count_components(phase, 6 * n + 1).tolist() == [0, 0]

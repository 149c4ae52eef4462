"""Metrics against scikit-learn, from sums over samples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as peers

from etchmark.errors import UserError
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.uncertainty import SumsOfUnits, unit_sums
from etchmark.targets import kind_named, metric
from etchmark.targets.values import VALUE_TERMS, sample_terms

METRICS = {
    metric.id: metric
    for kind in ("scalar", "array", "frames")
    for metric in kind_named(kind).metrics
}
PEERS = {
    "mae": peers.mean_absolute_error,
    "rmse": peers.root_mean_squared_error,
    "mape": lambda y, p: 100 * peers.mean_absolute_percentage_error(y, p),
    "r2": peers.r2_score,
}


def score(name: str, target: np.ndarray, prediction: np.ndarray, shift: float = 0.0) -> float:
    terms = sample_terms(target, prediction, shift)
    return float(metric(name).finish({key: value.sum() for key, value in terms.items()}))


def test_every_metric_has_a_peer() -> None:
    # The rate of violations is counted by hand in test_bounds_and_subsets.py, and the typical error
    # has its peer below.
    assert set(PEERS) | {"bound_violations", "mape_typical"} == {
        metric.id for metric in kind_named("scalar").metrics
    }


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].pool is None])
def test_a_metric_reads_the_terms_that_it_names(name: str) -> None:
    terms = {one: np.array([2.0 + place]) for place, one in enumerate(METRICS[name].terms)}
    assert np.isfinite(METRICS[name].finish(terms)).all()
    for one in terms:
        with pytest.raises(KeyError):
            METRICS[name].finish({key: value for key, value in terms.items() if key != one})


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("shift", [0.0, 417.3])
def test_against_scikit_learn(name: str, shape: tuple[int, ...], shift: float) -> None:
    generator = np.random.default_rng(1)
    target = generator.normal(400, 90, size=(30, *shape))
    prediction = target + generator.normal(5, 60, size=target.shape)
    expected = PEERS[name](target.ravel(), prediction.ravel())
    assert score(name, target, prediction, shift) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int64])
def test_stored_dtypes_are_scored_in_double_precision(name: str, kind: type) -> None:
    generator = np.random.default_rng(2)
    target = generator.normal(400, 90, size=(50, 4)).astype(kind)
    prediction = generator.normal(400, 90, size=(50, 4)).astype(kind)
    expected = PEERS[name](target.ravel().astype(np.float64), prediction.ravel().astype(np.float64))
    assert score(name, target, prediction, 400.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", PEERS)
@given(
    rows=st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=20)
)
@settings(max_examples=50, deadline=None)
def test_any_numbers(name: str, rows: list[tuple[float, float]]) -> None:
    target, prediction = np.array(rows).T
    if (name == "mape" and (np.abs(target) < 1e-6).any()) or np.ptp(target) < 1e-3:
        return
    expected = PEERS[name](target, prediction)
    assert score(name, target, prediction, float(target.mean())) == pytest.approx(
        expected, rel=1e-6, abs=1e-6
    )


def test_r2_where_the_mean_is_large() -> None:
    target = 1e8 + np.arange(20.0)
    prediction = target + np.tile([0.5, -0.5], 10)
    expected = peers.r2_score(target - 1e8, prediction - 1e8)
    assert score("r2", target, prediction, 1e8) == pytest.approx(expected, rel=1e-12)


def test_r2_is_undefined_without_spread() -> None:
    assert np.isnan(score("r2", np.full(3, 5.0), np.arange(3.0), 5.0))
    assert np.isnan(score("r2", np.array([5.0]), np.array([4.0]), 5.0))


def test_mape_of_a_target_of_zero() -> None:
    assert score("mape", np.array([0.0, 2.0]), np.array([0.0, 1.0])) == 25.0
    assert score("mape", np.array([0.0, 2.0]), np.array([0.1, 2.0])) == np.inf


def test_predictions_too_large_to_be_squared_are_infinite_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score("rmse", np.ones(3), np.full(3, 1e200)) == np.inf
        assert score("rmse", np.ones((3, 2)), np.full((3, 2), 1e200)) == np.inf


def test_terms_are_additive() -> None:
    generator = np.random.default_rng(3)
    target, prediction = generator.normal(size=(2, 10, 3))
    whole = sample_terms(target, prediction, 0.1)
    parts = [sample_terms(target[rows], prediction[rows], 0.1) for rows in (slice(4), slice(4, 10))]
    assert set(whole) == set(VALUE_TERMS)
    for name in VALUE_TERMS:
        joined = np.concatenate([part[name] for part in parts])
        assert np.array_equal(whole[name], joined, equal_nan=True)


def test_names_units_and_directions() -> None:
    with pytest.raises(UserError, match=r"unknown metric 'mse'; choose from: mae, rmse"):
        metric("mse")
    assert metric("mae").unit_for("HV") == "HV"
    assert metric("mape").unit_for("HV") == "%"
    assert [metric(name).sign() for name in ("mae", "rmse", "mape", "r2")] == [1, 1, 1, -1]


def sums_of_units(units: int = 16, seeds: int = 1, *, zero: bool = False) -> SumsOfUnits:
    generator = np.random.default_rng(3)
    labels = np.repeat(np.arange(units), 20)
    target = generator.uniform(5, 90, size=len(labels))
    error = generator.normal(size=(seeds, len(labels))) * np.exp(labels / 4)
    if zero:
        error[:, labels == 2] = 0.0
    terms = [sample_terms(target, target + one) for one in error]
    return unit_sums({name: np.stack([one[name] for one in terms]) for name in terms[0]}, labels)


def test_typical_error_is_the_geometric_mean_over_units() -> None:
    sums = sums_of_units(seeds=2)
    each = 100 * sums["sum_rel_e"] / sums["n"]
    expected = stats.gmean(each, axis=1)
    assert uncertainty.score(metric("mape_typical"), sums) == pytest.approx(expected, rel=1e-12)


def test_interval_of_the_typical_error_is_students_t_on_the_logarithms() -> None:
    sums = sums_of_units()
    logs = np.log(100 * sums["sum_rel_e"] / sums["n"])[0]
    expected = np.exp(stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs)))
    assert intervals.interval(metric("mape_typical"), sums) == pytest.approx(expected, rel=1e-9)


def test_difference_of_typical_errors_is_one_of_losses() -> None:
    metric_ = metric("mape_typical")
    sums = sums_of_units()
    assert metric_.loss is not None
    loss = metric_.loss(sums)
    value = uncertainty.score(metric_, sums)
    assert np.exp(loss.mean(axis=1)) == pytest.approx(value, rel=1e-12)


def test_typical_error_of_a_unit_without_error_is_zero() -> None:
    sums = sums_of_units(zero=True)
    assert uncertainty.score(metric("mape_typical"), sums) == [0.0]
    left_out = intervals.leave_one_out(metric("mape_typical"), sums)[0]
    assert np.flatnonzero(left_out).tolist() == [2]
    assert intervals.interval(metric("mape_typical"), sums) is None

"""Typical and worst errors of trajectories against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.scoring import intervals, separation
from etchmark.scoring.uncertainty import SumsOfUnits, score, unit_sums
from etchmark.targets import kind_named, metric
from etchmark.targets.frames.trajectories import LEAST, trajectory_terms, worst_tenth


def of_rmse(rmse: np.ndarray) -> SumsOfUnits:
    """Unit sums of trajectories of 50 values each with these errors, shape (seeds, samples)."""
    errors = np.atleast_2d(rmse)
    terms = {"sum_sq_e": 50.0 * errors**2, "n": np.full(errors.shape, 50.0)}
    terms |= kind_named("frames").derived_terms(terms)
    return unit_sums(terms, np.arange(errors.shape[1]))


def value(name: str, rmse: np.ndarray) -> float:
    return float(score(metric(name), of_rmse(rmse))[0])


def test_the_typical_error_is_the_geometric_mean() -> None:
    rmse = np.exp(np.random.default_rng(0).normal(size=37))
    assert value("rmse_typical", rmse) == pytest.approx(np.exp(np.log(rmse).mean()))


def test_one_wild_trajectory_moves_the_pooled_error_and_hardly_the_typical_one() -> None:
    rmse = np.full(100, 0.01)
    wild = rmse.copy()
    wild[7] = 1.0
    assert value("rmse", wild) > 9 * value("rmse", rmse)
    assert value("rmse_typical", wild) < 1.06 * value("rmse_typical", rmse)


def test_the_worst_tenth_is_the_mean_of_the_largest() -> None:
    rmse = np.random.default_rng(1).random(40)
    assert value("rmse_worst_tenth", rmse) == pytest.approx(np.sort(rmse)[-4:].mean())


def test_where_a_tenth_is_not_a_whole_number_the_next_counts_in_part() -> None:
    rmse = np.arange(1.0, 16.0)
    assert value("rmse_worst_tenth", rmse) == pytest.approx((15.0 + 0.5 * 14.0) / 1.5)


def test_resamples_of_the_worst_tenth_are_those_of_repeated_samples() -> None:
    generator = np.random.default_rng(2)
    rmse = generator.random((2, 20))
    drawn = generator.multinomial(20, np.full(20, 0.05), size=5).astype(float)
    terms = {"sum_sq_e": 50.0 * rmse**2, "n": np.full((2, 20), 50.0)}
    values = worst_tenth(terms, drawn)
    for resample, counts in enumerate(drawn.astype(int)):
        repeated = np.repeat(rmse, counts, axis=1)
        worst = np.sort(repeated, axis=1)[:, -2:].mean(axis=1)
        assert values[:, resample] == pytest.approx(worst)


@pytest.mark.parametrize("name", ["rmse_typical", "rmse_worst_tenth"])
def test_both_have_intervals_and_tell_models_apart(name: str) -> None:
    generator = np.random.default_rng(3)
    rmse = np.exp(generator.normal(size=60))
    better, worse = of_rmse(0.5 * rmse), of_rmse(rmse * np.exp(0.1 * generator.normal(size=60)))
    judged = metric(name)
    low, high = intervals.interval(judged, better) or (np.inf, -np.inf)
    assert low < score(judged, better)[0] < high
    assert separation.verdict(judged, better, worse).relation == "better"


def of_fields(rmse: np.ndarray, sd: float) -> SumsOfUnits:
    """As ``of_rmse``, for true values about 0.7 with this standard deviation."""
    terms = dict(of_rmse(rmse).terms)
    # Moments are counted from 0.5.
    terms["sum_y"] = 50.0 * np.full_like(terms["n"], 0.2)
    terms["sum_sq_y"] = 50.0 * np.full_like(terms["n"], 0.2**2 + sd**2)
    terms |= kind_named("frames").derived_terms(terms)
    return unit_sums(terms, np.arange(len(rmse)))


def test_one_trajectory_that_is_hit_exactly_does_not_decide_the_typical_error() -> None:
    rmse = np.array([0.0, *np.full(99, 0.3)])
    typical = metric("rmse_typical")
    exact, honest = of_fields(rmse, 0.2), of_fields(np.full(100, 0.2), 0.2)
    expected = np.exp((np.log(LEAST * 0.2) + 99 * np.log(0.3)) / 100)
    assert score(typical, exact)[0] == pytest.approx(expected)
    assert separation.verdict(typical, honest, exact).relation == "better"
    low, high = intervals.interval(typical, exact) or (np.inf, -np.inf)
    assert low < expected < high


def test_errors_above_the_least_count_as_they_are() -> None:
    rmse = 1.01 * LEAST * 0.2 * np.arange(1.0, 9.0)
    expected = np.exp(np.log(rmse).mean())
    assert score(metric("rmse_typical"), of_fields(rmse, 0.2))[0] == pytest.approx(expected)


def test_without_any_error_the_terms_are_finite() -> None:
    terms = {"sum_sq_e": np.zeros(1), "n": np.ones(1)}
    assert np.isfinite(trajectory_terms(terms)["sum_log_rmse"]).all()
    assert value("rmse_typical", np.zeros(5)) < 1e-100

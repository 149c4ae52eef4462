"""Intervals: known special cases, coverage of samples with a known truth, and their limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from etchmark.scoring import intervals
from etchmark.scoring.uncertainty import SumsOfUnits, score, unit_sums
from etchmark.targets import metric
from etchmark.targets.definitions import Metric
from etchmark.targets.scales import LINEAR, LOG, LOGIT, LOGIT_PERCENT, UNEXPLAINED, Scale
from etchmark.targets.values import value_terms

Draw = Callable[[np.random.Generator], SumsOfUnits]


def of_terms(units: np.ndarray | None = None, **terms: np.ndarray) -> SumsOfUnits:
    arrays = {name: np.atleast_2d(values).astype(float) for name, values in terms.items()}
    count = next(iter(arrays.values())).shape[1]
    return unit_sums(
        arrays, np.array([f"{i:05d}" for i in range(count)]) if units is None else units
    )


def of_errors(errors: np.ndarray) -> SumsOfUnits:
    return of_terms(sum_abs_e=np.abs(errors), sum_sq_e=errors**2, n=np.ones_like(errors))


def mean_metric(scale: Scale) -> Metric:
    return Metric(
        "mean", "Mean", "1", False, lambda s: s["x"] / s["n"], "", ("x", "n"), scale=scale
    )


def test_on_a_linear_scale_the_jackknife_of_a_mean_is_the_interval_of_student() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, size=23)
    low, high = intervals.interval(mean_metric(LINEAR), of_terms(x=values, n=np.ones(23))) or (0, 0)
    expected = stats.t.interval(0.95, 22, loc=values.mean(), scale=stats.sem(values))
    assert (low, high) == pytest.approx(expected, rel=1e-12)


def test_on_the_log_scale_a_geometric_mean_has_the_interval_of_student_on_the_logs() -> None:
    geometric = Metric(
        "typical", "", "1", False, lambda s: np.exp(s["log"] / s["n"]), "", ("log", "n"), scale=LOG
    )
    logs = np.random.default_rng(4).normal(size=11)
    got = intervals.interval(geometric, of_terms(log=logs, n=np.ones(11)))
    expected = np.exp(stats.t.interval(0.95, 10, loc=logs.mean(), scale=stats.sem(logs)))
    assert got == pytest.approx(tuple(expected), rel=1e-12)


def test_one_unit_with_all_of_the_error_has_a_wide_interval() -> None:
    errors = np.zeros(12)
    errors[3] = 6.0
    low, high = intervals.interval(metric("mae"), of_errors(errors)) or (0, 0)
    # Of one unit in twelve the relative standard error is one.
    factor = np.exp(stats.t.ppf(0.975, 11))
    assert (low, high) == pytest.approx((0.5 / factor, 0.5 * factor), rel=1e-9)


def test_one_seed_without_an_error_takes_no_interval_away() -> None:
    errors = np.stack([np.zeros(12), np.linspace(1, 2, 12), np.linspace(2, 1, 12)])
    sums = of_terms(sum_abs_e=errors, n=np.ones_like(errors))
    low, high = intervals.interval(metric("mae"), sums) or (0, 0)
    assert low < 0.5 < score(metric("mae"), sums).mean() < 2 < high
    # The score itself at the end of its scale has none.
    assert intervals.interval(metric("mae"), of_errors(np.zeros(12))) is None


def test_a_share_stays_between_its_ends_and_is_close_to_the_interval_of_wilson() -> None:
    correct = np.zeros(200)
    correct[:190] = 1.0
    low, high = intervals.interval(
        metric("accuracy"), of_terms(correct=correct, n=np.ones(200))
    ) or (0, 0)
    wilson = stats.binomtest(190, 200).proportion_ci(method="wilson")
    assert 0 < low < 0.95 < high < 1
    assert low == pytest.approx(wilson.low, abs=0.005)
    assert high == pytest.approx(wilson.high, abs=0.005)


@pytest.mark.parametrize("correct", [0.0, 1.0])
def test_at_the_end_of_its_scale_a_score_has_no_interval(correct: float) -> None:
    sums = of_terms(correct=np.full(50, correct), n=np.ones(50))
    assert intervals.interval(metric("accuracy"), sums) is None
    assert intervals.interval(metric("mae"), of_errors(np.zeros(50))) is None


def test_fewer_than_six_units_have_no_interval_however_many_samples() -> None:
    errors = np.random.default_rng(0).normal(size=500)
    terms = {"sum_abs_e": np.abs(errors)[None], "n": np.ones((1, 500))}
    of_five = unit_sums(terms, np.arange(500) % 5)
    of_six = unit_sums(terms, np.arange(500) % 6)
    assert intervals.interval(metric("mae"), of_five) is None
    assert intervals.interval(metric("mae"), of_six) is not None
    assert np.isnan(intervals.difference(metric("mae"), of_five, of_five)[1:]).all()
    *_, low, high = intervals.over_horizon(errors[None, :, None] ** 2, np.arange(500) % 5)
    assert np.isnan([low, high]).all()


def test_a_model_that_knows_nothing_can_have_an_r2_of_zero() -> None:
    generator = np.random.default_rng(1)
    holds_zero = 0
    for _ in range(200):
        target = generator.normal(size=60)
        guess = np.zeros((1, 60))
        terms = value_terms(target, guess)
        sums = unit_sums(terms, np.arange(60))
        assert score(metric("r2"), sums)[0] < 0
        low, high = intervals.interval(metric("r2"), sums) or (1.0, -1.0)
        holds_zero += low <= 0 <= high
    assert holds_zero > 150


def test_leaving_out_is_exact_beside_a_huge_unit() -> None:
    values = np.array([[1e300, 1.0, 2.0, 3.0]])
    assert intervals.without_each(values)[0, 0] == 6.0
    sums = of_terms(sum_abs_e=values, n=np.ones((1, 4)))
    assert intervals.leave_one_out(metric("mae"), sums)[0, 0] == 2.0


def test_a_pooled_metric_is_computed_again_without_each_unit() -> None:
    generator = np.random.default_rng(5)
    share = generator.random(30)
    true = (generator.random(30) < share).astype(float)
    units = np.arange(30) // 3
    sums = of_terms(units, share_a=share, true_a=true, share_b=1 - share, true_b=1 - true)
    left_out = intervals.leave_one_out(metric("roc_auc"), sums)
    kept = units != 4
    alone = of_terms(
        units[kept],
        share_a=share[kept], true_a=true[kept], share_b=1 - share[kept], true_b=1 - true[kept],
    )  # fmt: skip
    assert left_out[0, 4] == pytest.approx(score(metric("roc_auc"), alone)[0], rel=1e-12)
    assert intervals.interval(metric("roc_auc"), sums) is not None


def test_units_without_a_value_are_no_data() -> None:
    turned = np.zeros(40)
    turned[:8] = 1.0
    errors = np.where(turned > 0, np.random.default_rng(2).random(40), 0.0)
    judged = metric("equivariance_error")
    whole = of_terms(sum_equivariance=errors, oriented=turned)
    alone = of_terms(sum_equivariance=errors[:8], oriented=turned[:8])
    assert intervals.interval(judged, whole) == pytest.approx(intervals.interval(judged, alone))


# --- coverage ----------------------------------------------------------------------------------


def coverage(judged: Metric, truth: float, draw: Draw, times: int = 1500) -> float:
    generator = np.random.default_rng(11)
    ends = [intervals.interval(judged, draw(generator)) for _ in range(times)]
    return float(np.mean([end is not None and end[0] <= truth <= end[1] for end in ends]))


def test_nineteen_papers_are_covered_as_stated() -> None:
    """19 papers of unequal sizes whose error levels differ by a standard deviation of 0.5."""
    sizes = np.random.default_rng(0).integers(3, 40, size=19)

    def draw(generator: np.random.Generator) -> SumsOfUnits:
        level = np.exp(0.5 * generator.normal(size=19))
        units = np.repeat(np.arange(19), sizes)
        errors = level[units] * generator.normal(size=len(units))
        return of_terms(units, sum_abs_e=np.abs(errors), n=np.ones(len(units)))

    truth = np.exp(0.125) * np.sqrt(2 / np.pi)
    assert 0.92 <= coverage(metric("mae"), truth, draw) <= 0.97


def test_seeds_widen_an_interval_by_as_much_as_they_spread() -> None:
    """Three seeds of sd 0.3, sixteen units of sd 0.6: 0.80 without the term, 0.94 with it."""
    judged = mean_metric(LINEAR)

    def draw(generator: np.random.Generator) -> SumsOfUnits:
        values = 0.6 * generator.normal(size=(1, 16)) + 0.3 * generator.normal(size=(3, 1))
        return of_terms(x=values + 0.05 * generator.normal(size=(3, 16)), n=np.ones((3, 16)))

    def without_seeds(generator: np.random.Generator) -> SumsOfUnits:
        sums = draw(generator)
        mean = {name: values.mean(axis=0) for name, values in sums.items()}
        return of_terms(**mean)

    assert 0.92 <= coverage(judged, 0.0, draw) <= 0.975
    assert coverage(judged, 0.0, without_seeds) < 0.9


def test_the_paired_difference_of_two_models_is_that_of_their_errors() -> None:
    generator = np.random.default_rng(8)
    base = generator.random(40)
    first, second = base + 0.1 * generator.random(40), base
    value, low, high = intervals.difference(metric("mae"), of_errors(first), of_errors(second))
    expected = stats.t.interval(
        0.95, 39, loc=(first - second).mean(), scale=stats.sem(first - second)
    )
    assert (low, high) == pytest.approx(expected, rel=1e-10)
    assert value == pytest.approx((first - second).mean())


@pytest.mark.parametrize(
    "scale", [LINEAR, LOG, LOGIT, LOGIT_PERCENT, UNEXPLAINED], ids=lambda s: s.name
)
def test_scales_are_inverted_and_have_their_slope(scale: Scale) -> None:
    values = np.array([0.02, 0.3, 0.7, 0.97])
    assert scale.inverse(scale.forward(values)) == pytest.approx(values, rel=1e-12)
    step = 1e-6
    slope = (scale.forward(values + step) - scale.forward(values - step)) / (2 * step)
    assert scale.slope(values) == pytest.approx(slope, rel=1e-6)


def test_each_step_of_a_horizon_has_the_interval_of_its_own_score() -> None:
    squared = np.random.default_rng(9).random((2, 30, 4))
    units = np.arange(30)
    value, low, high = intervals.over_horizon(squared, units)
    for step in range(4):
        sums = of_terms(sum_sq_e=squared[:, :, step].mean(axis=0), n=np.ones(30))
        assert score(metric("rmse"), sums)[0] == pytest.approx(value[step])
        got = intervals.interval(metric("rmse"), sums)
        assert got == pytest.approx((low[step], high[step]), rel=1e-10)

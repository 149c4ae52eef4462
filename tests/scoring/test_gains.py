"""Gains over a reference: exact cases, the delta method, seeds, and where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from etchmark.scoring import gains as module
from etchmark.scoring.gains import errors_of, gains, has_gains
from etchmark.scoring.uncertainty import SumsOfUnits, score, unit_sums
from etchmark.targets import metric
from etchmark.targets.label import label_terms
from etchmark.targets.scales import LINEAR
from etchmark.targets.values import value_terms


def of_errors(errors: np.ndarray) -> dict[str, np.ndarray]:
    """Unit sums of a model with these errors, shape (seeds, units) or (units,)."""
    errors = np.atleast_2d(errors)
    return {"sum_abs_e": errors, "sum_sq_e": errors**2, "n": np.ones_like(errors)}


def of_one(
    row: Mapping[str, np.ndarray], base: Mapping[str, np.ndarray], name: str = "mae"
) -> np.ndarray:
    return gains(metric(name), [row], base)[0]


ERRORS = np.exp(np.random.default_rng(0).normal(size=40))


def test_a_model_gains_nothing_over_itself() -> None:
    assert of_one(of_errors(ERRORS), of_errors(ERRORS)).tolist() == [0.0, 0.0, 0.0]
    assert of_one(of_errors(ERRORS), of_errors(ERRORS), "rmse").tolist() == [0.0, 0.0, 0.0]
    # Nor where its seeds differ, which do so together.
    seeds = np.stack([ERRORS, 1.2 * ERRORS[::-1], 0.7 * ERRORS])
    assert of_one(of_errors(seeds), of_errors(seeds)).tolist() == [0.0, 0.0, 0.0]
    # Of too few units there is no interval, whatever the row.
    few = of_one(of_errors(seeds[:, :4]), of_errors(seeds[:, :4]))
    np.testing.assert_array_equal(few, [0.0, np.nan, np.nan])


def test_half_the_error_is_a_gain_of_fifty_per_cent_whatever_the_units() -> None:
    # The ratio is the same without any unit, so nothing is uncertain.
    assert of_one(of_errors(ERRORS / 2), of_errors(ERRORS)) == pytest.approx([50.0, 50.0, 50.0])
    assert of_one(of_errors(2 * ERRORS), of_errors(ERRORS)) == pytest.approx([-100.0] * 3)


def test_the_interval_is_close_to_that_of_the_delta_method() -> None:
    """The variance of log(a / b) is that of the mean of a_u / a - b_u / b over the units u."""
    generator = np.random.default_rng(1)
    base = np.exp(0.3 * generator.normal(size=400))
    row = 0.8 * base * np.exp(0.2 * generator.normal(size=400))
    gain, low, high = of_one(of_errors(row), of_errors(base))
    influence = row / row.mean() - base / base.mean()
    reach = stats.t.ppf(0.975, 399) * influence.std(ddof=1) / 20.0
    ratio = row.mean() / base.mean()
    assert gain == pytest.approx(100 * (1 - ratio))
    assert low == pytest.approx(100 * (1 - ratio * np.exp(reach)), abs=0.02)
    assert high == pytest.approx(100 * (1 - ratio / np.exp(reach)), abs=0.02)


def test_an_interval_is_paired() -> None:
    """What makes a unit hard for both models cancels, which it does not if units are shuffled."""
    row = 0.8 * ERRORS * np.exp(0.05 * np.random.default_rng(2).normal(size=40))
    _, low, high = of_one(of_errors(row), of_errors(ERRORS))
    shuffled = np.random.default_rng(3).permutation(row)
    _, shuffled_low, shuffled_high = of_one(of_errors(shuffled), of_errors(ERRORS))
    assert high - low < 0.2 * (shuffled_high - shuffled_low)


def test_seeds_that_differ_widen_the_interval() -> None:
    seeds = np.array([0.7, 0.8, 0.9])
    alike = of_errors(np.repeat(0.8 * ERRORS[None], 3, axis=0))
    differing = of_errors(seeds[:, None] * ERRORS)
    base = of_errors(ERRORS)
    assert of_one(alike, base) == pytest.approx([20.0, 20.0, 20.0])
    gain, low, high = of_one(differing, base)
    assert gain == pytest.approx(20.0)
    # Units are certain here, so the seeds alone decide: Student's t with two degrees of freedom.
    reach = stats.t.ppf(0.975, 2) * np.log(seeds).std(ddof=1) / np.sqrt(3)
    assert (low, high) == pytest.approx(
        (100 * (1 - 0.8 * np.exp(reach)), 100 * (1 - 0.8 * np.exp(-reach)))
    )


def test_rows_with_different_numbers_of_seeds_stand_on_one_board() -> None:
    rows = [of_errors(0.5 * ERRORS), None, of_errors(np.stack([0.7, 0.8, 0.9])[:, None] * ERRORS)]
    table = gains(metric("mae"), rows, of_errors(ERRORS))
    assert table[:, 0] == pytest.approx([50.0, np.nan, 20.0], nan_ok=True)
    for place in (0, 2):
        alone = gains(metric("mae"), [rows[place]], of_errors(ERRORS))[0]
        assert table[place] == pytest.approx(alone, rel=1e-12)


def test_many_rows_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [of_errors(ERRORS * factor) for factor in np.linspace(0.5, 1.5, 7)]
    whole = gains(metric("rmse"), rows, of_errors(ERRORS))
    monkeypatch.setattr(module, "AT_ONCE", 80)
    assert gains(metric("rmse"), rows, of_errors(ERRORS)) == pytest.approx(whole, rel=1e-12)


def test_the_error_of_a_share_or_of_r2_is_what_is_missing_to_one() -> None:
    assert errors_of(metric("accuracy"), np.array([0.9])) == pytest.approx([0.1])
    assert errors_of(metric("mae"), np.array([0.9])) == pytest.approx([0.9])
    generator = np.random.default_rng(4)
    target = generator.normal(size=60)
    base, row = (
        unit_sums(value_terms(target, target + sd * generator.normal(size=(1, 60))), np.arange(60))
        for sd in (0.8, 0.4)
    )
    judged = metric("r2")
    gain, low, high = of_one(row, base, "r2")
    unexplained = [1 - float(score(judged, sums)[0]) for sums in (row, base)]
    assert gain == pytest.approx(100 * (1 - unexplained[0] / unexplained[1]))
    assert 0 < low < gain < high < 100


def classes(accuracy: float) -> SumsOfUnits:
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 3, size=300)
    guess = generator.integers(0, 3, size=300)
    predicted = np.where(generator.random(300) < accuracy, truth, guess)
    shares = np.full((300, 3), 0.1)
    shares[np.arange(300), predicted] = 0.8
    terms = label_terms(truth, predicted, "abc", shares)
    return unit_sums({name: values[None] for name, values in terms.items()}, np.arange(300) // 10)


@pytest.mark.parametrize("name", ["roc_auc", "macro_f1", "accuracy", "log_loss"])
def test_pooled_metrics_have_gains_as_additive_ones_have(name: str) -> None:
    good, bad = classes(0.9), classes(0.4)
    judged = metric(name)
    gain, low, high = of_one(good, bad, name)
    errors = [float(errors_of(judged, score(judged, sums))[0]) for sums in (good, bad)]
    assert gain == pytest.approx(100 * (1 - errors[0] / errors[1]))
    assert 0 < low < gain < high < 100
    assert of_one(bad, bad, name).tolist() == [0.0, 0.0, 0.0]


def test_pooled_metrics_need_single_samples() -> None:
    with pytest.raises(TypeError, match="roc_auc is pooled"):
        gains(metric("roc_auc"), [dict(classes(0.5))], dict(classes(0.5)))


def test_fewer_than_six_units_have_a_gain_without_an_interval() -> None:
    gain, low, high = of_one(of_errors(ERRORS[:5] / 2), of_errors(ERRORS[:5]))
    assert gain == pytest.approx(50.0)
    assert np.isnan([low, high]).all()


def test_errors_of_zero() -> None:
    gain, low, high = of_one(of_errors(np.zeros(40)), of_errors(ERRORS))
    assert gain == 100.0
    assert np.isnan([low, high]).all()
    # Nothing is a part of an error of zero.
    assert np.isnan(of_one(of_errors(ERRORS), of_errors(np.zeros(40)))).all()


def test_a_metric_without_a_scale_of_errors_has_no_gain() -> None:
    linear = replace(metric("mae"), scale=LINEAR)
    assert has_gains(metric("mae"))
    assert not has_gains(linear)
    assert np.isnan(gains(linear, [of_errors(ERRORS)], of_errors(ERRORS))).all()


def test_units_without_a_value_are_no_degrees_of_freedom() -> None:
    judged, generator = metric("equivariance_error"), np.random.default_rng(12)
    turned = np.repeat([1.0, 0.0], [8, 32])[None]
    reference, row = ({"sum_equivariance": generator.random((1, 40)) * turned} for _ in range(2))
    whole = [{**sums, "oriented": turned} for sums in (reference, row)]
    alone = [{name: values[:, :8] for name, values in sums.items()} for sums in whole]
    expected = gains(judged, [alone[1]], alone[0])
    np.testing.assert_allclose(gains(judged, [whole[1]], whole[0]), expected)


@pytest.mark.parametrize("metric_id", ["mae", "rmse"])
def test_a_seed_or_a_unit_without_an_error_takes_no_interval_away(metric_id: str) -> None:
    base = of_errors(ERRORS)
    one_perfect_seed = of_errors(np.stack([np.zeros(40), 0.5 * ERRORS, 0.6 * ERRORS]))
    one_bad_unit = of_errors(np.where(np.arange(40) == 3, ERRORS, 0.0))
    for row in (one_perfect_seed, one_bad_unit):
        gain, low, high = of_one(row, base, metric_id)
        assert low < gain < high < 100.0
    assert np.isnan(of_one(of_errors(np.zeros(40)), base, metric_id)[1:]).all()

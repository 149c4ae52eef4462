"""Separation: against scipy, exact forms, levels on boards of equal models, and its limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from etchmark.scoring import separation
from etchmark.scoring.separation import (
    Differences,
    gains_p,
    losses,
    may_be_best,
    pair_p,
    shown_ahead,
    verdict,
)
from etchmark.scoring.uncertainty import SumsOfUnits, score, unit_sums
from etchmark.specs import KINDS
from etchmark.targets import kind_named, metric
from etchmark.targets.label import label_terms
from etchmark.targets.values import value_terms


def of_errors(errors: np.ndarray, units: np.ndarray | None = None) -> SumsOfUnits:
    """Unit sums of a model with these errors, shape (seeds, samples) or (samples,)."""
    errors = np.atleast_2d(errors)
    terms = {"sum_abs_e": np.abs(errors), "sum_sq_e": errors**2, "n": np.ones_like(errors)}
    return unit_sums(terms, np.arange(errors.shape[1]) if units is None else units)


def board(errors: np.ndarray) -> tuple[Differences, np.ndarray]:
    """Rows with these errors, shape (rows, units), and their scores."""
    return Differences(metric("mae"), [of_errors(row) for row in errors]), np.abs(errors).mean(
        axis=1
    )


@pytest.mark.parametrize("units", [7, 12])
def test_a_pair_has_the_exact_p_value_of_scipy(units: int) -> None:
    differences = np.random.default_rng(units).normal(0.6, 1.0, size=units)
    # More resamples than there are patterns make it try each of them once.
    peer = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=10_000
    )
    assert pair_p(differences) == pytest.approx(peer.pvalue, rel=1e-12)


def test_drawn_patterns_come_close_to_the_exact_p_value() -> None:
    differences = np.random.default_rng(2).normal(0.5, 1.0, size=15)
    signs = 1 - 2 * ((np.arange(1 << 15)[:, None] >> np.arange(15)) & 1)
    sums = np.abs(signs @ differences)
    exact = np.mean(sums >= sums[0] - 1e-12)
    assert pair_p(differences) == pytest.approx(exact, abs=3 * np.sqrt(exact / separation.FLIPS))


def test_the_p_value_of_a_pair_does_not_depend_on_its_order_or_unit() -> None:
    differences = np.random.default_rng(1).normal(0.3, 1.0, size=40)
    assert pair_p(differences) == pair_p(-differences)
    assert pair_p(differences) == pytest.approx(pair_p(1e-12 * differences), abs=1e-3)


def test_five_units_can_tell_nothing_apart() -> None:
    assert separation.smallest_p(5) == 0.0625
    assert pair_p(np.full(5, 3.0)) == 0.0625
    differences, scores = board(np.array([[1.0] * 5, [100.0] * 5]))
    assert may_be_best(differences, scores).all()


def test_equal_models_are_not_told_apart_and_have_no_p_below_one() -> None:
    errors = np.random.default_rng(0).random(30)
    assert pair_p(errors - errors) == 1.0
    differences, scores = board(np.stack([errors, errors, errors]))
    assert may_be_best(differences, scores).all()
    assert (gains_p(np.zeros((3, 30))) == 1.0).all()


# --- what is flipped ---------------------------------------------------------------------------


def test_signs_of_squared_errors_serve_rmse_and_r2_alike() -> None:
    generator = np.random.default_rng(4)
    target = generator.normal(size=50)
    sums = [
        unit_sums(value_terms(target, target + sd * generator.normal(size=(1, 50))), np.arange(50))
        for sd in (0.5, 0.6)
    ]
    verdicts = [verdict(metric(name), sums[0], sums[1]) for name in ("rmse", "r2")]
    assert verdicts[0].p == verdicts[1].p
    assert verdicts[0].relation == verdicts[1].relation


def labels(generator: np.random.Generator, accuracy: float, truth: np.ndarray) -> SumsOfUnits:
    guess = generator.integers(0, 3, size=len(truth))
    predicted = np.where(generator.random(len(truth)) < accuracy, truth, guess)
    shares = np.full((len(truth), 3), 0.1)
    shares[np.arange(len(truth)), predicted] = 0.8
    terms = label_terms(truth, predicted, "abc", shares)
    units = np.arange(len(truth)) // 5
    return unit_sums({name: values[None] for name, values in terms.items()}, units)


def test_macro_f1_has_an_exact_form_that_adds_up_over_units() -> None:
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 3, size=100)
    first, second = labels(generator, 0.8, truth), labels(generator, 0.5, truth)
    judged = metric("macro_f1")
    differences = Differences(judged, [first, second]).between(0, [1])[0]
    gap = score(judged, first)[0] - score(judged, second)[0]
    assert differences.sum() == pytest.approx(-gap, rel=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "balanced_accuracy",
        "error_rate",
        "log_loss",
        "roc_auc",
        "calibration_error",
        "macro_f1",
    ],
)
def test_a_better_classifier_is_found_better_by_every_metric(name: str) -> None:
    generator = np.random.default_rng(6)
    truth = generator.integers(0, 3, size=300)
    good, bad = labels(generator, 0.75, truth), labels(generator, 0.1, truth)
    assert verdict(metric(name), good, bad).relation == "better"
    assert verdict(metric(name), bad, good).relation == "worse"


ADDITIVE = [
    judged
    for kind in KINDS
    for judged in kind_named(kind).metrics
    if judged.loss is not None and not any(term.endswith("*") for term in judged.terms)
]


@pytest.mark.parametrize("judged", ADDITIVE, ids=lambda judged: judged.id)
def test_a_loss_points_the_way_its_metric_does(judged: separation.Metric) -> None:
    """Halving the part of a metric that is bad lowers the loss; raising what is good does too."""
    generator = np.random.default_rng(7)
    sums = {term: 1.0 + generator.random((1, 20)) for term in judged.terms}
    sums |= {term: np.full((1, 20), 4.0) for term in ("n", "frames", "images") if term in sums}
    if "sum_sq_y" in sums:
        sums["sum_sq_y"], sums["sum_y"] = np.full((1, 20), 50.0), np.zeros((1, 20))
    changed = {**sums, judged.terms[0]: 0.5 * sums[judged.terms[0]]}
    units = np.arange(20)
    before, after = (score(judged, SumsOfUnits(part, part, units))[0] for part in (sums, changed))
    gain = judged.sign() * float(after - before)
    change = float((losses(judged, changed) - losses(judged, sums)).sum())
    assert gain * change > 0


def test_several_seeds_count_as_their_mean() -> None:
    errors = np.random.default_rng(8).random((3, 40))
    one = Differences(metric("mae"), [of_errors(errors), of_errors(errors.mean(axis=0))])
    assert one.between(0, [1])[0] == pytest.approx(np.zeros(40), abs=1e-12)


# --- levels ------------------------------------------------------------------------------------


def equal_models(generator: np.random.Generator, rows: int, units: int) -> np.ndarray:
    """Errors of models that are equally good, of units of very different difficulty."""
    return np.exp(generator.normal(size=units)) * np.exp(0.3 * generator.normal(size=(rows, units)))


def test_boards_of_equal_models_are_told_apart_in_about_five_per_cent() -> None:
    """46 equal models on 19 papers: disjoint rank ranges found a false pair in 92 % of boards."""
    generator = np.random.default_rng(0)
    wrong_set, wrong_gain, boards = 0, 0, 80
    for _ in range(boards):
        errors = equal_models(generator, 46, 19)
        differences, scores = board(errors)
        wrong_set += not may_be_best(differences, scores).all()
        wrong_gain += (gains_p(errors[1:] - errors[0]) <= separation.ALPHA).any()
    assert wrong_set / boards <= 0.11
    assert wrong_gain / boards <= 0.11


def test_a_model_that_is_better_is_left_alone_at_the_top() -> None:
    errors = equal_models(np.random.default_rng(1), 12, 60)
    errors[3] *= 0.5
    differences, scores = board(errors)
    assert np.flatnonzero(may_be_best(differences, scores)).tolist() == [3]
    assert (gains_p(errors[3:4] - errors[5]) <= 0.05).all()


def test_rows_closer_than_what_matters_are_equal_in_practice() -> None:
    base = np.random.default_rng(2).random(50)
    errors = np.stack([base, base + 0.001, base + 0.2])
    differences, scores = board(errors)
    assert may_be_best(differences, scores).tolist() == [True, False, False]
    assert may_be_best(differences, scores, 0.01).tolist() == [True, True, False]
    assert shown_ahead(differences, scores).tolist() == [-1, 0, 0]
    first, second, third = (of_errors(row) for row in errors)
    assert verdict(metric("mae"), first, second).relation == "better"
    assert verdict(metric("mae"), first, second, 0.01).relation == "equal in practice"
    assert verdict(metric("mae"), third, first, 0.01).relation == "worse"


def slow_may_be_best(errors: np.ndarray) -> np.ndarray:
    """The procedure as it is written down, with the critical value of every step found again."""
    rows, units = errors.shape
    signs = separation.patterns(units).astype(float)
    left = list(range(rows))
    while len(left) > 1:
        statistics, largest = {}, np.zeros(len(signs))
        for i, j in itertools.permutations(left, 2):
            scaled = (errors[i] - errors[j]) / np.linalg.norm(errors[i] - errors[j])
            statistics[i, j] = scaled.sum()
            largest = np.maximum(largest, np.abs(signs @ scaled))
        (worst, _), statistic = max(statistics.items(), key=lambda item: item[1])
        if np.mean(largest >= statistic - 1e-9) > separation.ALPHA:
            break
        left.remove(worst)
    return np.isin(np.arange(rows), left)


@pytest.mark.parametrize("seed", range(4))
def test_the_fast_elimination_is_the_one_that_is_written_down(seed: int) -> None:
    generator = np.random.default_rng(seed)
    errors = equal_models(generator, 8, 10) * np.linspace(1.0, 2.0, 8)[:, None]
    differences, scores = board(errors)
    assert may_be_best(differences, scores).tolist() == slow_may_be_best(errors).tolist()


def test_pairs_of_contrasts_are_eliminated_as_pairs_of_losses_are() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 3, size=200)
    rows = [labels(generator, accuracy, truth) for accuracy in (0.9, 0.88, 0.4, 0.3)]
    judged = metric("macro_f1")
    scores = np.array([-score(judged, row)[0] for row in rows])
    assert may_be_best(Differences(judged, rows), scores).tolist() == [True, True, False, False]


@pytest.mark.parametrize("at_once", [1, 1 << 23])
def test_many_pairs_at_once_are_single_pairs(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(separation, "AT_ONCE", at_once)
    generator = np.random.default_rng(6)
    truth = generator.integers(0, 3, size=50)
    rows = [labels(generator, accuracy, truth) for accuracy in (0.9, 0.8, 0.7, 0.1)]
    judged = metric("macro_f1")
    assert judged.contrast is not None
    means = [{name: row[name].mean(axis=0) for name in judged.reads(row)} for row in rows]
    many = Differences(judged, rows).between(2, [0, 3, 2])
    assert many.shape == (3, 10)
    for pair, other in zip(many, (0, 3, 2), strict=True):
        np.testing.assert_array_equal(pair, judged.contrast(means[2], means[other]))
    assert not many[2].any()
    assert many[1].any()


def test_huge_boards_are_tested_against_their_hundred_best() -> None:
    generator = np.random.default_rng(4)
    errors = np.exp(0.3 * generator.normal(size=(300, 100)))
    errors[250:] *= 3.0
    differences, scores = board(errors)
    best = may_be_best(differences, scores)
    assert best[:250].mean() > 0.9
    assert not best[250:].any()


@pytest.mark.parametrize("seed", range(6))
def test_a_row_that_is_taken_away_is_worse_than_a_better_row_by_their_own_test_too(
    seed: int,
) -> None:
    """The largest of all pairs is at least as large as any pair in each pattern of signs."""
    generator = np.random.default_rng(seed)
    errors = equal_models(generator, 15, 9 + 4 * seed) * np.linspace(1.0, 2.0, 15)[:, None]
    differences, scores = board(errors)
    best = may_be_best(differences, scores, 0.05)
    rows = [of_errors(row) for row in errors]
    assert 0 < best.sum() < len(rows)
    for place in np.flatnonzero(~best):
        better = np.flatnonzero(scores < scores[place])
        relations = {
            verdict(metric("mae"), rows[place], rows[other], 0.05).relation for other in better
        }
        assert "worse" in relations

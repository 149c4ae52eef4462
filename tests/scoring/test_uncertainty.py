"""Resamples, percentile intervals and rank ranges against scipy and explicit loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from etchmark.scoring import uncertainty
from etchmark.targets import kind_named, metric
from etchmark.targets.values import VALUE_TERMS, sample_terms


def make(
    seed: int, rows: int = 60, units: int = 12, seeds: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, predictions (seeds, rows) and unit labels of unequal units."""
    generator = np.random.default_rng(seed)
    label = np.array([f"u{one:02d}" for one in generator.integers(0, units, rows)])
    label[:units] = [f"u{one:02d}" for one in range(units)]
    target = generator.normal(400, 90, rows)
    return target, target + generator.normal(0, 50, (seeds, rows)), label


def terms_of(target: np.ndarray, one: np.ndarray, shift: float) -> dict[str, np.ndarray]:
    """Terms of every metric, with bounds 60 on either side of the target."""
    return sample_terms(target, one, shift, np.abs(one - target) > 60)


def sums_of(
    target: np.ndarray, predictions: np.ndarray, units: np.ndarray
) -> dict[str, np.ndarray]:
    per_seed = [terms_of(target, one, float(target.mean())) for one in predictions]
    terms = {name: np.stack([one[name] for one in per_seed]) for name in VALUE_TERMS}
    return uncertainty.unit_sums(terms, units)


def test_unit_sums_against_a_loop() -> None:
    target, predictions, units = make(1, seeds=2)
    sums = sums_of(target, predictions, units)
    labels = np.unique(units)
    assert {values.shape for values in sums.values()} == {(2, len(labels))}
    for seed, prediction in enumerate(predictions):
        terms = terms_of(target, prediction, float(target.mean()))
        for position, label in enumerate(labels):
            for name in VALUE_TERMS:
                expected = terms[name][units == label].sum()
                assert sums[name][seed, position] == pytest.approx(expected)


@pytest.mark.parametrize("name", [metric.id for metric in kind_named("scalar").metrics])
def test_bootstrap_against_an_explicit_loop(name: str) -> None:
    target, predictions, units = make(2, seeds=3)
    labels = np.unique(units)
    counts = uncertainty.resample_counts(len(labels), 50)
    scores = uncertainty.bootstrap(metric(name), sums_of(target, predictions, units), 50)
    for count, score in zip(counts, scores, strict=True):
        rows = np.concatenate(
            [
                np.tile(np.flatnonzero(units == label), int(times))
                for label, times in zip(labels, count, strict=True)
            ]
        )
        by_hand = []
        for prediction in predictions:
            terms = terms_of(target[rows], prediction[rows], float(target.mean()))
            if name == "mape_typical":
                # Of a unit that is drawn twice there are two of the same error.
                drawn = labels[np.repeat(np.arange(len(labels)), count.astype(int))]
                errors = [terms["sum_rel_e"][units[rows] == label].mean() for label in drawn]
                by_hand.append(100 * float(stats.gmean(errors)))
                continue
            sums = {key: value.sum() for key, value in terms.items()}
            by_hand.append(float(metric(name).finish(sums)))
        assert score == pytest.approx(np.mean(by_hand), rel=1e-9)


def test_interval_against_scipy() -> None:
    target, predictions, _ = make(3, rows=80)
    units = np.array([f"s{row:03d}" for row in range(80)])
    sums = sums_of(target, predictions, units)
    ours = uncertainty.percentile_interval(uncertainty.bootstrap(metric("mae"), sums, 20_000))
    theirs = stats.bootstrap(
        (np.abs(predictions[0] - target),),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_whole_units_are_drawn() -> None:
    # One error per unit, repeated: intervals must be those of six values, not of six hundred.
    errors = np.array([1.0, 2, 3, 4, 5, 6])
    target = np.zeros(600)
    predictions = np.repeat(errors, 100)[None]
    units = np.repeat([f"u{one}" for one in range(6)], 100)
    one = uncertainty.percentile_interval(
        uncertainty.bootstrap(metric("mae"), sums_of(target, predictions, units))
    )
    few = uncertainty.percentile_interval(
        uncertainty.bootstrap(metric("mae"), sums_of(np.zeros(6), errors[None], np.unique(units)))
    )
    assert one == pytest.approx(few)
    assert one is not None
    assert one[1] - one[0] > 2.0


def test_interval_of_what_is_not_finite() -> None:
    assert uncertainty.percentile_interval(np.array([1.0, np.nan, 2.0])) is None
    assert uncertainty.percentile_interval(np.array([1.0, np.inf, 2.0])) is None
    low, high = uncertainty.percentile_interval(np.arange(2001.0)) or (0, 0)
    assert (low, high) == pytest.approx((50.0, 1950.0))


def test_resamples_are_the_same_for_everyone() -> None:
    counts = uncertainty.resample_counts(19)
    assert counts.shape == (uncertainty.RESAMPLES, 19)
    assert (counts.sum(axis=1) == 19).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(19), abs=0.1)
    assert not counts.flags.writeable
    uncertainty.resample_counts.cache_clear()
    assert np.array_equal(counts, uncertainty.resample_counts(19))


def test_order_of_the_samples_does_not_matter() -> None:
    target, predictions, units = make(4)
    order = np.random.default_rng(0).permutation(len(units))
    first = uncertainty.bootstrap(metric("r2"), sums_of(target, predictions, units))
    second = uncertainty.bootstrap(
        metric("r2"), sums_of(target[order], predictions[:, order], units[order])
    )
    assert second == pytest.approx(first, rel=1e-12)


def test_ranks_with_ties() -> None:
    assert uncertainty.ranks(np.array([3.0, 1.0, 1.0, 2.0])).tolist() == [4, 1, 1, 3]


def test_rank_ranges_of_models_that_are_clearly_apart_or_equal() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(size=(2000, 1))
    resampled = (common + np.array([1.0, 2.0, 2.0, 9.0])).T
    rank, low, high = uncertainty.RankRanges(resampled).among(np.array([1.0, 2.0, 2.0, 9.0]))
    assert rank.tolist() == [1, 2, 2, 4]
    assert low.tolist() == [1, 2, 2, 4]
    # Equals could stand in either place.
    assert high.tolist() == [1, 3, 3, 4]


def test_pairing_shows_a_difference_that_intervals_hide() -> None:
    generator = np.random.default_rng(1)
    common = generator.normal(0, 10, size=2000)
    resampled = np.stack([common + 50.0, common + 50.5])
    first, second = (uncertainty.percentile_interval(one) for one in resampled)
    assert first is not None
    assert second is not None
    assert first[1] > second[0]
    _, low, high = uncertainty.RankRanges(resampled).among(np.array([50.0, 50.5]))
    assert (low.tolist(), high.tolist()) == ([1, 2], [1, 2])
    apart = generator.permuted(resampled, axis=1)
    _, low, high = uncertainty.RankRanges(apart).among(np.array([50.0, 50.5]))
    assert (low.tolist(), high.tolist()) == ([1, 1], [2, 2])


def test_a_resample_without_a_score_counts_as_worst() -> None:
    resampled = np.tile([[1.0], [2.0]], (1, 100))
    resampled[0, :10] = np.nan
    rank, low, high = uncertainty.RankRanges(resampled).among(np.array([1.0, 2.0]))
    assert (rank.tolist(), low.tolist(), high.tolist()) == ([1, 2], [1, 1], [2, 2])


@given(
    scores=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    noise=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_rank_ranges_hold_the_rank(scores: list[int], noise: int) -> None:
    values = np.array(scores, dtype=float)
    generator = np.random.default_rng(noise)
    resampled = values + np.round(generator.normal(size=(200, len(values))), 1)
    rank, low, high = uncertainty.RankRanges(resampled.T).among(values)
    assert ((low >= 1) & (low <= rank) & (rank <= high) & (high <= len(values))).all()
    by_hand_low = np.array([[1 + (row < own).sum() for own in row] for row in resampled])
    by_hand_high = np.array([[(row <= own).sum() for own in row] for row in resampled])
    expected_low = np.minimum(np.sort(by_hand_low, axis=0)[4], rank)
    expected_high = np.maximum(np.sort(by_hand_high, axis=0)[194], rank)
    assert np.array_equal(low, expected_low)
    assert np.array_equal(high, expected_high)


@given(
    scores=st.lists(st.integers(0, 4), min_size=2, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    steps=st.sampled_from([0, 1, 8]),
)
@settings(max_examples=60, deadline=None)
def test_ranks_among_some_are_those_of_a_board_of_them(
    scores: list[int], seed: int, steps: int
) -> None:
    values = np.array(scores, dtype=float)
    generator = np.random.default_rng(seed)
    # With few decimals many are equal, with many none.
    resampled = values[:, None] + np.round(generator.normal(size=(len(values), 99)), steps)
    resampled[generator.random(resampled.shape) < 0.05] = np.nan
    whole = uncertainty.RankRanges(resampled)
    chosen = np.flatnonzero(generator.random(len(values)) < 0.6)
    expected = uncertainty.RankRanges(resampled[chosen]).among(values[chosen])
    for found, alone in zip(whole.among(values[chosen], chosen), expected, strict=True):
        assert np.array_equal(found, alone)

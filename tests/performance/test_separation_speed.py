"""Statistics of boards beside scipy, and what a board of 10,000 rows costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy import stats

from etchmark.scoring import gains, separation
from etchmark.scoring.separation import Differences
from etchmark.targets import metric

pytestmark = [pytest.mark.speed, pytest.mark.timeout(1200)]

MAE = metric("mae")
PAIRS, SAMPLED = 46 * 45 // 2, 5
"""Pairs that scipy is timed on; all pairs take as much longer as there are more of them."""


def rows(count: int, units: int) -> list[dict[str, np.ndarray]]:
    """Sums of equal models on units of unequal difficulty."""
    generator = np.random.default_rng(0)
    errors = np.exp(generator.normal(size=units)) * np.exp(generator.normal(size=(count, units)))
    return [{"sum_abs_e": row[None], "n": np.ones((1, units))} for row in errors]


@pytest.mark.parametrize("units", [19, 590])
def test_all_pairs_of_a_board_beside_scipy(
    report: Callable[..., None], shortest: Callable[..., list[float]], units: int
) -> None:
    """46 rows: which may be the best, from all 1,035 pairs and 9,999 flips of signs each."""
    sums = rows(46, units)
    scores = np.array([row["sum_abs_e"].mean() for row in sums])
    losses = np.stack([row["sum_abs_e"][0] for row in sums])

    def ours() -> object:
        return separation.may_be_best(Differences(MAE, sums), scores)

    def scipy_pairs() -> None:
        for second in range(1, SAMPLED + 1):
            stats.permutation_test(
                (losses[0] - losses[second],),
                partial(np.sum, axis=-1),
                permutation_type="samples",
                vectorized=True,
                n_resamples=9_999,
            )

    ours()
    board, some = shortest(4, ours, scipy_pairs)
    pairs = some * PAIRS / SAMPLED
    report(
        f"Which of 46 rows may be the best: {PAIRS:,} pairs, {units} units, 9,999 flips",
        ("etchmark, patterns of signs known", board, "s"),
        (f"scipy.stats.permutation_test, from {SAMPLED} pairs", pairs, "s"),
        ("ratio", pairs / board, ""),
        goal="0.2 s, ratio >= 10",
    )
    assert pairs / board >= 10


def test_a_board_of_10000_rows(
    report: Callable[..., None], shortest: Callable[..., list[float]]
) -> None:
    """Gains of 10,000 rows with 1,000 units each, with intervals and adjusted p-values."""
    sums = rows(10_000, 1_000)
    losses = np.stack([row["sum_abs_e"][0] for row in sums])
    flips, interval = shortest(
        2,
        lambda: separation.gains_p(losses[1:] - losses[0]),
        lambda: gains.gains(MAE, sums, sums[0]),
    )
    report(
        "10,000 rows against one reference, 1,000 units",
        ("999 flips of signs", flips, "s"),
        ("gains with intervals", interval, "s"),
        goal="0.4 s for the flips, 1 s for all",
    )

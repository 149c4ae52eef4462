"""Rows over the same units: who may be the best, and what is gained over the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etchmark.boards import paired
from etchmark.boards.paired import PairedRows, may_be_best
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric

SHA = "a" * 64
SPEC: dict[str, Any] = {
    "schema": 1,
    "id": "b",
    "version": 1,
    "title": "t",
    "summary": "s",
    "description": "d",
    "dataset": "d",
    "tracks": {"features": {"title": "t", "config": "c", "inputs": ["a"], "fingerprint": SHA}},
    "target": {"column": "y", "quantity": "q", "symbol": "y", "unit": "mm"},
    "target_fingerprint": SHA,
    "protocols": {
        "first": {
            "title": "t", "kind": "holdout", "description": "d", "split": "s", "train_split": "t"
        }
    },
    "metrics": ["mae"],
    "primary_metric": "mae",
    "licence": "CC0-1.0",
}  # fmt: skip
BASE = np.exp(np.random.default_rng(0).normal(size=30))


def rows(*factors: float | None, **declared: Any) -> tuple[PairedRows, np.ndarray]:
    """Rows whose errors are multiples of the same ones, None for a row without, and their MAE."""
    noise = np.random.default_rng(1)
    errors = [
        None if factor is None else factor * BASE * np.exp(0.02 * noise.normal(size=30))
        for factor in factors
    ]
    sums = [
        None if row is None else {"sum_abs_e": row[None], "n": np.ones((1, 30))} for row in errors
    ]
    spec = BenchmarkSpec.model_validate({**SPEC, **declared})
    scores = np.array([9.9 if row is None else row.mean() for row in errors])
    return PairedRows(spec, metric("mae"), sums), scores


def test_the_best_row_alone() -> None:
    board, scores = rows(2.0, 1.0, 3.0)
    assert may_be_best(board.shown_ahead(scores, np.arange(3))).tolist() == [0, 1, 0]
    assert board.shown_ahead(scores, np.arange(3)).tolist() == [1, -1, 1]
    # Among others, the next is the best.
    assert may_be_best(board.shown_ahead(scores[[0, 2]], np.array([0, 2]))).tolist() == [1, 0]


def test_a_row_over_other_units_is_not_tested() -> None:
    board, scores = rows(2.0, None, 1.0)
    best = may_be_best(board.shown_ahead(scores, np.arange(3)))
    assert best == pytest.approx([0, np.nan, 1], nan_ok=True)
    gains = board.gains(0)
    assert gains[0] == pytest.approx([0, 0, 0, np.nan], nan_ok=True)
    assert np.isnan(gains[1]).all()
    assert gains[2, 0] == pytest.approx(50, abs=1)
    assert gains[2, 3] <= 0.001


def test_the_declared_smallest_difference_decides_what_is_equal() -> None:
    board, scores = rows(1.0, 1.1)
    assert may_be_best(board.shown_ahead(scores, np.arange(2))).tolist() == [1, 0]
    least = {"value": float(scores[1] - scores[0]) * 1.01, "reason": "r"}
    board, scores = rows(1.0, 1.1, smallest_difference=least)
    assert may_be_best(board.shown_ahead(scores, np.arange(2))).tolist() == [1, 1]


def test_one_per_cent_is_equal_where_nothing_is_declared() -> None:
    board, scores = rows(1.0, 1.005)
    base = BASE.mean()
    assert abs(scores[1] - scores[0]) < 0.01 * base
    assert may_be_best(board.shown_ahead(scores, np.arange(2))).tolist() == [1, 1]


def test_the_share_is_of_the_better_score_of_each_pair() -> None:
    # The leader is far ahead in one unit alone, so it is told apart from neither of the others.
    second = np.where(np.arange(30) == 7, 240.0, 2.1)
    errors = [np.where(np.arange(30) % 2, 1.9, 2.3), second, second + 0.05]
    sums = [{"sum_abs_e": row[None], "n": np.ones((1, 30))} for row in errors]
    board = PairedRows(BenchmarkSpec.model_validate(SPEC), metric("mae"), sums)
    scores = np.array([row.mean() for row in errors])
    assert 0.01 * scores[0] < scores[2] - scores[1] < 0.01 * scores[1]
    assert may_be_best(board.shown_ahead(scores, np.arange(3))).tolist() == [1, 1, 1]
    # The third is behind the second in every unit: where that matters, it is taken away.
    least = {"value": 0.01, "reason": "r"}
    strict = BenchmarkSpec.model_validate({**SPEC, "smallest_difference": least})
    board = PairedRows(strict, metric("mae"), sums)
    assert may_be_best(board.shown_ahead(scores, np.arange(3))).tolist() == [1, 1, 0]


def test_without_the_reference_there_are_no_gains() -> None:
    board, _ = rows(2.0, None)
    assert np.isnan(board.gains(None)).all()
    # Its row has other units than the board.
    assert np.isnan(board.gains(1)).all()


def test_the_p_values_of_gains_allow_for_the_number_of_rows() -> None:
    noise = np.random.default_rng(2)
    errors = [BASE, *(BASE * np.exp(0.5 * noise.normal(size=30)) for _ in range(40))]
    sums = [{"sum_abs_e": row[None], "n": np.ones((1, 30))} for row in errors]
    spec = BenchmarkSpec.model_validate(SPEC)
    together = PairedRows(spec, metric("mae"), sums).gains(0)[1:, 3]
    alone = [PairedRows(spec, metric("mae"), [BASE_ROW, row]).gains(0)[1, 3] for row in sums[1:]]
    assert (np.array(alone) <= together).all()
    assert min(alone) < 0.05 < together.min()


BASE_ROW = {"sum_abs_e": BASE[None], "n": np.ones((1, 30))}


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.5, "better"), (0.995, "equal in practice"), (1.005, "equal in practice"), (2.0, "worse")],
)
def test_a_gain_that_does_not_matter_is_none(factor: float, expected: str) -> None:
    # On every unit alike, so the data are sure of each difference.
    sums = [{"sum_abs_e": row[None], "n": np.ones((1, 30))} for row in (BASE, factor * BASE)]
    spec = BenchmarkSpec.model_validate(SPEC)
    board = PairedRows(spec, metric("mae"), sums)
    p = board.gains(0)[:, 3]
    assert p[1] <= 0.001
    scores = np.array([1.0, factor]) * BASE.mean()
    assert board.relations(0, scores, p) == [None, expected]
    assert board.relations(None, scores, p) == [None, None]


def test_a_gain_that_units_do_not_show() -> None:
    turns = np.where(np.arange(30) % 2, 0.5, 1.45)
    sums = [{"sum_abs_e": row[None], "n": np.ones((1, 30))} for row in (BASE, turns * BASE)]
    board = PairedRows(BenchmarkSpec.model_validate(SPEC), metric("mae"), sums)
    scores = np.array([BASE.mean(), (turns * BASE).mean()])
    assert abs(scores[1] / scores[0] - 1) > 0.01
    assert board.relations(0, scores, board.gains(0)[:, 3]) == [None, "not told apart"]


def test_only_the_best_of_many_rows_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "MOST_TESTED", 2)
    board, scores = rows(3.0, 1.0, 2.0)
    best = may_be_best(board.shown_ahead(scores, np.arange(3)))
    assert best == pytest.approx([np.nan, 1, 0], nan_ok=True)
    ahead = board.shown_ahead(scores, np.arange(3))
    assert ahead == pytest.approx([np.nan, -1, 1], nan_ok=True)


def test_a_board_without_rows() -> None:
    board, _ = rows(None, None)
    assert np.isnan(may_be_best(board.shown_ahead(np.ones(2), np.arange(2)))).all()
    assert may_be_best(board.shown_ahead(np.empty(0), np.empty(0, dtype=int))).tolist() == []

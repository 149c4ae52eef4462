"""The sentences of a board, from its columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from etchmark.boards import statements
from etchmark.boards.statements import gain_text, gains, the_best
from etchmark.data.loading import load_benchmark
from etchmark.specs import BenchmarkSpec


@pytest.fixture
def spec(toy_content: Any) -> BenchmarkSpec:
    """Scores in mm that differ by less than 0.5 are equal in practice; gains are over the mean."""
    declared = load_benchmark("toy-line").spec
    changed = {"value": 0.5, "reason": "r"}
    content = declared.model_dump(by_alias=True) | {"smallest_difference": changed}
    content["baselines"] = {"toy_mean": {"track": "features", "role": "reference"}}
    return BenchmarkSpec.model_validate({**content, "gains_over": "toy_mean"})


def frame(best: list[bool | None], units: int = 20, **columns: list[Any]) -> pd.DataFrame:
    """A board with scores 1, 2, 3 …; None stands for a row that was not tested."""
    count = len(best)
    table = {
        "rank": pd.array(range(1, count + 1), dtype="Int64"),
        "model": [f"m{place}" for place in range(1, count + 1)],
        "role": ["entry"] * count,
        "metric": ["mae"] * count,
        "unit": ["mm"] * count,
        "score": pd.array([float(place) for place in range(1, count + 1)], dtype="Float64"),
        "units": pd.array([units] * count, dtype="Int64"),
        "may_be_best": pd.array(best, dtype="boolean"),
        **{name: pd.array([None] * count, dtype="Float64") for name in GAINS},
        "gain_relation": [None] * count,
        "behind": [None] * count,
    }
    return pd.DataFrame(
        table
        | {name: pd.array(values, dtype=table[name].dtype) if name in TYPED else values
           for name, values in columns.items()}
    )  # fmt: skip


GAINS = ("gain", "gain_low", "gain_high", "gain_p")
TYPED = {*GAINS, "rank", "score"}


def test_boards_of_no_row_and_of_one(spec: BenchmarkSpec) -> None:
    assert the_best(spec, frame([])) == "No submission is ranked yet."
    apart = frame([None], rank=[None])
    assert the_best(spec, apart) == "No submission is ranked yet."
    assert the_best(spec, frame([True])).startswith("One ranked submission: there is nothing")
    assert gains(spec, frame([])) is None


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ([True, False, False], "Of 3 ranked submissions, one alone may be the best: m1."),
        (
            [True, True, False],
            "Of 3 ranked submissions, 2 may be the best: these data do not tell them apart.",
        ),
        (
            [True, True],
            "Of 2 ranked submissions, all may be the best: these data do not tell them apart.",
        ),
        # The last row that was tested may be the best, so further ones may be, too.
        (
            [True, True, None],
            "Of 3 ranked submissions, at least 2 may be the best: these data do not tell them"
            " apart.",
        ),
        (
            [True, True, False, None],
            "Of 4 ranked submissions, 2 may be the best: these data do not tell them apart.",
        ),
        (
            [None, None],
            "Of 2 ranked submissions, none could be tested: they were scored on different samples.",
        ),
    ],
)
def test_which_rows_may_be_the_best(
    spec: BenchmarkSpec, best: list[bool | None], expected: str
) -> None:
    assert the_best(spec, frame(best)) == expected


def test_five_units_are_said_to_tell_nothing_apart(spec: BenchmarkSpec) -> None:
    told = the_best(spec, frame([True, True], units=5))
    assert told == (
        "Of 2 ranked submissions, any may be the best: with 5 sources no two models can be told"
        " apart, since no p-value can be below 0.06250."
    )
    assert "any may be" not in the_best(spec, frame([True, True], units=6))


def test_rows_that_are_equal_in_practice_are_counted(spec: BenchmarkSpec) -> None:
    told = the_best(spec, frame([True, True, True, False], score=[1.0, 1.4, 1.6, 9.0]))
    assert told.endswith(
        " 1 is equal in practice to the first: closer than 0.5 mm, the smallest difference that"
        " matters here."
    )
    told = the_best(spec, frame([True, True, True, False], score=[1.0, 1.4, 1.45, 9.0]))
    assert told == (
        "Of 4 ranked submissions, 3 may be the best: each differs from the first by less than 0.5"
        " mm, the smallest difference that matters here."
    )


def test_huge_boards_are_said_to_be_tested_against_their_best(spec: BenchmarkSpec) -> None:
    count = statements.CONTENDERS + 1
    told = the_best(spec, frame([True] * count))
    assert told.endswith(" They were tested against the best 100.")


def test_gains_count_entries_that_are_shown_to_beat_the_reference(spec: BenchmarkSpec) -> None:
    board = frame(
        [True, True, False, False],
        role=["entry", "entry", "entry", "reference"],
        gain=[30.0, 20.0, -10.0, 0.0],
        gain_low=[10.04, -5.0, -20.0, 0.0],
        gain_high=[50.0, 45.0, -1.0, 0.0],
        gain_relation=["better", "not told apart", "worse", None],
    )
    # The third differs from the reference, too, but is worse.
    expected = "1 of 3 entries is shown to beat toy_mean; the first gains 30.0 % (10.0 … 50.0)."
    assert gains(spec, board) == expected
    # A difference that does not matter is no gain, however sure the data are of it.
    board["gain_relation"] = ["equal in practice", "not told apart", "worse", None]
    expected = "No entry is shown to beat toy_mean; the first entry gains 30.0 % (10.0 … 50.0)."
    assert gains(spec, board) == expected
    # The interval is of one row, the test allows for all of them.
    board["gain_relation"] = ["not told apart", "not told apart", "worse", None]
    assert gains(spec, board) == (
        "No entry is shown to beat toy_mean when all rows are tested together; taken alone, the"
        " first entry gains 30.0 % (10.0 … 50.0)."
    )


def test_rows_listed_apart_gain_nothing(spec: BenchmarkSpec) -> None:
    relations = [None, "not told apart"]
    board = frame([None, True], rank=[None, 1], gain=[60.0, 5.0], gain_relation=relations)
    assert gains(spec, board) == "No entry is shown to beat toy_mean; the first entry gains 5.0 %."


def test_without_a_declared_reference_nothing_is_gained(toy_content: Any) -> None:
    board = frame([True, True], gain=[5.0, 6.0], gain_relation=["better"] * 2)
    assert gains(load_benchmark("toy-line").spec, board) is None


def test_a_gain_in_words() -> None:
    assert gain_text(7.31, -3.29, 16.8) == "7.3 % (−3.3 … 16.8)"
    assert gain_text(-4.0, float("nan"), float("nan")) == "−4.0 %"

"""Rows ranked by the split on which each does worst."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import etchmark
from etchmark.api import by_worst_split, load_benchmark, open_hub
from etchmark.boards.view import View, Where

BENCHMARK = "toy-line"


def submit(name: str, test: float, hard: float | None) -> None:
    """Submit predictions that are off by so much on each split."""
    benchmark = load_benchmark(BENCHMARK)
    parts = []
    for split, offset in (("test", test), ("hard", hard)):
        if offset is not None:
            labels = benchmark.truth(split, "holdout")
            parts.append(pd.DataFrame({"id": labels.ids, "prediction": labels.target + offset}))
    etchmark.submit(pd.concat(parts), BENCHMARK, name=name, track="features", protocol="holdout")


@pytest.fixture
def board(toy_content: Path):
    submit("specialist", 1.0, 8.0)
    submit("steady", 3.0, 4.0)
    submit("easy on hard", 5.0, 2.0)
    submit("no hard", 0.5, None)
    return open_hub().board(BENCHMARK, View("holdout", metric="mae"))


def test_a_row_counts_by_its_worst_split(board) -> None:
    frame = by_worst_split(board)
    shown = frame[["model", "score", "split"]].head(3).to_dict("records")
    assert [row["model"] for row in shown] == ["steady", "easy on hard", "specialist"]
    np.testing.assert_allclose([row["score"] for row in shown], [4, 5, 8])
    assert [row["split"] for row in shown] == ["hard", "test", "hard"]
    assert frame["rank"].tolist()[:3] == [1, 2, 3]


def test_leaving_out_a_hard_split_is_no_advantage(board) -> None:
    # It leads the headline split.
    assert board.standings()["model"].iloc[0] == "no hard"
    row = by_worst_split(board).set_index("model").loc["no hard"]
    assert pd.isna(row["rank"])
    assert pd.isna(row["score"])


def test_nothing_is_tested_across_splits(board) -> None:
    frame = by_worst_split(board)
    absent = ["rank_low", "rank_high", "ci_low", "ci_high", "may_be_best", "gain", "gain_relation"]
    assert frame[absent].isna().all(axis=None)
    assert frame.dtypes.to_dict() == board.standings().dtypes.to_dict()


def test_ranks_are_made_among_the_rows_that_are_left(board) -> None:
    submit("tagged", 6.0, 6.0)
    whole = open_hub().board(BENCHMARK, View("holdout", metric="mae"))
    assert len(by_worst_split(whole)) == len(whole.standings())
    none = by_worst_split(whole, where=Where(tags=("absent",)))
    assert none.empty


def test_where_higher_is_better_the_lowest_score_counts(board) -> None:
    whole = open_hub().board(BENCHMARK, View("holdout", metric="r2"))
    splits = whole.by_split()
    frame = by_worst_split(whole).dropna(subset=["rank"])
    lowest = splits.loc[frame["submission"]].min(axis=1)
    np.testing.assert_allclose(frame["score"].astype(float), lowest.astype(float))
    assert frame["score"].is_monotonic_decreasing


def test_python_and_the_command_give_the_same(board, command) -> None:
    frame = etchmark.standings(BENCHMARK, protocol="holdout", metric="mae", split="worst split")
    pd.testing.assert_frame_equal(frame, by_worst_split(board))
    options = ("--protocol", "holdout", "--metric", "mae", "--split", "worst split")
    rows = json.loads(command("leaderboard", BENCHMARK, *options, "--json").fine())
    assert [row["score"] for row in rows[:3]] == frame["score"].tolist()[:3]
    said = command("leaderboard", BENCHMARK, *options).fine()
    first = said.splitlines()[3].split()
    assert (first[0], first[1], first[-2], first[-1]) == ("1", "steady", "4.000", "hard")
    assert "no interval and no test" in said


def test_a_subset_has_no_worst_split(board, command, toy_content: Path) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    subsets = {"high": {"title": "y above the middle", "column": "y", "above": 0.0}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "subsets": subsets}))
    submit("newer", 1.0, 1.0)
    options = ("--protocol", "holdout", "--split", "worst split", "--subset", "high")
    assert "leave out the subset" in command("leaderboard", BENCHMARK, *options).refusal()

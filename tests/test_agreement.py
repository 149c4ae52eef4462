"""Whatever says that one model is better than another says the same of every pair.

The board, its sentences, the function behind the page that compares models, the command line,
``etchmark.compare`` and the findings are asked about the reviewed records. By default they are
asked about two pairs of every board, with the marker ``slow`` about many of them: all pairs of the
largest board are 1,600 today and grow with the square of its rows.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import etchmark
from etchmark.boards import compare, statements
from etchmark.boards.samples import sample_scores
from etchmark.boards.standings import Board
from etchmark.catalog import catalog
from etchmark.registry.store import Store
from etchmark.registry.tables import Entry
from etchmark.scoring.separation import ALPHA, CONTENDERS, TOLERANCE, verdict
from etchmark.scoring.uncertainty import SumsOfUnits
from etchmark.targets import metric

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.yaml"))
FEWEST_TOLD_APART = 6
"""Units from which a p-value can be below 0.05: 2 of 2^5 patterns of signs are 0.0625."""
MOST_PAIRS = 100
"""Pairs of one board that are asked about at most."""
SOME_OR_MANY = pytest.mark.parametrize(
    "amount",
    [pytest.param(2, id="some"), pytest.param(MOST_PAIRS, id="many", marks=pytest.mark.slow)],
)
of_every_benchmark = pytest.mark.parametrize("benchmark", BENCHMARKS)
NAMES = ("difference", "ci_low", "ci_high", "better", "relation", "p")


@dataclass
class Rows:
    """The ranked rows of a board."""

    board: Board

    @cached_property
    def frame(self) -> pd.DataFrame:
        return self.board.standings()

    @cached_property
    def ranked(self) -> list[dict[str, Any]]:
        rows = pd.DataFrame(self.frame[self.frame["rank"].notna()]).to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in rows]

    @property
    def has_reference(self) -> bool:
        """Whether the row that gains are stated over has been run on this board."""
        return any(row["model"] == self.board.spec.gains_over for row in self.ranked)

    @cached_property
    def sums(self) -> list[SumsOfUnits]:
        """Unit sums of the ranked rows, as they are read from their tables."""
        sums = []
        for entry in self.entries:
            scores = sample_scores(entry, self.board.split)
            assert scores is not None
            sums.append(scores.sums())
        return sums

    @cached_property
    def entries(self) -> list[Entry]:
        store = Store()
        entries = [store.get(row["submission"]) for row in self.ranked]
        return [entry for entry in entries if entry is not None]

    def verdict(self, first: int, second: int) -> str:
        """Relation of one row to another by the test of that pair alone."""
        spec, judged = self.board.spec, metric(self.board.metric)
        scores = [float(self.ranked[place]["score"]) for place in (first, second)]
        least = spec.smallest_difference_of(
            judged.id, min(scores, key=lambda score: judged.sign() * score)
        )
        return verdict(judged, self.sums[first], self.sums[second], least).relation

    def pairs(self, amount: int) -> list[tuple[int, int]]:
        """At most so many pairs of rows, the same in every run."""
        pairs = list(itertools.combinations(range(len(self.ranked)), 2))
        if amount >= len(pairs):
            return pairs
        drawn = np.random.default_rng(0).choice(len(pairs), size=amount, replace=False)
        return [pairs[place] for place in drawn]


@pytest.fixture
def hub(read_once: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One hub for all tests, which write nothing into it."""
    monkeypatch.setenv("ETCHMARK_HOME", str(read_once))


@cache
def boards(benchmark: str) -> list[Rows]:
    """The board of every protocol that has ranked rows."""
    spec = catalog().benchmark(benchmark)
    rows = [Rows(Board(spec, Store(), protocol=protocol)) for protocol in spec.protocols]
    return [board for board in rows if board.ranked]


def plain(row: Any) -> dict[str, Any]:
    """The statement on a pair, null where there is nothing."""
    return {
        name: None if value == "" or value != value else value
        for name, value in ((name, row[name]) for name in NAMES)
    }


@SOME_OR_MANY
@of_every_benchmark
def test_page_and_python_agree_on_a_pair(benchmark: str, amount: int, hub: None) -> None:
    for rows in boards(benchmark):
        board = rows.board
        for first, second in rows.pairs(amount):
            pair = compare.sides([rows.entries[first], rows.entries[second]])
            frame = compare.differences(board.spec, pair, board.split, board.metric)
            (shown,) = frame.to_dict("records")
            names = [side.entry.record.submission for side in pair]
            frame = etchmark.compare(benchmark, *names, protocol=board.protocol, split=board.split)
            (row,) = frame.to_dict("records")
            assert plain(row) == plain(shown)
            assert row["relation"] == rows.verdict(first, second)
            assert (row["relation"] in ("better", "worse")) == bool(row["better"])


def test_command_line_and_findings_agree_with_python(
    hub: None, command: Callable[..., Any], findings: ModuleType
) -> None:
    for benchmark in BENCHMARKS[:: len(BENCHMARKS) - 1]:
        rows = boards(benchmark)[0]
        board = rows.board
        for first, second in rows.pairs(1):
            models = [rows.ranked[place]["model"] for place in (first, second)]
            options = {"protocol": board.protocol, "split": board.split}
            (row,) = etchmark.compare(benchmark, *models, **options).to_dict("records")
            flags = [word for name, value in options.items() for word in (f"--{name}", value)]
            printed = json.loads(command("compare", benchmark, *models, *flags, "--json").fine())
            assert plain(printed["splits"][0]) == plain(row)
            score = findings.Score(benchmark, board.protocol, board.split, board.metric)
            gap = score.gap(*models)
            assert (gap.better, gap.relation) == (row["better"], row["relation"])
            assert score.better(*models) == (row["better"] == models[0])
        text = command("leaderboard", benchmark).fine()
        assert statements.the_best(board.spec, rows.frame) in text
        assert (statements.gains(board.spec, rows.frame) or "") in text


@of_every_benchmark
def test_sentences_say_what_the_columns_hold(
    benchmark: str, hub: None, findings: ModuleType
) -> None:
    for rows in boards(benchmark):
        board, ranked = rows.board, rows.ranked
        best = [row["model"] for row in ranked if row["may_be_best"] is True]
        assert best
        told = statements.the_best(board.spec, rows.frame)
        count = "all" if len(best) == len(ranked) else f"{len(best):,}"
        expected = f"one alone may be the best: {best[0]}" if len(best) == 1 else count
        if rows.frame["units"].max() < FEWEST_TOLD_APART:
            expected = "any may be the best: with"
        assert told.startswith(f"Of {len(ranked):,} ranked submissions, {expected}")
        score = findings.Score(benchmark, board.protocol, board.split, board.metric)
        assert score.may_be_best() == best
        flagged = statements.doubts(rows.frame)
        said = told if flagged is None else f"{told} {flagged}"
        assert score.best_rows().replace("`", "") == said
        gains = statements.gains(board.spec, rows.frame)
        if rows.has_reference and any(row["role"] == "entry" for row in ranked):
            assert score.gains().replace("`", "") == gains
        else:
            assert gains is None, "nothing is said of gains without an entry, or over no row"
        # What is listed apart never leads and has no statement of its own.
        apart = pd.DataFrame(rows.frame[rows.frame["rank"].isna()])
        tested = ["may_be_best", "gain", "gain_p", "gain_relation"]
        assert not apart[tested].notna().to_numpy().any()


@SOME_OR_MANY
@of_every_benchmark
def test_a_row_that_cannot_be_the_best_is_worse_than_one_that_may_be(
    benchmark: str, amount: int, hub: None
) -> None:
    """By the test of that pair alone as well: the board's test asks for more than that.

    A row is taken away because a better row beats it by more than any pair does in 95 % of the
    patterns of signs. That better row may be taken away later, so this need not hold on every
    conceivable board; it holds on all of ours. What always holds is tested beside the separation.
    """
    for rows in boards(benchmark):
        best = [place for place, row in enumerate(rows.ranked) if row["may_be_best"] is True]
        others = [place for place in range(len(rows.ranked)) if place not in best]
        for place in others[:amount]:
            assert any(rows.verdict(place, better) == "worse" for better in best)


@SOME_OR_MANY
@of_every_benchmark
def test_gains_agree_with_the_pairs(benchmark: str, amount: int, hub: None) -> None:
    for rows in boards(benchmark):
        spec, judged = rows.board.spec, metric(rows.board.metric)
        if not rows.has_reference:
            assert rows.frame[["gain", "gain_p", "gain_relation"]].isna().to_numpy().all()
            continue
        (reference,) = [
            place for place, row in enumerate(rows.ranked) if row["model"] == spec.gains_over
        ]
        base = rows.ranked[reference]
        assert base["gain"] == 0
        # With too few units no gain of the board has an interval, nor has the reference's own.
        bounded = not rows.frame[["gain_low", "gain_high"]].isna().to_numpy().all()
        assert (base["gain_low"], base["gain_high"]) == ((0, 0) if bounded else (None, None))
        assert pd.isna(base["gain_p"])
        assert len(rows.ranked) <= CONTENDERS, "else pairs are tested with more patterns"
        others = [place for place in range(len(rows.ranked)) if place != reference]
        for place in others[:amount]:
            row = rows.ranked[place]
            names = row["submission"], base["submission"]
            (pair,) = etchmark.compare(
                benchmark, *names, protocol=rows.board.protocol, split=rows.board.split
            ).to_dict("records")
            ahead = -judged.sign() * pair["difference"]
            # Two rows of one board have the same predictions to rounding.
            if abs(ahead) > 1e-9 * abs(base["score"]):
                assert np.sign(row["gain"]) == np.sign(ahead)
            else:
                assert row["gain"] == pytest.approx(0, abs=1e-9)
            # The board's p allows for the number of rows, so it is never the smaller one.
            assert pair["p"] <= row["gain_p"] * (1 + TOLERANCE)
            assert not math.isnan(row["gain"])
            if row["gain_relation"] != "not told apart":
                assert pair["relation"] == row["gain_relation"]
            else:
                assert row["gain_p"] > ALPHA

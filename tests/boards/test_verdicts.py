"""The phrase of a board, from its columns; it agrees with the sentences on every real board."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from test_statements import frame, spec

from etchmark.boards import statements
from etchmark.boards.strengths import strengths
from etchmark.boards.verdicts import verdict, verdict_of_row
from etchmark.catalog import catalog
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec

__all__ = ["spec"]


def board(best: list[bool | None], units: int = 20, **columns: list[Any]) -> Any:
    flags = columns.pop("flags", [[]] * len(best))
    table = frame(best, units, **columns)
    table["split"] = "test"
    table[["rank_low", "reference_units"]] = 1
    table["flags"] = pd.Series(flags, dtype=object)
    return table


@pytest.mark.parametrize(
    ("best", "units", "columns", "kind", "text"),
    [
        ([], 20, {}, "empty", "no submission yet"),
        ([None], 20, {"rank": [None]}, "empty", "no submission yet"),
        ([True, True], 20, {"role": ["reference"] * 2}, "references", "references only"),
        ([True], 20, {}, "alone", "one submission"),
        ([True, True], 4, {}, "untested", "4 sources: no test"),
        ([None, None], 20, {}, "untested", "not tested"),
        ([True, False], 20, {}, "winner", "clear winner"),
        ([True, False], 20, {"role": ["entry", "reference"]}, "winner", "only entry"),
        ([True, True, False], 20, {}, "tie", "tie of 2"),
        (
            [True, False],
            20,
            {"gain_relation": ["not told apart", "worse"]},
            "no gain",
            "nothing beats toy_mean",
        ),
        ([True, False], 20, {"gain_relation": ["better", "worse"]}, "winner", "clear winner"),
    ],
)
def test_a_verdict(
    spec: BenchmarkSpec,
    best: list[bool | None],
    units: int,
    columns: dict[str, list[Any]],
    kind: str,
    text: str,
) -> None:
    said = verdict(spec, board(best, units, **columns))
    assert (said.kind, said.text) == (kind, text)
    assert not said.at_limit


def test_a_reference_that_leads_is_no_gain(spec: BenchmarkSpec) -> None:
    """What the reference itself gains over itself is nothing, and only entries can beat it."""
    table = board([True, False], role=["reference", "entry"], gain_relation=[None, "worse"])
    assert verdict(spec, table).kind == "no gain"


def test_a_lead_that_is_doubted_is_marked(spec: BenchmarkSpec) -> None:
    flagged = [["far_ahead: so"], []]
    assert verdict(spec, board([True, False], flags=flagged)).doubted
    assert not verdict(spec, board([True, False], flags=flagged[::-1])).doubted
    apart = board([True, False], flags=flagged, role=["reference", "entry"])
    assert not verdict(spec, apart).doubted


def test_the_discretisation_error_is_reached_at_its_size(spec: BenchmarkSpec) -> None:
    error = {"metric": "mae", "value": 1.0, "description": "halved cells"}
    content = spec.model_dump(by_alias=True) | {"discretisation_error": error}
    limited = BenchmarkSpec.model_validate(content)
    assert verdict(limited, board([True, False])).at_limit
    assert not verdict(limited, board([True, False], score=[1.01, 2.0])).at_limit


@pytest.mark.parametrize("name", ["superalloy-hardness", "composite-stiffness-3d"])
def test_it_agrees_with_the_sentences_of_a_real_board(name: str) -> None:
    from etchmark.boards.standings import standings
    from etchmark.registry.store import Store

    declared = catalog().benchmark(name)
    table = standings(declared, Store())
    said, best = verdict(declared, table), statements.the_best(declared, table)
    gained = statements.gains(declared, table) or ""
    assert ("one alone may be the best" in best) == (
        said.kind == "winner"
    ) or said.kind == "no gain"
    assert gained.startswith("No entry is shown to beat") == (said.kind == "no gain")
    if said.kind == "tie":
        assert f"{said.text.removeprefix('tie of ')} may be the best" in best


# --- strengths and the simplest row --------------------------------------------------------------


def test_strengths_are_what_the_tests_show(spec: BenchmarkSpec) -> None:
    frames = {
        "test": board([True, False], gain_relation=["better", "worse"]),
        "far": board([False, True], gain_relation=["not told apart", "better"]),
        "new": board([None, None]),
    }
    for table in frames.values():
        table["submission"] = ["a", "b"]
        table["title"] = ["First", "Second"]
    assert strengths(spec, "a", frames) == [
        "May be the best on test.",
        "Shown to be behind a better row on far.",
        "Shown to be better than toy_mean on test.",
        "Not told apart from toy_mean on far.",
    ]
    assert strengths(spec, "c", frames) == []
    frames["far"]["behind"] = ["b", None]
    assert strengths(spec, "a", frames)[1] == "Shown to be behind Second on far."
    frames["test"]["rank_low"] = [7, 1]
    (first, *_) = strengths(spec, "a", frames)
    assert first == "Not told apart from the best on test.", "few units praise nobody"


def test_many_places_are_counted(spec: BenchmarkSpec) -> None:
    table = board([True, False])
    table["submission"] = ["a", "b"]
    (said, *_) = strengths(spec, "a", {f"s{place}": table for place in range(11)})
    assert said == "May be the best on s0, s1, s2, s3, s4, s5, s6, s7 and 3 more."


def test_the_simplest_has_the_fewest_parameters_of_those_that_may_be_the_best() -> None:
    table = board([True, True, True, False])
    table["submission"] = list("abcd")
    table["total_parameters"] = [300, 20, None, 1]
    table["total_parameters"] = table["total_parameters"].astype("Int64")
    table["reference_units"] = [1.0, 5.0, 2.0, 1.0]
    assert statements.simplest(table) == "b", "a size that is unknown does not count"
    table.loc[2, "total_parameters"] = 20
    assert statements.simplest(table) == "c", "of equal size the cheaper"
    table["total_parameters"] = table["total_parameters"].where(table["submission"] == "d")
    assert statements.simplest(table) is None


@pytest.mark.parametrize(
    ("best", "columns", "row", "kind", "text"),
    [
        ([True], {}, 0, "untested", "one submission"),
        ([True, True], {"units": 4}, 1, "untested", "4 sources: no test"),
        ([None, None], {}, 0, "untested", "not tested"),
        ([True, None], {}, 1, "untested", "not tested"),
        ([True, False], {}, 0, "best", "clear winner"),
        ([True, False], {}, 1, "behind", "behind a better row"),
        ([True, True, False], {}, 1, "tie", "may be the best: tie of 2"),
        ([True, False], {"role": ["entry", "reference"]}, 0, "best", "only entry"),
        ([True, False], {"rank": [1, None]}, 1, "apart", "not ranked: entry"),
        (
            [True, True, False],
            {"gain_relation": ["better", "not told apart", "worse"]},
            0,
            "tie",
            "may be the best: tie of 2, better than toy_mean",
        ),
        (
            [True, False],
            {"gain_relation": ["equal in practice", "worse"]},
            1,
            "behind",
            "behind a better row, worse than toy_mean",
        ),
        (
            [True, False],
            {"gain_relation": ["equal in practice", "worse"]},
            0,
            "best",
            "alone may be the best, equal in practice to toy_mean",
        ),
    ],
)
def test_a_verdict_of_a_row(
    spec: BenchmarkSpec,
    best: list[bool | None],
    columns: dict[str, Any],
    row: int,
    kind: str,
    text: str,
) -> None:
    table = board(best, columns.pop("units", 20), **columns)
    table["outcome"] = "ok"
    table["submission"] = table["model"]
    table["behind"], table["title"] = [None, *table["model"].tolist()[:-1]], None
    said = verdict_of_row(spec, table, str(table["submission"].iloc[row]))
    assert (said.kind, said.text, said.doubts) == (kind, text, "")
    named = verdict_of_row(spec, table, str(table["submission"].iloc[row]), named=True)
    first = table["model"].iloc[0]
    expected = text.replace("behind a better row", f"behind {first}")
    assert named.text == expected.replace(", ", "; ")


def test_a_row_that_is_the_reference_failed_or_is_doubted(spec: BenchmarkSpec) -> None:
    table = board([True, False, None], rank=[1, 2, None], flags=[["far_ahead: so"], [], []])
    table["outcome"] = ["ok", "ok", "failed"]
    table["submission"] = table["model"]
    table.loc[1, "model"] = "toy_mean"
    first, second, third = (
        verdict_of_row(spec, table, str(name)) for name in table["submission"].tolist()
    )
    assert (first.text, first.doubts) == ("clear winner", "far ahead")
    assert second.text == "behind a better row, the reference"
    assert (third.kind, third.text) == ("apart", "not ranked: the run failed")
    with pytest.raises(UserError, match="has no row on this board"):
        verdict_of_row(spec, table, "0" * 64)

"""Where a model is good and where it is not, in words that the tests between rows back."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from etchmark.boards.rows import ahead_of
from etchmark.specs import BenchmarkSpec

RELATIONS = {
    "better": "Shown to be better than {reference} on",
    "equal in practice": "Equal in practice to {reference} on",
    "not told apart": "Not told apart from {reference} on",
    "worse": "Shown to be worse than {reference} on",
}
"""What a test of gains shows, and how it is said."""
NAMED = 8
"""Places that a sentence names at most."""


def strengths(
    spec: BenchmarkSpec, submission: str, frames: Mapping[str, pd.DataFrame]
) -> list[str]:
    """Sentences on where a row may be the best and where it beats the declared reference.

    Args:
        spec: the benchmark.
        submission: the row.
        frames: rows of ``Board.standings`` by the name of the split or subset they are for.
    """
    rows = {
        place: frame[frame["submission"] == submission].iloc[0]
        for place, frame in frames.items()
        if (frame["submission"] == submission).any()
    }
    best = {
        place: row["may_be_best"] for place, row in rows.items() if pd.notna(row["may_be_best"])
    }
    # With few units no test may find even the last row behind the first, which is no strength.
    lows = {place: row["rank_low"] for place, row in rows.items()}
    leads = {place for place, low in lows.items() if pd.notna(low) and low == 1}
    sentences = [
        ("May be the best on", [place for place, may in best.items() if may and place in leads]),
        (
            "Not told apart from the best on",
            [place for place, may in best.items() if may and place not in leads],
        ),
        *_behind({place: frames[place] for place, may in best.items() if not may}, rows),
    ]
    if spec.gains_over is not None:
        sentences += [
            (
                words.format(reference=spec.gains_over),
                [place for place, row in rows.items() if row["gain_relation"] == relation],
            )
            for relation, words in RELATIONS.items()
        ]
    return [f"{words} {_listed(places)}." for words, places in sentences if places]


def _behind(
    frames: Mapping[str, pd.DataFrame], rows: Mapping[str, pd.Series]
) -> list[tuple[str, list[str]]]:
    """Which better rows a row is shown to be behind, and the places where it is behind each."""
    places: dict[str, list[str]] = {}
    for place, frame in frames.items():
        ahead = ahead_of(frame, rows[place].to_dict()) or "a better row"
        places.setdefault(ahead, []).append(place)
    return [(f"Shown to be behind {ahead} on", behind) for ahead, behind in places.items()]


def _listed(places: list[str]) -> str:
    more = len(places) - NAMED
    return ", ".join(places[:NAMED]) + (f" and {more} more" if more > 0 else "")

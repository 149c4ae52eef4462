"""What a board says of itself, and of a row, in one phrase: for tables and for badges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from etchmark.boards.rows import ahead_of
from etchmark.errors import UserError
from etchmark.scoring.doubts import TOO_GOOD, flags_to_show, in_words
from etchmark.scoring.separation import ALPHA, smallest_p
from etchmark.specs import BenchmarkSpec

Kind = Literal["empty", "references", "alone", "untested", "no gain", "winner", "tie"]


@dataclass(frozen=True)
class Verdict:
    """Whether the lead of a board is real.

    Attributes:
        kind: which of the phrases it is.
        text: the phrase.
        reason: why, in a sentence.
        at_limit: whether the leader's score is at most the discretisation error of the labels.
        doubted: whether the leader has flags that question so good a score.
    """

    kind: Kind
    text: str
    reason: str
    at_limit: bool = False
    doubted: bool = False


def verdict(spec: BenchmarkSpec, frame: pd.DataFrame) -> Verdict:
    """The phrase; it rests on the same tests as ``statements.statements``.

    Args:
        spec: the benchmark.
        frame: rows of ``Board.standings``, best first.
    """
    ranked = pd.DataFrame(frame[frame["rank"].notna()])
    if ranked.empty:
        return Verdict("empty", "no submission yet", "No submission is ranked yet.")
    kind, text, reason = _phrase(spec, ranked)
    flags = flags_to_show(ranked["flags"].iloc[0], str(ranked["role"].iloc[0]))
    return Verdict(kind, text, reason, at_limit(spec, ranked), bool(in_words(flags, TOO_GOOD)))


def at_limit(spec: BenchmarkSpec, ranked: pd.DataFrame) -> bool:
    """Whether the first row is as close to the labels as these are to the continuum.

    Args:
        spec: the benchmark.
        ranked: ranked rows of ``Board.standings``, best first.
    """
    error = spec.discretisation_error
    metric, split, score = (ranked[name].iloc[0] for name in ("metric", "split", "score"))
    size = None if error is None else error.size_on(str(metric), str(split))
    return size is not None and float(score) <= size


def _phrase(spec: BenchmarkSpec, ranked: pd.DataFrame) -> tuple[Kind, str, str]:
    entries = pd.DataFrame(ranked[ranked["role"] == "entry"])
    if entries.empty:
        return "references", "references only", "No entry is ranked yet."
    if len(ranked) == 1:
        return "alone", "one submission", "There is nothing to compare it with yet."
    units = int(ranked["units"].max())
    if smallest_p(units) > ALPHA:
        return (
            "untested",
            f"{units} {spec.unit_names}: no test",
            f"With so few {spec.unit_names} no test can tell two models apart.",
        )
    relations = [value for value in entries["gain_relation"].tolist() if isinstance(value, str)]
    if relations and "better" not in relations:
        return (
            "no gain",
            f"nothing beats {spec.gains_over}",
            f"No entry is shown to be better than {spec.gains_over}.",
        )
    best = ranked["may_be_best"].to_numpy(dtype=float, na_value=np.nan)
    count = int(np.nansum(best))
    if not np.isfinite(best).any():
        return "untested", "not tested", "The rows were scored on different samples."
    if count == 1 and len(entries) == 1 and ranked["role"].iloc[0] == "entry":
        return "winner", "only entry", "One entry is ranked; every reference is shown to be worse."
    if count == 1:
        return "winner", "clear winner", "Every other ranked row is shown to be worse."
    return (
        "tie",
        f"tie of {count:,}",
        f"{count:,} rows may be the best: no test tells them apart, or they are equal in practice.",
    )


RowKind = Literal["apart", "untested", "best", "tie", "behind"]
OVER_REFERENCE = {
    "better": "better than {reference}",
    "equal in practice": "equal in practice to {reference}",
    "not told apart": "not told apart from {reference}",
    "worse": "worse than {reference}",
}
"""What the test of a row's gain shows."""


@dataclass(frozen=True)
class RowVerdict:
    """What the tests show of one row.

    Attributes:
        kind: whether it is listed apart, untested, alone the best, tied for it, or behind.
        text: the same and how it compares with the reference, in a phrase.
        doubts: flags that question so good a score, in words; empty where it has none.
    """

    kind: RowKind
    text: str
    doubts: str = ""


def verdict_of_row(
    spec: BenchmarkSpec, frame: pd.DataFrame, submission: str, *, named: bool = False
) -> RowVerdict:
    """What the tests show of one row; it agrees with ``verdict`` of the board.

    Args:
        spec: the benchmark.
        frame: rows of ``Board.standings``, best first.
        submission: full id of the row.
        named: call a better row by its title, for which a badge has no room.

    Raises:
        UserError: the board has no such row.
    """
    own = frame[frame["submission"] == submission]
    if own.empty:
        raise UserError(f"{spec.key}: submission {submission[:12]} has no row on this board")
    row = own.iloc[0]
    if pd.isna(row["rank"]):
        why = str(row["role"]) if row["outcome"] == "ok" else "the run failed"
        return RowVerdict("apart", f"not ranked: {why}")
    doubts = in_words(flags_to_show(row["flags"], str(row["role"])), TOO_GOOD)
    board = verdict(spec, frame)
    if board.kind in ("alone", "untested"):
        return RowVerdict("untested", board.text, doubts)
    if pd.isna(row["may_be_best"]):
        kind, text = "untested", "not tested"
    elif not row["may_be_best"]:
        ahead = ahead_of(frame, row.to_dict()) if named else None
        kind, text = "behind", f"behind {ahead or 'a better row'}"
    elif (count := int(frame["may_be_best"].fillna(False).sum())) > 1:
        kind, text = "tie", f"may be the best: tie of {count:,}"
    else:
        kind, text = "best", board.text if board.kind == "winner" else "alone may be the best"
    # A title may have commas of its own.
    between = "; " if named else ", "
    return RowVerdict(kind, between.join([text, *_over_reference(spec, row)]), doubts)


def _over_reference(spec: BenchmarkSpec, row: pd.Series) -> list[str]:
    if row["model"] == spec.gains_over:
        return ["the reference"]
    relation = row["gain_relation"]
    if spec.gains_over is None or not isinstance(relation, str):
        return []
    return [OVER_REFERENCE[relation].format(reference=spec.gains_over)]

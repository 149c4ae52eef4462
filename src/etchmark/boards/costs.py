"""What rows cost, in columns that compare between machines, and what of it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from etchmark.text import number

COMPARED = {
    "cpu_seconds": "processor seconds",
    "reference_units": "reference units",
    "total_parameters": "total parameters",
}
"""Columns of cost of every board, with their names in words."""
RUN = ("run", "verified")
"""Status of rows whose cost was measured here."""


def cost_text(row: Mapping[Any, Any], column: str) -> str:
    """One cost of a row of a board in few characters.

    Args:
        row: by the names of ``boards.rows.COLUMNS``.
        column: one of ``COMPARED``.

    Returns:
        The number; what the submitter claims where nothing was measured; ``unknown`` for a run
        whose record is older than the column; a dash for a file of predictions or a failed run.
    """
    claimed = (row["claimed"] or {}).get(column)
    for value, mark in ((row[column], ""), (claimed, " claimed")):
        if value is not None and value is not pd.NA:
            return (f"{value:,}" if column == "total_parameters" else number(value)) + mark
    return "unknown" if row["status"] in RUN and row["outcome"] == "ok" else "–"


def unknown_costs(frame: pd.DataFrame) -> str | None:
    """Which costs of how many rows are unknown; None where none is.

    Args:
        frame: rows of ``Board.standings``.
    """
    run = pd.DataFrame(frame[frame["status"].isin(RUN) & (frame["outcome"] == "ok")])
    lacking = {words: run[column].isna().tolist().count(True) for column, words in COMPARED.items()}
    parts = [f"{words} of {count:,}" for words, count in lacking.items() if count]
    if not parts:
        return None
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    noun = "row" if len(run) == 1 else "rows"
    return (
        f"Unknown: {listed} of the {len(run):,} {noun} that were run here. Their records are older"
        " than these columns, or their models do not tell; they hold wall seconds instead."
    )


def front(cost: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Pareto front: points that no other beats in one quantity without losing in the other.

    Args:
        cost: shape (points,), smaller is better; NaN where unknown, which is never in front.
        loss: shape (points,), smaller is better.

    Returns:
        Truth values, shape (points,).
    """
    in_front = np.zeros(len(cost), dtype=bool)
    known = np.flatnonzero(np.isfinite(cost) & np.isfinite(loss))
    order = known[np.lexsort((loss[known], cost[known]))]
    # Of equal costs the first has the smallest loss; points equal in both are all in front.
    best, best_cost = np.inf, np.nan
    for point in order:
        if loss[point] < best:
            best, best_cost = loss[point], cost[point]
            in_front[point] = True
        else:
            in_front[point] = loss[point] == best and cost[point] == best_cost
    return in_front

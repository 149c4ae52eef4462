"""What rows cost, in columns that compare between machines, and what of it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

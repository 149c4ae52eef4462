"""A board on paper: the whole table, since a table that scrolls is cut off there."""

from __future__ import annotations

import pandas as pd

from dashboard import markup
from dashboard.panels.board_columns import (
    ALWAYS,
    BAR,
    EQUIVALENT,
    OWN,
    UNIT,
    decimals,
    is_place,
    title_of,
)
from dashboard.wording import metric_title
from etchmark.api import MetricInfo
from etchmark.text import number

LEFT_OUT = (
    *(BAR, OWN, EQUIVALENT, "seeds", "status", "date", "n", "units", "note", "folds", "flops"),
    *("title", "low", "high"),
)
"""What the page of a model or the CSV has."""


def show(table: pd.DataFrame, frame: pd.DataFrame, metric: MetricInfo) -> None:
    """All rows, each with score, interval, scores elsewhere, costs and flags.

    Args:
        table: the board's table with all of its columns.
        frame: the rows of the board that it was made from.
        metric: that of the scores.
    """
    aligned = decimals(frame)
    ends = [name for name in ("low", "high") if name in table.columns]
    scores = [metric.id, *ends, *(name for name in table.columns if is_place(name))]
    others = [
        name
        for name in table.columns
        # A column for every unit would leave no room on paper.
        if name not in (*LEFT_OUT, *ALWAYS, metric.id) and not name.startswith(UNIT)
    ]
    columns = [*ends, *others]
    titles = {"low": "95 % low", "high": "95 % high", "gain": "gain / %", "range": "rank range"}
    head = ["rank", "model", metric_title(metric)]
    head += [titles.get(name, title_of(name).replace("_", " ")) for name in columns]
    rows = []
    for record in table.to_dict("records"):
        called = markup.escaped(record["title"], 100)
        if record["model"] != record["title"]:
            called += f'<div class="em-small">{markup.escaped(record["model"], 100)}</div>'
        cells = [
            _cell(record[name], aligned if name in scores else None)
            for name in (metric.id, *columns)
        ]
        rows.append([_cell(record["rank"], "%.0f"), called, *cells])
    markup.show(markup.table([markup.escaped(title) for title in head], rows, "The board"))


def _cell(value: object, form: str | None) -> str:
    if value is None or pd.isna(value):  # pyright: ignore[reportArgumentType, reportCallIssue]
        return "–"
    if isinstance(value, str):
        # A rank range in one piece.
        return markup.escaped(value, 400) if " " in value else _whole(value)
    text = number(float(value)) if form is None else form % float(value)  # pyright: ignore[reportArgumentType]
    return _whole(text)


def _whole(text: str) -> str:
    return f'<span class="em-number">{markup.escaped(text)}</span>'

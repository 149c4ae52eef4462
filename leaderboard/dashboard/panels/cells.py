"""Cells of tables of rows: a model, its score, its gain over the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dashboard import markup
from etchmark.api import Hub, called, gain_text, why_none
from etchmark.specs import BenchmarkSpec
from etchmark.text import number, span

Row = Mapping[Any, Any]
"""A row of a board by the names of its columns."""


def row_at(frame: pd.DataFrame, place: int) -> dict[Any, Any]:
    """One row of a board: all rows as such mappings take longer than the rest of a page."""
    return frame.iloc[[place]].to_dict("records")[0]


def gain_interval(row: Row) -> tuple[float, float]:
    """Ends of the interval of a row's gain, NaN where it has none."""
    low, high = (
        math.nan if pd.isna(row[name]) else float(row[name]) for name in ("gain_low", "gain_high")
    )
    return low, high


def model_link(row: Row) -> dict[str, str]:
    """Query of the page of a model, where its row on this board is shown."""
    return {"name": str(row["model"]), "benchmark": str(row["benchmark"]).partition("@")[0]}


def score_text(hub: Hub, spec: BenchmarkSpec, row: Row) -> str:
    """A score with its unit, as plain text."""
    unit = hub.metric(spec, str(row["metric"])).unit
    return number(row["score"]) + ("" if unit == "1" else f" {unit}")


def model(row: Row) -> str:
    """A model by its title, above its name where it has one."""
    shown = called(row)
    link = markup.link("model", markup.escaped(shown, 90), model_link(row))
    name = f'<div class="em-small">{markup.escaped(row["model"], 60)}</div>'
    return link + (name if shown != row["model"] else "")


def score(hub: Hub, spec: BenchmarkSpec, row: Row) -> str:
    """A score with its unit, its interval and the name of its metric."""
    value = score_text(hub, spec, row)
    interval = span(row["ci_low"], row["ci_high"])
    if pd.isna(row["units"]):
        interval = f"worst split: {row['split']}"
    elif interval == "–":
        interval = why_none(row["units"], spec.unit_names)
    metric = hub.metric(spec, str(row["metric"]))
    better = "higher is better" if metric.higher_is_better else "lower is better"
    return (
        f'<span class="em-number"><b>{markup.escaped(value)}</b></span>'
        f'<div class="em-small">{markup.escaped(interval)}<br>'
        f'<span title="{markup.escaped(metric.title)}">{markup.escaped(metric.id)}</span>,'
        f" {better}</div>"
    )


def rank(row: Row, ranked: int) -> str:
    """A row's rank among the ranked rows, with its range; or why it has none."""
    if pd.isna(row["rank"]):
        why = row["reason"] if isinstance(row["reason"], str) else row["role"]
        return f"listed apart: {markup.escaped(why)}"
    shown = f'<span class="em-number"><b>{row["rank"]}</b> of {ranked:,}</span>'
    if pd.isna(row["rank_low"]):
        return shown
    return f'{shown}<div class="em-small">range {row["rank_low"]}–{row["rank_high"]}</div>'


def gain(spec: BenchmarkSpec, row: Row) -> str:
    """How much smaller a row's error is than that of the declared reference."""
    if spec.gains_over is None:
        return '<span class="em-small">no reference declared</span>'
    over = f"over {markup.escaped(spec.gains_over)}"
    if row["model"] == spec.gains_over:
        return f'it is the reference<div class="em-small">{over}</div>'
    if pd.isna(row["gain"]):
        return f'unknown<div class="em-small">{over}</div>'
    value, _, interval = gain_text(float(row["gain"]), *gain_interval(row)).partition(" (")
    inside = f"({markup.escaped(interval)}<br>" if interval else ""
    told = "" if row["gain_relation"] == "better" else f", {markup.escaped(row['gain_relation'])}"
    return (
        f'<span class="em-number"><b>{markup.escaped(value)}</b></span>'
        f'<div class="em-small">{inside}{over}{told}</div>'
    )

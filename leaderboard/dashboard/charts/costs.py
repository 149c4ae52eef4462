"""Scores against what they cost, with the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.names import name_places
from dashboard.charts.style import (
    LAYOUT,
    MAX_ROWS,
    ORANGE,
    accent,
    asymmetric,
    axis_title,
    extent,
    label,
    log_if_positive,
)
from etchmark.api import front

MAX_NAMES, MAX_BARS = 16, 24
"""Points up to which a plot writes their names beside them, and draws their intervals."""


@dataclass(frozen=True)
class CostAxes:
    """What is drawn against what."""

    cost: str
    """Column of the cost."""
    cost_title: str
    score_title: str
    higher_is_better: bool


@dataclass(frozen=True)
class _Points:
    spent: np.ndarray
    score: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: list[str]
    """What has room beside a point."""
    full_names: list[str]


def cost_plot(frame: pd.DataFrame, axes: CostAxes) -> go.Figure:
    """Scores with intervals against a cost, both logarithmic where possible, and their front.

    Args:
        frame: rows of a board for which the cost is known.
        axes: what to draw.
    """
    low, high = extent(frame)
    points = _Points(
        spent=frame[axes.cost].to_numpy(dtype=float),
        score=frame["score"].to_numpy(dtype=float),
        low=low,
        high=high,
        names=_short_names(frame["model"].tolist()),
        full_names=[label(name, 100) for name in frame["model"]],
    )
    on_front = front(points.spent, -points.score if axes.higher_is_better else points.score)
    steps = np.flatnonzero(on_front)[np.argsort(points.spent[on_front], kind="stable")]
    figure = go.Figure()
    figure.add_scatter(
        x=points.spent[steps],
        y=points.score[steps],
        mode="lines",
        line={"shape": "hv", "color": ORANGE, "width": 2, "dash": "dash"},
        name="Pareto front",
        hoverinfo="skip",
    )
    # Only a few names can be read; the others appear when pointed at.
    named = int(on_front.sum()) <= MAX_NAMES
    front_rows = np.flatnonzero(on_front)
    _add_points(figure, points, front_rows, "on the front", path=steps if named else None)
    _add_points(figure, points, np.flatnonzero(~on_front), "others")
    figure.update_layout(height=460, **LAYOUT)
    across = log_if_positive(points.spent)
    up = log_if_positive(np.concatenate([points.low, points.score]))
    figure.update_xaxes(title=axis_title(axes.cost_title), zeroline=False, **across)
    figure.update_yaxes(title=axis_title(axes.score_title), showgrid=True, **up)
    return figure


def _short_names(models: list[str]) -> list[str]:
    """The last parts of names, in which variants of a model differ, where these are unique."""
    ends = [str(name).rpartition("/")[2] for name in models]
    return [label(name, 30) for name in (ends if len(set(ends)) == len(ends) else models)]


def _add_points(
    figure: go.Figure,
    points: _Points,
    rows: np.ndarray,
    title: str,
    *,
    path: np.ndarray | None = None,
) -> None:
    """Some of the points; those on the front are filled, and named if a ``path`` joins them."""
    if not len(rows):
        return
    with_bars = len(points.score) <= MAX_BARS
    colour = accent()
    bars: dict[str, Any] | None = None
    if with_bars:
        bars = asymmetric(
            np.maximum(points.high - points.score, 0)[rows],
            np.maximum(points.score - points.low, 0)[rows],
            color=colour,
            thickness=1.2,
        )
    places = [""] * len(rows)
    if path is not None:
        ends = (points.low, points.high) if with_bars else (points.score, points.score)
        places = name_places(points.spent, points.score, rows, points.names, ends, path)
    figure.add_scatter(
        x=points.spent[rows],
        y=points.score[rows],
        mode="markers" if path is None else "markers+text",
        name=title,
        marker={
            "size": 10 if len(points.score) <= MAX_ROWS else 7,
            "symbol": "circle" if title == "on the front" else "circle-open",
            "color": colour,
        },
        error_y=bars,
        text=[points.names[row] if place else "" for row, place in zip(rows, places, strict=True)],
        textposition=[place or "top right" for place in places],
        textfont={"size": 11},
        customdata=[points.full_names[row] for row in rows],
        hovertemplate="%{customdata}<br>%{y:.4g}, %{x:.3g}<extra></extra>",
    )

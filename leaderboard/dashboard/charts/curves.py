"""Learning curves and curves over a setting, of several models at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.charts.style import (
    LAYOUT,
    LINEAR,
    asymmetric,
    escaped,
    label,
    log_axis,
    series_styles,
)

WIDE = 5.0
"""Ratio of largest to smallest score above which their axis is logarithmic."""
Point = dict[str, Any]
"""A row of ``hub.curves``."""


def curve_plot(lines: Mapping[str, Sequence[Point]], title: str) -> go.Figure:
    """Score against training samples or against a setting, on logarithmic axes where possible.

    Args:
        lines: points by the name of their line; those without a score are not drawn.
        title: title of the score's axis.
    """
    figure = go.Figure()
    scored = {
        name: [point for point in points if point["score"] is not None]
        for name, points in lines.items()
    }
    for (name, points), (colour, symbol, dash) in zip(
        scored.items(), series_styles(), strict=False
    ):
        figure.add_scatter(
            x=[_across(point) for point in points],
            y=[point["score"] for point in points],
            mode="lines+markers",
            name=label(name),
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 8, "color": colour, "symbol": symbol},
            error_y=asymmetric(
                [_length(point["high"], point["score"]) for point in points],
                [_length(point["score"], point["low"]) for point in points],
                thickness=1.2,
                width=3,
                color=colour,
            ),
            hovertemplate=f"{label(name, 80)}<br>%{{x:,}}: %{{y:.4g}}<extra></extra>",
        )
    figure.update_layout(height=460, **LAYOUT)
    drawn = [point for points in scored.values() for point in points]
    values, scores = [_across(point) for point in drawn], [point["score"] for point in drawn]
    wide = bool(scores) and min(scores) > 0 and max(scores) > WIDE * min(scores)
    figure.update_xaxes(
        title=label(next(iter(lines.values()))[0]["axis"], 60),
        **(log_axis(values) if values and min(values) > 0 else LINEAR),
    )
    figure.update_yaxes(title=escaped(title), **(log_axis(scores) if wide else LINEAR))
    return figure


def _across(point: Point) -> float:
    return point["value"] if point["param"] else point["samples"]


def _length(above: float | None, below: float | None) -> float:
    return 0.0 if above is None or below is None else max(0.0, above - below)

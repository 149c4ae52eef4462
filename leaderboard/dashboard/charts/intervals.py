"""Scores with their intervals: the figure below a board and the small bar in each of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import (
    DECADES,
    GREEN,
    LAYOUT,
    LINEAR,
    MAX_ROWS,
    ORANGE,
    PURPLE,
    VERMILION,
    accent,
    asymmetric,
    axis_title,
    beside_names,
    extent,
    label,
    log_axis,
)
from etchmark.text import declared_number, number, span

DASHES = (("dash", ORANGE), ("dot", VERMILION), ("dashdot", GREEN), ("longdash", PURPLE))
SYMBOLS = {"run": "circle", "verified": "star", "scored": "circle-open", "reported": "diamond-open"}
ROW_PX = 34
BAR = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='120' height='20'>"
    "<path d='M0 10H120' stroke='%%238884'/>"
    "<path d='M%.1f 10H%.1f' stroke='%%2356B4E9' stroke-width='8'/>"
    "<path d='M%.1f 3V17' stroke='%%230072B2' stroke-width='1.6'/></svg>"
)
"""Pixels of low, high and score, in colours that are visible on light and on dark ground."""
BELOW, BEYOND = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='120' height='20'>"
    "<path d='M0 10H120' stroke='%238884'/>"
    f"<path d='{arrow}' fill='none' stroke='%230072B2' stroke-width='1.6'/></svg>"
    for arrow in ("M24 4l-7 6l7 6", "M96 4l7 6l-7 6")
)
"""The bar of a score to the left of the scale, and to its right."""
MIN_HALF_PX = 1.5
"""Pixels to either side of the score below which an interval would be invisible."""


@dataclass(frozen=True)
class ScoreAxis:
    """The axis that a board's scores are drawn on."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, frame: pd.DataFrame, references: Sequence[float] = ()) -> ScoreAxis:
        """Limits that keep the bulk of a board readable where a few scores are far off.

        The axis is logarithmic if the scores span so many decades that no other shows them all.
        """
        low, high = extent(frame.head(MAX_ROWS))
        first, last = float(low.min()), float(high.max())
        ends = [first, last, *references]
        least = min([first, *references])
        if least > 0 and last > DECADES * least:
            return cls(min(ends) / 1.3, max(ends) * 1.3, log=True)
        # Twice the span of the better three quarters with their intervals, at most.
        bulk = slice(0, max(1, int(np.ceil(0.75 * len(low)))))
        near = [*low[bulk], *high[bulk], *references]
        centre, half = (min(near) + max(near)) / 2, (max(near) - min(near)) or 1.0
        first, last = max(min(first, *near), centre - half), min(max(last, *near), centre + half)
        pad = 0.04 * ((last - first) or 1.0)
        return cls(first - pad, last + pad, log=False)

    @property
    def limits(self) -> tuple[float, float]:
        return self.low, self.high

    def share(self, values: np.ndarray) -> np.ndarray:
        """How far along the axis values are, 0 to 1 within its limits."""
        ends = np.array(self.limits)
        if self.log:
            ends, values = np.log(ends), np.log(np.maximum(values, 1e-300))
        return (values - ends[0]) / (ends[1] - ends[0])

    def count_beyond(self, frame: pd.DataFrame) -> int:
        """How many of the plotted rows reach beyond the axis."""
        low, high = extent(frame.head(MAX_ROWS))
        return int(np.sum((low < self.low) | (high > self.high)))


def interval_bars(frame: pd.DataFrame) -> list[str | None]:
    """Score and interval of each row as a small picture, all on one scale."""
    scored = pd.DataFrame(frame[frame["score"].notna()])
    if scored.empty:
        return [None] * len(frame)
    axis = ScoreAxis.of(scored)
    low, high = extent(frame)
    score = frame["score"].to_numpy(dtype=float, na_value=np.nan)
    left, right, middle = (
        np.clip(16 + 88 * axis.share(values), 16, 104) for values in (low, high, score)
    )
    pixels = (np.fmin(left, middle - MIN_HALF_PX), np.fmax(right, middle + MIN_HALF_PX), middle)
    bars: list[str | None] = []
    for value, *drawn in zip(score.tolist(), *(px.tolist() for px in pixels), strict=True):
        if isnan(value):
            bars.append(None)
        elif value < axis.low:
            bars.append(BELOW)
        else:
            bars.append(BEYOND if value > axis.high else BAR % tuple(drawn))
    return bars


def interval_plot(
    frame: pd.DataFrame,
    references: Sequence[tuple[str, float]],
    title: str,
    axis: ScoreAxis,
    discretisation: float | None = None,
) -> go.Figure:
    """Scores with 95 % intervals, best at the top, and reference lines.

    Names are above the intervals and not beside them, so that the plot keeps its width on a phone.

    Args:
        frame: ranked rows of a board, best first.
        references: names and values of lines to draw.
        title: title of the axis.
        axis: of the scores.
        discretisation: discretisation error of the labels; scores up to it are shaded.
    """
    shown = frame.head(MAX_ROWS)
    figure = go.Figure()
    if discretisation is not None and discretisation > axis.low:
        _add_band(figure, axis, discretisation, len(shown))
    for (name, value), (dash, colour) in zip(references, DASHES, strict=False):
        figure.add_scatter(
            **beside_names([value], len(shown)),
            mode="lines",
            line={"dash": dash, "color": colour, "width": 2},
            name=f"{label(name)}: {number(value)}",
            hoverinfo="skip",
        )
    heights = len(shown) - 1 - np.arange(len(shown))
    for status, rows in shown.assign(height=heights).groupby("status", sort=False):
        _add_intervals(figure, rows, str(status), axis)
    # One trace of texts: as many annotations would take plotly a second.
    figure.add_scatter(
        x=[axis.low] * len(shown),
        y=heights + 0.32,
        mode="text",
        text=[f"{row['rank']}. {label(row['model'])}" for row in shown.to_dict("records")],
        textposition="middle right",
        textfont={"size": 12},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_layout(
        height=int(110 + ROW_PX * len(shown) + 20 * (len(references) + 1)),
        hoverlabel={"align": "left"},
        **LAYOUT,
    )
    figure.update_xaxes(
        title=axis_title(title),
        range=np.log10(axis.limits).tolist() if axis.log else axis.limits,
        **(log_axis(axis.limits) if axis.log else LINEAR),
        zeroline=False,
        showgrid=True,
    )
    figure.update_yaxes(visible=False, range=[-0.7, len(shown) - 0.1], fixedrange=True)
    return figure


def _add_band(figure: go.Figure, axis: ScoreAxis, discretisation: float, rows: int) -> None:
    """Shade the scores up to the discretisation error of the labels."""
    right = min(discretisation, axis.high)
    figure.add_scatter(
        **beside_names([axis.low, right], rows),
        fill="toself",
        fillcolor="rgba(128, 128, 128, 0.25)",
        mode="none",
        name=f"up to the discretisation error of the labels: {declared_number(discretisation)}",
        hoverinfo="skip",
    )


def _add_intervals(figure: go.Figure, rows: pd.DataFrame, status: str, axis: ScoreAxis) -> None:
    """The rows of one status; ``height`` is where each is drawn."""
    score = rows["score"].to_numpy(dtype=float, na_value=np.nan)
    low, high = extent(rows)
    # A score beyond the axis is an arrow just inside its end; a logarithmic axis holds them all.
    inset = 0.0 if axis.log else 0.012 * (axis.high - axis.low)
    drawn = np.clip(score, axis.low + inset, axis.high - inset)
    symbols = np.where(score > drawn, "triangle-right", SYMBOLS.get(status, "circle"))
    symbols = np.where(score < drawn, "triangle-left", symbols)
    hover = [
        f"{label(row['model'], 80)}<br>{label(row['track'])} · {label(row['status'])}<br>"
        f"{number(row['score'])} ({span(row['ci_low'], row['ci_high'])})<br>"
        f"rank {row['rank']}, range {row['rank_low']}–{row['rank_high']}"
        for row in rows.to_dict("records")
    ]
    colour = accent()
    figure.add_scatter(
        x=drawn,
        y=rows["height"],
        mode="markers",
        name=f"{label(status)}, 95 % interval",
        marker={
            "size": np.where(score == drawn, 7, 10).tolist(),
            "opacity": 1,
            "color": colour,
            "symbol": symbols.tolist(),
        },
        # Ends taller than the marker: on a logarithmic axis a narrow interval lies under it.
        error_x=asymmetric(
            np.maximum(high - drawn, 0),
            np.maximum(drawn - low, 0),
            thickness=2,
            width=7,
            color=colour,
        ),
        text=hover,
        hovertemplate="%{text}<extra></extra>",
    )

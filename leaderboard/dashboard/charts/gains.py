"""Gains over the reference, one row per benchmark, split or subset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.charts.style import GREY, LAYOUT, accent, beside_names, label
from etchmark.api import gain_text

ROW_PX = 44
WIDEST = 150.0
"""Gains below minus this are drawn at the edge, as an arrow."""


@dataclass(frozen=True)
class Gain:
    """A gain in percent with its interval, NaN where it has none.

    Attributes:
        place: what it is on.
        value: how much smaller the error is than that of the reference.
        low: lower end of the interval.
        high: upper end of the interval.
        told: whether a test tells it from zero.
        reference: what it is over.
    """

    place: str
    value: float
    low: float
    high: float
    told: bool
    reference: str


def gain_plot(gains: Sequence[Gain]) -> go.Figure:
    """Dots with intervals against the reference, which is at zero; the first at the top.

    Names are above the dots and not beside them, so that the plot keeps its width on a phone.
    """
    colour, count = accent(), len(gains)
    least = min([0.0, *(gain.low for gain in gains if not math.isnan(gain.low))])
    left = max(-WIDEST, min(least, *(gain.value for gain in gains)) - 5)
    figure = go.Figure()
    figure.add_scatter(
        **beside_names([0.0], count),
        mode="lines",
        line={"color": GREY},
        name="reference",
        hoverinfo="skip",
    )
    drawn = [max(gain.value, left + 1) for gain in gains]
    heights = [count - 1 - place for place in range(count)]
    symbols = [
        "triangle-left" if x > gain.value else "circle" if gain.told else "circle-open"
        for x, gain in zip(drawn, gains, strict=True)
    ]
    figure.add_scatter(
        x=drawn,
        y=heights,
        mode="markers",
        name="gain, 95 % interval; open: not told apart, or equal in practice",
        marker={"size": 10, "color": colour, "symbol": symbols},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [_reach(gain.high, x) for gain, x in zip(gains, drawn, strict=True)],
            "arrayminus": [_reach(x, gain.low) for gain, x in zip(gains, drawn, strict=True)],
            "color": colour,
            "thickness": 2,
            "width": 5,
        },
        text=[
            f"{label(gain.place, 80)}<br>{gain_text(gain.value, gain.low, gain.high)} over"
            f" {label(gain.reference, 60)}"
            for gain in gains
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_scatter(
        x=[left] * count,
        y=[height + 0.36 for height in heights],
        mode="text",
        text=[label(gain.place, 60) for gain in gains],
        textposition="middle right",
        textfont={"size": 12},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_layout(height=120 + ROW_PX * count, hoverlabel={"align": "left"}, **LAYOUT)
    figure.update_xaxes(
        title="gain over the reference / % (higher is better)",
        range=[left, 103],
        zeroline=False,
        showgrid=True,
    )
    figure.update_yaxes(visible=False, range=[-0.6, count - 0.1], fixedrange=True)
    return figure


def _reach(upper: float, lower: float) -> float:
    distance = upper - lower
    return 0.0 if math.isnan(distance) else max(distance, 0.0)

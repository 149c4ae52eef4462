"""Figures. Labels come from strangers and plotly reads a kind of HTML: all text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.labels import name_places
from dashboard.parts import shortened
from etchmark.boards.standings import front
from etchmark.scoring.samples import SampleScores
from etchmark.text import number

# Okabe and Ito's colours; the light blue is for dark ground.
BLUE, SKY, ORANGE, GREEN, VERMILION, PURPLE = (
    "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#808080"
DASHES = (("dash", ORANGE), ("dot", VERMILION), ("dashdot", GREEN), ("longdash", PURPLE))
SYMBOLS = {"run": "circle", "verified": "star", "scored": "circle-open", "reported": "diamond-open"}
MAX_ROWS = 60
DECADES = 20.0
"""Largest over smallest score from which an axis is logarithmic."""
NAMED, BARRED = 16, 24
"""Points up to which a plot writes their names beside them, and draws their intervals."""
ROW_PX = 34
BAR = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='120' height='20'>"
    "<path d='M0 10H120' stroke='%%238884'/>"
    "<path d='M%.1f 10H%.1f' stroke='%%2356B4E9' stroke-width='8'/>"
    "<path d='M%.1f 3V17' stroke='%%230072B2' stroke-width='1.6'/></svg>"
)
"""Pixels of low, high and score; colours that are seen on light and on dark ground."""
BELOW, BEYOND = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='120' height='20'>"
    "<path d='M0 10H120' stroke='%238884'/>"
    f"<path d='{arrow}' fill='none' stroke='%230072B2' stroke-width='1.6'/></svg>"
    for arrow in ("M24 4l-7 6l7 6", "M96 4l7 6l-7 6")
)
"""The same of a score to the left of the scale, and to its right."""
LEAST = 1.5
"""Pixels to either side of the score below which an interval would not be seen."""
LAYOUT: dict[str, Any] = {
    "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    "dragmode": False,
}
"""What all figures with axes share."""
CONFIG = {"displaylogo": False, "displayModeBar": False, "scrollZoom": False}


def label(text: str, width: int = 46) -> str:
    # Plotly knows no &quot;, and no text here stands inside an attribute.
    return html.escape(shortened(text, width), quote=False)


def colour() -> str:
    """Of points and intervals: seen on the page's ground, light or dark."""
    return SKY if st.context.theme.type == "dark" else BLUE


LINEAR: dict[str, Any] = {"type": "linear"}


def log_axis(values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis over positive values, with ticks in full: Plotly's own leave zeros off."""
    given = list(values)
    low, high = min(given), max(given)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        ticks = [float(f"{step}e{power}") for power in decades for step in steps]
        if sum(low / 1.05 <= one <= high * 1.05 for one in ticks) >= 4:
            break
    else:
        ticks = _even_ticks(low / 1.1, high * 1.1)
    return {"type": "log", "tickvals": ticks, "ticktext": [_tick(one) for one in ticks]}


def _even_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers at equal distances, for less than a factor of some three."""
    size = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = next(one * size for one in (5.0, 2.5, 2.0, 1.0) if (high - low) / (one * size) >= 3)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{one * step:.12g}") for one in range(first, last + 1)]


def _tick(value: float) -> str:
    if 1e-4 < value < 1e5:
        return f"{value:,.6g}"
    step, _, power = f"{value:e}".partition("e")
    factor = "" if float(step) == 1 else f"{float(step):g}·"
    return f"{factor}10<sup>{int(power)}</sup>"


def _extent(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Ends of every interval; the score itself where there is none."""
    score, low, high = (
        frame[name].to_numpy(dtype=float, na_value=np.nan)
        for name in ("score", "ci_low", "ci_high")
    )
    return np.fmin(low, score), np.fmax(high, score)


def logarithmic(frame: pd.DataFrame, references: Sequence[float]) -> bool:
    """Whether scores span so many decades that only a logarithmic axis shows them all."""
    low, high = _extent(frame.head(MAX_ROWS))
    least = min([float(low.min()), *references])
    return least > 0 and float(high.max()) > DECADES * least


def interval_bars(frame: pd.DataFrame) -> list[str | None]:
    """Score and interval of each row as a small picture, all on the scale of the plot below."""
    ranked = pd.DataFrame(frame[frame["score"].notna()])
    if ranked.empty:
        return [None] * len(frame)
    limits = axis_range(ranked, [])
    log = logarithmic(ranked, [])
    low, high = _extent(frame)
    score = frame["score"].to_numpy(dtype=float, na_value=np.nan)

    def at(values: np.ndarray) -> np.ndarray:
        ends, given = np.array(limits), values
        if log:
            ends, given = np.log(ends), np.log(np.maximum(values, 1e-300))
        return np.clip(16 + 88 * (given - ends[0]) / (ends[1] - ends[0]), 16, 104)

    middle = at(score)
    drawn = (np.fmin(at(low), middle - LEAST), np.fmax(at(high), middle + LEAST), middle)
    bars: list[str | None] = []
    for own, *one in zip(score.tolist(), *(values.tolist() for values in drawn), strict=True):
        if isnan(own):
            bars.append(None)
        elif own < limits[0] or own > limits[1]:
            bars.append(BELOW if own < limits[0] else BEYOND)
        else:
            bars.append(BAR % tuple(one))
    return bars


def axis_range(frame: pd.DataFrame, references: Sequence[float]) -> tuple[float, float]:
    """Limits that keep the bulk of the board readable where a few scores are far off."""
    low, high = _extent(frame.head(MAX_ROWS))
    if logarithmic(frame, references):
        ends = [float(low.min()), float(high.max()), *references]
        return min(ends) / 1.3, max(ends) * 1.3
    first, last = float(low.min()), float(high.max())
    # Twice the span of the better three quarters with their intervals, at most.
    bulk = slice(0, max(1, int(np.ceil(0.75 * len(low)))))
    near = [*low[bulk], *high[bulk], *references]
    centre, half = (min(near) + max(near)) / 2, (max(near) - min(near)) or 1.0
    first, last = max(min(first, *near), centre - half), min(max(last, *near), centre + half)
    pad = 0.04 * ((last - first) or 1.0)
    return first - pad, last + pad


def interval_plot(
    frame: pd.DataFrame,
    references: Sequence[tuple[str, float]],
    axis_title: str,
    limits: tuple[float, float],
    uncertainty: float | None = None,
    log: bool = False,
) -> go.Figure:
    """Scores with 95 % intervals, best at the top, and reference lines.

    ``uncertainty`` is the error of the labels: the scores up to it are shaded. ``log`` makes the
    axis logarithmic.

    Names stand above the intervals and not beside them, so that the plot keeps its width on a
    phone.
    """
    shown = frame.head(MAX_ROWS)
    figure = go.Figure()
    if uncertainty is not None and uncertainty > limits[0]:
        right = min(uncertainty, limits[1])
        figure.add_scatter(
            x=[limits[0], right, right, limits[0]],
            y=[-0.6, -0.6, len(shown) - 0.1, len(shown) - 0.1],
            fill="toself",
            fillcolor="rgba(128, 128, 128, 0.25)",
            mode="none",
            name=f"within the uncertainty of the labels: {number(uncertainty)}",
            hoverinfo="skip",
        )
    for (name, value), (dash, shade) in zip(references, DASHES, strict=False):
        figure.add_scatter(
            x=[value, value],
            y=[-0.6, len(shown) - 0.1],
            mode="lines",
            line={"dash": dash, "color": shade, "width": 2},
            name=f"{label(name)}: {number(value)}",
            hoverinfo="skip",
        )
    heights = len(shown) - 1 - np.arange(len(shown))
    for status, rows in shown.assign(height=heights).groupby("status", sort=False):
        _add_intervals(figure, rows, str(status), limits, log=log)
    # One trace of texts: as many annotations would take plotly a second.
    figure.add_scatter(
        x=[limits[0]] * len(shown),
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
        title=html.escape(axis_title, quote=False),
        range=np.log10(limits).tolist() if log else limits,
        **(log_axis(limits) if log else LINEAR),
        zeroline=False,
        showgrid=True,
    )
    figure.update_yaxes(visible=False, range=[-0.7, len(shown) - 0.1], fixedrange=True)
    return figure


def _add_intervals(
    figure: go.Figure,
    rows: pd.DataFrame,
    status: str,
    limits: tuple[float, float],
    *,
    log: bool,
) -> None:
    score = rows["score"].to_numpy(dtype=float, na_value=np.nan)
    low, high = _extent(rows)
    # A score beyond the axis is an arrow just inside its end; a logarithmic one encloses them all.
    inset = 0.0 if log else 0.012 * (limits[1] - limits[0])
    at = np.clip(score, limits[0] + inset, limits[1] - inset)
    symbols = np.where(score > at, "triangle-right", SYMBOLS.get(status, "circle"))
    symbols = np.where(score < at, "triangle-left", symbols)
    hover = [
        f"{label(row['model'], 80)}<br>{label(row['track'])} · {label(row['status'])}<br>"
        f"{number(row['score'])} ({number(row['ci_low'])} … {number(row['ci_high'])})<br>"
        f"rank {row['rank']}, range {row['rank_low']}–{row['rank_high']}"
        for row in rows.to_dict("records")
    ]
    shade = colour()
    figure.add_scatter(
        x=at,
        y=rows["height"],
        mode="markers",
        name=f"{label(status)}, 95 % interval",
        marker={
            "size": np.where(score == at, 7, 10).tolist(),
            "opacity": 1,
            "color": shade,
            "symbol": symbols.tolist(),
        },
        # Ends higher than the marker: a narrow interval lies under it on a logarithmic axis.
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(high - at, 0),
            "arrayminus": np.maximum(at - low, 0),
            "thickness": 2,
            "width": 7,
            "color": shade,
        },
        text=hover,
        hovertemplate="%{text}<extra></extra>",
    )


def cost_plot(
    frame: pd.DataFrame, cost: str, score_title: str, cost_title: str, *, higher: bool
) -> go.Figure:
    """Scores with intervals against a cost, both logarithmic where they can be, and their front.

    Args:
        frame: rows of a board that have the cost.
        cost: column of the cost.
        score_title: title of the score's axis.
        cost_title: title of the cost's axis.
        higher: whether a higher score is better.
    """
    score = frame["score"].to_numpy(dtype=float)
    low, high = _extent(frame)
    spent = frame[cost].to_numpy(dtype=float)
    ahead = front(spent, -score if higher else score)
    shade = colour()
    figure = go.Figure()
    steps = np.flatnonzero(ahead)[np.argsort(spent[ahead], kind="stable")]
    figure.add_scatter(
        x=spent[steps],
        y=score[steps],
        mode="lines",
        line={"shape": "hv", "color": ORANGE, "width": 2, "dash": "dash"},
        name="Pareto front",
        hoverinfo="skip",
    )
    # Variants differ in their ends, which are what has room beside a point.
    ends = [str(one).rpartition("/")[2] for one in frame["model"]]
    names = [label(one, 30) for one in (ends if len(set(ends)) == len(ends) else frame["model"])]
    whole = [label(one, 100) for one in frame["model"]]
    for name, rows, symbol in (
        ("on the front", ahead, "circle"),
        ("others", ~ahead, "circle-open"),
    ):
        # Only so many names can be read; the rest are told when pointed at.
        named = symbol == "circle" and int(rows.sum()) <= NAMED
        at = np.flatnonzero(rows)
        if not len(at):
            continue
        where = [""] * len(at)
        if named:
            ends = (low, high) if len(frame) <= BARRED else (score, score)
            where = name_places(spent, score, at, names, ends)
        figure.add_scatter(
            x=spent[at],
            y=score[at],
            mode="markers+text" if named else "markers",
            name=name,
            marker={"size": 10 if len(frame) <= MAX_ROWS else 7, "symbol": symbol, "color": shade},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": np.maximum(high - score, 0)[at],
                "arrayminus": np.maximum(score - low, 0)[at],
                "color": shade,
                "thickness": 1.2,
            }
            if len(frame) <= BARRED
            else None,
            text=[names[one] if place else "" for one, place in zip(at, where, strict=True)],
            textposition=[place or "top right" for place in where],
            textfont={"size": 11},
            customdata=[whole[one] for one in at],
            hovertemplate="%{customdata}<br>%{y:.4g}, %{x:.3g}<extra></extra>",
        )
    figure.update_layout(height=460, **LAYOUT)
    across, up = (
        log_axis(one.tolist()) if float(min(one)) > 0 else LINEAR
        for one in (spent, np.concatenate([low, score]))
    )
    figure.update_xaxes(title=html.escape(cost_title, quote=False), zeroline=False, **across)
    figure.update_yaxes(title=html.escape(score_title, quote=False), showgrid=True, **up)
    return figure


def beyond(frame: pd.DataFrame, limits: tuple[float, float]) -> int:
    """How many of the plotted rows reach beyond the axis."""
    low, high = _extent(frame.head(MAX_ROWS))
    return int(np.sum((low < limits[0]) | (high > limits[1])))


def parity_plot(samples: SampleScores, quantity: str, unit: str) -> go.Figure | None:
    """Predicted against measured, mean over seeds; None for array targets."""
    if samples.prediction is None or samples.target is None:
        return None
    predicted = samples.prediction.mean(axis=0)
    both = np.concatenate([samples.target, predicted])
    pad = 0.04 * (float(np.ptp(both)) or 1.0)
    limits = [float(both.min()) - pad, float(both.max()) + pad]
    figure = go.Figure()
    figure.add_scatter(
        x=limits,
        y=limits,
        mode="lines",
        line={"color": GREY, "dash": "dash"},
        name="predicted = measured",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=samples.target,
        y=predicted,
        mode="markers",
        name="sample",
        marker={"size": 7, "opacity": 0.65, "color": colour()},
        text=[
            f"{label(sample, 80)}<br>{label(group, 80)}"
            for sample, group in zip(samples.ids, samples.units, strict=True)
        ],
        hovertemplate="%{text}<br>measured %{x:.4g}, predicted %{y:.4g}<extra></extra>",
    )
    figure.update_layout(
        height=460,
        **LAYOUT,
    )
    shown = html.escape(f"{quantity} / {unit}", quote=False)
    figure.update_xaxes(title=f"measured {shown}", range=limits, zeroline=False)
    figure.update_yaxes(title=f"predicted {shown}", range=limits, zeroline=False, showgrid=True)
    return figure

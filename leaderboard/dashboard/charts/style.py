"""Colours, layout and axes that all figures share.

Labels come from strangers and plotly reads a kind of HTML, so all text is escaped here.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard.text import shortened

# Okabe and Ito's colours; the light blue is for dark ground.
BLUE, SKY, ORANGE, GREEN, VERMILION, PURPLE = (
    "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#808080"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
SERIES = (
    (BLUE, "circle", "solid"),
    (ORANGE, "square", "solid"),
    (GREEN, "diamond", "solid"),
    (VERMILION, "triangle-up", "solid"),
    (PURPLE, "cross", "solid"),
    (SKY, "triangle-down", "solid"),
    (BLUE, "circle-open", "dot"),
    (ORANGE, "square-open", "dot"),
)
"""Colour, marker and line of several models in one figure."""
LAYOUT: dict[str, Any] = {
    "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    "dragmode": False,
}
"""What all figures with axes share."""
LINEAR: dict[str, Any] = {"type": "linear"}
MAX_ROWS = 60
"""Rows of a board that a figure shows."""
AXIS_LETTERS = 42
"""Letters of a line of an axis' title."""
DECADES = 20.0
"""Ratio of largest to smallest score above which an axis is logarithmic."""


# --- text and colour ---------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Text for plotly, in full."""
    # Plotly does not know &quot;, and no text here is inside an attribute.
    return html.escape(text, quote=False)


def label(text: str, width: int = 46) -> str:
    """Text for plotly, as one line of limited length."""
    return escaped(shortened(text, width))


def axis_title(text: str) -> str:
    """Title of an axis for plotly, in lines for which a phone has room."""
    # What is in brackets stays together.
    pieces = text.split(" (", 1) if len(text) > AXIS_LETTERS else [text]
    pieces[1:] = [f"({piece}" for piece in pieces[1:]]
    lines = [textwrap.wrap(piece, AXIS_LETTERS, break_on_hyphens=False) for piece in pieces]
    return "<br>".join(escaped(line) for part in lines for line in part)


def accent() -> str:
    """Colour of points and intervals that is visible on the page's ground, light or dark."""
    return SKY if st.context.theme.type == "dark" else BLUE


def series_styles() -> list[tuple[str, str, str]]:
    """Colour, marker and line of several models; the two blues swap on dark ground."""
    swapped = {BLUE: SKY, SKY: BLUE} if accent() == SKY else {}
    return [(swapped.get(colour, colour), symbol, dash) for colour, symbol, dash in SERIES]


# --- parts of figures --------------------------------------------------------------------------


def add_diagonal(figure: go.Figure, low: float, high: float, name: str) -> None:
    """The line on which x equals y."""
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"color": GREY, "dash": "dash"},
        name=name,
        hoverinfo="skip",
    )


def beside_names(across: Sequence[float], rows: int) -> dict[str, list[float | None]]:
    """A vertical line, or a band, in rows whose names stand above them: it leaves the names free.

    Args:
        across: where the line is, or both edges of the band.
        rows: how many; the lowest is at height 0.
    """
    x: list[float | None] = []
    y: list[float | None] = []
    for height in range(rows):
        # From below the name of the row beneath up to the row itself.
        low, high = height - 0.4, height + 0.12
        if len(across) == 1:
            x += [across[0], across[0], None]
            y += [low, high, None]
        else:
            left, right = across
            x += [left, right, right, left, left, None]
            y += [low, low, high, high, low, None]
    return {"x": x, "y": y}


def asymmetric(upper: Any, lower: Any, **style: object) -> dict[str, Any]:
    """Error bars of different length up and down."""
    return {"type": "data", "symmetric": False, "array": upper, "arrayminus": lower, **style}


def extent(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Ends of every interval of a board's rows; the score itself where there is no interval."""
    score, low, high = (
        frame[name].to_numpy(dtype=float, na_value=np.nan)
        for name in ("score", "ci_low", "ci_high")
    )
    return np.fmin(low, score), np.fmax(high, score)


# --- axes --------------------------------------------------------------------------------------


def log_axis(values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis over positive values, with ticks in full: plotly's own omit zeros."""
    numbers = list(values)
    low, high = min(numbers), max(numbers)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        ticks = [float(f"{step}e{power}") for power in decades for step in steps]
        if sum(low / 1.05 <= tick <= high * 1.05 for tick in ticks) >= 4:
            break
    else:
        ticks = _even_ticks(low / 1.1, high * 1.1)
    return {"type": "log", "tickvals": ticks, "ticktext": [_tick_text(tick) for tick in ticks]}


def log_if_positive(values: np.ndarray) -> dict[str, Any]:
    """A logarithmic axis where all values are positive, else a linear one."""
    return log_axis(values.tolist()) if len(values) and float(values.min()) > 0 else LINEAR


def _even_ticks(low: float, high: float) -> list[float]:
    """Four to eight evenly spaced round numbers, for a range of less than a factor of about 3."""
    size = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = next(
        factor * size for factor in (5.0, 2.5, 2.0, 1.0) if (high - low) / (factor * size) >= 3
    )
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _tick_text(value: float) -> str:
    if 1e-4 < value < 1e5:
        return f"{value:,.6g}"
    mantissa, _, power = f"{value:e}".partition("e")
    factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}·"
    return f"{factor}10<sup>{int(power)}</sup>"

"""Small figures of *How to read this*, drawn by Altair: each has a description in words.

They are narrow enough for a phone. Fields have names of their own, since Vega reads dots and
brackets in a name; what strangers wrote is only ever a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from dashboard.charts.style import GREY, ORANGE, accent
from dashboard.text import shortened

NAME_PX, NAME, TITLE = 130, 26, 34
"""Pixels and characters of a name beside a row, and characters of a line below an axis."""
ROW_PX, FOOT_PX = 26, 80
"""Pixels of a row, and of the axis below the rows with its title."""
BINS = 41
Figure = alt.Chart | alt.LayerChart


def _rows(names: Sequence[str]) -> alt.Y:
    """One row per name, in their order."""
    axis = alt.Axis(labelLimit=NAME_PX, labelOverlap=False, title=None, ticks=False, domain=False)
    return alt.Y("name:N", sort=list(names), axis=axis)


def _unique(names: Sequence[str]) -> list[str]:
    """Names of limited length: the last parts, in which variants of a model differ, if unique."""
    ends = [name.rpartition("/")[2] for name in names]
    shown: list[str] = []
    for name in ends if len(set(ends)) == len(ends) else names:
        short, count = shortened(name, NAME), 2
        while short in shown:
            short = f"{shortened(name, NAME - 4)} {count}"
            count += 1
        shown.append(short)
    return shown


def _finished(chart: Figure, words: str, height: int) -> Figure:
    return chart.properties(description=words, height=height, width="container")


def spans(
    frame: pd.DataFrame, title: str, words: str, *, line: float | None = None, whole: bool = False
) -> Figure:
    """Values with the ends of their ranges, a row each.

    Args:
        frame: columns name, value, low, high and filled; ends are NaN where there are none.
        title: of the axis.
        words: what is drawn.
        line: value at which a line stands.
        whole: whether the values are whole numbers.
    """
    shown = frame.assign(name=_unique(frame["name"].tolist()))
    rows, colour = _rows(shown["name"].tolist()), accent()
    lines = wrap(title, TITLE)
    axis = alt.Axis(title=lines, tickMinStep=1) if whole else alt.Axis(title=lines)
    scale = alt.Scale(zero=False)
    known = pd.DataFrame(shown[shown["low"].notna() & shown["high"].notna()])
    ranges = (
        alt.Chart(known)
        .mark_rule(color=colour, strokeWidth=2)
        .encode(x=alt.X("low:Q", axis=axis, scale=scale), x2="high:Q", y=rows)
    )
    filled = alt.condition("datum.filled", alt.value(colour), alt.value("transparent"))
    dots = (
        alt.Chart(shown)
        .mark_point(size=70, filled=False, stroke=colour, strokeWidth=2, opacity=1)
        .encode(x=alt.X("value:Q", axis=axis, scale=scale), y=rows, fill=filled)
    )
    layers: list[Any] = [ranges, dots]
    if line is not None:
        layers.insert(0, _rule(line, GREY))
    return _finished(alt.LayerChart(layer=layers), words, ROW_PX * len(shown) + FOOT_PX)


def _rule(value: float, colour: str) -> alt.Chart:
    return (
        alt.Chart(pd.DataFrame({"at": [value]}))
        .mark_rule(color=colour, strokeDash=[5, 4], strokeWidth=2)
        .encode(x="at:Q")
    )


def counts(numbers: Mapping[str, int], title: str, words: str) -> Figure:
    """A bar per name, with its number at the end."""
    frame = pd.DataFrame({"name": list(numbers), "count": list(numbers.values())})
    rows = _rows(list(numbers))
    across = alt.X("count:Q", axis=alt.Axis(title=title, tickMinStep=1, grid=False))
    bars = alt.Chart(frame).mark_bar(color=accent(), height=14).encode(x=across, y=rows)
    texts = (
        alt.Chart(frame)
        .mark_text(align="left", dx=4, color=GREY, fontWeight="bold")
        .encode(x=across, y=rows, text="count:Q")
    )
    return _finished(alt.LayerChart(layer=[bars, texts]), words, ROW_PX * len(frame) + FOOT_PX)


def flips(statistics: np.ndarray, words: str) -> Figure:
    """Sums in all patterns of signs, with lines where that of the data is, on either side.

    Args:
        statistics: shape (patterns,), that of the data first.
        words: what is drawn.
    """
    observed = abs(float(statistics[0]))
    reach = 1.05 * float(np.abs(statistics).max(initial=observed)) or 1.0
    heights, edges = np.histogram(statistics, bins=np.linspace(-reach, reach, BINS + 1))
    shares = 100 * heights / len(statistics)
    frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": shares, "zero": 0.0})
    bars = (
        alt.Chart(frame)
        .mark_rect(color=accent(), opacity=0.75)
        .encode(
            x=alt.X("low:Q", axis=alt.Axis(title="sum of the differences, scaled", grid=False)),
            x2="high:Q",
            y=alt.Y("share:Q", axis=alt.Axis(title="patterns / %")),
            y2="zero:Q",
        )
    )
    ends = [_rule(side * observed, ORANGE) for side in (-1, 1)]
    return _finished(alt.LayerChart(layer=[bars, *ends]), words, 220)


def scatter(frame: pd.DataFrame, titles: tuple[str, str], words: str, *, log: bool) -> Figure:
    """A point per row.

    Args:
        frame: columns name, across and up.
        titles: of the two axes.
        words: what is drawn.
        log: whether both axes are logarithmic; values must then be positive.
    """
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    # A logarithmic axis has a line for every step of a decade.
    axes = [alt.Axis(title=title, tickCount=5, grid=not log) for title in titles]
    chart = (
        alt.Chart(frame.assign(name=[shortened(name, 60) for name in frame["name"]]))
        .mark_point(size=60, color=accent(), opacity=0.9, strokeWidth=2)
        .encode(
            x=alt.X("across:Q", scale=scale, axis=axes[0]),
            y=alt.Y("up:Q", scale=scale, axis=axes[1]),
            tooltip=["name:N", "across:Q", "up:Q"],
        )
    )
    return _finished(chart, words, 260)

"""Tables of numbers as colours: errors by component, confusion between classes, tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dashboard.charts.style import BLUE, LAYOUT, VERMILION, escaped, label

PALE = "#f4f8fb"
"""Colour of the least value; text on it is dark on any page."""
MAX_TEXTS = 150
"""Cells up to which each has its number written into it."""
CELL, LEAST_HEIGHT, GREATEST_HEIGHT = 56, 220, 620
"""Pixels."""


def heat_map(
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    axes: tuple[Sequence[str], Sequence[str]],
    titles: tuple[str, str],
    *,
    limits: tuple[float, float],
) -> go.Figure:
    """A coloured cell per number.

    Args:
        values: shape (rows, columns); NaN leaves a cell empty.
        texts: what is written into each cell and shown when it is pointed at; plotly's markup.
        axes: names of the rows and of the columns.
        titles: of the axis of rows and of the axis of columns; may be empty.
        limits: values of the palest and of the fullest colour. If the first is negative, colours
            run from red to blue.
    """
    signed = limits[0] < 0
    scale = [(0.0, VERMILION), (0.5, PALE), (1.0, BLUE)] if signed else [(0.0, PALE), (1.0, BLUE)]
    rows, columns = ([label(name, 24) for name in names] for names in axes)
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        x=list(range(len(columns))),
        y=list(range(len(rows))),
        text=[list(row) for row in texts],
        texttemplate="%{text}" if values.size <= MAX_TEXTS else None,
        customdata=[[f"{row}, {column}" for column in columns] for row in rows],
        hovertemplate="%{customdata}<br>%{text}<extra></extra>",
        zmin=limits[0],
        zmax=limits[1],
        colorscale=scale,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    height = min(max(LEAST_HEIGHT, 80 + CELL * len(rows)), GREATEST_HEIGHT)
    figure.update_layout(height=height, **LAYOUT)
    for update, names, title in (
        (figure.update_yaxes, rows, titles[0]),
        (figure.update_xaxes, columns, titles[1]),
    ):
        update(
            title=escaped(title),
            tickvals=list(range(len(names))),
            ticktext=names,
            showgrid=False,
            zeroline=False,
        )
    figure.update_yaxes(autorange="reversed")
    return figure


def confusion_plot(counts: np.ndarray, classes: Sequence[str]) -> go.Figure:
    """How often each class was predicted as each class; colours are shares of the true class.

    Args:
        counts: by true class and by predicted class, shape (classes, classes).
        classes: their names.
    """
    shares = row_shares(counts)
    texts = [
        [_confused(count, share) for count, share in zip(*row, strict=True)]
        for row in zip(counts.tolist(), shares.tolist(), strict=True)
    ]
    titles = ("true class", "predicted class")
    return heat_map(shares, texts, (classes, classes), titles, limits=(0.0, 1.0))


def _confused(count: float, share: float) -> str:
    amount = f"{count:,.0f}" if count < 1e6 else f"{count:.3g}"
    return amount if np.isnan(share) else f"{amount}<br>{100 * share:.3g} %"


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Each row divided by its sum; NaN where a row is empty."""
    totals = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals > 0, counts / totals, np.nan)

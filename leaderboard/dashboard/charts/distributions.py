"""Distribution of a quantity: a histogram, its summary, and a small one for a card."""

from __future__ import annotations

import html
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import BLUE, COLOURS, GREY, LAYOUT, escaped
from dashboard.wording import with_unit
from etchmark.text import number

BINS = 24


def _parts(table: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    if by is None:
        return [("all", table)]
    return [(str(name), part) for name, part in table.groupby(by, sort=True)]


def _finite(column: pd.Series | pd.DataFrame) -> np.ndarray:
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return values[np.isfinite(values)]


def histogram(
    table: pd.DataFrame, column: str, by: str | None, unit: str | None = None
) -> go.Figure:
    """Number of samples in each range of values, one line of steps per group."""
    values = _finite(table[column])
    edges = np.histogram_bin_edges(values, bins=min(40, max(5, int(np.sqrt(len(values))))))
    figure = go.Figure()
    for (name, part), colour in zip(_parts(table, by), cycle(COLOURS), strict=False):
        counts, _ = np.histogram(_finite(part[column]), bins=edges)
        figure.add_scatter(
            x=edges,
            y=[*counts, counts[-1]],
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 2},
            name=escaped(name[:40]),
            hovertemplate="from %{x:.4g}: %{y}<extra></extra>",
        )
    figure.update_layout(height=340, showlegend=by is not None, **LAYOUT)
    figure.update_xaxes(title=escaped(with_unit(column, unit or "1")), zeroline=False)
    figure.update_yaxes(title="number of samples", rangemode="tozero", showgrid=True)
    return figure


def summary(
    table: pd.DataFrame, column: str, by: str | None, unit: str | None = None
) -> pd.DataFrame:
    """Number, mean, standard deviation and range of a quantity, by group."""
    rows = []
    for name, part in _parts(table, by):
        values = pd.Series(_finite(part[column]))
        statistics = {
            "mean": values.mean(),
            "sd": values.std(),
            "min": values.min(),
            "median": values.median(),
            "max": values.max(),
        }
        titled = {with_unit(key, unit or "1"): value for key, value in statistics.items()}
        rows.append({"group": name, "samples": len(values), **titled})
    return pd.DataFrame(rows)


def small_histogram(values: np.ndarray, title: str) -> str:
    """A histogram as SVG with its ends and its title below, in colours for any ground."""
    counts, edges = np.histogram(values, bins=min(BINS, max(5, int(2 * np.sqrt(len(values))))))
    width, height, foot = 480.0, 150.0, 30.0
    step, scale = width / len(counts), height / max(1, int(counts.max()))
    bars = "".join(
        f"<rect x='{index * step + 1:.1f}' y='{height - count * scale:.1f}'"
        f" width='{step - 2:.1f}' height='{count * scale:.1f}' fill='{BLUE}'/>"
        for index, count in enumerate(counts.tolist())
    )
    labels = (
        (0.0, "start", number(edges[0])),
        (width / 2, "middle", title),
        (width, "end", number(edges[-1])),
    )
    texts = "".join(
        f"<text x='{x:.0f}' y='{height + 22:.0f}' text-anchor='{anchor}' font-size='17'"
        f" font-family='sans-serif' fill='{GREY}'>{html.escape(text)}</text>"
        for x, anchor, text in labels
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height + foot:.0f}'"
        f" width='{width:.0f}' height='{height + foot:.0f}'>"
        f"<path d='M0 {height:.0f}H{width:.0f}' stroke='{GREY}'/>{bars}{texts}</svg>"
    )

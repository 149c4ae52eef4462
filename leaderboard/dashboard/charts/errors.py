"""Where one model errs: against the truth, by group, and against a property of the samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import (
    DECADES,
    LAYOUT,
    LINEAR,
    ORANGE,
    accent,
    add_diagonal,
    escaped,
    label,
    log_axis,
)

BINS = 12


def parity_plot(
    measured: np.ndarray, predicted: np.ndarray, hover: Iterable[str], quantity: str
) -> go.Figure:
    """Predicted against measured, one point per sample.

    Args:
        measured: shape (samples,).
        predicted: shape (samples,).
        hover: what is written when a point is pointed at, escaped.
        quantity: with its unit.
    """
    both = np.concatenate([measured, predicted])
    pad = 0.04 * (float(np.ptp(both)) or 1.0)
    limits = [float(both.min()) - pad, float(both.max()) + pad]
    figure = go.Figure()
    add_diagonal(figure, limits[0], limits[1], "predicted = measured")
    figure.add_scatter(
        x=measured,
        y=predicted,
        mode="markers",
        name="sample",
        marker={"size": 7, "opacity": 0.65, "color": accent()},
        text=list(hover),
        hovertemplate="%{text}<br>measured %{x:.4g}, predicted %{y:.4g}<extra></extra>",
    )
    figure.update_layout(height=460, **LAYOUT)
    title = escaped(quantity)
    figure.update_xaxes(title=f"measured {title}", range=limits, zeroline=False)
    figure.update_yaxes(title=f"predicted {title}", range=limits, zeroline=False, showgrid=True)
    return figure


def box_plot(table: pd.DataFrame, column: str, by: str, title: str) -> go.Figure:
    """Boxes of a column by group, a row each; ``by`` is empty for all samples in one box."""
    figure = go.Figure()
    parts = [("all samples", table)] if not by else list(table.groupby(by, sort=True))
    for name, part in reversed(parts):
        figure.add_box(
            x=part[column].to_numpy(dtype=float),
            name=label(str(name), 28),
            marker={"color": accent(), "size": 4},
            line={"width": 1.5},
            hoverinfo="x",
            showlegend=False,
        )
    figure.update_layout(height=max(300, 90 + 26 * len(parts)), **LAYOUT)
    figure.update_xaxes(title=escaped(title), zeroline=column == "residual", showgrid=True)
    return figure


def medians(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Median of a property and of the error in bins of equally many samples."""
    values, errors = (
        table[name].to_numpy(dtype=float, na_value=np.nan) for name in (column, "error")
    )
    finite = np.isfinite(values) & np.isfinite(errors)
    values, errors = values[finite], errors[finite]
    ends = np.unique(values)
    if len(ends) > BINS:
        ends = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:], method="lower"))
    bins = np.searchsorted(ends, values)
    rows = [
        {
            column: np.median(values[bins == index]),
            "median error": np.median(errors[bins == index]),
            "n": int((bins == index).sum()),
        }
        for index in np.unique(bins)
    ]
    return pd.DataFrame(rows)


def property_plot(table: pd.DataFrame, column: str, title: str) -> go.Figure:
    """Error of each sample against one of its properties."""
    line = medians(table, column)
    errors = table["error"].to_numpy(dtype=float)
    figure = go.Figure()
    figure.add_scatter(
        x=table[column].to_numpy(dtype=float, na_value=np.nan),
        y=errors,
        mode="markers",
        name="sample",
        marker={"size": 5, "opacity": 0.5, "color": accent()},
        text=[label(str(sample), 60) for sample in table["id"]],
        hovertemplate="%{text}<br>%{x:.4g}: %{y:.4g}<extra></extra>",
    )
    figure.add_scatter(
        x=line[column],
        y=line["median error"],
        mode="lines+markers",
        name="median",
        line={"color": ORANGE, "width": 3},
        hoverinfo="skip",
    )
    figure.update_layout(height=380, **LAYOUT)
    figure.update_xaxes(title=escaped(column), zeroline=False)
    least, greatest = float(np.nanmin(errors)), float(np.nanmax(errors))
    up = LINEAR
    if least > 0 and greatest > DECADES * least:
        up = log_axis(errors[~np.isnan(errors)])
    figure.update_yaxes(title=escaped(title), showgrid=True, **up)
    return figure

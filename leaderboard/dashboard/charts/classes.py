"""Scores of single classes with their intervals, and confidence against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import (
    LAYOUT,
    accent,
    add_diagonal,
    asymmetric,
    escaped,
    label,
    series_styles,
)
from etchmark.api import Estimate

APART = 0.22
"""Height between the series of one class; classes are 1 apart."""


def class_plot(
    classes: Sequence[str], series: Mapping[str, Sequence[Estimate]], title: str
) -> go.Figure:
    """A row per class, a marker with its interval per series.

    Args:
        classes: names of the rows.
        series: an estimate per class, by name.
        title: of the axis of values, which are shares from 0 to 1.
    """
    figure = go.Figure()
    for place, ((name, estimates), (colour, symbol, _)) in enumerate(
        zip(series.items(), series_styles(), strict=False)
    ):
        value, low, high = (np.array(column) for column in zip(*estimates, strict=True))
        offset = APART * (place - (len(series) - 1) / 2)
        figure.add_scatter(
            x=value,
            y=np.arange(len(classes)) + offset,
            mode="markers",
            name=label(name),
            marker={"size": 10, "color": colour, "symbol": symbol},
            error_x=asymmetric(
                np.nan_to_num(high - value), np.nan_to_num(value - low), color=colour, thickness=2
            ),
            text=[label(each) for each in classes],
            hovertemplate="%{text}: %{x:.3f}<extra></extra>",
        )
    figure.update_layout(
        height=110 + max(40, 24 * len(series)) * len(classes),
        showlegend=len(series) > 1,
        **LAYOUT,
    )
    figure.update_xaxes(title=escaped(title), range=[-0.03, 1.03], zeroline=False, showgrid=True)
    figure.update_yaxes(
        tickvals=list(range(len(classes))),
        ticktext=[label(name, 24) for name in classes],
        range=[len(classes) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    return figure


def reliability_plot(bins: pd.DataFrame) -> go.Figure:
    """Accuracy against confidence, a marker per bin.

    Args:
        bins: columns confidence (mean), accuracy, ci_low, ci_high, n.
    """
    value, low, high = (bins[name].to_numpy() for name in ("accuracy", "ci_low", "ci_high"))
    size = np.sqrt(bins["n"].to_numpy() / bins["n"].max())
    figure = go.Figure()
    add_diagonal(figure, 0.0, 1.0, "accuracy = confidence")
    figure.add_scatter(
        x=bins["confidence"],
        y=value,
        mode="markers",
        name="bin of predictions",
        marker={"size": 7 + 11 * size, "color": accent()},
        error_y=asymmetric(
            np.nan_to_num(high - value), np.nan_to_num(value - low), color=accent(), thickness=2
        ),
        text=bins["n"],
        hovertemplate="confidence %{x:.3f}, accuracy %{y:.3f}<br>n = %{text}<extra></extra>",
    )
    figure.update_layout(height=420, **LAYOUT)
    limits = [-0.03, 1.03]
    figure.update_xaxes(title="confidence", range=limits, zeroline=False)
    figure.update_yaxes(title="accuracy", range=limits, zeroline=False, showgrid=True)
    return figure

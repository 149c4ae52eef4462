"""Models side by side: differences, errors sample by sample, scores by group, errors over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.style import (
    GREY,
    LAYOUT,
    accent,
    add_diagonal,
    asymmetric,
    axis_title,
    beside_names,
    label,
    log_if_positive,
    series_styles,
)
from dashboard.text import shortened

MAX_GROUPS = 60


def difference_plot(frame: pd.DataFrame, title: str) -> go.Figure:
    """Each pair's difference with its interval, and zero."""
    rows = frame.to_dict("records")
    heights = list(range(len(rows), 0, -1))
    value, low, high = (
        frame[name].to_numpy(dtype=float) for name in ("difference", "ci_low", "ci_high")
    )
    figure = go.Figure()
    # The lowest pair is at height 1.
    line = beside_names([0.0], len(rows))
    figure.add_scatter(
        x=line["x"],
        y=[None if y is None else y + 1 for y in line["y"]],
        mode="lines",
        line={"color": GREY},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=value,
        y=heights,
        mode="markers",
        marker={
            "size": 11,
            "color": accent(),
            "symbol": ["circle" if row["better"] else "circle-open" for row in rows],
        },
        error_x=asymmetric(
            np.maximum(high - value, 0), np.maximum(value - low, 0), color=accent(), thickness=2
        ),
        hovertemplate="%{x:.4g}<extra></extra>",
        showlegend=False,
    )
    for row, height in zip(rows, heights, strict=True):
        figure.add_annotation(
            text=f"{label(row['first'])} − {label(row['second'])}",
            xref="paper",
            x=0,
            xanchor="left",
            y=height + 0.36,
            showarrow=False,
        )
    # Room for the button that saves it: zero may be at the right end.
    figure.update_layout(height=116 + 60 * len(rows), **LAYOUT)
    figure.update_layout(margin_t=34)
    figure.update_xaxes(title=axis_title(title), zeroline=False, showgrid=True)
    figure.update_yaxes(visible=False, range=[0.4, len(rows) + 0.7], fixedrange=True)
    return figure


def error_plot(frame: pd.DataFrame, first: str, second: str, title: str) -> go.Figure:
    """Error of every sample, one model against the other, on logarithmic axes if none is zero."""
    x, y = (frame[name].to_numpy(dtype=float) for name in (first, second))
    both = np.concatenate([x, y])
    axis = log_if_positive(both)
    figure = go.Figure()
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    add_diagonal(figure, low, high, "equal")
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        name="sample",
        marker={"size": 6, "opacity": 0.5, "color": accent()},
        text=[
            f"{label(sample, 60)}<br>{label(unit, 60)}"
            for sample, unit in zip(frame["id"], frame["unit"], strict=True)
        ],
        hovertemplate="%{text}<br>%{x:.4g} against %{y:.4g}<extra></extra>",
    )
    figure.update_layout(height=480, **LAYOUT)
    across, up = (axis_title(f"{title} of {shortened(name, 46)}") for name in (first, second))
    figure.update_xaxes(title=across, zeroline=False, **axis)
    figure.update_yaxes(title=up, zeroline=False, showgrid=True, **axis)
    return figure


def group_plot(frame: pd.DataFrame, names: list[str], title: str) -> go.Figure:
    """Scores of every model by group, one line per group."""
    shown = frame.head(MAX_GROUPS)
    texts = [
        f"{kind} {label(group, 44)}"
        for kind, group in zip(shown["kind"], shown["group"], strict=True)
    ]
    figure = go.Figure()
    for name, (colour, symbol, _) in zip(names, series_styles(), strict=False):
        figure.add_scatter(
            x=shown[name].to_numpy(dtype=float),
            y=texts,
            mode="markers",
            name=label(name),
            marker={"size": 10, "color": colour, "symbol": symbol},
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        )
    figure.update_layout(height=110 + 24 * len(shown), **LAYOUT)
    figure.update_xaxes(title=axis_title(title), zeroline=False, showgrid=True)
    figure.update_yaxes(autorange="reversed", showgrid=True)
    return figure


def horizon_plot(frame: pd.DataFrame, title: str) -> go.Figure:
    """Error over the horizon of every model, with bands, on a logarithmic axis where possible.

    Args:
        frame: columns model, ahead, value, ci_low, ci_high.
        title: title of the error's axis.
    """
    figure = go.Figure()
    for (name, part), (colour, _, dash) in zip(
        frame.groupby("model", sort=False), series_styles(), strict=False
    ):
        ahead = part["ahead"].to_numpy()
        low, high = part["ci_low"].to_numpy(), part["ci_high"].to_numpy()
        figure.add_scatter(
            x=np.concatenate([ahead, ahead[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            fillcolor=colour,
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=ahead,
            y=part["value"],
            mode="lines",
            name=label(str(name)),
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="frame %{x}: %{y:.4g}<extra></extra>",
        )
    ends = np.concatenate([frame[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high")])
    figure.update_layout(height=400, **LAYOUT)
    figure.update_xaxes(title="frames ahead", zeroline=False)
    figure.update_yaxes(title=axis_title(title), showgrid=True, **log_if_positive(ends))
    return figure
